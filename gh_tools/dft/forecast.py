"""What labelling will take, before it begins: k-points, conditioning of S, and time measured on this machine."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np

from gh_tools.console import log
from gh_tools.dft.conditioning import POOR, warn_if_poor
from gh_tools.dft.config import LabelConfig
from gh_tools.dft.overlap import Overlap
from gh_tools.dft.run_cell import boxed, with_reduced_cell
from gh_tools.dft.sampling import kpoint_sampling
from gh_tools.dft.scf import SCFNotConverged, run
from gh_tools.errors import DataError, GhError
from gh_tools.orbitals.basis import Basis
from gh_tools.orbitals.pairs import basis_cutoffs, wrapped
from gh_tools.tables import counted

# Steps of the self-consistent cycle until the density has converged to 1e-4: 6 in silicon, 12 in h-BN, more in metals.
STEPS = 12
# As many k-points take as long as the sums over the grid, which all k-points share: in SiC, 2 and 8 atoms.
_KPOINTS = 250
# Å. Between planes of longer cells of insulators Γ alone misses little.
_LONG = 12.0


def sampling(structures: Sequence[ase.Atoms], config: LabelConfig) -> str:
    """Return how many structures have which k-points, such as "3 with 6x6x1 k-points".

    Args:
        structures: what is to be labelled.
        config: the calculation.

    Raises:
        DataError: a grid has more than a million points.
    """
    grids: Counter[str] = Counter()
    for atoms in structures:
        kpoints = kpoint_sampling(atoms, config)
        # A grid along the vectors of another cell of the lattice has no sizes, but a number of points.
        size = kpoints.get("size") or [len(kpoints["kpts"])]
        grids["x".join(map(str, size))] += 1
    return ", ".join(f"{count} with {grid} k-points" for grid, count in grids.items())


def warn_of_gamma(structures: Sequence[ase.Atoms], config: LabelConfig) -> None:
    """Warn of cells that Γ alone does not sample.

    What it misses decays with the size of the cell, and differs from one shape to another.

    Args:
        structures: what is to be labelled.
        config: the calculation.

    Raises:
        DataError: a grid has more than a million points.
    """
    short = 0
    for atoms in structures:
        if not atoms.pbc.any():
            continue
        heights = 1 / np.linalg.norm(atoms.cell.complete().reciprocal()[atoms.pbc], axis=1)
        alone = np.prod(kpoint_sampling(atoms, config).get("size", 0)) == 1
        short += bool(alone and heights.min() < _LONG)
    if short:
        log.warning(
            "%s shorter than %g Å along a period would be sampled at Γ alone, which can leave eigenvalues off by tens of meV, "
            "depending on size and shape; --set kpts_shift=0.25 samples the mean-value point at the same cost",
            counted(short, "cell"),
            _LONG,
        )


def describe_conditioning(
    structures: Sequence[ase.Atoms], config: LabelConfig, basis: Basis
) -> None:
    """Say how well the basis spans its space, and warn where it does not.

    Args:
        structures: what is to be labelled.
        config: the calculation.
        basis: the basis table.
    """
    limit = config.pair_cutoff or np.inf
    cutoffs = {pair: min(cutoff, limit) for pair, cutoff in basis_cutoffs(basis).items()}
    found = warn_if_poor(Overlap(basis, basis.numbers), basis, cutoffs, structures)
    worst = min(found.values(), key=lambda c: c.lowest)
    log.info(
        "S: eigenvalues from %.2g to %.1f in the densest environments; below %g, spectra would magnify errors of H",
        *(worst.lowest, worst.highest, POOR),
    )


@dataclass(frozen=True)
class Cost:
    """What labels take on a core that does nothing else.

    Attributes:
        seconds: for each structure.
        measured: index of the structure that was measured.
    """

    seconds: list[float]
    measured: int

    def describe(self, names: Sequence[str], jobs: int) -> str:
        """Return a sentence: time a structure and of all, and where it is from.

        Args:
            names: of the structures.
            jobs: how many structures are labelled at once.
        """
        low, high = min(self.seconds), max(self.seconds)
        each = duration(high) if high < 1.3 * low else f"{duration(low)} to {duration(high)}"
        together = max(sum(self.seconds) / jobs, high)
        return (
            f"some {each} a structure, {duration(together)} in all with --jobs {jobs} on cores that do nothing else: a step of the self-consistent "
            f"cycle of {names[self.measured]} was measured, of which {STEPS} are expected; others by volume and, "
            "weakly, by k-points"
        )


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it, to two digits."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return (
                f"{seconds / size:.2g} {unit}"
                if seconds < 99 * size
                else f"{seconds / size:.0f} {unit}"
            )
    return f"{seconds:.2g} s"


def measure(
    structures: Sequence[ase.Atoms], config: LabelConfig, basis: Basis, charges: Sequence[float]
) -> Cost:
    """Measure one step of the self-consistent cycle of the cheapest structure, and scale to the others.

    Such a step takes time in proportion to the points of the grid, and little more for many k-points than for a
    few; in cells of more than a thousand orbitals diagonalisation adds to that.

    Args:
        structures: what is to be labelled.
        config: the calculation.
        basis: the basis table.
        charges: of the structures, in |e|.

    Raises:
        DataError: the grid does not fit into memory, or GPAW cannot compute the structure in this way.
    """
    sizes = _sizes(structures, config)
    index = int(np.argmin(sizes))
    atoms = wrapped(structures[index])
    own = Basis({number: basis[number] for number in set(atoms.numbers.tolist())})
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        for steps in (1, 3):
            brief = config.model_copy(
                update={"max_iterations": steps, "charge": float(charges[index])}
            )
            start = time.perf_counter(), time.process_time()
            try:
                run(atoms, brief, own, Path(folder) / "gpaw.txt")
            except SCFNotConverged:
                pass
            except (GhError, MemoryError, OSError):
                raise
            except Exception as error:  # of many kinds, as of a grid that has too few points
                reason = " ".join(str(error).split()) or type(error).__name__
                raise DataError(
                    f"structure {index} ({atoms.symbols}): GPAW does not begin to compute it ({reason}); look at h and at "
                    "the cell"
                ) from error
            # Less processor time than time: other programs are running. More: several threads are.
            taken.append(min(time.perf_counter() - start[0], time.process_time() - start[1]))
    step = max(taken[1] - taken[0], 0.0) / 2
    seconds = taken[0] + STEPS * step
    return Cost([seconds * size / sizes[index] for size in sizes], index)


def cheapest(structures: Sequence[ase.Atoms], config: LabelConfig) -> int:
    """Return the index of the structure that takes the least time to label.

    Args:
        structures: what is to be labelled.
        config: the calculation.
    """
    return int(np.argmin(_sizes(structures, config)))


def _sizes(structures: Sequence[ase.Atoms], config: LabelConfig) -> list[float]:
    """What a step of the cycle takes, relative to one another."""
    return [_size(atoms, config) for atoms in structures]


def _size(atoms: ase.Atoms, config: LabelConfig) -> float:
    kpoints = kpoint_sampling(atoms, config) if atoms.pbc.any() else {"size": (1, 1, 1)}
    count = len(kpoints["kpts"]) if "kpts" in kpoints else int(np.prod(kpoints["size"]))
    # k and -k count once.
    work = 1 + ((count + 1) // 2) / _KPOINTS
    return float(boxed(with_reduced_cell(atoms), config.vacuum).cell.volume) * work
