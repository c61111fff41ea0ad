"""Charges from a file to carriers, and who structures are, through a shell."""

from __future__ import annotations

import json

import ase
import ase.io
import numpy as np
import pytest
from ase.build import molecule

import gh_tools
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.label import label_structures
from gh_tools.errors import DataError
from gh_tools.labels.labels import open_labels
from gh_tools.labels.split import Split
from gh_tools.scaleshift.fit import fit_store
from gh_tools.store.hamiltonian_writer import HamiltonianWriter
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Structures, read_structures, write_structures
from gh_tools.training.inputs import open_inputs
from tests.conftest import GEARS_H, _random_model


def ions() -> list[ase.Atoms]:
    hydronium = molecule("NH3")
    hydronium.symbols[0] = "O"
    return [ase.Atoms("OH", [(0, 0, 0), (0, 0, 0.97)], info={"charge": -1}), hydronium]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Labels of OH- and H3O+, real ones, and a model of them with the weights that training starts from."""
    folder = tmp_path_factory.mktemp("ions")
    structures = Structures(ions(), ["hydroxide", "hydronium"])
    charged = structures.with_charges(np.array([-1.0, 1.0]))
    write_structures(folder / "bare.structures.zarr", structures, Provenance("test"))
    config = LabelConfig(h=0.3, vacuum=3.0)
    path = folder / "ions.hamiltonians.zarr"
    _, failures = label_structures(path, charged, config, Provenance("gh-label"))
    assert failures == []
    labels = open_labels([open_store(path)])
    provenance = Provenance("gh-fit-scaleshift", inputs=labels.stores)
    scaleshift = folder / "ions.scaleshift.zarr"
    fit_store(
        labels,
        Split(np.array([0]), np.array([1]), np.zeros(0, dtype=int)),
        scaleshift,
        provenance,
        onsite_energies=False,
    )
    assert open_inputs(scaleshift).charges == [-1]
    for name, charges in (("ions", [-1.0, 1.0]), ("anions", [-1.0]), ("neutral", [0.0])):
        _random_model(scaleshift, folder / f"{name}.model.zarr", GEARS_H, charges=charges)
    return folder


def test_the_charge_of_a_file_reaches_the_labels(gh):
    atoms = ions()
    atoms[1].info["charge"] = 1.0
    ase.io.write(gh.folder / "ions.extxyz", atoms)
    done = gh("gh-build ions.extxyz && gh-label ions.structures.zarr --dry-run")
    assert done.returncode == 0, done.stderr
    assert "2 of them charged" in done.stderr
    assert read_structures(gh.folder / "ions.structures.zarr").charges.tolist() == [-1, 1]
    refused = gh("gh-label ions.structures.zarr --dry-run --set charge=-1")
    assert refused.returncode == 65 and refused.stderr.count("\n") == 1
    assert "ions.structures.zarr: column/charge says +1 for 'ions-0001'" in refused.stderr
    assert gh("gh-label ions.structures.zarr --set charge=nan").returncode == 2
    # A charge belongs to the atoms of the file.
    refused = gh("gh-build ions.extxyz --set substitute={O={S=1.0}} -o x.zarr")
    assert refused.returncode == 65 and "its charge -1 is that of OH" in refused.stderr


def test_predictions_count_the_electrons_of_the_labels(folder, shell, tmp_path):
    """H3O+ and OH- have eight electrons each; the neutral ones had nine and seven, and no gap."""
    line = f"gh-infer {folder}/ions.hamiltonians.zarr -m {folder}/ions.model.zarr -o ions.zarr | gh-dos --json"
    done = shell(line, tmp_path)
    assert done.returncode == 0, done.stderr
    spectra = open_store(tmp_path / "ions.spectra.zarr")
    for key in ("scalar/n_electrons", "column/charge"):
        expected = [-1, 1] if key == "column/charge" else [8, 8]
        assert spectra[key].tolist() == open_store(tmp_path / "ions.zarr")[key].tolist() == expected
    pointer = spectra["bands/eigenvalue_ptr"]
    for index in range(2):
        eigenvalues = np.sort(spectra["bands/eigenvalue"][slice(*pointer[index : index + 2])])
        edges = [
            spectra[f"scalar/{name}"][index]
            for name in ("valence_band_maximum", "conduction_band_minimum")
        ]
        assert edges == eigenvalues[3:5].tolist()
    # The same of the labels, whose gaps are physical, and through their Hamiltonians
    done = shell(f"gh-dos {folder}/ions.hamiltonians.zarr -o l.zarr", tmp_path)
    assert done.returncode == 0, done.stderr
    gaps = open_store(tmp_path / "l.zarr")["scalar/band_gap"]
    reader = HamiltonianReader(folder / "ions.hamiltonians.zarr")
    for index in range(2):
        filled = reader.read(index).bands.eigenvalue[0, 0]
        assert gaps[index] == pytest.approx(filled[4] - filled[3], abs=1e-5) and gaps[index] > 7


def test_structures_that_do_not_tell_their_charge(folder, call, tmp_path):
    bare = f"gh-infer {folder}/bare.structures.zarr --dry-run -m {folder}"
    done = call(f"{bare}/ions.model.zarr", tmp_path)
    assert done.returncode == 65 and done.stderr.count("\n") == 1
    assert "column/charge is missing, and the labels of" in done.stderr and "-1, +1" in done.stderr
    done = call(f"{bare}/anions.model.zarr", tmp_path)
    assert done.returncode == 0 and "to have the charge -1 of all labels" in done.stderr
    charged = f"gh-infer {folder}/ions.hamiltonians.zarr --dry-run -m {folder}"
    done = call(f"{charged}/neutral.model.zarr", tmp_path)
    assert done.returncode == 65 and "'hydroxide' has the charge -1, but all labels" in done.stderr
    done = call(f"{charged}/anions.model.zarr", tmp_path)
    assert done.returncode == 0 and "'hydronium' has the charge +1, which none" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_same_from_python(folder):
    labels = gh_tools.open(folder / "ions.hamiltonians.zarr")
    model = gh_tools.open(folder / "ions.model.zarr")
    for index, charge in enumerate((-1, 1)):
        atoms = labels[index].atoms
        assert atoms.info["charge"] == charge
        assert model(atoms).scalars["n_electrons"] == 8
        del atoms.info["charge"]
        with pytest.raises(DataError, match="column/charge is missing"):
            model(atoms)
    assert gh_tools.open(folder / "anions.model.zarr")(ions()[0]).scalars["n_electrons"] == 8
    atoms = ions()[0]
    atoms.info["charge"] = "minus one"
    with pytest.raises(DataError, match="expected a charge in"):
        model(atoms)
    atoms.info["charge"] = -1
    with pytest.raises(DataError, match=r"says -1 for 'HO', but the configuration \+0"):
        gh_tools.label(atoms, charge=0.0)


def test_a_count_that_contradicts_the_charge(folder, call, tmp_path):
    """As in labels of a version that took charges from its configuration alone."""
    reader = HamiltonianReader(folder / "ions.hamiltonians.zarr")
    structures = reader.structures.with_charges(np.array([0.0, 1.0]))
    writer = HamiltonianWriter(tmp_path / "x.zarr", structures, Provenance("test"))
    for index in range(2):
        writer.write(index, reader.read(index))
    writer.publish(reader.basis)
    for line in ("gh-dos x.zarr", "gh-info --check x.zarr"):
        done = call(line, tmp_path)
        assert done.returncode == 65, done.stderr
        told = done.stdout + done.stderr
        assert "hydroxide: scalar/n_electrons: expected 7, found 8, with the charge +0" in told


def rewritten(folder, path, change):
    """Write structures of the ions' labels anew after a change to atoms, names or columns."""
    structures = read_structures(folder / "ions.hamiltonians.zarr")
    structures = Structures(
        [a.copy() for a in structures.atoms], list(structures.names), structures.columns
    )
    return write_structures(path, change(structures) or structures, Provenance("test"))


def test_a_part_of_the_split_is_known_by_its_structures(folder, call, tmp_path):
    def rename(structures):
        structures.names[:] = ["a", "b"]

    def move(structures):
        structures.atoms[0].positions[1, 2] += 0.01

    infer = f"gh-infer x.zarr --dry-run -m {folder}/ions.model.zarr --part"
    rewritten(folder, tmp_path / "x.zarr", rename)
    done = call(f"{infer} train", tmp_path)
    assert done.returncode == 0 and "would predict 1 structure (up to 2 atoms)" in done.stderr
    done = call(f"{infer} test", tmp_path)
    assert done.returncode == 65 and "no structure is in the test set" in done.stderr
    # Of several stores, the one that has some is predicted.
    other = rewritten(folder, tmp_path / "z.zarr", lambda found: found.select([1]))
    for order in (f"x.zarr {other}", f"{other} x.zarr"):
        done = call(f"{infer} train".replace("x.zarr", order), tmp_path)
        assert done.returncode == 0 and done.stderr.count("would predict") == 1, done.stderr
        assert "would predict 1 structure (up to 2 atoms) and write x.predicted" in done.stderr
    write = tmp_path / "y.zarr"
    rewritten(folder, write, move)
    done = call(f"{infer} train".replace("x.zarr", "y.zarr"), tmp_path)
    assert done.returncode == 65 and done.stderr.count("\n") == 1
    assert "y.zarr: hydroxide is another structure than the one of this name" in done.stderr
    assert "differ by up to 0.01 Å" in done.stderr


def test_references_of_the_same_name_are_refused(call, tiny_labels, tmp_path, tmp_path_factory):
    """Labels of other cells under the names of these, as recipes used to give them."""
    other = tmp_path_factory.mktemp("other") / "other.hamiltonians.zarr"
    copy_with_names_of_others(tiny_labels, other)
    lines = [
        f"gh-bands {tiny_labels} --structure 0 --path GK --points 5 --reference {other} -o x.png",
        f"gh-eval {tiny_labels} {other}",
    ]
    for line in lines:
        done = call(line, tmp_path)
        assert (done.returncode, done.stdout) == (65, ""), (line, done.stderr)
        assert "is another one in the second store: " in done.stderr
        assert done.stderr.count("\n") == 1 and list(tmp_path.iterdir()) == []
    line = (
        f"gh-dos {tiny_labels} --kpts 1 1 1 --plot x.png --reference {other} -o x.spectra.zarr -q"
    )
    done = call(line, tmp_path)
    assert done.returncode == 65 and "is another one in the second store: " in done.stderr


def copy_with_names_of_others(source, path):
    reader = HamiltonianReader(source)
    order = [1, 0, 3, 2]
    structures = reader.structures.select(order)
    structures.names[:] = reader.names
    writer = HamiltonianWriter(path, structures, Provenance("test"))
    for row, index in enumerate(order):
        writer.write(row, reader.read(index))
    return writer.publish(reader.basis)


def test_copies_go_into_one_part(gh, tiny_labels):
    copy_with_names_of_others(tiny_labels, gh.folder / "again.zarr")
    both = f"gh-fit-scaleshift {tiny_labels} again.zarr --no-onsite-fit"
    done = gh(f"{both} --fractions 2,1,1 --json -o x.zarr")
    assert done.returncode == 0, done.stderr
    assert "4 of 8 structures are copies of others, such as" in done.stderr
    facts = json.loads(done.stdout)
    assert [facts[part] for part in ("train", "validation", "test")] == [4, 2, 2]
    store = open_store(gh.folder / "x.zarr")
    for part in ("train", "validation", "test"):
        rows = store[f"split/{part}"]
        # The second store holds the first one's structures 1, 0, 3, 2.
        assert {row if row < 4 else (5, 4, 7, 6)[row - 4] - 4 for row in rows.tolist()} == {
            row for row in rows.tolist() if row < 4
        }
    names = read_structures(store).names
    assert names[4:] == [f"{name}.1" for name in names[:4]]
    (gh.folder / "split.json").write_text('{"train": [0, 1], "validation": [2], "test": [5]}')
    done = gh(f"{both} --split split.json -o y.zarr -q")
    assert done.returncode == 65 and "are copies of one structure" in done.stderr
    assert not (gh.folder / "y.zarr").exists()
    # gh-train counts the split of the structures that it was made for.
    done = gh(f"gh-train x.zarr --hamiltonians again.zarr --hamiltonians {tiny_labels} --dry-run")
    assert done.returncode == 65 and "counts another structure in the place of" in done.stderr
