"""Miniature files of formats that are read but not written, after their published layouts.

They take dense H(R) and S(R) in our order and bring them into the program's by tables that are written out here.
"""

import json
import struct

import numpy as np
from ase.data import chemical_symbols
from ase.io import write
from ase.units import Bohr

from gh_tools.orbitals.bloch import BlochSum

HARTREE = 27.2113845
# Our m of each function of a shell, in OpenMX's order
OPENMX = {0: [0], 1: [1, -1, 0], 2: [0, 2, -2, 1, -1], 3: [0, 1, -1, 2, -2, 3, -3]}


def cells_and_matrices(ham, field, spin=0):
    """R and dense M(R) of both directions, by the Fourier transform of M(k), on a grid that holds all R."""
    size = 9
    grid = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1).reshape(-1, 3)
    found = np.stack(BlochSum(ham, field, spin).at(grid / size))
    n = found.shape[1]
    matrices = np.fft.fftn(found.reshape(size, size, size, n, n), axes=(0, 1, 2)).real / size**3
    cells = (grid + size // 2) % size - size // 2
    matrices = matrices.reshape(-1, n, n)
    matrices[np.abs(matrices) < 1e-13] = 0
    keep = np.abs(matrices).max(axis=(1, 2)) > 0
    return cells[keep], matrices[keep]


def permutation(ham, order):
    """Our orbital at each place of an order that names m of each function of a shell."""
    places, start = [], 0
    for z in ham.atoms.numbers:
        for degree in ham.basis[int(z)].degrees:
            places += [start + degree + m for m in order(degree)]
            start += 2 * degree + 1
    return np.array(places)


def write_openmx(file, ham):
    """A scfout file of version 3; neighbours of an atom are all atoms in all cells that couple to it."""
    atoms, n_spins = ham.atoms, ham.n_spins
    order = permutation(ham, OPENMX.get)
    ptr = ham.basis.orbital_ptr(atoms.numbers)
    cells, s = cells_and_matrices(ham, "overlap")
    spins = [cells_and_matrices(ham, "hamiltonian", spin) for spin in range(n_spins)]
    assert all(np.array_equal(found, cells) for found, _ in spins)
    s = s[:, order][:, :, order]
    spins = [h[:, order][:, :, order] / HARTREE for _, h in spins]
    home = int(np.flatnonzero(~cells.any(axis=1))[0])
    rank = [home, *(i for i in range(len(cells)) if i != home)]  # cell 0 is the first
    cells, s, spins = cells[rank], s[rank], [h[rank] for h in spins]

    def block(matrix, i, j):
        return matrix[ptr[i] : ptr[i + 1], ptr[j] : ptr[j + 1]]

    near = []
    for i in range(len(atoms)):
        found = [
            (j, c)
            for c in range(len(cells))
            for j in range(len(atoms))
            if np.abs(block(s[c], i, j)).max() > 0
        ]
        found.sort(key=lambda pair: pair != (i, 0))  # itself first
        near.append(found)
    out = bytearray()

    def integers(*values):
        out.extend(struct.pack(f"<{len(values)}i", *map(int, values)))

    def reals(values):
        out.extend(np.asarray(values, "<f8").tobytes())

    integers(len(atoms), 4 * 3 + n_spins - 1, len(atoms), 0, 0, len(cells) - 1, 1)
    reals(np.column_stack([np.zeros(len(cells)), cells @ atoms.cell.array / Bohr]))
    for cell in cells:
        integers(0, *cell)
    integers(*np.diff(ptr))
    integers(*(len(found) - 1 for found in near))
    for found in near:
        integers(*(j + 1 for j, _ in found))
    for found in near:
        integers(*(c for _, c in found))
    reals(np.column_stack([np.zeros(3), atoms.cell.array / Bohr]))
    reals(np.zeros(12))
    reals(np.column_stack([np.zeros(len(atoms)), atoms.positions / Bohr]))

    def matrix(of):
        for i, found in enumerate(near):
            for j, c in found:
                reals(block(of[c], i, j))

    for h in spins:
        matrix(h)
    matrix(s)
    for _ in range(3 + 3 + n_spins + 2):
        matrix(np.zeros_like(s))
    integers(1)
    reals([ham.scalars["fermi_level"] / HARTREE, 300, *np.zeros(6), 20, 0])
    lines = ["<Definition.of.Atomic.Species\n"]
    for z in np.unique(atoms.numbers).tolist():
        symbol, shells = chemical_symbols[z], ham.basis[z].degrees
        name = "".join(f"{'spdf'[degree]}1" for degree in shells)
        lines.append(f" {symbol} {symbol}7.0-{name} {symbol}_PBE19\n")
    lines += ["Definition.of.Atomic.Species>\n", "<Atoms.SpeciesAndCoordinates\n"]
    for index, z in enumerate(atoms.numbers.tolist()):
        half = ham.basis[z].n_valence / 2
        lines.append(f" {index + 1} {chemical_symbols[z]} 0 0 0 {half} {half}\n")
    lines.append("Atoms.SpeciesAndCoordinates>\n")
    integers(len(lines))
    for line in lines:
        out.extend(line.encode().ljust(256, b"\0"))
    file.write_bytes(out)


def write_aims(folder, ham):
    """Upper half of H and S; shells of the same l are interleaved: m runs slower than the shell."""
    folder.mkdir()
    atoms = ham.atoms
    write(folder / "geometry.in", atoms, format="aims")
    rows, places, signs, start = [], [], [], 0
    for index, z in enumerate(atoms.numbers):
        shells = ham.basis[int(z)].degrees
        starts = start + np.concatenate([[0], np.cumsum([2 * d + 1 for d in shells])])
        functions = [
            (degree, m, shell)
            for shell, degree in enumerate(shells)
            for m in range(-degree, degree + 1)
        ]
        for degree, m, shell in sorted(functions):
            rows.append(f"{len(rows) + 1} atomic {index + 1} {degree + 1} {degree} {m}")
            places.append(int(starts[shell]) + degree + m)
            signs.append(-1.0 if m > 0 and m % 2 else 1.0)
        start = int(starts[-1])
    (folder / "basis-indices.out").write_text("\n fn. type at. n l m\n" + "\n".join(rows) + "\n")
    places, signs = np.array(places), np.array(signs)
    cells, s = cells_and_matrices(ham, "overlap")
    spins = [cells_and_matrices(ham, "hamiltonian", spin)[1] for spin in range(ham.n_spins)]
    every = [m[:, places][:, :, places] * np.outer(signs, signs) for m in (s, *spins)]
    n = len(places)
    first, last = np.zeros((2, len(cells) + 1, n), int)
    last[:] = -1
    columns, values = [], [[] for _ in every]
    for c, cell in enumerate(cells):
        # ⟨row, R| M |column, 0⟩ = M(-R)
        minus = int(np.flatnonzero((cells == -cell).all(axis=1))[0])
        for row in range(n):
            found = [b for b in range(row + 1) if any(m[minus, row, b] != 0 for m in every)]
            if found:
                first[c, row], last[c, row] = len(columns) + 1, len(columns) + len(found)
            columns += [b + 1 for b in found]
            for value, m in zip(values, every, strict=True):
                value += [m[minus, row, b] for b in found]
    columns.append(0)
    cells = [*cells.tolist(), [999999999] * 3]
    text = [
        f"n_hamiltonian_matrix_size: {len(columns)}",
        f"n_cells_in_hamiltonian: {len(cells)}",
        f"n_basis: {n}",
        "cell_index",
        *(" ".join(map(str, cell)) for cell in cells),
    ]
    for name, table in (("1", first), ("2", last)):
        text.append(f"index_hamiltonian({name},:,:)")
        text += [" ".join(map(str, row)) for row in table.tolist()]
    text += ["column_index_hamiltonian", *map(str, columns)]
    (folder / "rs_indices.out").write_text("\n".join(text) + "\n")
    names = ["rs_overlap", "rs_hamiltonian"]
    if ham.n_spins == 2:
        names = ["rs_overlap", "rs_hamiltonian_up", "rs_hamiltonian_dn"]
    for name, value in zip(names, values, strict=True):
        scale = 1.0 if name == "rs_overlap" else HARTREE
        numbers = [*(x / scale for x in value), 0.0]
        (folder / f"{name}.out").write_text("\n".join(map(repr, map(float, numbers))) + "\n")
    (folder / "aims.out").write_text(
        f" | Chemical potential (Fermi level) in eV : {ham.scalars['fermi_level']}\n"
    )


def write_gears_h(folder, ham):
    """Object arrays of blocks of the directed pairs, and S of the Γ point."""
    folder.mkdir()
    atoms = ham.atoms
    write(folder / "atoms.extxyz", atoms, format="extxyz", write_results=False)
    cells, h = cells_and_matrices(ham, "hamiltonian")
    _, s = cells_and_matrices(ham, "overlap")
    ptr = ham.basis.orbital_ptr(atoms.numbers)
    blocks, ij, vectors, diagonal = [], [], [], []
    for c, cell in enumerate(cells):
        for i in range(len(atoms)):
            for j in range(len(atoms)):
                block = h[c][ptr[i] : ptr[i + 1], ptr[j] : ptr[j + 1]]
                if i == j and not cell.any():
                    diagonal.append(block)
                elif np.abs(block).max() > 0:
                    blocks.append(block)
                    ij.append((i, j))
                    vectors.append(
                        atoms.positions[j] + cell @ atoms.cell.array - atoms.positions[i]
                    )
    np.savez(folder / "hblocks_on-diagonal.npz", hblocks=_objects(diagonal), allow_pickle=True)
    np.savez(folder / "hblocks_off-diagonal.npz", hblocks=_objects(blocks), allow_pickle=True)
    np.savez(folder / "ijD.npz", ij=np.array(ij), D=np.array(vectors))
    import scipy.sparse

    holder = np.empty((), dtype=object)
    holder[()] = scipy.sparse.csr_matrix(s.sum(axis=0))
    np.savez(folder / "H_MM_S_MM.npz", S_MM=holder)
    shells = {str(z): list(ham.basis[z].degrees) for z in np.unique(atoms.numbers).tolist()}
    (folder / "orbital_ells.json").write_text(json.dumps(shells))


def _objects(blocks):
    found = np.empty(len(blocks), dtype=object)
    for index, block in enumerate(blocks):
        found[index] = block
    return found
