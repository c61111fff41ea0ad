"""Spectra of imported data: two spin channels, and orthonormal functions without shells."""

import json

import numpy as np
import pytest

from gh_tools.formats import table
from tests.cli.conftest import call  # noqa: F401, a fixture
from tests.formats.sample import sample
from tests.formats.test_formats import eigenvalues

pytest.importorskip("h5py")
DEGREES = {6: (1, 0), 42: (0, 2)}


def spectra(call, folder, source, count):  # noqa: F811
    """Import, and return what gh-dos has found, as JSON."""
    for line in (
        f"gh-import {source} --valence C=4,Mo=6 -o x.hamiltonians.zarr -q",
        "gh-info --deep x.hamiltonians.zarr",
        "gh-dos x.hamiltonians.zarr --kpts 2 1 1 -o x.spectra.zarr -q",
        "gh-bands x.hamiltonians.zarr --path GX --points 4 --kpts 2 1 1 -o bands.png -q",
        "gh-export x.spectra.zarr --to json -o x.json -q",
    ):
        done = call(line, folder)
        assert done.returncode == 0, done.stderr
    told = json.loads((folder / "x.json").read_text())["structures"][0]
    found = np.array(told["eigenvalues (eV) by spin, k-point, band"])
    assert len(found) == count
    return told["kpoints"], found, told["fermi_level (eV)"]


def test_two_spin_channels(call, tmp_path):  # noqa: F811
    ham = sample(2, degrees=DEGREES, overlap=0.03)
    table.get_format("abacus").write(tmp_path / "run", ham)
    kpoints, found, fermi = spectra(call, tmp_path, "run", 2)
    wanted = np.array([[eigenvalues(ham, s, np.array(k)) for k in kpoints] for s in range(2)])
    assert np.abs(found - wanted).max() < 1e-8
    # 20 electrons, one in each state of the two channels
    ordered = np.sort(wanted.ravel())
    count = 20 * len(kpoints)
    assert ordered[count - 1] - 0.2 < fermi < ordered[count] + 0.2


def test_orthonormal_functions_have_the_spectrum_of_h_and_s(call, tmp_path):  # noqa: F811
    ham = sample(degrees=DEGREES, overlap=0.03)
    table.get_format("wannier90").write(tmp_path / "run", ham)
    kpoints, found, _ = spectra(call, tmp_path, "run/wannier90_hr.dat", 1)
    wanted = np.array([eigenvalues(ham, k=np.array(k)) for k in kpoints])
    assert np.abs(found[0] - wanted).max() < 1e-6
