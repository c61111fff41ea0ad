"""Columns, structures and spectra as CSV, JSON and extxyz."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from gh_tools.errors import DataError
from gh_tools.store.read import Store
from gh_tools.store.rows import finite_or_none
from gh_tools.store.structures import Structures, read_structures


def write_csv(path: Path, store: Store) -> None:
    """Write a table: of spectra the densities of states by energy, else one row a structure."""
    if store.kind == "spectra":
        header, rows = _densities(store)
    else:
        header, rows = _columns(store)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)


def write_json(path: Path, store: Store) -> None:
    """Write one object: of spectra densities and eigenvalues of each structure, else its columns and atoms."""
    structures = read_structures(store)
    found: dict[str, Any] = {"store": str(store.path), "id": store.id, "kind": store.kind}
    header, rows = _columns(store, structures)
    found["columns"] = header
    found["structures"] = [dict(zip(header, map(finite_or_none, row), strict=True)) for row in rows]
    for entry, atoms in zip(found["structures"], structures.atoms, strict=True):
        entry["numbers"] = atoms.numbers.tolist()
        entry["positions (Å)"] = atoms.positions.tolist()
        entry["cell (Å)"] = atoms.cell.array.tolist()
        entry["pbc"] = atoms.pbc.tolist()
    if "dos/energy" in store:
        found["energy from E_F (eV)"] = store["dos/energy"].tolist()
        for key in _density_keys(store):
            for entry, row in zip(found["structures"], store[key], strict=True):
                entry[f"{_density_name(key)} (1/eV)"] = row.tolist()
    if "bands/eigenvalue" in store:
        _add_bands(found["structures"], store)
    path.write_text(json.dumps(found))


def write_extxyz(path: Path, store: Store) -> None:
    """Write all structures, with names and columns in their comments."""
    from ase.io import write

    structures = read_structures(store)
    frames = []
    for index, atoms in enumerate(structures.atoms):
        atoms = atoms.copy()
        atoms.info = {"name": structures.names[index]}
        for name, column in structures.columns.items():
            value = np.asarray(column.values)[index]
            if value == value:  # NaN stands for none
                atoms.info[name] = value.item()
        for key, values in _scalars(store).items():
            if np.isfinite(values[index]):
                atoms.info[key] = float(values[index])
        frames.append(atoms)
    write(path, frames, format="extxyz", write_results=False)


def _columns(
    store: Store, structures: Structures | None = None
) -> tuple[list[str], list[list[Any]]]:
    structures = structures or read_structures(store)
    header = ["name", "formula", "atoms"]
    columns = []
    for name, column in structures.columns.items():
        header.append(f"{name} ({column.unit})" if column.unit else name)
        columns.append(np.asarray(column.values).tolist())
    for key, values in _scalars(store).items():
        unit = store.unit(f"scalar/{key}")
        header.append(f"{key} ({unit})" if unit else key)
        columns.append(values.tolist())
    rows = [
        [name, atoms.get_chemical_formula(), len(atoms), *(column[index] for column in columns)]
        for index, (name, atoms) in enumerate(zip(structures.names, structures.atoms, strict=True))
    ]
    return header, rows


def _scalars(store: Store) -> dict[str, np.ndarray]:
    return {name: store[f"scalar/{name}"] for name in store.group_names("scalar")}


def _density_keys(store: Store) -> list[str]:
    return [key for key in store.keys("dos/") if key != "dos/energy"]


def _density_name(key: str) -> str:
    from ase.data import chemical_symbols

    kind = key.removeprefix("dos/")
    if kind.startswith("species/"):
        return f"DOS of {chemical_symbols[int(kind.split('/')[1])]}"
    return {"total": "DOS", "error": "error of the DOS"}.get(kind, kind)


def _densities(store: Store) -> tuple[list[str], list[list[Any]]]:
    if "dos/energy" not in store:
        raise DataError(f"{store.path}: holds no densities of states")
    names = read_structures(store).names
    header, columns = ["energy from E_F (eV)"], [store["dos/energy"].tolist()]
    for key in _density_keys(store):
        for name, row in zip(names, store[key], strict=True):
            header.append(f"{_density_name(key)} of {name} (1/eV)")
            columns.append(row.tolist())
    return header, [list(row) for row in zip(*columns, strict=True)]


def _add_bands(entries: list[dict[str, Any]], store: Store) -> None:
    """Add the k-points of each structure, their weights and eigenvalues, absolute."""
    k_ptr, e_ptr = store["bands/kpoint_ptr"], store["bands/eigenvalue_ptr"]
    kpoint, weight = store["bands/kpoint"], store["bands/weight"]
    eigenvalue = store["bands/eigenvalue"]
    spins = int(store.attributes.get("spins", 1))
    for index, entry in enumerate(entries):
        points = slice(*k_ptr[index : index + 2])
        values = eigenvalue[slice(*e_ptr[index : index + 2])]
        count = int(k_ptr[index + 1] - k_ptr[index])
        if count == 0:
            continue
        if store.kind == "spectra":
            below = store["bands/below"] if "bands/below" in store else np.zeros(0)
            total = len(below) // max(1, len(weight))
            spins = max(1, total)
        entry["kpoints"] = kpoint[points].tolist()
        entry["weights"] = weight[points].tolist()
        table = values.reshape(spins, count, -1)
        entry["eigenvalues (eV) by spin, k-point, band"] = [
            [[value for value in row if np.isfinite(value)] for row in channel.tolist()]
            for channel in table
        ]
