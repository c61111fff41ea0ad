"""Many structures of other programs become one store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import ase
import numpy as np
import scipy.linalg
from ase.data import chemical_symbols

from gh_tools.console import log, progress
from gh_tools.errors import DataError
from gh_tools.formats.assemble import assemble, with_reach
from gh_tools.formats.format import Format, Source, read_source
from gh_tools.formats.search import fingerprint
from gh_tools.formats.table import get_format
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.bloch import bloch_matrix
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.store.hamiltonian_parts import hamiltonian_to_part
from gh_tools.store.hamiltonian_writer import HamiltonianWriter
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.parts import Parts
from gh_tools.store.provenance import Provenance
from gh_tools.store.structures import Structures
from gh_tools.workers.processes import Processes
from gh_tools.workers.task import Executor

_FACTS = "import/facts"
_ELECTRONS = 1e-6
# Orbitals up to which eigenvalues that a program printed are compared with those of what was read.
_COMPARED = 1500
_SUMMED = ("asymmetry", "asymmetry_overlap", "dropped", "dropped_overlap", "eigenvalues")


class Imported(NamedTuple):
    """What an import gives.

    Attributes:
        path: of the store.
        failures: index, name and reason of each structure that is not in it.
        facts: largest values over all structures: ``asymmetry`` and ``asymmetry_overlap``, by which H (eV) and S
            violate Hermiticity; ``dropped`` and ``dropped_overlap``, elements that one direction lacks or that were
            left out; ``eigenvalues``, by which they differ from those that the program printed (eV; None without).
        unknown: elements of which the valence electrons are not known.
    """

    path: Path
    failures: list[dict]
    facts: dict[str, Any]
    unknown: list[str]


def import_structures(
    path: Path,
    sources: Sequence[tuple[Format, Source]],
    names: Sequence[str],
    provenance: Provenance,
    *,
    valence: Mapping[int, float] | None = None,
    spin_independent: bool = False,
    executor: Executor | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Imported:
    """Read structures and write a store of kind ``hamiltonians``.

    Args:
        path: of the store.
        sources: format and place of each structure.
        names: of the structures.
        provenance: how the store is being made.
        valence: electrons of the neutral atom, by element, where files do not say.
        spin_independent: see `assemble`.
        executor: who works; one process of this machine if not given.
        resume: keep what an earlier run finished; failed structures are tried again.
        overwrite: discard it.

    Raises:
        CannotCreateError: something is at ``path``.
        DataError: no structure can be read, or two of them have different orbitals for an element, or different
            numbers of spin channels.
    """
    # Structures are known when they have been read.
    stand_ins = Structures([ase.Atoms("H") for _ in names], list(names), source=str(path))
    writer = HamiltonianWriter(path, stand_ins, provenance, resume=resume, overwrite=overwrite)
    if writer.partial.finished:
        reader = HamiltonianReader(path, spinors=True)
        return Imported(path, [], dict(reader.attributes.get("import", {})), _unknown(reader.basis))
    # A published store keeps no facts of its structures: those are read again, as are files that changed.
    left = [
        index
        for index, (_, source) in enumerate(sources)
        if not writer.done(index) or _part_of(writer.partial.parts, index) != fingerprint(source)
    ]
    writer.partial.forget_failures(left)
    if len(left) < len(names):
        log.info("%d of %d structures are there already", len(names) - len(left), len(names))
    parts = writer.partial.parts
    tasks = [
        (index, (parts, index, sources[index][0].name, sources[index][1], spin_independent))
        for index in left
    ]
    with progress("importing", len(tasks)) as shown:
        for index, result in (executor or Processes(1)).run(import_part, tasks):
            writer.partial.record_outcome(index, names[index], result)
            shown.advance()
    failures = writer.partial.failures()
    present = [index for index in range(len(names)) if writer.done(index)]
    if not present:
        writer.partial.discard()
        raise DataError(
            f"{path}: no structure could be read ({'; '.join(f['reason'] for f in failures[:3])})"
        )
    facts = [_read_facts(parts, index) for index in present]
    try:
        _check_spins(facts, [names[index] for index in present], path)
        reach: dict[str, float] = {}
        for fact in facts:
            for pair, distance in fact["reach"].items():
                reach[pair] = max(distance, reach.get(pair, 0.0))
        basis = _merged(facts, [names[index] for index in present], path)
        basis = with_reach(_with_valence(basis, facts, valence or {}), reach)
    except DataError:
        writer.partial.discard()
        raise
    writer.structures = _with_charges(stand_ins, basis, facts, present)
    summary = {
        key: max((fact[key] for fact in facts if fact[key] is not None), default=None)
        for key in _SUMMED
    }
    codes = sorted({fact["code"] for fact in facts})
    if facts[0]["spinor"]:
        log.info(
            "H is of spinors: gh-dos and gh-bands compute spectra of it; no model can be trained of it yet, for which "
            "--spin-independent imports (H↑↑ + H↓↓)/2"
        )
    attributes = {
        "predicted": False,
        "spins": facts[0]["spins"],
        **({"spinor": True} if facts[0]["spinor"] else {}),
        "cutoffs": reach,
        "code": ", ".join(codes),
        "orthogonal": all(fact["orthogonal"] for fact in facts),
        "shells": all(fact["shells"] for fact in facts),
        "import": summary,
    }
    return Imported(writer.publish(basis, attributes), failures, summary, _unknown(basis))


def _unknown(basis: Basis) -> list[str]:
    return [chemical_symbols[z] for z, e in basis.elements.items() if np.isnan(e.n_valence)]


def _check_spins(facts: Sequence[Mapping[str, Any]], names: Sequence[str], path: Path) -> None:
    """Raise `DataError` unless all structures have the same kind of spin."""
    words = {False: {1: "one spin channel", 2: "two spin channels"}, True: {1: "spinors"}}
    first: dict[str, str] = {}
    for fact, name in zip(facts, names, strict=True):
        first.setdefault(words[fact["spinor"]][fact["spins"]], name)
    if len(first) > 1:
        told = " and ".join(f"{name} has {word}" for word, name in first.items())
        raise DataError(f"{path}: {told}; import them into stores of their own")


def import_part(
    parts: Parts, index: int, form: str, source: Source, spin_independent: bool
) -> None:
    """Read one structure into the unfinished store.

    Args:
        parts: of the unfinished store.
        index: of the structure.
        form: name of its format.
        source: where it is.
        spin_independent: see `assemble`.

    Raises:
        DataError: the files cannot be read, or are not H and S of a structure.
        TryAgainError: this machine does not see the unfinished store.
    """
    parts.check()
    matrices = read_source(get_format(form), source)
    try:
        hamiltonian, findings = assemble(matrices, spin_independent)
    except DataError as error:
        raise DataError(f"{source.path}: {error}") from None
    facts = {
        "fingerprint": fingerprint(source),
        **vars(findings),
        "eigenvalues": printed_eigenvalue_error(hamiltonian),
        "spins": hamiltonian.n_spins,
        "spinor": hamiltonian.spinor,
        "code": matrices.code,
        "orthogonal": matrices.overlap is None,
        "shells": matrices.local,
        "numbers": hamiltonian.atoms.numbers.tolist(),
        "n_electrons": matrices.scalars.get("n_electrons"),
        "cutoffs": {
            z: list(c) for z, c in matrices.cutoffs.items() if z in hamiltonian.basis.elements
        },
        "elements": {
            z: [list(element.degrees), element.n_valence, element.basis_text]
            for z, element in hamiltonian.basis.elements.items()
        },
    }
    text = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    parts.write_part(index, {**hamiltonian_to_part(hamiltonian), _FACTS: text})


def printed_eigenvalue_error(hamiltonian: Hamiltonian) -> float | None:
    """Return by how much eigenvalues of H and S differ from those that a program printed.

    Args:
        hamiltonian: with the program's eigenvalues as its bands.

    Returns:
        The largest difference in eV at the first three k-points; None where nothing was printed, or where there are more than
        1500 orbitals.
    """
    bands = hamiltonian.bands
    if bands is None or hamiltonian.n_orbitals > _COMPARED:
        return None
    worst = 0.0
    for point in range(min(3, len(bands.kpoint))):
        overlap = bloch_matrix(hamiltonian, bands.kpoint[point], "overlap")
        for spin in range(min(hamiltonian.n_spins, len(bands.eigenvalue))):
            h = bloch_matrix(hamiltonian, bands.kpoint[point], "hamiltonian", spin)
            printed = bands.eigenvalue[spin, point]
            found = scipy.linalg.eigh(h, overlap, eigvals_only=True)[: len(printed)]
            worst = max(worst, float(np.abs(found - printed).max()))
    return worst


def _read_facts(parts: Parts, index: int) -> dict[str, Any]:
    with parts.open_part(index) as part:
        return json.loads(part[_FACTS].tobytes()) if _FACTS in part else {}


def _part_of(parts: Parts, index: int) -> str | None:
    """Return the fingerprint of the files that a part was read from."""
    return _read_facts(parts, index).get("fingerprint")


def _merged(facts: Sequence[Mapping[str, Any]], names: Iterable[str], path: Path) -> Basis:
    """Join the basis tables; radii and radial functions that one structure's files tell hold for all."""
    basis: Basis | None = None
    radii: dict[tuple, list[float]] = {}
    for fact in facts:
        for key, (degrees, *_) in fact["elements"].items():
            if key in fact["cutoffs"]:
                radii.setdefault((key, *degrees), fact["cutoffs"][key])
    for fact, name in zip(facts, names, strict=True):
        elements = {}
        for key, (degrees, n_valence, text) in fact["elements"].items():
            known = radii.get((key, *degrees), [np.nan] * len(degrees))
            cutoffs = fact["cutoffs"].get(key, known)
            shells = tuple(Shell(d, c) for d, c in zip(degrees, cutoffs, strict=True))
            elements[int(key)] = ElementBasis(
                int(key), shells, n_valence, basis_text=text, code=fact["code"]
            )
        own = Basis(elements)
        basis = own if basis is None else basis.merge(own, f"{path}: structure {name!r}")
    assert basis is not None  # there are structures
    return basis


def _with_valence(
    basis: Basis, facts: Sequence[Mapping[str, Any]], given: Mapping[int, float]
) -> Basis:
    """Fill in the valence electrons that were given, or that follow from those of whole structures."""
    elements = dict(basis.elements)
    for z, count in given.items():
        if z not in elements:
            raise DataError(f"--valence: there is no {chemical_symbols[z]} among the structures")
        known = elements[z].n_valence
        if np.isfinite(known) and known != count:
            raise DataError(
                f"--valence: the files say that {chemical_symbols[z]} has {known:g} valence electrons, not {count:g}"
            )
        elements[z] = replace(elements[z], n_valence=float(count))
    unknown = [z for z, element in elements.items() if np.isnan(element.n_valence)]
    rows, totals = [], []
    for fact in facts:
        if fact["n_electrons"] is not None:
            numbers = np.array(fact["numbers"])
            rows.append([np.count_nonzero(numbers == z) for z in unknown])
            rest = [elements[int(z)].n_valence for z in numbers if int(z) not in unknown]
            totals.append(fact["n_electrons"] - sum(rest))
    if unknown and rows and np.linalg.matrix_rank(np.array(rows)) == len(unknown):
        solution, *_ = np.linalg.lstsq(np.array(rows, float), np.array(totals), rcond=None)
        whole = np.rint(solution)
        fits = np.abs(np.array(rows) @ whole - totals).max() < _ELECTRONS
        if fits and all(0 < v <= z for v, z in zip(whole, unknown, strict=True)):
            for z, count in zip(unknown, whole, strict=True):
                elements[z] = replace(elements[z], n_valence=float(count))
    return Basis(elements)


def _with_charges(
    structures: Structures, basis: Basis, facts: Sequence[Mapping[str, Any]], present: Sequence[int]
) -> Structures:
    """Give structures whose electrons are not those of neutral atoms their charge."""
    charges = np.zeros(len(structures))
    for index, fact in zip(present, facts, strict=True):
        neutral = basis.n_electrons(np.array(fact["numbers"]))
        if fact["n_electrons"] is not None and np.isfinite(neutral):
            charges[index] = neutral - fact["n_electrons"]
    charges[np.abs(charges) < _ELECTRONS] = 0.0
    return structures.with_charges(charges) if charges.any() else structures
