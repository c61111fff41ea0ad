"""Structures whose energies count from one zero of the potential, and those that do not."""

import logging

import pytest
from ase import Atoms

from gh_tools.errors import DataError
from gh_tools.labels.periodicity import check_one_zero, describe_kinds, warn_if_mixed


def structure(*pbc):
    return Atoms("H", cell=[5, 5, 5], pbc=pbc)


BULK, LAYER = structure(True, True, True), structure(True, True, False)
WIRE, MOLECULE = structure(True, False, False), structure(False, False, False)


def test_kinds_are_told_with_their_numbers():
    assert describe_kinds([BULK, LAYER, LAYER]) == "2 layers and 1 bulk crystal"


def test_the_vacuum_is_one_zero_for_all_that_have_some():
    check_one_zero([LAYER, WIRE, MOLECULE], ["a", "b", "c"])
    check_one_zero([BULK, BULK], ["a", "b"])


@pytest.mark.parametrize("other", [LAYER, WIRE, MOLECULE])
def test_bulk_crystals_have_another_zero(other):
    with pytest.raises(DataError, match=r"b is a bulk crystal.* and a a "):
        check_one_zero([other, BULK], ["a", "b"])


@pytest.mark.parametrize(
    ("structures", "says"),
    [
        ([LAYER, LAYER], None),
        ([LAYER, MOLECULE], "enough structures of each kind"),
        ([LAYER, BULK], "one model cannot learn both"),
    ],
)
def test_mixtures_are_warned_of(caplog, structures, says):
    with caplog.at_level(logging.WARNING, "gh_tools"):
        warn_if_mixed(structures, ["a", "b"])
    assert bool(caplog.records) == (says is not None)
    if says is not None:
        assert says in caplog.text
