"""Miniature files of formats that are read but not written, after their published layouts.

They take dense H(R) and S(R) in the program's order, which `functions` knows from the functions themselves.
"""

import contextlib
import json
import struct

import numpy as np
from ase.data import chemical_symbols
from ase.io import write
from ase.units import Bohr
from scipy.io import FortranEOFError

from gh_tools.orbitals.bloch import BlochSum
from tests.formats.functions import Dense, places_and_signs

HARTREE = 27.2113845
RYDBERG = 13.605698


def cells_and_matrices(ham, field, spin=0):
    """R and dense M(R) of both directions, by the Fourier transform of M(k), on a grid that holds all R."""
    size = 9
    grid = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1).reshape(-1, 3)
    found = np.stack(BlochSum(ham, field, spin).at(grid / size))
    n = found.shape[1]
    matrices = np.fft.fftn(found.reshape(size, size, size, n, n), axes=(0, 1, 2)) / size**3
    matrices = matrices if ham.spinor else matrices.real
    cells = (grid + size // 2) % size - size // 2
    matrices = matrices.reshape(-1, n, n)
    matrices[np.abs(matrices) < 1e-13] = 0
    keep = np.abs(matrices).max(axis=(1, 2)) > 0
    return cells[keep], matrices[keep]


def dense(ham, program):
    """The matrices in a program's order of the functions of each shell; of spinors those of ↑↑, ↑↓, ↓↑ and ↓↓."""
    signs, components = [], [[], []]
    start = ham.orbital_ptr.tolist()
    for first, z in zip(start, ham.atoms.numbers.tolist(), strict=False):
        mine, place = [], 0
        for degree in ham.basis[z].degrees:
            order, sign = places_and_signs(program, degree)
            mine += (place + order).tolist()
            signs += sign.tolist()
            place += 2 * degree + 1
        for component in range(2):
            components[component] += (first + component * place + np.array(mine)).tolist()
    sign = np.outer(signs, signs)
    cells, s = cells_and_matrices(ham, "overlap")
    spins = []
    for spin in range(ham.n_spins):
        found, h = cells_and_matrices(ham, "hamiltonian", spin)
        assert np.array_equal(found, cells)
        for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)) if ham.spinor else ((0, 0),):
            spins.append(sign * h[:, components[a]][:, :, components[b]])
    numbers = np.unique(ham.atoms.numbers).tolist()
    return Dense(
        ham.atoms,
        {z: ham.basis[z].degrees for z in numbers},
        {z: ham.basis[z].n_valence for z in numbers},
        ham.scalars["fermi_level"],
        cells,
        sign * s[:, components[0]][:, :, components[0]].real,
        spins,
    )


def write_openmx(file, found):
    """A scfout file of version 3; neighbours of an atom are all atoms in all cells that couple to it.

    Seven matrices of a non-collinear run are ↑↑, ↓↓, Re ↑↓, Im ↑↓, and the imaginary parts of ↑↑, ↓↓ and ↑↓ that
    come from spin-orbit coupling.
    """
    atoms, ptr = found.atoms, found.ptr()
    n_spins = min(len(found.spins), 4)
    cells, s, spins = found.cells, found.s, [h / HARTREE for h in found.spins]
    home = int(np.flatnonzero(~cells.any(axis=1))[0])
    rank = [home, *(i for i in range(len(cells)) if i != home)]  # cell 0 is the first
    cells, s, spins = cells[rank], s[rank], [h[rank] for h in spins]

    def block(matrix, i, j):
        return matrix[ptr[i] : ptr[i + 1], ptr[j] : ptr[j + 1]]

    near = []
    for i in range(len(atoms)):
        mine = [
            (j, c)
            for c in range(len(cells))
            for j in range(len(atoms))
            if np.abs(block(s[c], i, j)).max() > 0
        ]
        mine.sort(key=lambda pair: pair != (i, 0))  # itself first
        near.append(mine)
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
    integers(*(len(mine) - 1 for mine in near))
    for mine in near:
        integers(*(j + 1 for j, _ in mine))
    for mine in near:
        integers(*(c for _, c in mine))
    reals(np.column_stack([np.zeros(3), atoms.cell.array / Bohr]))
    reals(np.zeros(12))
    reals(np.column_stack([np.zeros(len(atoms)), atoms.positions / Bohr]))

    def matrix(of):
        for i, mine in enumerate(near):
            for j, c in mine:
                reals(block(of[c], i, j))

    for h in spins:
        matrix(h)
    matrix(s)
    for _ in range(3 + 3 + n_spins + 2):
        matrix(np.zeros_like(s))
    integers(1)
    reals([found.fermi / HARTREE, 300, *np.zeros(6), 20, 0])
    lines = ["<Definition.of.Atomic.Species\n"]
    for z in np.unique(atoms.numbers).tolist():
        symbol, shells = chemical_symbols[z], found.shells[z]
        name = "".join(f"{'spdf'[degree]}1" for degree in shells)
        lines.append(f" {symbol} {symbol}7.0-{name} {symbol}_PBE19\n")
    lines += ["Definition.of.Atomic.Species>\n", "<Atoms.SpeciesAndCoordinates\n"]
    for index, z in enumerate(atoms.numbers.tolist()):
        half = found.valence[z] / 2
        lines.append(f" {index + 1} {chemical_symbols[z]} 0 0 0 {half} {half}\n")
    lines.append("Atoms.SpeciesAndCoordinates>\n")
    integers(len(lines))
    for line in lines:
        out.extend(line.encode().ljust(256, b"\0"))
    file.write_bytes(out)


def write_aims(folder, found):
    """Upper half of H and S; shells of the same l are interleaved: m runs slower than the shell."""
    folder.mkdir()
    atoms = found.atoms
    lines = ["lattice_vector " + " ".join(map(repr, row)) for row in atoms.cell.array.tolist()]
    lines += [
        f"atom {' '.join(map(repr, row))} {symbol}"
        for row, symbol in zip(atoms.positions.tolist(), atoms.symbols, strict=True)
    ]
    (folder / "geometry.in").write_text("\n".join(lines) + "\n")
    rows, places, start = [], [], 0
    for index, z in enumerate(atoms.numbers.tolist()):
        shells = found.shells[z]
        starts = start + np.concatenate([[0], np.cumsum([2 * d + 1 for d in shells])])
        functions = [
            (degree, m, shell)
            for shell, degree in enumerate(shells)
            for m in range(-degree, degree + 1)
        ]
        for degree, m, shell in sorted(functions):
            rows.append(f"{len(rows) + 1} atomic {index + 1} {degree + 1} {degree} {m}")
            places.append(int(starts[shell]) + degree + m)
        start = int(starts[-1])
    (folder / "basis-indices.out").write_text("\n fn. type at. n l m\n" + "\n".join(rows) + "\n")
    places, cells = np.array(places), found.cells
    every = [m[:, places][:, :, places] for m in (found.s, *found.spins)]
    n = len(places)
    first, last = np.zeros((2, len(cells) + 1, n), int)
    last[:] = -1
    columns, values = [], [[] for _ in every]
    for c, cell in enumerate(cells):
        # ⟨row, R| M |column, 0⟩ = M(-R)
        minus = int(np.flatnonzero((cells == -cell).all(axis=1))[0])
        for row in range(n):
            mine = [b for b in range(row + 1) if any(m[minus, row, b] != 0 for m in every)]
            if mine:
                first[c, row], last[c, row] = len(columns) + 1, len(columns) + len(mine)
            columns += [b + 1 for b in mine]
            for value, m in zip(values, every, strict=True):
                value += [m[minus, row, b] for b in mine]
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
    if len(found.spins) == 2:
        names = ["rs_overlap", "rs_hamiltonian_up", "rs_hamiltonian_dn"]
    for name, value in zip(names, values, strict=True):
        scale = 1.0 if name == "rs_overlap" else HARTREE
        numbers = [*(x / scale for x in value), 0.0]
        (folder / f"{name}.out").write_text("\n".join(map(repr, map(float, numbers))) + "\n")
    (folder / "aims.out").write_text(f" | Chemical potential (Fermi level) in eV : {found.fermi}\n")


def write_abacus(folder, found):
    """The layout of 2026: the structure in the header, six values and sixteen indices a line."""
    import scipy.sparse

    folder.mkdir()
    atoms, n = found.atoms, int(found.ptr()[-1])
    numbers = list(dict.fromkeys(atoms.numbers.tolist()))
    symbols = [chemical_symbols[z] for z in numbers]
    shells = {
        z: "".join(
            f"{found.shells[z].count(degree)}{'spdf'[degree]}"
            for degree in sorted(set(found.shells[z]))
        )
        for z in numbers
    }
    stru = ["ATOMIC_SPECIES", *(f"{symbol} 1 {symbol}.upf" for symbol in symbols)]
    stru += ["NUMERICAL_ORBITAL"]
    stru += [f"{chemical_symbols[z]}_gga_7au_100Ry_{shells[z]}.orb" for z in numbers]
    (folder / "STRU").write_text("\n".join(stru) + "\n")
    (folder / "running_scf.log").write_text(f"EFERMI = {found.fermi} eV\n")
    files = [("srs1_nao.csr", "S", found.s)]
    files += [(f"hrs{spin + 1}_nao.csr", "H", h / RYDBERG) for spin, h in enumerate(found.spins)]
    for name, letter, matrices in files:
        lines = [
            "--- Ionic Step 1 ---",
            f"1 # print {letter} matrix in real space {letter}(R)",
            f"{len(found.spins)} # number of spin directions",
            f"{n} # number of localized basis",
            f"{len(found.cells)} # number of Bravais lattice vector R",
            "a structure",
            "1.0",
            *(" ".join(f"{x:.15f}" for x in row) for row in atoms.cell.array),
            " ".join(symbols),
            " ".join(str((atoms.numbers == z).sum()) for z in numbers),
            "Direct",
            *(
                " ".join(f"{x:.15f}" for x in row)
                for row in atoms.cell.scaled_positions(atoms.positions)
            ),
            f"#{70 * '-'}#",
            f"# CSR Format of {letter}(R) #",
            f"#{70 * '-'}#",
        ]
        for cell, matrix in zip(found.cells.tolist(), matrices, strict=True):
            csr = scipy.sparse.csr_array(matrix)
            lines.append(" ".join(map(str, [*cell, csr.nnz])))
            for label, values, width in (
                ("values", [f"{x:.16e}" for x in csr.data], 6),
                ("column indices", csr.indices.tolist(), 16),
                ("row pointers", csr.indptr.tolist(), 16),
            ):
                lines.append(f"# CSR {label}")
                lines += [
                    " ".join(map(str, values[start : start + width]))
                    for start in range(0, len(values), width)
                ]
        (folder / name).write_text("\n".join(lines) + "\n")


def as_sisl(found):
    """Matrices in SIESTA's order as sisl's Hamiltonian."""
    import scipy.sparse
    import sisl

    kinds = {
        z: sisl.Atom(
            z,
            [
                sisl.AtomicOrbital(n=shell + 1, l=degree, m=m, zeta=1, R=4.0)
                for shell, degree in enumerate(shells)
                for m in range(-degree, degree + 1)
            ],
        )
        for z, shells in found.shells.items()
    }
    atoms = found.atoms
    lattice = sisl.Lattice(atoms.cell.array, nsc=2 * np.abs(found.cells).max(axis=0) + 1)
    geometry = sisl.Geometry(atoms.positions, [kinds[z] for z in atoms.numbers.tolist()], lattice)
    place = [lattice.sc_index(cell) for cell in found.cells.tolist()]

    def wide(matrices):
        n = matrices.shape[1]
        row = np.zeros((n, lattice.n_s, n))
        row[:, place] = matrices.swapaxes(0, 1)
        return scipy.sparse.csr_matrix(row.reshape(n, -1))

    return sisl.Hamiltonian.fromsp(geometry, wide(found.spins[0]), S=wide(found.s))


def write_hsx(file, h, fermi, electrons):
    """Let sisl write a HSX file, which holds absolute energies, and put Fermi level and electrons into its fourth record."""
    import sisl
    from scipy.io import FortranFile

    rydberg = sisl.unit_convert("Ry", "eV")
    sisl.get_sile(file, "w").write_hamiltonian(h)
    records = []
    with FortranFile(file, "r") as stream, contextlib.suppress(FortranEOFError):
        while True:
            records.append(stream.read_record("u1"))
    energies = records[3].view("<f8").copy()
    energies[9:11] = fermi / rydberg, electrons
    records[3] = energies.view("u1")
    with FortranFile(file, "w") as stream:
        for record in records:
            stream.write_record(record)


def write_gears_h(folder, found):
    """Object arrays of blocks of the directed pairs, and S of the Γ point."""
    folder.mkdir()
    atoms, cells, s, h, ptr = found.atoms, found.cells, found.s, found.spins[0], found.ptr()
    write(folder / "atoms.extxyz", atoms, format="extxyz", write_results=False)
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
    shells = {str(z): list(degrees) for z, degrees in found.shells.items()}
    (folder / "orbital_ells.json").write_text(json.dumps(shells))


def _objects(blocks):
    found = np.empty(len(blocks), dtype=object)
    for index, block in enumerate(blocks):
        found[index] = block
    return found
