"""Object arrays of NumPy files, rebuilt without executing what a pickle asks for.

An object array is a pickle, and a pickle may call any function. This reader knows the functions by which NumPy
rebuilds arrays of numbers, and the class of SciPy's sparse matrices, of which it takes the arrays; it refuses
all else.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gh_tools.errors import DataError


class SparseState:
    """The arrays of a sparse matrix of SciPy: data, indices, indptr, _shape."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Keep the attributes that the pickle names."""
        self.state = dict(state) if isinstance(state, dict) else {}

    def dense(self) -> np.ndarray:
        """Return the matrix, whose class was compressed rows.

        Raises:
            DataError: the arrays are not those of one.
        """
        from scipy.sparse import csr_array

        try:
            parts = (self.state["data"], self.state["indices"], self.state["indptr"])
            shape = self.state.get("_shape", self.state.get("shape"))
            return csr_array(parts, shape=shape).toarray()
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"expected a matrix of compressed rows ({error})") from None


def _frombuffer(buffer: Any, dtype: Any, shape: Any, order: Any, *_: Any) -> np.ndarray:
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


def _known() -> dict[tuple[str, str], Callable[..., Any]]:
    multiarray = np._core.multiarray  # type: ignore[attr-defined]
    found: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }
    for core in ("numpy.core", "numpy._core"):
        found[f"{core}.multiarray", "_reconstruct"] = multiarray._reconstruct
        found[f"{core}.multiarray", "scalar"] = multiarray.scalar
        found[f"{core}.numeric", "_frombuffer"] = _frombuffer
    for module in ("scipy.sparse.csr", "scipy.sparse._csr"):
        for name in ("csr_matrix", "csr_array"):
            found[module, name] = SparseState
    return found


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = _known()
        if (module, name) not in known:
            raise DataError(
                f"its pickle asks for {module}.{name}, and nothing but arrays of numbers is rebuilt; save the arrays "
                "without objects"
            )
        return known[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("its pickle refers to what is elsewhere, and is refused")


def read_npz(file: Path) -> dict[str, Any]:
    """Read all arrays of an npz file, object arrays of numbers included.

    Raises:
        DataError: it is damaged, or holds other objects than arrays of numbers.
    """
    found: dict[str, Any] = {}
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            with archive.open(name) as stream:
                version = np.lib.format.read_magic(stream)
                if version not in ((1, 0), (2, 0)):
                    raise DataError(f"{name}: expected an array, found another layout of it")
                read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
                shape, _, dtype = read(stream)
                key = name.removesuffix(".npy")
                if dtype.hasobject:
                    found[key] = _objects(name, stream, shape)
                    continue
            with archive.open(name) as stream:
                found[key] = np.lib.format.read_array(stream, allow_pickle=False)
    return found


def _objects(name: str, stream: Any, shape: tuple[int, ...]) -> Any:
    try:
        loaded = _Unpickler(stream).load()
    except (pickle.UnpicklingError, EOFError, TypeError, ValueError, KeyError) as error:
        raise DataError(f"{name}: the array of objects is damaged ({error})") from None
    if isinstance(loaded, np.ndarray) and loaded.shape == shape:
        return loaded
    raise DataError(f"{name}: expected an array of objects of shape {shape}")
