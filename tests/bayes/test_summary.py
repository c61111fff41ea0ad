"""Numbers are told to what their standard deviation leaves of them."""

import pytest

from gh_tools.bayes.summary import rounded


@pytest.mark.parametrize(
    "value, sd, text",
    [
        (-0.28874, 0.1537, "-0.29"),
        (9.2341, 1.3, "9.2"),
        (0.00312, 0.0996, "0.003"),  # 0.0996 has its second digit at the third place
        (-0.0001, 0.15, "0.00"),
        (1234.5, 88.0, "1234"),
        (9.04e13, 3.4e14, "9e+13"),
        (2.2526e17, 7.6e16, "2.25e+17"),
        (-4.8213e-9, 2.1e-10, "-4.82e-09"),
        (0.5, 0.0, "0.5"),  # nothing is known of its error
        (float("nan"), 1.0, "nan"),
    ],
)
def test_two_digits_of_the_standard_deviation_are_kept(value, sd, text):
    assert rounded(value, sd) == text
