"""gh-eval through a shell, against a comparison done directly."""

import json
from itertools import product

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.special
import zarr

from gh_tools.evaluation import evaluate
from gh_tools.evaluation.plot import plot_errors
from gh_tools.spectra.choice import DENSE_LIMIT
from gh_tools.store.hamiltonian_writer import HamiltonianWriter
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Structures


@pytest.fixture
def shifted(gh, tiny_labels):
    """The labels in another order, H_ij changed by noise of known size."""
    rng = np.random.default_rng(0)
    reader = HamiltonianReader(tiny_labels)
    structures = reader.structures.select([2, 0])
    path = gh.folder / "x.predicted.zarr"
    writer = HamiltonianWriter(path, structures, Provenance("test", inputs=[reader.store]))
    for row, index in enumerate((2, 0)):
        ham = reader.read(index)
        for blocks in ham.onsite.values():
            noise = rng.choice([-0.01, 0.01], blocks.hamiltonian.shape)
            blocks.hamiltonian = (
                blocks.hamiltonian + np.triu(noise) + np.triu(noise, 1).swapaxes(1, 2)
            )
        for blocks in ham.pairs.values():
            blocks.hamiltonian = blocks.hamiltonian + rng.choice(
                [-0.001, 0.001], blocks.hamiltonian.shape
            )
        ham.bands = None
        writer.write(row, ham)
    return writer.publish(reader.basis, {"predicted": True})


def test_numbers_are_those_of_a_direct_comparison(gh, shifted, tiny_labels):
    done = gh(f"gh-eval {shifted} {tiny_labels} --json")
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    assert [record["name"] for record in errors["structures"]] == HamiltonianReader(shifted).names
    # Float64 noise of ±10 and ±1 meV on energies of tens of eV
    assert errors["mean"]["hamiltonian"]["onsite"] == pytest.approx(10, rel=1e-9)
    assert errors["mean"]["hamiltonian"]["pairs"] == pytest.approx(1, rel=1e-9)
    assert errors["by_species_pair"]["Se-W"] == pytest.approx(1, rel=1e-9)
    assert errors["by_species_pair"]["W"] == pytest.approx(10, rel=1e-9)

    assert errors["eigenvalues_skipped"] == {"above_n_orbitals": DENSE_LIMIT, "structures": []}
    assert "Fermi level" in done.stderr


def elements(path, index):
    """All elements (R, row, column): (H, S, group, distance) of a structure, read with nothing but Zarr."""
    root = zarr.open_group(path, mode="r")
    size = {}
    for z, degree in zip(root["basis/number"][:], root["basis/l"][:], strict=True):
        size[int(z)] = size.get(int(z), 0) + 2 * int(degree) + 1
    first, last = root["structures/atom_ptr"][index : index + 2]
    numbers, position = root["atoms/number"][first:last], root["atoms/position"][first:last]
    cell = root["structures/cell"][index]
    offset = [0]
    for z in numbers:
        offset.append(offset[-1] + size[int(z)])
    found = {}
    for group in root["onsite"]:
        rows = {name: array[:] for name, array in root[f"onsite/{group}"].arrays()}
        for row in range(*rows["ptr"][index : index + 2]):
            start = offset[int(rows["atom"][row])]
            h, s = rows["hamiltonian"][row], rows["overlap"][row]
            for a, b in product(range(size[int(group)]), repeat=2):
                found[(0, 0, 0), start + a, start + b] = h[a, b], s[a, b], group, None
    for group in root["pairs"]:
        rows = {name: array[:] for name, array in root[f"pairs/{group}"].arrays()}
        for row in range(*rows["ptr"][index : index + 2]):
            i, j, cell_offset = int(rows["i"][row]), int(rows["j"][row]), rows["cell_offset"][row]
            distance = np.linalg.norm(position[j] + cell_offset @ cell - position[i])
            h, s = rows["hamiltonian"][row], rows["overlap"][row]
            for a, b in product(range(h.shape[0]), range(h.shape[1])):
                entry = h[a, b], s[a, b], group, int(distance)
                cell_of_j = tuple(int(n) for n in cell_offset)
                found[cell_of_j, offset[i] + a, offset[j] + b] = entry
                found[tuple(-n for n in cell_of_j), offset[j] + b, offset[i] + a] = entry
    return found, offset[-1]


def eigenvalues_at(found, n, k):
    """Solve H(k) c = E S(k) c, with H(k) = Σ_R exp(2πi k·R) H(R)."""
    h, s = np.zeros((2, n, n), complex)
    phases = {cell: np.exp(2j * np.pi * np.dot(k, cell)) for cell in {cell for cell, _, _ in found}}
    for (cell, row, column), (of_h, of_s, *_) in found.items():
        h[row, column] += phases[cell] * of_h
        s[row, column] += phases[cell] * of_s
    return scipy.linalg.eigh(h, s, eigvals_only=True)


def fermi_level_of(eigenvalues, weights, n_electrons, kt=0.05):
    def missing(mu):
        return 2 * weights @ scipy.special.expit((mu - eigenvalues) / kt).sum(axis=1) - n_electrons

    return scipy.optimize.brentq(missing, eigenvalues.min(), eigenvalues.max(), xtol=1e-12)


def test_against_plain_loops_over_the_stored_arrays(gh, shifted, tiny_labels):
    done = gh(f"gh-eval {shifted} {tiny_labels} --json")
    errors = json.loads(done.stdout)
    of_h, of_pairs, of_distance, of_structures, of_eigenvalues = [], {}, {}, [], []
    label = zarr.open_group(tiny_labels, mode="r")
    for record, mine, theirs in zip(errors["structures"], (0, 1), (2, 0), strict=True):
        found, n = elements(shifted, mine)
        truth, _ = elements(tiny_labels, theirs)
        assert found.keys() == truth.keys() and record["n_orbitals"] == n
        off = {key: 1e3 * abs(found[key][0] - truth[key][0]) for key in truth}
        # Means of the same float64 numbers
        assert record["hamiltonian"]["all"] == pytest.approx(np.mean(list(off.values())), rel=1e-9)
        of_structures.append(record["hamiltonian"]["all"])
        of_h += off.values()
        for key, (*_, group, distance) in truth.items():
            of_pairs.setdefault(group, []).append(off[key])
            of_distance.setdefault(distance, []).append(off[key])

        part = slice(*label["bands/kpoint_ptr"][theirs : theirs + 2])
        k, weights = label["bands/kpoint"][part], label["bands/weight"][part]
        mine_at, true_at = (np.array([eigenvalues_at(f, n, p) for p in k]) for f in (found, truth))
        n_electrons = label["scalar/n_electrons"][theirs]
        fermi = fermi_level_of(true_at, weights, n_electrons)
        shift = fermi_level_of(mine_at, weights, n_electrons) - fermi
        near, weight = abs(true_at - fermi) <= 5, np.repeat(weights[:, None], n, axis=1)
        off = mine_at - true_at
        eigenvalues = record["eigenvalues"]
        # S is well conditioned: two LAPACK drivers agree to some 1e-13 of energies of 1e2 eV, and the errors are
        # some 1e-2 eV.
        for name, chosen in (("all", np.full_like(near, True)), ("window", near)):
            expected = np.average(abs(off[chosen]), weights=weight[chosen])
            assert eigenvalues[name] == pytest.approx(1e3 * expected, rel=1e-8)
            centred = off[chosen] - np.average(off[chosen], weights=weight[chosen])
            expected = np.average(abs(centred), weights=weight[chosen])
            assert eigenvalues[f"{name}_shifted"] == pytest.approx(1e3 * expected, rel=1e-8)
        # gh-eval takes any E_F that is right to 1e-8 electrons; in a gap of some 20 kT that is 1e-4 eV.
        assert eigenvalues["fermi_level"] == pytest.approx(1e3 * shift, abs=0.1)
        ghosts = sum(
            abs(eigenvalue - fermi) <= 5 and min(abs(true - eigenvalue)) > 0.3
            for true, found_at in zip(true_at, mine_at, strict=True)
            for eigenvalue in found_at
        )
        assert eigenvalues["ghosts"] == ghosts
        of_eigenvalues.append(eigenvalues["window"])
    assert errors["elements"]["all"] == pytest.approx(np.mean(of_h), rel=1e-9)
    assert errors["distribution"]["hamiltonian"]["mean"] == pytest.approx(np.mean(of_h), rel=1e-9)
    assert errors["mean"]["hamiltonian"]["all"] == pytest.approx(np.mean(of_structures), rel=1e-12)
    assert errors["mean"]["eigenvalues"]["window"] == pytest.approx(
        np.mean(of_eigenvalues), rel=1e-12
    )
    names = {"34": "Se", "74": "W", "34-34": "Se-Se", "34-74": "Se-W", "74-74": "W-W"}
    for group, off in of_pairs.items():
        assert errors["by_species_pair"][names[group]] == pytest.approx(np.mean(off), rel=1e-9)
    del of_distance[None]
    assert errors["by_distance"].keys() == {str(distance) for distance in of_distance}
    for distance, off in of_distance.items():
        assert errors["by_distance"][str(distance)] == pytest.approx(np.mean(off), rel=1e-9)


def test_large_structures_are_named_and_their_elements_compared(
    shifted, tiny_labels, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluate, "DENSE_LIMIT", 20)
    found = evaluate.evaluate(HamiltonianReader(shifted), HamiltonianReader(tiny_labels))
    errors = found.to_json()
    names = [record["name"] for record in errors["structures"]]
    assert errors["eigenvalues_skipped"] == {"above_n_orbitals": 20, "structures": names}
    assert [record["eigenvalues"] for record in errors["structures"]] == [None, None]
    assert "eigenvalues" not in errors["mean"] and errors["distribution"]["eigenvalues"] is None
    assert errors["mean"]["hamiltonian"]["onsite"] == pytest.approx(10, rel=1e-9)
    plot_errors(tmp_path / "x.png", found)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_pipe_picture_and_plain_result(gh, shifted, tiny_labels):
    done = gh(f"printf '%s\\n' {shifted} {tiny_labels} | gh-eval -q --plot errors.svg")
    assert (done.returncode, done.stderr) == (0, "")
    assert 1 < float(done.stdout) < 2
    assert "<svg" in (gh.folder / "errors.svg").read_text()


def test_errors_are_one_sentence(gh, shifted, tiny_labels, tiny_scaleshift):
    reader = HamiltonianReader(tiny_labels)
    atoms = reader.structures.atoms[0]
    atoms.positions[0] += 0.1
    moved = HamiltonianWriter(
        gh.folder / "moved.zarr", Structures([atoms], [reader.names[0]]), Provenance("test")
    )
    ham = reader.read(0)
    ham.atoms = atoms
    moved.write(0, ham)
    moved.publish(reader.basis)
    (gh.folder / "old.png").touch()
    cases = [
        (f"gh-eval {shifted}", 2, "expected two stores"),
        (f"gh-eval {shifted} none.zarr", 66, "no such store"),
        (f"gh-eval {shifted} {tiny_scaleshift}", 65, "kind hamiltonians"),
        (f"gh-eval {tiny_labels} {shifted}", 65, "no structure named"),
        (f"gh-eval moved.zarr {tiny_labels}", 65, "positions differ"),
        (f"gh-eval {shifted} {tiny_labels} --plot moved.zarr", 2, "pictures end in"),
        (f"gh-eval {shifted} {tiny_labels} --plot old.png", 73, "exists already"),
    ]
    for line, code, message in cases:
        done = gh(line)
        assert done.returncode == code, (line, done.stderr)
        assert message in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""
    assert open_store(shifted)
