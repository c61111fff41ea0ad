"""How large domains are, and how many are worked on at once, so that they fit into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gh_tools.console import log
from gh_tools.errors import UsageError
from gh_tools.inference.predict import Predictor
from gh_tools.resources import memory_used
from gh_tools.store.records import write_once
from gh_tools.store.structures import Structures

# Bytes of H and S of a domain, at least and at most: in smaller ones halos outweigh what is wanted, larger
# ones save little.
DOMAIN_BYTES = (8 * 2**20, 64 * 2**20)
# Memory that a domain takes while it is worked on: for its halo, and in units of its H and S.
HALO_BYTES, WORKING = 80 * 2**20, 7.0
# Memory of compiled programs and their chunks, of buffers to write, and per atom besides descriptors.
PROGRAM_BYTES, ATOM_BYTES = 600 * 2**20, 2000
# Of the free memory, what domains are made for: a run that goes on may find less of it.
_MARGIN = 0.9
# File of an unfinished store that says how structures were divided.
PLAN = "domains.json"


def was_enough(plan: Any, memory: int | None) -> bool:
    """Tell whether a run with no more memory divided the structures: what a process takes itself varies."""
    least = plan.get("memory") if isinstance(plan, dict) else None
    return memory is not None and least is not None and memory >= least


def memory_for_domains(
    predictor: Predictor, structures: Structures, memory: int | None, enough: bool
) -> float:
    """Return the bytes left for domains, besides the program, its chunks and the structure.

    Args:
        predictor: the model.
        structures: of which the largest counts.
        memory: bytes that may be used altogether; without a limit if None.
        enough: whether as much was enough for the run that divided the structures.

    Raises:
        UsageError: it is too little for the smallest domains.
    """
    largest = max(map(len, structures.atoms))
    fixed = memory_used() + PROGRAM_BYTES + largest * (ATOM_BYTES + predictor.atom_bytes)
    free = np.inf if memory is None else memory - fixed
    needed = 2 * domain_memory(DOMAIN_BYTES[0])
    if free < needed and not enough:
        raise UsageError(
            f"--memory: {(memory or 0) / 2**30:.2f} GiB are too little for {largest} atoms; "
            f"give {(fixed + needed) / 2**30 + 0.05:.1f}G or more"
        )
    return free


def domain_memory(domain_bytes: float) -> float:
    """Return the bytes that a domain takes while it is worked on, from those of its H and S."""
    return HALO_BYTES + WORKING * domain_bytes


def choose_size(file: Path, memory: int | None, free: float, n_workers: int) -> tuple[float, int]:
    """Return the bytes of H and S of a domain, at most, and how many domains are worked on at once.

    Runs that share a store divide its structures alike: the first one's choice is kept.

    Args:
        file: where it is kept.
        memory: bytes that may be used altogether; without a limit if None.
        free: bytes of it for domains, see `memory_for_domains`.
        n_workers: at most so many at once.

    Raises:
        UsageError: the store was divided for more memory.
    """
    # One more than workers: what is being written
    share = _MARGIN * free / (n_workers + 1) - HALO_BYTES
    choice = float(np.clip(share / WORKING, *DOMAIN_BYTES))
    plan = write_once(file, {"domain_bytes": choice, "memory": memory})
    domain_bytes = plan["domain_bytes"]
    possible = free / domain_memory(domain_bytes) - 1
    if possible < 1 and not was_enough(plan, memory):
        raise UsageError(
            f"--memory: the unfinished {file.parent.name} was divided for more memory; "
            f"give {domain_memory(domain_bytes) * 2 / 2**30 - free / 2**30 + 0.05:.1f}G more, "
            "or start anew with --overwrite"
        )
    if possible < n_workers:
        log.info("memory allows for %d at once", possible)
    return domain_bytes, int(min(n_workers, max(1, possible)))
