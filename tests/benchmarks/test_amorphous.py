"""The benchmark of quenched oxides counts pairs, bonds and angles of a crystal that is known."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from ase.spacegroup import crystal

from gh_tools.resources import share_path


@pytest.fixture(scope="module")
def compare():
    spec = importlib.util.spec_from_file_location(
        "compare", share_path("benchmarks/amorphous/compare.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ideal_cristobalite_is_found_in_tables_and_picture(compare, tmp_path):
    """Fd-3m with a = 7.16 Å: Si at 8a, O at 16c half way between two Si, 1.55 Å away."""
    atoms = crystal(
        "SiO", [(0, 0, 0), (1 / 8, 1 / 8, 1 / 8)], spacegroup=227, cellpar=[7.16] * 3 + [90] * 3
    )
    found = compare.distributions([atoms, atoms.repeat((1, 2, 1))])
    assert found.density == pytest.approx(8 * 60.084 * 1.66053907 / 7.16**3, rel=1e-3)
    np.testing.assert_allclose(found.coordination["Si"], [0, 0, 0, 0, 1])
    np.testing.assert_allclose(found.coordination["O"], [0, 0, 1])
    np.testing.assert_allclose(found.angles["O-Si-O"], np.degrees(np.arccos(-1 / 3)), atol=1e-6)
    np.testing.assert_allclose(found.angles["Si-O-Si"], 180.0, atol=1e-4)
    near = found.distance[found.pairs["Si-O"].argmax()]
    assert near == pytest.approx(7.16 * np.sqrt(3) / 8, abs=0.02)
    # Of a pair distribution, the integral of 4πr²ρ g is a number of neighbours.
    shell = found.distance < 2.0
    rho = 16 / 7.16**3
    count = np.sum(
        4 * np.pi * found.distance**2 * found.pairs["Si-O"] * rho * compare.BIN, where=shell
    )
    assert count == pytest.approx(4.0, rel=0.01)
    assert "4.00 (4: 100.0 %)" in str([*compare.report("x", found).columns[1].cells])
