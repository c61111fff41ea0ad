"""Memory: what is asked for, and what there is."""

import psutil
import pytest

from gh_tools.errors import UsageError
from gh_tools.resources import free_memory, memory_limit


@pytest.mark.parametrize(
    ("given", "expected"),
    [("6G", 6 * 2**30), ("800M", 800 * 2**20), ("1.5 GiB", 3 * 2**29), ("12kb", 12 * 2**10)],
)
def test_amounts(given, expected):
    assert memory_limit(given) == expected


@pytest.mark.parametrize("given", ["", "much", "-1G", "0", "6X", "G"])
def test_no_amounts(given):
    with pytest.raises(UsageError, match="--memory"):
        memory_limit(given)


def test_what_is_free_is_less_than_what_there_is():
    assert 0 < memory_limit(None) < psutil.virtual_memory().total
    assert 0 < free_memory() < psutil.virtual_memory().total
