"""CIF and SHELX: symmetry that is not listed, disorder, and sites that are no whole atoms."""

from __future__ import annotations

import re

from gh_tools.structures.formats.text import partial_occupancy, text_lines, two_elements


def cif_fault(path: str) -> str | None:
    """Find symmetry that is not listed, disorder, and sites that are no whole atoms, in each block of a CIF file."""
    from ase.io.cif import parse_cif
    from ase.io.formats import open_with_compression

    with open_with_compression(path, "rb") as file:
        blocks = [block for block in parse_cif(file) if block.has_structure()]
    for block in blocks:
        if reason := _beyond(block) or _sites(block) or _symmetry(block):
            return f"data block {block.name!r}: {reason}"
    return None


def _column(block, tag: str) -> list:
    found = block.get(tag, [])
    return found if isinstance(found, list) else [found]


def _beyond(block) -> str | None:
    """Find what ASE passes over: symmetry of moments and of waves, hydrogen without sites, sites without atoms."""
    if any(
        re.match(r"_(magnetic_)?space_group_(symop[_.])?magn|_magnetic_space_group", t)
        for t in block
    ):
        return (
            "its symmetry is that of magnetic moments, which ASE does not read; list all atoms of the cell, "
            "without the tags of its symmetry"
        )
    if any(n not in (0, "?", ".") for n in _column(block, "_cell_modulation_dimension")):
        return "its atoms are modulated by a wave, of which ASE reads the mean; give a supercell of whole atoms"
    labels = _column(block, "_atom_site_label") or _column(block, "_atom_site_type_symbol")
    for label, n in zip(labels, _column(block, "_atom_site_attached_hydrogens"), strict=False):
        if n not in (0, "?", "."):
            return f"site {label} has {n} attached hydrogens without sites of their own; add their sites"
    for label, flag in zip(labels, _column(block, "_atom_site_calc_flag"), strict=False):
        if str(flag).lower() == "dum":
            return f"site {label} is a dummy (_atom_site_calc_flag), no atom; take it out"
    for tag in ("x", "y", "z"):
        for label, place in zip(labels, _column(block, f"_atom_site_fract_{tag}"), strict=False):
            if isinstance(place, str):
                return f"site {label} has the coordinate {tag} {place!r}, where a number is expected; mend it"
    return None


def _sites(block) -> str | None:
    symbols = _column(block, "_atom_site_type_symbol")
    labels = _column(block, "_atom_site_label") or symbols
    for label, occupancy in zip(labels, _column(block, "_atom_site_occupancy"), strict=False):
        if not isinstance(occupancy, str) and occupancy != 1:
            return partial_occupancy(f"site {label}", float(occupancy))
    groups = {
        str(group)
        for group in _column(block, "_atom_site_disorder_group")
        if group not in (".", "?")
    }
    if len(groups) > 1:
        return (
            f"its sites are in the disorder groups {', '.join(sorted(groups))}, which are alternatives; "
            "keep one of them"
        )
    symbols = _column(block, "_atom_site_type_symbol")
    for name in map(str, symbols or labels):
        # ASE takes a second letter that is a capital for no part of the symbol: FE is F.
        if reason := two_elements(name):
            return f"{reason}; write its symbol in the column _atom_site_type_symbol, as in Fe"
        if symbols and re.match(r"[A-Z][a-z]?[^A-Za-z]*[A-Z]", name):
            return f"a site has the type {name}, where one element is expected; give each atom a site of its own"
    return None


def _symmetry(block) -> str | None:
    """Find symmetry that the file names but does not list, where ASE may take another setting of it."""
    from ase.spacegroup import Spacegroup
    from ase.spacegroup.spacegroup import SpacegroupError

    name, known = block._get_spacegroup_name(), block._get_spacegroup_number()
    if block._get_sitesym():
        if known is None:
            try:
                Spacegroup(name or "")
            except SpacegroupError:
                return (
                    f"ASE does not know its space group by the name {name}; give its number, too "
                    "(_symmetry_Int_Tables_number)"
                )
        return None
    named = [
        tag
        for tag in block
        if re.match(r"_(symmetry|space_group)[_.]", tag) and re.search(r"hall|h-m|number", tag)
    ]
    if not named:
        return None
    what = f"it names its space group ({', '.join(str(block[tag]) for tag in named)})"
    mend = "list the symmetry operations (_symmetry_equiv_pos_as_xyz)"
    if name is None and known is None:
        return f"{what} in a way that ASE does not read; {mend}"
    try:
        group = Spacegroup(int(known) if known is not None else name)
    except (SpacegroupError, ValueError):
        return f"{what}, which ASE does not know; {mend}"
    try:
        Spacegroup(group.no, 2)
        several = True
    except SpacegroupError:
        several = False
    if several or (name is not None and _short(name) != _short(group.symbol)):
        return f"{what}, which has several settings, and lists no symmetry operations; {mend}"
    return None


def _short(symbol: str) -> str:
    """Hermann-Mauguin symbol without blanks, and without the axes of order one of its full form."""
    parts = symbol.replace("_", " ").split()
    return "".join(part for part in parts if part != "1").lower()


def shelx_fault(path: str) -> str | None:
    """Find site occupancies in a SHELX file, whose atoms are: label, type, x, y, z, occupancy.

    SHELX adds 10 to what is not refined.
    """
    species: list[str] = []
    for line in text_lines(path):
        words = line.split()
        if words and words[0].upper() == "SFAC":
            species = [word.upper() for word in words[1:]]
        if len(words) < 6 or not words[1].isdigit() or not 0 < int(words[1]) <= len(species):
            continue
        try:
            occupancy = float(words[5])
        except ValueError:
            continue
        if occupancy % 10 != 1:
            return partial_occupancy(f"site {words[0]}", occupancy % 10)
    return None
