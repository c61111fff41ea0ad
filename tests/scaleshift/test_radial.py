"""The envelope of fits is the one of networks."""

import e3x
import numpy as np

from gh_tools.scaleshift.radial import smooth_cutoff


def test_it_is_the_envelope_of_the_networks():
    x = np.array([0.0, 0.3, 0.9, 0.999, 1.0, 1.5])
    np.testing.assert_allclose(smooth_cutoff(x), e3x.nn.smooth_cutoff(x), rtol=0, atol=1e-6)
