"""Which functionals this build of GPAW has."""

import pytest

from gh_tools.dft.functionals import BUILT_IN, has_libxc, setup_family
from gh_tools.errors import UsageError


@pytest.mark.parametrize("name", BUILT_IN)
def test_those_of_gpaw_itself_are_there_in_any_build(name):
    assert setup_family(name) == name


def test_a_functional_of_libxc_is_there_or_the_message_says_what_is():
    if has_libxc():
        assert setup_family("PBEsol") == "PBE"
        return
    with pytest.raises(
        UsageError, match=r"xc: expected one of LDA, PBE, .*'PBEsol'.* without libxc"
    ):
        setup_family("PBEsol")


def test_exact_exchange_is_refused():
    with pytest.raises(UsageError, match=r"exact exchange|libxc"):
        setup_family("PBE0")
    with pytest.raises(UsageError, match="exact exchange"):
        setup_family("EXX")
