"""What every format must do: file, store, file, store is the identity, and eigenvalues stay.

A format that can be written is written by gh-tools; one that is only read, by a miniature writer of these tests. A
new format inherits `Contract`.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse

from gh_tools.errors import DataError, NoInputError
from gh_tools.formats import npz, table
from gh_tools.formats.assemble import assemble
from gh_tools.formats.format import Source, read_source
from gh_tools.formats.matrices import CodeMatrices, Orbitals, entries_of_cells
from gh_tools.formats.sisl import to_sisl
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian, OnsiteBlocks, PairBlocks
from tests.formats import readers, writers
from tests.formats.functions import gaussians
from tests.formats.sample import sample

pytest.importorskip("h5py")
pytest.importorskip("netCDF4")
sisl = pytest.importorskip("sisl")
K = np.array([0.13, -0.27, 0.41])


def eigenvalues(ham, spin=0, k=K):
    return scipy.linalg.eigh(
        bloch_matrix(ham, k, "hamiltonian", spin),
        bloch_matrix(ham, k, "overlap"),
        eigvals_only=True,
    )


def assert_same(a, b, tolerance):
    """Structures and blocks agree, those of H relative to 1 eV."""
    assert np.array_equal(a.atoms.numbers, b.atoms.numbers)
    assert np.abs(a.atoms.positions - b.atoms.positions).max() <= max(tolerance, 1e-12)
    assert {z: e.degrees for z, e in a.basis.elements.items()} == {
        z: e.degrees for z, e in b.basis.elements.items()
    }
    other = dict(b.groups())
    assert other.keys() == dict(a.groups()).keys()
    for key, blocks in a.groups():
        for name, values in vars(blocks).items():
            found = getattr(other[key], name)
            if values is None or values.dtype.kind in "iu":
                assert np.array_equal(values, found), (key, name)
            else:
                assert np.abs(values - found).max() <= tolerance, (key, name)


class Contract:
    """The base test of a format.

    Attributes:
        name: of the format.
        reader: name of the format that reads it, where that is another.
        spins: spin channels that it can hold.
        written: whether gh-tools writes it.
        tolerance: of its numbers, eV; 0 is the same bit by bit.
        matrices: names of files without which it is nothing.
        program: whose functions its orbitals are.
        ascending: whether the shells of an atom ascend in l.
        tells_fermi: whether it holds the Fermi level.
    """

    name = ""
    reader = ""
    spins = (1,)
    written = True
    tolerance = 0.0
    matrices: tuple[str, ...] = ()
    program = "gh-tools"
    ascending = False
    tells_fermi = True

    def sample(self, spins=1):
        return sample(spins)

    def make(self, place, ham):
        table.get_format(self.name).write(place, ham)

    def make_dense(self, place, found):
        """Write matrices in the program's order, without any part of gh-tools."""
        raise NotImplementedError

    def read_dense(self, place, k):
        """H(k) and S(k) of files that gh-tools wrote, in the program's order."""
        return getattr(readers, self.name.replace("-", "_"))(place, k)

    def read(self, place):
        form = table.get_format(self.reader or self.name)
        sources = form.find(place)
        if not sources:
            raise NoInputError(f"{place}: nothing was found")
        assert len(sources) == 1
        return assemble(read_source(form, sources[0]))

    def test_file_store_file_store_is_the_identity(self, tmp_path):
        for spins in self.spins:
            ham = self.sample(spins)
            self.make(tmp_path / f"first{spins}", ham)
            once, findings = self.read(tmp_path / f"first{spins}")
            assert findings.asymmetry <= max(self.tolerance, 1e-12)
            for spin in range(spins):
                found = eigenvalues(once, spin)
                assert np.abs(found - eigenvalues(ham, spin)).max() < 1e-6
            self.make(tmp_path / f"second{spins}", once)
            twice, _ = self.read(tmp_path / f"second{spins}")
            assert_same(once, twice, self.tolerance)
            assert "fermi_level" in once.scalars or not self.tells_fermi
            for key in once.scalars.keys() & ham.scalars.keys():
                assert np.isclose(once.scalars[key], ham.scalars[key], rtol=0, atol=1e-7), key

    def test_pairs_keep_their_distances(self, tmp_path):
        """Lattice vectors are counted from wrapped positions: eigenvalues do not notice a wrong sign of R."""
        ham = self.sample()
        self.make(tmp_path / "x", ham)
        found, _ = self.read(tmp_path / "x")
        for pair, blocks in ham.pairs.items():
            mine = np.linalg.norm(ham.vectors(pair), axis=1)
            theirs = np.linalg.norm(found.vectors(pair), axis=1)
            size = np.linalg.norm(blocks.hamiltonian, axis=(1, 2))
            other = np.linalg.norm(found.pairs[pair].hamiltonian, axis=(1, 2))
            a, b = (
                np.lexsort([size.round(5), mine.round(5)]),
                np.lexsort([other.round(5), theirs.round(5)]),
            )
            assert np.abs(mine[a] - theirs[b]).max() < 1e-5
            assert np.abs(size[a] - other[b]).max() < 1e-5

    def test_orbitals_are_the_programs_functions_of_space(self, tmp_path):
        """H and S of Gaussians in a rotated frame, integrated with the functions of the program and with ours."""
        ours = gaussians("gh-tools", self.ascending and not self.written)
        theirs = gaussians(self.program, self.ascending)
        if self.written:
            self.make(tmp_path / "x", as_blocks(ours))
            found, wanted = self.read_dense(tmp_path / "x", K), theirs.at(K)
        else:
            self.make_dense(tmp_path / "x", theirs)
            ham, _ = self.read(tmp_path / "x")
            found = [bloch_matrix(ham, K, field) for field in ("hamiltonian", "overlap")]
            wanted = ours.at(K)
        for a, b in zip(found, wanted, strict=True):
            assert np.abs(a - b).max() < 1e-7

    def test_it_is_recognised_by_content(self, tmp_path):
        self.make(tmp_path / "x", self.sample())
        claimed = [form.name for form in table.chosen("auto") if form.find(tmp_path / "x")]
        assert claimed == [self.reader or self.name]

    def test_truncated_files_are_refused_in_one_sentence(self, tmp_path):
        self.make(tmp_path / "x", self.sample())
        for name in self.matrices:
            copy = tmp_path / "cut"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(tmp_path / "x", copy)
            content = (copy / name).read_bytes()
            for length in (0, len(content) // 3, len(content) - max(len(content) // 50, 3)):
                (copy / name).write_bytes(content[:length])
                with pytest.raises(DataError) as error:
                    self.read(copy)
                assert str(copy) in str(error.value) and "\n" not in str(error.value)

    def test_damaged_files_end_in_no_traceback(self, tmp_path):
        random = np.random.default_rng(1)
        self.make(tmp_path / "x", self.sample())
        for name in self.matrices:
            content = bytearray((tmp_path / "x" / name).read_bytes())
            for _ in range(6):
                damaged = content.copy()
                for place in random.integers(0, len(damaged), 20):
                    damaged[place] = random.integers(0, 256)
                (tmp_path / "x" / name).write_bytes(damaged)
                try:
                    self.read(tmp_path / "x")
                except (DataError, NoInputError) as error:
                    assert "\n" not in str(error)
            (tmp_path / "x" / name).write_bytes(content)


def as_blocks(found):
    """Blocks of matrices in our order."""
    orbitals = Orbitals.of_shells(found.atoms.numbers, found.shells, "gh-tools")
    h, s = (
        entries_of_cells(found.cells, map(scipy.sparse.coo_array, matrices))
        for matrices in (found.spins[0], found.s)
    )
    scalars = {"fermi_level": found.fermi}
    ham, _ = assemble(
        CodeMatrices(
            "a program", found.atoms, orbitals, [h], s, scalars=scalars, valence=found.valence
        )
    )
    assert np.abs(bloch_matrix(ham, K) - found.at(K)[0]).max() < 1e-12
    return ham


class TestDeepH(Contract):
    name = "deeph"
    matrices = ("hamiltonian.h5", "overlap.h5", "info.json")


class TestDeepHLegacy(Contract):
    name = "deeph-legacy"
    program = "openmx"
    matrices = ("hamiltonians.h5", "overlaps.h5", "orbital_types.dat")


class TestDeePTB(Contract):
    name = "deeptb"
    tells_fermi = False
    ascending = True
    matrices = ("hamiltonians.h5", "overlaps.h5", "basis.dat")


class TestAbacus(Contract):
    name = "abacus"
    program = "abacus"
    ascending = True
    spins = (1, 2)
    tolerance = 1e-14
    matrices = ("data-HR-sparse_SPIN0.csr", "data-SR-sparse_SPIN0.csr")


class TestAbacus2026(Contract):
    """Atoms of an element follow each other, and shells ascend in l."""

    name = "abacus"
    program = "abacus"
    ascending = True
    written = False
    spins = (1, 2)
    tolerance = 1e-12
    matrices = ("hrs1_nao.csr", "srs1_nao.csr")

    def sample(self, spins=1):
        return sample(spins, degrees={6: (0, 0, 1), 42: (0, 1, 2, 3)}, symbols="C2Mo2")

    def make(self, place, ham):
        self.make_dense(place, writers.dense(ham, self.program))

    def make_dense(self, place, found):
        writers.write_abacus(place, found)


class TestOpenMX(Contract):
    name = "openmx"
    program = "openmx"
    spins = (1, 2)
    written = False
    tolerance = 1e-12
    matrices = ("sample.scfout",)

    def make(self, place, ham):
        self.make_dense(place, writers.dense(ham, self.program))

    def make_dense(self, place, found):
        place.mkdir()
        writers.write_openmx(place / "sample.scfout", found)


class TestFHIAims(Contract):
    name = "fhi-aims"
    program = "fhi-aims"
    ascending = True
    spins = (1, 2)
    written = False
    tolerance = 1e-12
    matrices = ("rs_hamiltonian.out", "rs_overlap.out", "rs_indices.out")

    def make(self, place, ham):
        self.make_dense(place, writers.dense(ham, self.program))

    def make_dense(self, place, found):
        writers.write_aims(place, found)


class TestGearsH(Contract):
    """A cell so wide that each pair has one image, as in the published sets."""

    name = "gears-h"
    written = False
    tolerance = 1e-12
    matrices = ("hblocks_on-diagonal.npz", "hblocks_off-diagonal.npz", "H_MM_S_MM.npz", "ijD.npz")

    def make(self, place, ham):
        self.make_dense(place, writers.dense(wide(ham), self.program))

    def make_dense(self, place, found):
        writers.write_gears_h(place, found)

    def test_orbitals_are_the_programs_functions_of_space(self, tmp_path):
        wanted = alone(gaussians("gh-tools"))
        self.make_dense(tmp_path / "x", wanted)
        ham, _ = self.read(tmp_path / "x")
        assert np.abs(bloch_matrix(ham, K) - wanted.at(K)[0]).max() < 1e-9

    def test_file_store_file_store_is_the_identity(self, tmp_path):
        ham = wide(sample())
        self.make(tmp_path / "first", ham)
        once, _ = self.read(tmp_path / "first")
        assert_same(ham, once, self.tolerance)

    def test_pairs_keep_their_distances(self, tmp_path):
        self.make(tmp_path / "x", sample())
        found, _ = self.read(tmp_path / "x")
        assert np.abs(found.vectors((6, 42)) - wide(sample()).vectors((6, 42))).max() < 1e-9

    def test_several_images_of_a_pair_are_refused(self, tmp_path):
        self.make_dense(tmp_path / "x", writers.dense(sample(), self.program))
        with pytest.raises(DataError, match="several images"):
            self.read(tmp_path / "x")

    def test_no_pickle_is_executed(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "executed"),)

        self.make(tmp_path / "x", sample())
        blocks = np.empty(4, dtype=object)
        blocks[:] = [Bomb()] * 4
        np.savez(tmp_path / "x" / self.matrices[0], hblocks=blocks)
        with pytest.raises(DataError, match="mkdir"):
            self.read(tmp_path / "x")
        assert not (tmp_path / "executed").exists()


def alone(found):
    """The atoms of cell 0 without periodic images."""
    atoms = found.atoms.copy()
    atoms.pbc = False
    home = ~found.cells.any(axis=1)
    return found._replace(
        atoms=atoms, cells=found.cells[home], s=found.s[home], spins=[found.spins[0][home]]
    )


def wide(ham):
    """The same atoms in a cell three times as wide, with the blocks of cell 0 and of the nearest images alone."""
    atoms = ham.atoms.copy()
    atoms.set_cell(3 * ham.atoms.cell.array)
    onsite = {z: OnsiteBlocks(b.atom, b.hamiltonian, b.overlap) for z, b in ham.onsite.items()}
    pairs = {}
    for key, b in ham.pairs.items():
        keep = ~b.cell_offset.any(axis=1)
        if keep.any():
            pairs[key] = PairBlocks(
                b.i[keep], b.j[keep], b.cell_offset[keep], b.hamiltonian[keep], b.overlap[keep]
            )
    atoms.pbc = False
    return Hamiltonian(atoms, ham.basis, onsite, pairs, dict(ham.scalars))


class TestNpz(Contract):
    name = "npz"
    spins = (1,)
    matrices = ("H_0_0_0.npz", "S_0_0_0.npz", "description.json")

    def test_two_spins_come_back(self, tmp_path):
        self.make(tmp_path / "x", sample(2))
        assert_same(sample(2), self.read(tmp_path / "x")[0], 1e-15)

    def test_k_points_are_not_enough(self, tmp_path):
        npz.write_at(tmp_path / "x", sample(), [[0, 0, 0]])
        with pytest.raises(DataError, match=r"H\(R\) does not follow"):
            self.read(tmp_path / "x")


class TestSiesta(Contract):
    """HSX files of SIESTA 5, by sisl's writer."""

    name = "siesta"
    spins = (1, 2)
    written = False
    program = "siesta"
    tolerance = 1e-8  # sisl's Rydberg
    matrices = ("x.HSX",)

    def make(self, place, ham):
        place.mkdir()
        writers.write_hsx(place / "x.HSX", to_sisl(ham), ham.scalars["fermi_level"], 20.0)

    def make_dense(self, place, found):
        place.mkdir()
        writers.write_hsx(place / "x.HSX", writers.as_sisl(found), 0.0, 20.0)


class TestSisl(Contract):
    """The nc file of an export, which sisl reads as one of SIESTA's."""

    name = "sisl"
    reader = "siesta"
    spins = (1, 2)
    program = "siesta"
    tolerance = 1e-8
    matrices = ("x.nc",)

    def make(self, place, ham):
        place.mkdir()
        table.get_format("sisl").write(place / "x.nc", ham)

    def read_dense(self, place, k):
        return readers.sisl(place / "x.nc", k)


class TestWannier90(Contract):
    """Orthogonal: H(k) is S(k)^(-1/2) H(k) S(k)^(-1/2)."""

    name = "wannier90"
    spins = (1, 2)
    tolerance = 2e-9  # neglected cells
    matrices = ("wannier90_tb.dat",)

    def sample(self, spins=1):
        """H of few orbitals, whose orthogonal ones do not reach far."""
        return sample(spins, degrees={6: (1, 0), 42: (0,)}, overlap=0.03)

    test_orbitals_are_the_programs_functions_of_space = None  # they are no functions that are known

    def test_pairs_keep_their_distances(self, tmp_path):
        """Functions stand at their atoms, one of which is listed outside of the cell, in their order."""
        ham = self.sample()
        self.make(tmp_path / "x", ham)
        found, _ = self.read(tmp_path / "x")
        root = scipy.linalg.fractional_matrix_power(bloch_matrix(ham, K, "overlap"), -0.5)
        wanted = root @ bloch_matrix(ham, K) @ root
        assert np.abs(bloch_matrix(found, K) - wanted).max() < 1e-6
        assert np.abs(found.atoms.positions - ham.atoms.positions).max() < 1e-9

    def test_the_spectrum_is_that_of_h_and_s(self, tmp_path):
        ham = self.sample()
        form = table.get_format("wannier90")
        form.write(tmp_path / "x", ham)
        for ending in ("tb", "hr"):
            source = Source(tmp_path / "x" / f"wannier90_{ending}.dat")
            found, _ = assemble(read_source(form, source))
            assert np.abs(eigenvalues(found) - eigenvalues(ham)).max() < 1e-6
            assert found.atoms.get_chemical_formula() == ham.atoms.get_chemical_formula()
            assert found.scalars["fermi_level"] == ham.scalars["fermi_level"]

    def test_an_independent_reader_finds_the_same_bands(self, tmp_path):
        """The definition of the file: H_mn(R) by R and degeneracy, H(k) = Σ_R exp(2πi k·R) H(R) / degeneracy."""
        ham = self.sample()
        table.get_format("wannier90").write(tmp_path / "x", ham)
        lines = (tmp_path / "x" / "wannier90_hr.dat").read_text().splitlines()
        n, n_cells = int(lines[1]), int(lines[2])
        rows = -(-n_cells // 15)
        degeneracy = [int(w) for line in lines[3 : 3 + rows] for w in line.split()]
        h = np.zeros((n, n), complex)
        for index, line in enumerate(lines[3 + rows :]):
            *cell, i, j = map(int, line.split()[:5])
            re, im = map(float, line.split()[5:])
            phase = np.exp(2j * np.pi * (K @ cell)) / degeneracy[index // n**2]
            h[i - 1, j - 1] += phase * (re + 1j * im)
        assert np.abs(np.linalg.eigvalsh(h) - eigenvalues(ham)).max() < 1e-6

    def test_atoms_without_functions_are_left_out(self, tmp_path):
        """A chain of two elements, of which one carries an s function."""
        (tmp_path / "c_hr.dat").write_text(
            "chain\n 1\n 3\n 1 1 1\n -1 0 0 1 1 -0.5 0\n 0 0 0 1 1 0.2 0\n 1 0 0 1 1 -0.5 0\n"
        )
        (tmp_path / "c.win").write_text(
            "begin unit_cell_cart\n4 0 0\n0 20 0\n0 0 20\nend unit_cell_cart\n"
            "begin atoms_frac\nN 0 0 0\nC 0.5 0 0\nend atoms_frac\n"
            "begin projections\nC:s\nend projections\n"
        )
        form = table.get_format("wannier90")
        found, _ = assemble(read_source(form, form.find(tmp_path)[0]))
        assert found.atoms.get_chemical_formula() == "C"
        k = np.array([0.2, 0, 0])
        assert np.isclose(eigenvalues(found, k=k)[0], 0.2 - np.cos(0.4 * np.pi))

    def test_functions_between_atoms_keep_their_spectrum(self, tmp_path):
        """A chain of one s function in the middle of each bond, with the seed's centres beside."""
        (tmp_path / "c_hr.dat").write_text(
            "chain\n 1\n 3\n 1 1 2\n -1 0 0 1 1 -0.5 0\n 0 0 0 1 1 0.2 0\n 1 0 0 1 1 -1.0 0\n"
        )
        (tmp_path / "c.win").write_text(
            "begin unit_cell_cart\nbohr\n4 0 0\n0 20 0\n0 0 20\nend unit_cell_cart\n"
            "begin atoms_frac\nC 0 0 0 ! first\nC 0.5 0 0\nend atoms_frac\n"
        )
        form = table.get_format("wannier90")
        found, _ = assemble(read_source(form, form.find(tmp_path)[0]))
        k = np.array([0.2, 0, 0])
        assert np.isclose(eigenvalues(found, k=k)[0], 0.2 - np.cos(0.4 * np.pi))


class TestSislsOrbitals:
    def test_orbitals_are_those_of_siesta(self):
        """Sisl's orbitals are functions of space: each is the sign times ours."""
        from scipy.special import sph_harm_y

        from gh_tools.orbitals.order import shell_convention

        points = np.random.default_rng(3).normal(size=(20, 3))
        r = np.linalg.norm(points, axis=1)
        theta, phi = np.arccos(points[:, 2] / r), np.arctan2(points[:, 1], points[:, 0])
        grid = np.linspace(0, 10, 500)
        for degree in range(4):
            ms, signs = shell_convention("siesta", degree)
            for m, sign in zip(ms.tolist(), signs.tolist(), strict=True):
                orbital = sisl.AtomicOrbital(
                    n=degree + 1, l=degree, m=m, zeta=1, spherical=(grid, np.ones_like(grid))
                )
                # Real harmonics without sign: √2 (-1)^m Re Y_lm, √2 (-1)^m Im Y_l|m|
                y = sph_harm_y(degree, abs(m), theta, phi) * (-1.0) ** m
                ours = y.real if m == 0 else np.sqrt(2) * (y.real if m > 0 else y.imag)
                theirs = orbital.psi(points)
                ratio = theirs @ ours / (ours @ ours)
                assert np.abs(theirs - ratio * ours).max() < 1e-6
                assert np.sign(ratio) == sign, (degree, m)


def test_orders_of_programs_are_permutations():
    from gh_tools.orbitals.order import CONVENTIONS, orbital_places

    for program in CONVENTIONS:
        places, signs = orbital_places(program, [0, 1, 2, 3, 1, 4])
        assert sorted(places) == list(range(len(places)))
        assert set(signs.tolist()) <= {1, -1}


def test_matrices_of_the_gamma_point_are_refused(tmp_path):
    """Blocks of several images added up stand at R = 0, far from where the nearest image is."""
    ham = sample()
    deeph = table.get_format("deeph")
    summed = Hamiltonian(ham.atoms, ham.basis, ham.onsite, {}, {})
    for key, b in ham.pairs.items():
        first = np.unique(np.column_stack([b.i, b.j]), axis=0, return_index=True)[1]
        first = first[b.i[first] != b.j[first]]
        summed.pairs[key] = PairBlocks(
            b.i[first],
            b.j[first],
            np.zeros_like(b.cell_offset[first]) + np.array([2, 0, 0]) * (key[0] < key[1]),
            b.hamiltonian[first],
            b.overlap[first],
        )
    summed.pairs.pop((6, 6), None)
    summed.pairs.pop((42, 42), None)
    deeph.write(tmp_path / "x", summed)
    with pytest.raises(DataError, match="nearest image"):
        assemble(read_source(deeph, Source(tmp_path / "x")))


def test_hamgnn_is_refused_with_the_way_round(tmp_path):
    (tmp_path / "graph_data.npz").write_bytes(b"PK")
    form = table.get_format("hamgnn")
    with pytest.raises(DataError, match=r"pickle.*scfout"):
        read_source(form, form.find(tmp_path)[0])


FILES = os.environ.get("GH_TOOLS_FORMAT_FILES")


@pytest.mark.skipif(not FILES, reason="GH_TOOLS_FORMAT_FILES names no folder of real files")
class TestRealFiles:
    """Files that the programs themselves wrote; their licences forbid keeping them here."""

    def read(self, name, path):
        form = table.get_format(name)
        return assemble(read_source(form, form.find(Path(FILES) / path)[0]))[0]

    def test_both_layouts_of_deeph_differ_by_a_constant_times_s(self):
        new, old = (
            self.read("deeph", "deeph/MoTe2"),
            self.read("deeph-legacy", "deeph-legacy/MoTe2"),
        )
        shift = eigenvalues(new, k=K * [1, 1, 0]) - eigenvalues(old, k=K * [1, 1, 0])
        assert np.abs(shift - 13.0882).max() < 1e-4 and np.ptp(shift) < 1e-9

    @pytest.mark.parametrize(
        ("name", "path", "digits"),
        [("abacus", "abacus/MoS2/OUT.ABACUS", 5e-7), ("siesta", "siesta/Si", 5e-7)],
    )
    def test_eigenvalues_are_those_that_the_program_printed(self, name, path, digits):
        found = self.read(name, path)
        for k, printed in zip(found.bands.kpoint, found.bands.eigenvalue[0], strict=True):
            assert np.abs(eigenvalues(found, k=k)[: len(printed)] - printed).max() < digits
