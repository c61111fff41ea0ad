"""Names of earlier versions still work, in stores, configurations and on the command line."""

import shutil

import numpy as np
import pytest
import typer.testing

from gh_tools.aliases import array_path, renamed_keys
from gh_tools.cli.configuration import load_config
from gh_tools.cli.fit_scaleshift import app
from gh_tools.errors import UsageError
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.training.config import TrainConfig
from tests.faults.mutate import seal
from tests.store.small import TABLE, write_parts


def test_arrays_of_schema_1_have_todays_names():
    assert array_path("scaleshift/onsite/74/mean", 1) == "scaleshift/onsite/74/shift"
    assert array_path("potential/spread", 1) == "onsite_energy/neighbour"
    assert array_path("pairs/34-74/nearest", 1) == "pairs/34-74/r_min"
    for same in ("onsite/74/hamiltonian", "posterior/mean", "column/nearest"):
        assert array_path(same, 1) == same
    assert array_path("onsite/74/mean", 2) == "onsite/74/mean"
    for schema in (1, 2):
        assert array_path("solver/levels", schema) == "solver/eigenvalues"
        assert array_path("pairs/34-74/shift", schema) == "pairs/34-74/cell_offset"
        # The shift of a scale-shift has its name.
        for same in ("bond_pairs/34-74/shift", "onsite/74/shift", "pairs/34-74/shift_length"):
            assert array_path(same, schema) == same
        assert (
            array_path("parameters/ends_1/tensors/kernel", schema)
            == "parameters/embed_pairs_1/tensors/kernel"
        )


def test_labels_with_paths_of_before_open(small_stores, tmp_path):
    before = shutil.copytree(small_stores["hamiltonians"], tmp_path / "before.hamiltonians.zarr")
    for path in list(before.glob("pairs/*/cell_offset")):
        path.rename(path.with_name("shift"))
    seal(before)
    _have_the_same(before, small_stores["hamiltonians"])


def test_unfinished_labels_with_paths_of_before_are_joined(tmp_path):
    writers = [
        write_parts(tmp_path / f"{name}.zarr", Provenance("gh-label")) for name in ("now", "before")
    ]
    for file in writers[1].partial.folder.glob("*.npz"):
        with np.load(file) as part:
            arrays = {key.replace("cell_offset", "shift"): part[key] for key in part}
        np.savez(file, **arrays)
    _have_the_same(*(writer.publish(TABLE, {"spins": 1}) for writer in writers[::-1]))


def _have_the_same(one, other):
    found, expected = open_store(one), open_store(other)
    assert found.keys() == expected.keys()
    for key in expected.keys():
        np.testing.assert_array_equal(found[key], expected[key])


def test_a_model_with_paths_of_before_opens(random_bond_model, tmp_path):
    """Of this schema, in which the file of each chunk must be there: under the path that it has on disk."""
    before = shutil.copytree(random_bond_model, tmp_path / "before.model.zarr")
    for number in (0, 1):
        path = before / "parameters" / f"embed_pairs_{number}"
        path.rename(path.with_name(f"ends_{number}"))
    seal(before)
    _have_the_same(before, random_bond_model)


def test_keys_of_before(tmp_path):
    file = tmp_path / "train.toml"
    file.write_text("[loss]\nlevels = 2.0\npairs = 3.0\n")
    loss = load_config(TrainConfig, file, []).loss
    assert (loss.eigenvalues, loss.pairs) == (2.0, 3.0)
    assert load_config(TrainConfig, file, ["loss.eigenvalues=1.0"]).loss.eigenvalues == 1.0
    given = {"loss": {"levels": 2.0}}
    assert renamed_keys(given) == {"loss": {"eigenvalues": 2.0}}
    assert given == {"loss": {"levels": 2.0}}
    with pytest.raises(UsageError, match="loss"):
        load_config(TrainConfig, None, ["loss.level=1.0"])


def test_options_of_before(tiny_labels, tmp_path):
    output = tmp_path / "x.zarr"
    found = typer.testing.CliRunner().invoke(
        app, [str(tiny_labels), "--no-potential", "--dry-run", "-o", str(output)]
    )
    assert found.exit_code == 0, found.output
    shown = typer.testing.CliRunner().invoke(app, ["--help"]).output
    assert "--no-onsite-fit" in shown and "--potential" not in shown
