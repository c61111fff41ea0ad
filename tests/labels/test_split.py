"""The split of structures into parts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gh_tools.errors import DataError, NoInputError, UsageError
from gh_tools.labels.split import Split, make_split, read_split

NAMES = [f"cell-{index}" for index in range(20)]


@pytest.mark.parametrize(
    ("n", "fractions", "sizes"),
    [
        (20, (0.8, 0.1, 0.1), (16, 2, 2)),
        (200, (160, 40, 0), (160, 40, 0)),
        (16, (0.8, 0.1, 0.1), (13, 2, 1)),
        (3, (0.8, 0.1, 0.1), (1, 1, 1)),
        (2, (0.8, 0.1, 0.1), (1, 1, 0)),
        (1, (0.8, 0.1, 0.1), (1, 0, 0)),
        (7, (1, 0, 0), (7, 0, 0)),
    ],
)
def test_sizes(n, fractions, sizes):
    split = make_split(n, fractions, seed=3)
    parts = (split.train, split.validation, split.test)
    assert tuple(part.size for part in parts) == sizes
    assert sorted(np.concatenate(parts)) == list(range(n))


def test_seed_decides():
    first, again, other = make_split(50, seed=1), make_split(50, seed=1), make_split(50, seed=2)
    np.testing.assert_array_equal(first.test, again.test)
    assert first.test.tolist() != other.test.tolist()


@pytest.mark.parametrize("fractions", [(0.0, 1.0, 0.0), (0.8, -0.1, 0.3), (np.nan, 0.1, 0.1)])
def test_unusable_fractions(fractions):
    with pytest.raises(UsageError, match="fractions"):
        make_split(10, fractions)


def test_json_round_trip(tmp_path):
    split = make_split(20, seed=4)
    path = tmp_path / "split.json"
    path.write_text(split.to_json())
    again = read_split(path, NAMES)
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(again, part), getattr(split, part))


def test_json_by_name(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["cell-7", "cell-2"], "validation": ["cell-0"]}))
    split = read_split(path, NAMES)
    assert split.train.tolist() == [2, 7]
    assert split.validation.tolist() == [0]
    assert split.test.size == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"train": ["nothing"]}', "'nothing'"),
        ('{"train": [3, 20]}', "structure 20"),
        ('{"train": [-1]}', "structure -1"),
        ('{"train": [1, 2], "test": [2]}', "structure 2 more than once"),
        ('{"train": []}', "training set is empty"),
        ('{"train": [1.5]}', "list of structure names or of indices"),
        ('{"training": [1]}', "'training'"),
        ("[1, 2]", "found list"),
        ("train: 1", "not a JSON file"),
    ],
)
def test_bad_split_files(tmp_path, content, message):
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_split(path, NAMES)


def test_missing_split_file(tmp_path):
    with pytest.raises(NoInputError, match="no such file"):
        read_split(tmp_path / "none.json", NAMES)


def test_arrays_round_trip():
    split = make_split(20, seed=4)
    again = Split.from_arrays(split.to_arrays())
    np.testing.assert_array_equal(again.validation, split.validation)
