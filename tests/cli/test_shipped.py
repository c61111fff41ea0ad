"""Models that come with gh-tools keep what their cards say; packed models predict what they did."""

import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ase.build import mx2

import gh_tools as gh
from gh_tools.errors import DataError, NoInputError, UsageError
from gh_tools.evaluation.eigenvalue_errors import both_eigenvalues, eigenvalue_errors
from gh_tools.evaluation.evaluate import evaluate
from gh_tools.evaluation.matrix_errors import hamiltonian_errors
from gh_tools.resources import share_path
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.trained_model.card import Words, make_card, render_card
from gh_tools.trained_model.packing import pack_model
from gh_tools.trained_model.shipped import model_path, names, open_model, read_card
from gh_tools.units import MEV

FROZEN = Path(__file__).parents[1] / "data" / "models"
SYSTEMS = ["agau", "hfo2", "hfo2-wse2", "litfsi", "sio2", "tmd", "wse2"]
WORDS = Words(title="title", structures="made", licence="CC0", citation="us")


def test_there_are_models_and_they_are_small():
    assert names() and set(names()) <= set(SYSTEMS)
    sizes = [share_path(f"models/{name}.zip").stat().st_size for name in names()]
    assert max(sizes) <= 1.5e6 and sum(sizes) <= 8e6


@pytest.mark.parametrize("name", names())
def test_a_model_is_held_to_its_card(name, tmp_path):
    """On frozen cells of its test set, errors are those that the card has of each, to the rounding of the frozen labels and of
    another machine: the former moves H by 0.004 meV on average."""
    with tarfile.open(FROZEN / f"{name}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    card, model = read_card(name), gh.Model(name, error_bars=False)
    labels = HamiltonianReader(tmp_path / f"{name}.hamiltonians.zarr")
    told = card["errors"]["test"]
    assert told["structures"] >= len(labels) > 0
    for index, known in enumerate(labels.names):
        label = labels.read(index)
        predicted = model(labels.structures.atoms[index]).blocks
        predicted.basis.check_same(label.basis, name)
        h, eigenvalues = told["by_structure"][known]
        assert MEV * hamiltonian_errors(predicted, label).all.mae == pytest.approx(
            h, rel=0.02, abs=0.01
        )
        found = eigenvalue_errors(*both_eigenvalues(predicted, label)).window
        assert MEV * found == pytest.approx(eigenvalues, rel=0.02, abs=0.05)
    assert all(card["counts"].values()) and card["labels"] and card["domain"] and card["built"]
    assert len(list(render_card(card))) > 5


def test_batches_that_were_built_alike_are_told_once():
    built = read_card("hfo2")["built"]
    assert len(built) == 1 and built[0].endswith("(15 such runs, with other seeds and files)")


@pytest.fixture(scope="module")
def packed(random_bond_model, tiny_labels, tmp_path_factory, shell):
    """A packed model, and the errors that its card was made of."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "about.toml").write_text(
        "".join(f'{k} = "{v}"\n' for k, v in WORDS.model_dump().items())
    )
    done = shell(
        f"gh-infer {tiny_labels} -m {random_bond_model} --part test -o test.zarr && "
        f"gh-eval --json test.zarr {tiny_labels} > test.json && "
        f"gh-export {random_bond_model} --to zip -o tiny.zip --about about.toml --errors test.json",
        folder,
    )
    assert done.returncode == 0, done.stderr
    return folder / "tiny.zip", json.loads((folder / "test.json").read_text())


def test_a_packed_model_predicts_what_it_did(packed, random_bond_model):
    """To the rounding of numbers of single precision, of energies of tens of eV."""
    atoms = mx2("WSe2", a=3.32, thickness=3.36, vacuum=6)
    before, after = gh.Model(random_bond_model), gh.Model(packed[0])
    np.testing.assert_allclose(after(atoms).H(), before(atoms).H(), atol=2e-5)
    np.testing.assert_array_equal(after(atoms).S(), before(atoms).S())
    kept = open_model(packed[0])
    assert not kept.keys("history/") and not kept.keys("parameters_eigenvalue/")
    assert all(kept.dtype(key) != np.float64 for key in kept.keys("parameters/"))


def test_a_model_without_its_error_bars_is_small_and_predicts_the_same(tmp_path):
    whole, file = share_path("models/wse2.zip"), tmp_path / "small.zip"
    pack_model(open_model("wse2"), file, read_card("wse2"), Provenance("test"), error_bars=False)
    assert file.stat().st_size < 0.7 * whole.stat().st_size
    atoms = mx2("WSe2", a=3.32, thickness=3.36, vacuum=6)
    expected = gh.Model("wse2", error_bars=False)(atoms)
    np.testing.assert_array_equal(gh.Model(file)(atoms).H(), expected.H())
    before, after = open_model("wse2"), open_model(file)
    compared = after.keys("domain/")
    assert compared
    for key in compared:  # to ten bits of mantissa
        np.testing.assert_allclose(after[key], before[key], rtol=2.0**-10)
    told = "\n".join(render_card(after.attributes["card"]))
    assert "error bars: none" in told
    with pytest.raises(UsageError, match="no members that error bars could come from"):
        gh.Model(file, error_bars=True)(atoms)


def test_predictions_of_a_packed_model_are_compared_with_labels(
    packed, tiny_labels, shell, tmp_path
):
    done = shell(
        f"gh-infer {tiny_labels} -m {packed[0]} --part test -o p.zarr && gh-eval --json p.zarr {tiny_labels} > p.json",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found, expected = json.loads((tmp_path / "p.json").read_text())["mean"], packed[1]["mean"]
    assert found["hamiltonian"]["all"] == pytest.approx(expected["hamiltonian"]["all"], rel=1e-3)


def test_the_card_has_the_numbers_that_were_found(packed, random_bond_model):
    file, errors = packed
    with zipfile.ZipFile(file) as archive:
        root = json.loads(archive.read("tiny.model.zarr/zarr.json"))
    card = root["attributes"]["card"]
    assert card["trained"] == open_store(random_bond_model).id
    test = card["errors"]["test"]
    assert test["hamiltonian"] == pytest.approx(errors["mean"]["hamiltonian"]["all"])
    assert test["eigenvalues"] == pytest.approx(errors["mean"]["eigenvalues"]["window"])
    assert test["fermi_level"] == pytest.approx(errors["mean"]["eigenvalues"]["fermi_level"])
    # Nothing of the machine on which it was made
    history = root["attributes"]["history"]
    assert "/" not in " ".join(word for entry in history for word in entry["argv"])
    assert all("/" not in source["path"] for entry in history for source in entry["inputs"])


def test_errors_of_another_model_or_part_are_refused(packed, random_bond_model):
    store, errors = open_store(random_bond_model), {**packed[1], "predicted": "test.json"}
    with pytest.raises(DataError, match="another model"):
        make_card(store, WORDS, [{**errors, "model": "0" * 64}])
    record = {**errors["structures"][0], "name": "of the training set"}
    with pytest.raises(DataError, match="--part test"):
        make_card(store, WORDS, [{**errors, "structures": [record]}])
    with pytest.raises(DataError, match="gh-eval --json"):
        make_card(store, WORDS, [{"model": store.id, "predicted": "x"}])
    # Larger structures are not of the split
    assert make_card(store, WORDS, [errors], [{**errors, "structures": [record]}])["errors"][
        "larger"
    ]


def test_the_model_that_predicted_is_known(packed, random_bond_model, tiny_labels):
    predicted = HamiltonianReader(packed[0].with_name("test.zarr"))
    assert (
        evaluate(predicted, HamiltonianReader(tiny_labels)).model
        == open_store(random_bond_model).id
    )


def test_what_a_name_stands_for(packed, random_bond_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = names()[0]
    shipped = model_path(name)
    assert model_path(shipped) == shipped
    # A folder that is no store hides nothing; a store does.
    Path(name).mkdir()
    assert model_path(name) == shipped
    Path(name).rmdir()
    Path(name).symlink_to(random_bond_model)
    assert model_path(name) == Path(name)
    with pytest.raises(NoInputError, match=f"nothing: .*there are: .*{name}"):
        model_path("nothing")


def test_what_is_damaged_in_the_cache_is_unpacked_anew(packed):
    store = model_path(packed[0])
    whole = (store / "zarr.json").read_bytes()
    (store / "zarr.json").write_bytes(b"")
    assert (model_path(packed[0]) / "zarr.json").read_bytes() == whole


@pytest.mark.parametrize(
    "member", ["other/zarr.json", "x.model.zarr/../../y", "/x.model.zarr/zarr.json"]
)
def test_other_archives_are_refused(member, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(member, "{}")
    with pytest.raises(DataError, match="another archive"):
        model_path(tmp_path / "x.zip")


def test_a_layer_in_a_file_of_crystals(shell, tmp_path):
    """Its bands are those of the same layer built with its periodicity."""
    layer = mx2("WSe2", a=3.32, thickness=3.36, vacuum=9)
    layer.write(tmp_path / "my.cif")  # periodic in three directions
    done = shell(
        "gh-infer -m wse2 my.cif && gh-build my.cif --set pbc=[true,true,false] -o built.structures.zarr && "
        "gh-infer -m wse2 built.structures.zarr",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "vacuum" in done.stderr
    one, other = (gh.open(tmp_path / f"{name}.predicted.zarr")[0] for name in ("my", "built"))
    assert one.atoms.pbc.tolist() == [True, True, False]
    np.testing.assert_allclose(one.eigenvalues(), other.eigenvalues(), atol=1e-5)
