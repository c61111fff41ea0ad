"""A table as a study of doped structures gives it, with known coefficients."""

import numpy as np

from gh_tools.bayes.table import Table

SLOPES = {"ni_per_hf": 970.0, "density": 4.1, "se_vacancy_rate": -500.0}
SIGMA = 2.0
UNITS = {
    "ni_per_hf": "",
    "density": "g/cm^3",
    "se_vacancy_rate": "",
    "twist": "deg",
    "holes": "1/nm^2",
}


def planted(n=72, seed=0):
    """Return a table whose holes follow `SLOPES` with noise `SIGMA`; twist has no effect."""
    rng = np.random.default_rng(seed)
    columns = {
        "ni_per_hf": rng.uniform(3e-3, 17e-3, n),
        "density": rng.uniform(6.6, 8.4, n),
        "se_vacancy_rate": rng.poisson(2, n) / 200,
        "twist": rng.uniform(0, 60, n),
    }
    effect = sum(slope * columns[name] for name, slope in SLOPES.items())
    columns["holes"] = effect + rng.normal(0, SIGMA, n)
    return Table([f"s{k}" for k in range(n)], columns, dict(UNITS), "made.spectra.zarr")
