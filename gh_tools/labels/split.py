"""Which structures train the model, which choose it, and which judge it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from gh_tools.errors import DataError, UsageError
from gh_tools.files import read_text
from gh_tools.orbitals.basis import Arrays

# MiB of a file that names structures.
_LARGEST = 64
PARTS = ("train", "validation", "test")
SETS = {"train": "training set", "validation": "validation set", "test": "test set"}


@dataclass(frozen=True)
class Split:
    """A division of structures into parts that share none.

    The indices count the structures of all label stores in the order in which they were given. A structure
    may be in no part: it is then left aside.

    Args:
        train: Indices of the training set.
        validation: Indices of those that choose the best epoch.
        test: Indices of the test set.
    """

    train: Int[np.ndarray, " train"]
    validation: Int[np.ndarray, " validation"]
    test: Int[np.ndarray, " test"]

    def __post_init__(self) -> None:
        for part in PARTS:
            indices = np.sort(np.asarray(getattr(self, part), dtype=np.int64).reshape(-1))
            object.__setattr__(self, part, indices)
        together = np.concatenate([getattr(self, part) for part in PARTS])
        values, counts = np.unique(together, return_counts=True)
        if np.any(counts > 1):
            raise DataError(
                f"the split names structure {values[counts > 1][0]} more than once; a structure belongs "
                "to one part only: take it out of the others"
            )

    def check(self, n_structures: int, where: str | Path) -> None:
        """Make sure that the split fits a data set.

        Args:
            n_structures: Number of structures of the data set.
            where: What is named in the error: a file or store.

        Raises:
            DataError: If the training set is empty, or an index lies outside of the data set.
        """
        if self.train.size == 0:
            raise DataError(
                f"{where}: the split's training set is empty; put structures into 'train'"
            )
        together = np.concatenate([getattr(self, part) for part in PARTS])
        if together.min() < 0 or together.max() >= n_structures:
            outside = together[(together < 0) | (together >= n_structures)][0]
            raise DataError(
                f"{where}: the split names structure {outside}, but the labels hold "
                f"{n_structures} (0 to {n_structures - 1}); use the split that belongs to these labels"
            )

    def check_copies(
        self, copies: Int[np.ndarray, " structures"], names: Sequence[str], where: str | Path
    ) -> None:
        """Make sure that no structure stands in two parts, under whatever names.

        Args:
            copies: For each structure a number that it shares with its copies.
            names: Names of the structures.
            where: What is named in the error: a file or store.

        Raises:
            DataError: If two parts hold copies of one structure.
        """
        seen: dict[int, tuple[str, int]] = {}
        for part in PARTS:
            for index in getattr(self, part).tolist():
                other, first = seen.setdefault(int(copies[index]), (part, index))
                if other != part:
                    raise DataError(
                        f"{where}: {names[first]} in the {SETS[other]} and {names[index]} in the {SETS[part]} "
                        "are copies of one structure, so that errors would look smaller than they are; put "
                        "them into one part"
                    )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give the parts as the arrays `split/<part>` of a store.

        Returns:
            Array paths and int64 index arrays.
        """
        return {f"split/{part}": getattr(self, part) for part in PARTS}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Split:
        """Take the parts from anything indexed by array path, such as an open store.

        Args:
            arrays: Holds `split/train`, `split/validation` and `split/test`.

        Returns:
            The split.
        """
        return cls(*(np.asarray(arrays[f"split/{part}"]) for part in PARTS))

    def to_json(self) -> str:
        """Write the split as a JSON object of three lists of indices.

        Returns:
            The text that `read_split` takes.
        """
        return json.dumps({part: getattr(self, part).tolist() for part in PARTS})


def make_split(
    n_structures: int,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> Split:
    """Divide structures at random; the same arguments always give the same split.

    Sizes are rounded so that they add up to `n_structures` and no part with a positive fraction stays empty
    as long as there are structures enough.

    Args:
        n_structures: Number of structures to divide.
        fractions: Shares of training, validation and test set; they need not add up to one.
        seed: Seed of the permutation.

    Returns:
        The split.

    Raises:
        UsageError: If a fraction is negative or the training set gets none.
        DataError: If there is no structure.
    """
    shares = np.asarray(fractions, dtype=float)
    if (
        shares.shape != (3,)
        or np.any(shares < 0)
        or not np.all(np.isfinite(shares))
        or shares[0] <= 0
    ):
        raise UsageError(
            f"the split fractions {tuple(fractions)} cannot be used: expected three numbers not below "
            "zero, the first (training) above zero, such as 0.8,0.1,0.1"
        )
    if n_structures < 1:
        raise DataError("there is no structure to split; label some first")
    exact = shares / shares.sum() * n_structures
    sizes = np.floor(exact).astype(int)
    # Largest remainders first; the training set wins ties.
    for part in np.argsort(sizes - exact, kind="stable")[: n_structures - sizes.sum()]:
        sizes[part] += 1
    for part in range(3):
        if shares[part] > 0 and sizes[part] == 0 and sizes.max() > 1:
            sizes[np.argmax(sizes)] -= 1
            sizes[part] += 1
    order = np.random.default_rng(seed).permutation(n_structures)
    return Split(*np.split(order, np.cumsum(sizes)[:2]))


def read_split(path: str | Path, names: Sequence[str]) -> Split:
    """Read a given split from JSON.

    The file holds an object with the lists `train`, `validation` and `test` (the last two may be missing) of
    structure names, or of indices in the order of the labels.

    Args:
        path: The JSON file.
        names: Names of the structures, in the order of the labels.

    Returns:
        The split, checked against the number of structures.

    Raises:
        NoInputError: If there is no such file, or a pipe into which nobody writes.
        UsageError: If it is no text, or larger than such a file can be.
        DataError: If it is not such an object, or names a structure that the labels lack.
    """
    try:
        content = json.loads(read_text(Path(path), "file of a split in JSON", _LARGEST))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: not a JSON file ({error}); write one with 'train', 'validation', 'test'"
        ) from None
    if not isinstance(content, dict) or "train" not in content or not set(content) <= set(PARTS):
        found = (
            ", ".join(map(repr, content)) if isinstance(content, dict) else type(content).__name__
        )
        raise DataError(
            f"{path}: expected an object with the lists 'train', 'validation' and 'test', found {found}; "
            "name the lists so"
        )
    split = Split(*(_indices(path, part, content.get(part, []), names) for part in PARTS))
    split.check(len(names), path)
    return split


def _indices(path: str | Path, part: str, entries: object, names: Sequence[str]) -> np.ndarray:
    """Return the indices that a list of names or indices stands for."""
    if not isinstance(entries, list) or not all(
        type(entry) is str or (type(entry) is int and abs(entry) < 2**62) for entry in entries
    ):
        raise DataError(
            f"{path}: '{part}' must be a list of structure names or of indices; write it so"
        )
    if len(set(names)) < len(names) and any(isinstance(entry, str) for entry in entries):
        raise DataError(
            f"{path}: '{part}' goes by name, but names repeat in these labels; give indices"
        )
    place = {name: index for index, name in enumerate(names)}
    for entry in entries:
        if isinstance(entry, str) and entry not in place:
            raise DataError(
                f"{path}: '{part}' names the structure {entry!r}, which the labels do not hold; "
                "see their names with gh-info"
            )
    return np.array([place[e] if isinstance(e, str) else e for e in entries], dtype=np.int64)
