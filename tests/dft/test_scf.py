"""The box and the k grid of a calculation, and what happens when it does not converge."""

import ase
import numpy as np
import pytest
from ase.build import bulk, mx2

from gh_tools.dft.basis_sets import basis_table
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.forecast import warn_of_gamma
from gh_tools.dft.run_cell import boxed
from gh_tools.dft.sampling import kpoint_sampling
from gh_tools.dft.scf import label_structure
from gh_tools.errors import DataError


def room(atoms):
    scaled = atoms.get_scaled_positions(wrap=False)
    heights = 1 / np.linalg.norm(atoms.cell.reciprocal(), axis=1)
    return np.minimum(scaled.min(axis=0), 1 - scaled.max(axis=0)) * heights


def test_a_molecule_without_a_cell_gets_a_box():
    atoms = ase.Atoms("H2", [(3, 0, 0), (3, 0, 0.7)])
    box = boxed(atoms, 5.0)
    np.testing.assert_allclose(room(box), 5.0)
    np.testing.assert_allclose(box.positions[1] - box.positions[0], [0, 0, 0.7])
    assert not atoms.cell.any()


def test_a_sheet_gets_room_and_keeps_its_periodic_vectors():
    atoms = mx2("WSe2", a=3.32, thickness=3.2, vacuum=2.3)
    box = boxed(atoms, 5.0)
    assert room(box)[2] == pytest.approx(5.0)
    np.testing.assert_allclose(box.cell[:2], atoms.cell[:2])
    np.testing.assert_allclose(np.diff(box.positions, axis=0), np.diff(atoms.positions, axis=0))
    wide = mx2("WSe2", a=3.32, thickness=3.2, vacuum=9.0)
    assert boxed(wide, 5.0) == wide
    crystal = bulk("Al")
    assert boxed(crystal, 5.0) == crystal


@pytest.mark.parametrize("third", [20.0, -20.0])
def test_a_box_that_is_large_enough_keeps_its_size(third):
    """Wherever its atoms are: about the origin, as molecules often are, and along a vector that points down."""
    atoms = mx2("WSe2", a=3.32, thickness=3.2, vacuum=2.3)
    atoms.cell[2] = [0, 0, third]
    atoms.positions[:, 2] -= atoms.positions[:, 2].mean()
    box = boxed(atoms, 5.0)
    np.testing.assert_array_equal(box.cell, atoms.cell)
    assert room(box)[2] == pytest.approx((20 - 3.2) / 2)
    np.testing.assert_allclose(np.diff(box.positions, axis=0), np.diff(atoms.positions, axis=0))


def test_k_points_follow_the_size_of_the_cell():
    sheet = mx2("WSe2", a=3.32, thickness=3.2, vacuum=5.0)
    config = LabelConfig(kpoint_density=2.0)
    # 2π/(3.32 sin 60°) is 2.19/Å, so 4.4 points; the cell of 6 x 6 needs 0.7.
    assert kpoint_sampling(sheet, config) == {"size": (5, 5, 1), "gamma": True}
    assert kpoint_sampling(sheet * (6, 6, 1), config) == {"size": (1, 1, 1), "gamma": True}
    given = LabelConfig(kpts=(3, 2, 4))
    assert kpoint_sampling(sheet, given) == {"size": (3, 2, 1), "gamma": True}


def test_a_run_that_does_not_converge_says_so(tmp_path):
    config = LabelConfig(h=0.35, vacuum=2.5, max_iterations=2)
    atoms = ase.Atoms("H2", [(0, 0, 0), (0, 0, 0.74)])
    with pytest.raises(DataError, match="not self-consistent after 2 iterations"):
        label_structure(atoms, config, basis_table(config, [1]), tmp_path / "gpaw.txt")
    assert "iter:" in (tmp_path / "gpaw.txt").read_text()


def test_mixing_changes_the_steps_and_not_the_labels(tmp_path):
    """In a crystal, where GPAW's own is small."""
    atoms = bulk("LiF", "rocksalt", a=4.0)
    found = {}
    for mixing in (None, 0.25):
        config = LabelConfig(h=0.25, kpts=(2, 2, 2), mixing=mixing)
        log = tmp_path / f"{mixing}.txt"
        found[mixing] = label_structure(atoms, config, basis_table(config, atoms.numbers), log)
        assert f"Linear mixing parameter: {mixing or 0.05}\n" in log.read_text()
    for key, blocks in found[None].onsite.items():
        other = found[0.25].onsite[key]
        np.testing.assert_allclose(other.hamiltonian, blocks.hamiltonian, atol=2e-3)
    steps = [(tmp_path / f"{m}.txt").read_text().count("iter:") for m in found]
    assert steps[1] < steps[0]


@pytest.mark.parametrize(
    "atoms",
    [
        ase.Atoms("He2", [[0, 0, 0], [3000, 2000, 2000]]),
        ase.Atoms("He", cell=[3000, 3000, 3000], pbc=True),
    ],
    ids=["far apart", "large cell"],
)
def test_grids_that_fit_no_memory_are_refused(atoms, tmp_path):
    config = LabelConfig(kpts=(1, 1, 1))
    with pytest.raises(DataError, match=r"(1\.5|3\.4)e\+12 points .* GiB are free; .* raise h"):
        label_structure(atoms, config, basis_table(config, [2]), tmp_path / "gpaw.txt")


@pytest.mark.parametrize("options", [{"kpts": (1000, 1000, 2)}, {"kpoint_density": 100}])
def test_more_k_points_than_can_be_listed_are_refused(options):
    with pytest.raises(DataError, match=r"k-points are more than 1e\+06; lower kpts"):
        kpoint_sampling(bulk("Cu"), LabelConfig(**options))


def test_short_cells_at_gamma_alone_are_warned_of(caplog):
    """Not layers, molecules and cells that are long, or sampled at other points."""
    crystal, long = bulk("Cu"), bulk("Cu", cubic=True) * (4, 4, 4)
    sheet = mx2("WSe2", a=3.32, thickness=3.2, vacuum=2.0)
    molecule = ase.Atoms("H2", [(0, 0, 0), (0, 0, 0.74)])
    sheets = sheet * (5, 5, 1)
    at_gamma, shifted = (LabelConfig(kpts=(1, 1, 1), kpts_shift=shift) for shift in (0.0, 0.25))
    warn_of_gamma([long, sheets, molecule], at_gamma)
    warn_of_gamma([crystal, sheet], shifted)
    warn_of_gamma([crystal, sheet], LabelConfig())
    assert caplog.text == ""
    warn_of_gamma([crystal, long, sheet, molecule], at_gamma)
    assert "2 cells shorter than 12 Å" in caplog.text and "kpts_shift=0.25" in caplog.text
