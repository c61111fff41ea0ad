"""A store becomes files of other programs: a folder, or a file, for each structure."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from gh_tools.console import progress
from gh_tools.dft.spin_orbit import with_spin_orbit
from gh_tools.errors import CannotCreateError, DataError, UsageError
from gh_tools.formats import npz
from gh_tools.formats.format import Format
from gh_tools.formats.tables import write_csv, write_extxyz, write_json
from gh_tools.orbitals.blocks import Hamiltonian
from gh_tools.outputs.publish import NEW, describe_path, new_file, publish, staging
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.read import Store, read_json
from gh_tools.version import __version__

# Tables of a whole store, by name: what writes them, and into a folder or a file.
TABLES: dict[str, Callable[[Path, Store], None]] = {
    "csv": write_csv,
    "json": write_json,
    "extxyz": write_extxyz,
}
_MANIFEST = "gh-export.json"


def check_export(path: Path, overwrite: bool) -> None:
    """Raise `CannotCreateError` where an export would destroy something: only what gh-export wrote is replaced.

    Args:
        path: of the file or folder.
        overwrite: whether it may be replaced.
    """
    if not path.is_symlink() and not path.exists():
        return
    if not overwrite:
        raise CannotCreateError(f"{path}: exists already; use --overwrite or another --output")
    own = path.is_dir() and isinstance(read_json(path / _MANIFEST), dict)
    if path.is_symlink() or not (own or path.is_file()):
        raise CannotCreateError(
            f"{path}: {describe_path(path)} is there that gh-export did not write; move it away, or name another --output"
        )


def export_matrices(
    store: Store,
    form: Format,
    path: Path,
    *,
    kpoints: Sequence[Sequence[float]] = (),
    soc: bool = False,
    overwrite: bool = False,
) -> list[str]:
    """Write H and S of all structures of a store.

    Args:
        store: of kind ``hamiltonians``.
        form: a format that can be written.
        path: a folder for one structure, in which each of several has a folder or a file of its own; a file for
            one structure where the format is a file.
        kpoints: of the format npz: write H(k) of these instead of H(R).
        soc: add spin–orbit coupling from the PAW setups of the basis.
        overwrite: replace what an earlier export wrote.

    Returns:
        Names of the structures.

    Raises:
        CannotCreateError: something else is at ``path``.
        DataError: a structure cannot be written in this format.
        UsageError: the format cannot be written, or has no k-points or no spinors that are asked for.
    """
    write: Callable[[Path, Hamiltonian], None] | None = form.write
    if write is None:
        raise UsageError(f"{form.title} can be imported, but not exported")
    if len(kpoints):
        if form.name != "npz":
            raise UsageError(f"--kpoint: {form.title} holds H(R); k-points go with --to npz")
        write = partial(npz.write_at, kpoints=kpoints)
    if soc and not form.spinors:
        raise UsageError(
            f"--soc: {form.title} is not written with spinors; expected --to deeph or --to wannier90"
        )
    reader = HamiltonianReader(store, spinors=form.spinors)
    names = reader.names
    check_export(path, overwrite)

    def write_one(target: Path, index: int) -> None:
        try:
            assert write is not None  # refused above
            hamiltonian = reader.read(index)
            write(target, with_spin_orbit(hamiltonian) if soc else hamiltonian)
        except DataError as error:
            raise DataError(f"{store.path}: {names[index]}: {error}") from None

    if form.suffix and len(names) == 1:
        with new_file(path, overwrite) as new:
            write_one(new, 0)
        return names
    with staging(path) as folder:
        new = folder / NEW
        if len(names) == 1:
            write_one(new, 0)
        else:
            new.mkdir()
            with progress("exporting", len(names)) as shown:
                for index, name in enumerate(names):
                    place = new / (name + form.suffix)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    write_one(place, index)
                    shown.advance()
        manifest = {
            "program": "gh-export",
            "version": __version__,
            "store": str(store.path.absolute()),
            "id": store.id,
            "format": form.name,
            "structures": names,
        }
        (new / _MANIFEST).write_text(json.dumps(manifest))
        publish(new, path, partial(check_export, overwrite=overwrite))
    return names


def export_table(store: Store, name: str, path: Path, *, overwrite: bool = False) -> None:
    """Write what is a table of a store: columns, structures, spectra.

    Args:
        store: of a kind that carries structures.
        name: a key of `TABLES`.
        path: of the file.
        overwrite: replace a file that is there.

    Raises:
        CannotCreateError: something is at ``path``.
        DataError: the store holds no such table.
    """
    with new_file(path, overwrite) as new:
        TABLES[name](new, store)
