"""gh-tools from Python: stores as objects, predictions without files.

```python
import gh_tools as gh

labels = gh.open("wse2.hamiltonians.zarr")
labels[0].eigenvalues([(0, 0, 0)])
prediction = gh.Model("wse2.model.zarr")(atoms)
```
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gh_tools.api.compute import Model as Model
from gh_tools.api.compute import label as label
from gh_tools.api.convergence import convergence as convergence
from gh_tools.api.stores import HamiltonianSet, Opened, SpectraSet, StructureSet
from gh_tools.store.read import open_store
from gh_tools.trained_model import shipped

models = shipped.names

_KINDS: dict[str, type[Opened]] = {
    "structures": StructureSet,
    "hamiltonians": HamiltonianSet,
    "spectra": SpectraSet,
    "model": Model,
}


def open(path: Path | str) -> Any:
    """Open any store of gh-tools.

    Args:
        path: of the store.

    Returns:
        A `StructureSet`, `HamiltonianSet`, `SpectraSet` or `Model`; of all other kinds an `Opened`.

    Raises:
        NoInputError: there is no such store.
        DataError: it is broken, or no store of gh-tools.
    """
    store = open_store(path)
    return _KINDS.get(store.kind, Opened)(store)
