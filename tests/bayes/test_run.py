import pytest

from gh_tools.bayes.formula import parse
from gh_tools.bayes.posterior import read_posterior
from gh_tools.bayes.regression import Sampling
from gh_tools.bayes.run import prepare, regress
from gh_tools.errors import CannotCreateError, DataError
from gh_tools.store.hashes import verify_id
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from tests.bayes.stores import write_spectra

HASTY = Sampling(chains=1, draws=100, tune=100)
MADE = Provenance("test")


@pytest.fixture
def regression(tmp_path):
    store = open_store(write_spectra(tmp_path / "a.spectra.zarr"))
    return prepare(parse("holes ~ density + ni_per_hf:twist"), [store], {})


def test_posterior_comes_back_whole_with_its_faults(regression, tmp_path):
    path = tmp_path / "x.posterior.zarr"
    result = regress(regression, HASTY, path, MADE, probability=0.8)
    store = open_store(path, "posterior")
    assert verify_id(store)
    assert store.attributes["faults"] == result.faults != []
    assert store.attributes["hdi_probability"] == 0.8
    assert store.attributes["summary"]["density"]["rhat"] is None
    tree = read_posterior(path)
    for name, dataset in result.groups.items():
        assert tree[name].to_dataset().identical(dataset), name
    with pytest.raises(CannotCreateError, match="--overwrite"):
        regress(regression, HASTY, path, MADE)


def test_same_seed_gives_the_same_store(regression, tmp_path):
    ids = []
    for name in ("one", "two"):
        path = tmp_path / f"{name}.posterior.zarr"
        regress(regression, HASTY, path, MADE)
        ids.append(open_store(path).id)
    assert ids[0] == ids[1]


def test_strict_writes_nothing(regression, tmp_path):
    path = tmp_path / "x.posterior.zarr"
    with pytest.raises(DataError, match="not written, because the sampling is not to be trusted"):
        regress(regression, HASTY, path, MADE, strict=True)
    assert [file.name for file in tmp_path.iterdir()] == ["a.spectra.zarr"]
