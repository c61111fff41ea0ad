import matplotlib.image
import numpy as np
import pytest
import xarray

from gh_tools.bayes.plot import plot_data, plot_posterior
from gh_tools.bayes.summary import summarize_posterior
from tests.bayes.data import planted


def ink(path):
    """Return the part of a picture that is not white, from a file that must be a picture."""
    pixels = matplotlib.image.imread(path)[..., :3]
    return np.mean(pixels.min(axis=-1) < 0.98)


@pytest.mark.parametrize("names", [["a"], ["a", "b:c", "sigma"]])
def test_posterior_of_any_size(tmp_path, names):
    rng = np.random.default_rng(0)
    common = rng.normal(size=(2, 400))
    posterior = xarray.Dataset(
        {
            # Nearly the same numbers make the thinnest ridge that contours must follow.
            name: (("chain", "draw"), 10.0**k * (common + 1e-3 * rng.normal(size=(2, 400))))
            for k, name in enumerate(names)
        }
    )
    plot_posterior(tmp_path / "x.png", posterior, summarize_posterior(posterior))
    assert ink(tmp_path / "x.png") > 0.02


@pytest.mark.parametrize("predictors", [[], ["density"], ["density", "twist"]])
def test_data_of_any_size(tmp_path, predictors):
    plot_data(tmp_path / "x.png", planted(), predictors, "holes")
    assert ink(tmp_path / "x.png") > 0.02
