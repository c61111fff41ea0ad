"""HamGNN's graphs and LMDB databases: recognised, and refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gh_tools.formats.format import Format, Source

_NAMES = ("graph_data.npz", "data.mdb")


def _find(path: Path) -> Sequence[Source]:
    if path.is_file():
        return [Source(path)] if path.name in _NAMES else []
    return [Source(path / name) for name in _NAMES if (path / name).is_file()]


FORMAT = Format(
    "hamgnn",
    "HamGNN",
    _find,
    refusal="is a pickle of PyTorch objects, which would execute what it holds and is never opened; import the files "
    "of the DFT program that it was made from (OpenMX's scfout, SIESTA's HSX, ABACUS's csr), or of DeePTB the layout "
    "in .h5 files",
)
