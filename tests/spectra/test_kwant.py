"""What the page says to do with Kwant, by a Python that has it: T(E) against theory and gh-transport.

Kwant needs NumPy 1, which gh-tools does not run with: KWANT_PYTHON names an environment of its own.
"""

import os
import re
import subprocess

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gh_tools.resources import share_path
from gh_tools.spectra.device_blocks import write_blocks
from gh_tools.spectra.kpoints import KPoints
from gh_tools.spectra.repeat import repeated_along
from gh_tools.spectra.transport import kpoints_across, transmission

PYTHON = os.environ.get("KWANT_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="KWANT_PYTHON names no Python with Kwant")
GAMMA = KPoints(np.zeros((1, 3)), np.ones(1))


def by_the_page(folder, energy):
    """Return T(E) as the page's code prints it in a folder with junction.npz."""
    text = share_path("docs/how-to/spectra.md").read_text()
    [code] = re.findall(r"^```python\n(import kwant\n.*?)^```", text, re.M | re.S)
    assert "np.linspace(-1, 1, 5)" in code
    code = code.replace("np.linspace(-1, 1, 5)", str(energy.tolist()))
    done = subprocess.run([PYTHON, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return np.array(done.stdout.split(), dtype=float)


def test_a_barrier_in_a_chain(chain, with_onsite, tmp_path):
    lead, barrier = chain(1, hopping=-1.5), 1.2
    device = with_onsite(chain(7, hopping=-1.5), [0, 0, 0, barrier, 0, 0, 0])
    write_blocks(tmp_path / "junction.npz", device, lead, lead, 0, GAMMA)
    energy = np.linspace(-3.5, 3.4, 29)
    velocity = np.maximum(4 * 1.5**2 - energy**2, 0)
    assert_allclose(by_the_page(tmp_path, energy), velocity / (velocity + barrier**2), atol=1e-9)


def test_a_defect_in_graphene_with_overlap(graphene, tmp_path):
    lead = graphene((1, 2, 1), overlap=0.1)
    device = repeated_along(lead, 0, 4)
    device.onsite[5].hamiltonian[3] += 5.0
    grid = kpoints_across(device, 0, (7, 6, 3))
    write_blocks(tmp_path / "junction.npz", device, lead, lead, 0, grid)
    energy = np.linspace(-4.95, 4.05, 9)
    expected = transmission(device, lead, lead, 0, energy, grid).conductance
    assert np.ptp(expected) > 0.5
    # The broadening of gh-transport takes some 1e-5, which Kwant does without.
    assert_allclose(by_the_page(tmp_path, energy), expected, atol=2e-5)
