"""Real labels that many tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_labels(tmp_path_factory) -> Path:
    """Hamiltonians of four strained and rattled WSe2 cells of 3 atoms: real GPAW runs of seconds."""
    from gh_tools.dft.config import LabelConfig
    from gh_tools.dft.label import label_structures
    from gh_tools.store.io import open_store
    from gh_tools.store.provenance import Provenance
    from gh_tools.store.structures import write_structures
    from gh_tools.structures import registry
    from gh_tools.structures.generate import generate

    folder = tmp_path_factory.mktemp("tiny")
    recipe = registry.get("wse2")
    config = recipe.config(size=(1, 1), orthogonal=False, se_vacancies=0, rattle=0.04)
    source = folder / "tiny.structures.zarr"
    structures = generate(recipe, config, 4, seed=0)
    write_structures(source, structures, Provenance("gh-build"))
    label = LabelConfig(setups={"W": "6"}, kpts=(3, 3, 1), h=0.3)
    path, failures = label_structures(
        folder / "tiny.hamiltonians.zarr",
        structures,
        label,
        Provenance("gh-label", inputs=[open_store(source)]),
    )
    assert failures == []
    return path
