"""Selection: what is new is chosen first, and only once."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gh_tools.inference.select import most_novel, uncertainties
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import Structures, read_structures, write_structures
from tests.cli.conftest import call, shell  # noqa: F401
from tests.conftest import tiny_configuration


def test_the_order_is_that_of_an_exhaustive_search():
    rng = np.random.default_rng(0)
    start = {5: rng.normal(size=(20, 3)), 7: rng.normal(size=(10, 3))}
    pool = [
        {z: rng.normal(size=(4, 3)) * (1 + n % 5) for z in (5, 7)[: 1 + n % 2]} for n in range(12)
    ]
    chosen, novelty = most_novel(pool, start, 6)
    known = {z: points.copy() for z, points in start.items()}
    left = list(range(12))
    for index, expected in zip(chosen.tolist(), novelty.tolist(), strict=True):
        means = {}
        for n in left:
            far = [
                np.linalg.norm(points[:, None] - known[z], axis=2).min(axis=1)
                for z, points in pool[n].items()
            ]
            means[n] = np.concatenate(far).mean()
        assert index == max(means, key=means.get)
        assert expected == pytest.approx(means[index])
        left.remove(index)
        for z, points in pool[index].items():
            known[z] = np.concatenate([known[z], points])


def test_copies_of_what_is_chosen_come_last():
    rng = np.random.default_rng(1)
    start = {5: np.zeros((1, 2))}
    far, near = {5: rng.normal(size=(3, 2)) + 50}, {5: rng.normal(size=(3, 2)) + 3}
    chosen, novelty = most_novel([far, far, near], start, 5)
    assert chosen.tolist() == [0, 2, 1] and novelty[-1] == 0


def test_what_the_model_has_not_seen_is_chosen(call, shell, tiny_scaleshift, tmp_path):  # noqa: F811
    (tmp_path / "t.toml").write_text(tiny_configuration(1, last_layers=3))
    call(f"gh-train {tiny_scaleshift} -c t.toml -o x.model.zarr -q", tmp_path)
    learned = read_structures(open_store(tmp_path / "x.model.zarr"))
    moved = learned.atoms[0].copy()
    moved.positions[1] += 0.5 * (moved.positions[0] - moved.positions[1])
    pool = Structures([*learned.atoms, moved], [*learned.names, "moved"])
    write_structures(tmp_path / "pool.structures.zarr", pool, Provenance("gh-build"))
    done = call("gh-select pool.structures.zarr -m x.model.zarr -n 2 --json", tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["names"][0] == "moved" and facts["n"] == 2 and facts["uncertainty_mev"] is None
    chosen = open_store(tmp_path / facts["path"], "structures")
    assert read_structures(chosen).names == facts["names"]
    assert [entry["program"] for entry in chosen.history][-1] == "gh-select"
    done = call("gh-select pool.structures.zarr -n 2 -o y.zarr", tmp_path)
    assert done.returncode == 2 and "with --model" in done.stderr
    # Predictions know their model.
    call("gh-infer pool.structures.zarr -m x.model.zarr -o p.zarr -q", tmp_path)
    done = call("gh-select p.zarr -n 9 -o z.zarr --json", tmp_path)
    assert json.loads(done.stdout)["n"] == 5 and "all are chosen" in done.stderr
    # From structures to labels of those that are worth them, by what members differ in.
    done = shell(
        "gh-build wse2 -n 4 --set size=[1,1] --set orthogonal=false --seed 3 | gh-infer -m x.model.zarr --error-bars "
        "| gh-select -n 1 | gh-label --set setups.W=6 --set kpts=[1,1,1] --set h=0.3",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    labels = open_store(tmp_path / done.stdout.strip(), "hamiltonians")
    programs = [entry["program"] for entry in labels.history]
    assert programs[-1] == "gh-label" and "gh-select" in programs
    [name] = read_structures(labels).names
    predicted = HamiltonianReader(open_store(tmp_path / "wse2.predicted.zarr"))
    unsure = uncertainties(predicted)
    # Three times as many as are wanted are looked at, those that the members differ most about.
    assert name in set(predicted.structures.names) - {
        predicted.structures.names[int(np.argmin(unsure))]
    }


def test_a_model_without_environments_is_refused(call, random_model, tiny_labels, tmp_path):  # noqa: F811
    done = call(f"gh-select {tiny_labels} -m {random_model} -n 1 -o x.zarr", tmp_path)
    assert done.returncode == 65 and "train it anew" in done.stderr
    assert not (tmp_path / "x.zarr").exists()
