import numpy as np
import pytest

from gh_tools.bayes.table import read_columns
from gh_tools.errors import DataError
from gh_tools.store.read import open_store
from tests.bayes.data import planted
from tests.bayes.stores import write_spectra


@pytest.fixture
def store(tmp_path):
    def make(name="a", **changes):
        return open_store(write_spectra(tmp_path / f"{name}.spectra.zarr", **changes))

    return make


def test_stores_are_joined_in_order(store):
    names = ("holes", "density", "holes")
    table = read_columns([store("a", n=5), store("b", n=3, seed=1)], names)
    assert list(table.columns) == ["holes", "density"]
    assert table.units == {"holes": "1/nm^2", "density": "g/cm^3"}
    assert table.rows == [f"0-s{k}" for k in range(5)] + [f"1-s{k}" for k in range(3)]
    for name, values in table.columns.items():
        expected = [planted(n, seed).columns[name] for n, seed in ((5, 0), (3, 1))]
        np.testing.assert_array_equal(values, np.concatenate(expected))


def test_truth_values_and_counts_are_numbers(store):
    count = np.arange(36, dtype=np.int32)
    made = store(column__count=count, column__doped=count % 2 == 0)
    table = read_columns([made], ["count", "doped"])
    assert table.columns["count"].dtype == table.columns["doped"].dtype == np.float64
    np.testing.assert_array_equal(table.columns["doped"], (count + 1) % 2)


@pytest.mark.parametrize(
    ("names", "stores", "complaint"),
    [
        (
            ["hole"],
            [{}],
            "a.spectra.zarr: has no column or scalar 'hole' with one number a structure; there are: "
            "density, holes, n_electrons, ni_per_hf, se_vacancy_rate, twist",
        ),
        (["rare"], [{"column__rare": np.ones(36)}, {"seed": 1}], "b.spectra.zarr: has no column"),
        (
            ["holes"],
            [{"column__holes": np.ones(36)}],
            "'holes' is ambiguous, being both column/holes and scalar/holes",
        ),
        (
            ["density"],
            [{}, {"seed": 1, "unit__column__density": "kg/m^3"}],
            "b.spectra.zarr: column/density is in kg/m^3, but in g/cm^3 in",
        ),
        (["holes"], [{}, {}], "b.spectra.zarr: has the same content as"),
    ],
)
def test_what_cannot_be_joined_is_refused(store, names, stores, complaint):
    opened = [store(name, **changes) for name, changes in zip("ab", stores, strict=False)]
    with pytest.raises(DataError) as caught:
        read_columns(opened, names)
    assert complaint in str(caught.value)


def test_a_structure_counts_once(store):
    """The second store repeats some of the first one's rows, under names of its own and with results of its own."""
    first = store("a", n=8)
    names = np.array(list("stuvwxyz"), np.dtypes.StringDType())
    other = store("b", n=8, scalar__holes=np.ones(8), structures__name=names)
    with pytest.raises(
        DataError, match=r"b.spectra.zarr: 's' is the same structure as '0-s0' of .*a.spec"
    ):
        read_columns([first, other], ["holes"])
    assert len(read_columns([other], ["holes"]).rows) == 8
    shifted = store("c", n=8, scalar__holes=np.ones(8), column__density=np.arange(8.0))
    assert len(read_columns([first, shifted], ["holes"]).rows) == 16
