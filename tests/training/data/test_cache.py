"""Samples in the cache: the same as made anew, whole or not there, bounded, and read in place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import replace

import jax
import numpy as np
import pytest

from gh_tools.errors import CannotCreateError
from gh_tools.labels.labels import read_labels
from gh_tools.model.prediction import Prediction
from gh_tools.training.config import MetricsConfig
from gh_tools.training.data import cache as sample_cache
from gh_tools.training.data.batches import collate, make_buckets, plan_epoch
from gh_tools.training.data.cache import cached_samples
from gh_tools.training.data.labelled import LabelledSamples
from gh_tools.training.data.prefetch import prefetch
from gh_tools.training.data.samples import Sample
from gh_tools.training.objective.validation import Validation
from gh_tools.training.run import load_samples


@pytest.fixture(scope="module")
def bare(maker, inputs) -> list[Sample]:
    """Samples as the cache keeps them."""
    labels = read_labels(inputs.readers, range(4))
    return [maker(label, "x") for label in labels]


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from gh_tools.model.graph import Graph
from gh_tools.training.data.batches import Sample
from gh_tools.training.data.cache import cached_samples

def make():
    yield Sample(Graph(*[np.ones(100000)] * 11), *[np.ones(100000)] * 5)
    os.kill(os.getpid(), signal.SIGKILL)

cached_samples({}, make, Path(sys.argv[1]))
"""


def same(a: Sample, b: Sample) -> bool:
    """Whether two samples are equal bit by bit."""
    x, y = jax.tree.flatten(vars(a)), jax.tree.flatten(vars(b))
    return x[1] == y[1] and all(
        p.dtype == q.dtype and np.array_equal(p, q) for p, q in zip(x[0], y[0], strict=True)
    )


def refuse():
    raise AssertionError("made anew")


def entries(root) -> list:
    return sorted(root.iterdir())


def test_a_second_run_finds_what_the_first_made(inputs, maker, bare, tmp_path, monkeypatch):
    made = load_samples(inputs, maker, "train", tmp_path)
    monkeypatch.setattr("gh_tools.training.run.read_labels", refuse)
    found = load_samples(inputs, maker, "train", tmp_path)
    assert len(made) == len(found) == 2
    for index in range(2):
        assert same(made[index], bare[index]) and same(found[index], bare[index])
    np.testing.assert_array_equal(found.sizes, [sample.size for sample in bare[:2]])
    with pytest.raises(ValueError, match="read-only"):
        found[0].pairs[0] = 0.0


def test_whatever_decides_samples_is_in_the_key(inputs, maker, bare, tmp_path):
    def key(**settings):
        return {"stores": ["a"], **maker.settings(), **settings}

    cached_samples(key(), lambda: bare, tmp_path)
    for changed in ({"stores": ["b"]}, {"cutoff": 4.0}, {"scale_power": 0.5}, {"dtype": "float64"}):
        asked = []
        cached_samples(key(**changed), lambda asked=asked: asked.append(1) or bare, tmp_path)
        assert asked
    assert set(maker.settings()) == {"frame", "cutoff", "pair_cutoffs", "scale_power", "dtype"}


def test_a_killed_run_leaves_no_entry_and_its_remains_go(bare, tmp_path, monkeypatch):
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], timeout=200)
    assert killed.returncode == -signal.SIGKILL
    [left] = entries(tmp_path)
    assert left.name.startswith(".")
    found = cached_samples({}, lambda: bare, tmp_path)
    assert same(found[3], bare[3])
    assert left in entries(tmp_path)  # its run might still be at work
    monkeypatch.setattr(sample_cache, "ABANDONED", 0.0)
    cached_samples({"another": 1}, lambda: bare, tmp_path)
    assert len(entries(tmp_path)) == 2 and left not in entries(tmp_path)


def test_two_runs_at_once_agree(bare, tmp_path):
    barrier, found = threading.Barrier(2), [None, None]

    def make():
        yield bare[0]
        barrier.wait(timeout=30)
        yield bare[1]

    def work(place):
        found[place] = cached_samples({}, make, tmp_path)

    runs = [threading.Thread(target=work, args=(place,)) for place in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert all(same(samples[1], bare[1]) for samples in found)
    assert len(entries(tmp_path)) == 1
    assert same(cached_samples({}, refuse, tmp_path)[1], bare[1])


def test_what_was_not_used_for_longest_goes_when_the_cache_is_full(bare, tmp_path, monkeypatch):
    first = cached_samples({"n": 0}, lambda: bare, tmp_path)
    [folder] = entries(tmp_path)
    size = sum(file.stat().st_size for file in folder.iterdir())
    monkeypatch.setattr(sample_cache, "LIMIT", 2.5 * size)
    for n in (1, 2):
        os.utime(folder, (time.time() - 1000,) * 2)
        cached_samples({"n": n}, lambda: bare, tmp_path)
    assert len(entries(tmp_path)) == 2 and folder not in entries(tmp_path)
    assert same(first[2], bare[2])  # in use, it is still there
    monkeypatch.setattr(sample_cache, "LIMIT", 0)
    cached_samples({"n": 3}, lambda: bare, tmp_path)
    assert len(entries(tmp_path)) == 1  # what is needed stays, however large
    cached_samples({"n": 3}, refuse, tmp_path)


def test_a_damaged_entry_is_made_anew(bare, tmp_path):
    cached_samples({}, lambda: bare, tmp_path)
    [folder] = entries(tmp_path)
    os.truncate(folder / "pairs.bin", 8)
    assert same(cached_samples({}, lambda: bare, tmp_path)[1], bare[1])
    assert same(cached_samples({}, refuse, tmp_path)[1], bare[1])


def test_a_cache_that_cannot_be_written_is_named(bare, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreateError, match=r"file/samples: .*XDG_CACHE_HOME"):
        cached_samples({}, lambda: bare, tmp_path / "file/samples")


def test_an_error_in_making_leaves_nothing(bare, tmp_path):
    with pytest.raises(ValueError, match="differ in their fields"):
        cached_samples(
            {}, lambda: [bare[0], replace(bare[1], pairs=bare[1].pairs.astype(float))], tmp_path
        )
    assert entries(tmp_path) == []


def test_memory_does_not_grow_with_the_number_of_structures(inputs, maker, tmp_path):
    """Making samples, an epoch of batches, and validation, of 4 and of 16 structures."""

    def peak(count: int, again: int) -> tuple[int, int]:
        def label(index):
            return next(read_labels(inputs.readers, [index % 4]))

        def zero(params, graph):
            width = maker.layout.onsite_size, maker.layout.pair_size
            rows = len(graph.species), len(graph.i)
            return Prediction(*(np.zeros(shape) for shape in zip(rows, width, strict=True)))

        tracemalloc.start()
        samples = cached_samples(
            {"n": count, "again": again},
            lambda: (maker(label(index), "x") for index in range(count)),
            tmp_path,
        )
        buckets = make_buckets(samples.sizes, 2, 1)
        plan = plan_epoch(buckets, 2, seed=0, epoch=0)
        for batch in prefetch(lambda p: collate([samples[m] for m in p[1]], p[0]), plan):
            assert batch.pairs.any()
        labelled = LabelledSamples(samples, label, maker, room=0)
        validation = Validation(labelled, buckets, 2, maker.layout, zero, MetricsConfig())
        assert validation.measure(None, eigenvalues=False)["hamiltonian"] > 0
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most, sum(array.nbytes for s in samples for array in jax.tree.leaves(vars(s)))

    # Tables of the libraries double in one call or another: the least of several is that of the samples alone.
    (few, small), (many, large) = (
        min(peak(count, again) for again in range(3)) for count in (4, 16)
    )
    assert large == 4 * small
    # All data of the larger set would be 12 samples more; lists of sizes and plans are far less.
    assert many - few < 0.1 * (large - small)


def test_labels_stay_in_memory_as_long_as_there_is_room(inputs, maker, bare):
    def labelled(room):
        read = []

        def label(index):
            read.append(index)
            return next(read_labels(inputs.readers, [index]))

        samples = LabelledSamples(bare, label, maker, room)
        for _ in range(2):
            for index in range(4):
                assert same_label(samples[index], bare[index])
        return read

    def same_label(sample, expected):
        return same(Sample(**{name: getattr(sample, name) for name in vars(expected)}), expected)

    assert labelled(room=0) == [0, 1, 2, 3] * 2
    assert labelled(room=2**30) == [0, 1, 2, 3]
    label = next(read_labels(inputs.readers, [0]))
    sizes = [block.hamiltonian.nbytes + block.overlap.nbytes for _, block in label.groups()]
    # Shift and scale take as much again: there is room for two and a half.
    assert labelled(room=5 * sum(sizes)) == [0, 1, 2, 3, 2, 3]
