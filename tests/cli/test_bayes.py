"""gh-bayes through a shell, on a store with known coefficients."""

import json

import numpy as np
import pytest

from gh_tools.bayes.posterior import read_posterior
from gh_tools.store.hashes import verify_id
from gh_tools.store.read import open_store
from tests.bayes.data import SLOPES, planted
from tests.bayes.stores import write_spectra

FORMULA = "holes ~ ni_per_hf + density + se_vacancy_rate + twist"
FEW = "--chains 2 --draws 500 --tune 500"


@pytest.fixture
def spectra(tmp_path):
    """Return the names of two stores in the folder where commands run."""
    write_spectra(tmp_path / "a.spectra.zarr", 40, 0)
    write_spectra(tmp_path / "b.spectra.zarr", 32, 1)
    return "a.spectra.zarr", "b.spectra.zarr"


def test_pipe_to_a_posterior_that_arviz_opens(gh, spectra):
    done = gh(
        f"printf '%s\\n' {' '.join(spectra)} | gh-bayes '{FORMULA}' - -j 2 --json {FEW} "
        "--plot posterior.png --plot-data data.svg --prior 'twist=normal(0, 1)'"
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["path"] == "a.posterior.zarr"
    assert facts["structures"] == 72 and facts["faults"] == []
    found = facts["estimates"]
    for name, value in SLOPES.items():
        low, high = found[name]["hdi"]
        assert low < value < high and found[name]["sign_decided"]
    assert found["density"]["unit"] == "1/nm^2/(g/cm^3)"
    assert not found["twist"]["sign_decided"]
    assert "twist: the 94 % interval includes zero: the data do not decide its sign" in done.stderr
    assert (gh.folder / "posterior.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (gh.folder / "data.svg").read_text()

    path = gh.folder / "a.posterior.zarr"
    store = open_store(path, "posterior")
    assert verify_id(store)
    assert store.attributes["summary"] == found
    assert store.attributes["formula"] == FORMULA
    assert store.attributes["priors"]["twist"] == "normal(0, 1)"
    entry = store.history[-1]
    assert (entry["program"], entry["seed"]) == ("gh-bayes", 0)
    assert [source["path"] for source in entry["inputs"]] == list(spectra)

    import arviz

    tree = read_posterior(path)
    if hasattr(arviz.InferenceData, "from_datatree"):
        opened = arviz.InferenceData.from_datatree(tree)
    else:
        opened = arviz.from_zarr(path, consolidated=False)
    summary = arviz.summary(opened, round_to="none")
    for name, estimate in found.items():
        np.testing.assert_allclose(summary.loc[name, "mean"], estimate["mean"], rtol=1e-9)
        np.testing.assert_allclose(summary.loc[name, "ess_bulk"], estimate["ess_bulk"], rtol=1e-9)
    assert opened["observed_data"]["holes"].shape == (72,)


def test_strict_writes_nothing_that_is_not_to_be_trusted(gh, spectra):
    line = f"gh-bayes 'holes ~ density' {spectra[0]} --chains 1 --draws 100 --tune 100 --strict"
    done = gh(line)
    assert (done.returncode, done.stdout) == (65, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("gh-bayes: error: a.posterior.zarr: not written, because the sampling")
    assert sorted(path.name for path in gh.folder.iterdir()) == list(spectra)


def test_dry_run_shows_the_plan(gh, spectra):
    done = gh(f"gh-bayes 'holes ~ density' {spectra[0]} --dry-run --prior 'density=normal(4,2)'")
    assert (done.returncode, done.stdout) == (0, "")
    assert "prior of density: normal(4, 2)" in done.stderr
    assert "would draw 8 chains of 2000 + 4000 and write a.posterior.zarr" in done.stderr
    assert sorted(path.name for path in gh.folder.iterdir()) == list(spectra)


def test_a_response_without_scatter_is_refused_before_sampling(gh, tmp_path):
    table = planted(36, 0)
    write_spectra(tmp_path / "a.spectra.zarr", scalar__holes=4.0 * table.columns["density"])
    done = gh("python -X importtime $(which gh-bayes) 'holes ~ density' a.spectra.zarr")
    assert done.returncode == 65, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "a.spectra.zarr: holes is exactly 4 density + a constant, to rounding" in last
    # Nothing heavy was loaded for that.
    assert "pymc" not in done.stderr and "pytensor" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            "a.spectra.zarr",
            2,
            "formula 'a.spectra.zarr': there is no '~', but a store of that name",
        ),
        ("'holes density'", 2, "formula 'holes density': there is no '~'; expected"),
        ("'holes ~ a*b' a.spectra.zarr", 2, "cannot read the term 'a*b'"),
        ("'holes ~ densty' a.spectra.zarr", 65, "there are: density, holes"),
        ("'n_electrons ~ density' a.spectra.zarr", 65, "the response n_electrons is the same"),
        ("'holes ~ density + n_electrons' a.spectra.zarr", 65, "n_electrons is the same for all"),
        ("'density ~ center(density)' a.spectra.zarr", 2, "density is on both sides"),
        ("'holes ~ density' a.spectra.zarr a.spectra.zarr", 65, "would count twice"),
        ("'holes ~ density' a.spectra.zarr --prior x=normal(0,1)", 2, "no parameter 'x'"),
        ("'holes ~ density' a.spectra.zarr --plot x.txt", 2, "pictures end in"),
        ("'holes ~ density' a.spectra.zarr --plot no/x.png", 73, "its folder does not exist"),
        ("'holes ~ density' a.spectra.zarr --hdi 94", 2, "--hdi"),
    ],
)
def test_errors(gh, spectra, arguments, code, message):
    arguments = arguments.replace("x=normal(0,1)", "'x=normal(0,1)'")
    done = gh(f"gh-bayes {arguments}")
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert message in done.stderr
    assert sorted(path.name for path in gh.folder.iterdir()) == list(spectra)
