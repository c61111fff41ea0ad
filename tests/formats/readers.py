"""Matrices of files as their layouts are published, without any part of gh-tools: H(k) and S(k) in the file's order."""

import ast
import json
import re

import numpy as np
import scipy.sparse

RYDBERG = 13.605698


def _sum(size, k, blocks):
    """Sum blocks over R; they come as R, first row, first column, block."""
    found = np.zeros((size, size), complex)
    for cell, row, column, block in blocks:
        where = slice(row, row + block.shape[0]), slice(column, column + block.shape[1])
        found[where] += np.exp(2j * np.pi * np.dot(k, cell)) * block
    return found


def _starts(counts):
    return np.concatenate([[0], np.cumsum(counts)])


def deeph(folder, k):
    import h5py

    lines = (folder / "POSCAR").read_text().splitlines()
    shells = json.loads((folder / "info.json").read_text())["elements_orbital_map"]
    counts = [
        sum(2 * degree + 1 for degree in shells[symbol])
        for symbol, count in zip(lines[5].split(), map(int, lines[6].split()), strict=True)
        for _ in range(count)
    ]
    start, matrices = _starts(counts), []
    for name in ("hamiltonian.h5", "overlap.h5"):
        with h5py.File(folder / name) as stored:
            bounds, shapes = stored["chunk_boundaries"][:], stored["chunk_shapes"][:]
            blocks = [
                (pair[:3], start[pair[3]], start[pair[4]], stored["entries"][a:b].reshape(shape))
                for pair, a, b, shape in zip(
                    stored["atom_pairs"][:], bounds[:-1], bounds[1:], shapes, strict=True
                )
            ]
        matrices.append(_sum(start[-1], k, blocks))
    return matrices


def deeph_legacy(folder, k):
    import h5py

    lines = (folder / "orbital_types.dat").read_text().splitlines()
    start = _starts([sum(2 * int(degree) + 1 for degree in line.split()) for line in lines])
    matrices = []
    for name in ("hamiltonians.h5", "overlaps.h5"):
        with h5py.File(folder / name) as stored:
            blocks = []
            for key, block in stored.items():
                *cell, i, j = json.loads(key)
                blocks.append((cell, start[i - 1], start[j - 1], block[:]))
        matrices.append(_sum(start[-1], k, blocks))
    return matrices


def deeptb(folder, k):
    import h5py
    from ase.data import chemical_symbols

    basis = ast.literal_eval((folder / "basis.dat").read_text())
    size = {
        symbol: sum(
            int(n) * (2 * "spdf".index(letter) + 1)
            for n, letter in re.findall(r"(\d+)([spdf])", text)
        )
        for symbol, text in basis.items()
    }
    numbers = np.loadtxt(folder / "atomic_numbers.dat", dtype=int)
    start = _starts([size[chemical_symbols[z]] for z in numbers])
    matrices = []
    for name in ("hamiltonians.h5", "overlaps.h5"):
        with h5py.File(folder / name) as stored:
            blocks = []
            for key, block in stored["0"].items():
                i, j, *cell = map(int, key.split("_"))
                blocks.append((cell, start[i], start[j], block[:]))
        matrices.append(_sum(start[-1], k, blocks))
    return matrices


def abacus(folder, k):
    matrices = []
    for name, unit in (("HR", RYDBERG), ("SR", 1.0)):
        lines = (folder / f"data-{name}-sparse_SPIN0.csr").read_text().splitlines()
        size = int(lines[1].split()[-1])
        found, place = np.zeros((size, size), complex), 3
        while place < len(lines):
            *cell, count = map(int, lines[place].split())
            place += 1
            if count:
                value, column, pointer = (
                    np.array(line.split(), dtype=kind)
                    for line, kind in zip(lines[place:], (float, int, int), strict=False)
                )
                place += 3
                part = scipy.sparse.csr_array((value, column, pointer), (size, size)).toarray()
                found += unit * np.exp(2j * np.pi * np.dot(k, cell)) * part
        matrices.append(found)
    return matrices


def npz(folder, k):
    return [
        sum(
            np.exp(2j * np.pi * np.dot(k, [int(n) for n in file.stem.split("_")[1:]]))
            * scipy.sparse.load_npz(file).toarray()
            for file in folder.glob(f"{name}_*.npz")
        )
        for name in "HS"
    ]


def sisl(file, k):
    from sisl import get_sile

    h = get_sile(file).read_hamiltonian()
    fermi = get_sile(file).read_fermi_level()
    overlap = h.Sk(k, format="array")
    return h.Hk(k, format="array") + fermi * overlap, overlap
