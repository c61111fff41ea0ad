"""The value of --unfold: how a supercell's primitive cell is told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gh_tools.errors import NoInputError, UsageError

if TYPE_CHECKING:
    import ase
    import numpy as np

AUTO = "auto"


def parse_unfold(text: str, atoms: ase.Atoms) -> tuple[np.ndarray, ase.Atoms | None]:
    """Return a structure's vectors in units of those of its primitive cell, and that cell if a file gives it.

    Args:
        text: ``auto``, three or nine whole numbers separated by commas, or the name of a file or of a store.
        atoms: the supercell.

    Raises:
        UsageError: the text is none of these, or no primitive cell was found.
        NoInputError: there is no such file.
        DataError: the file's cell is none that the structure repeats.
    """
    import numpy as np

    from gh_tools.spectra.primitive import supercell_matrix
    from gh_tools.spectra.sites import supercell_of
    from gh_tools.store.read import open_store
    from gh_tools.store.structures import KINDS, read_structures
    from gh_tools.structures.reading import read_file

    if text == AUTO:
        matrix = supercell_matrix(atoms)
        if abs(round(float(np.linalg.det(matrix)))) == 1:
            raise UsageError(
                "--unfold auto: no primitive cell was found that the structure repeats; give its vectors in units of the "
                "primitive ones, as in 4,4,1, or a file with the primitive cell"
            )
        return matrix, None
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        if not Path(text).exists():
            raise NoInputError(
                f"--unfold {text}: expected auto, three or nine whole numbers as in 4,4,1, or a file with the primitive "
                "cell, and there is no such file"
            ) from None
        if Path(text).is_dir():
            primitive = read_structures(open_store(text, KINDS)).atoms[0]
        else:
            primitive = read_file(text, "0", None)[0]
        return supercell_of(atoms, primitive), primitive
    if len(numbers) not in (3, 9):
        raise UsageError(
            f"--unfold {text}: expected three numbers, or the nine of a matrix row by row, found {len(numbers)}"
        )
    matrix = np.diag(numbers) if len(numbers) == 3 else np.reshape(numbers, (3, 3))
    if round(float(np.linalg.det(matrix))) == 0:
        raise UsageError(f"--unfold {text}: the matrix has the determinant 0")
    fixed = ~np.asarray(atoms.pbc)
    if not (
        np.array_equal(matrix[fixed], np.eye(3, dtype=int)[fixed])
        and np.array_equal(matrix[:, fixed], np.eye(3, dtype=int)[:, fixed])
    ):
        raise UsageError(
            f"--unfold {text}: along a direction that is not periodic nothing is repeated: give 1 there"
        )
    return matrix, None
