"""Which exchange-correlation functionals this build of GPAW has, and which of them labels can be made with."""

from __future__ import annotations

from gh_tools.errors import UsageError

# Those of GPAW itself for which its data sets hold PAW setups; all others are libxc's.
BUILT_IN = ("LDA", "PBE", "RPBE", "revPBE")
_HOW = "the how-to page on labels, 'Functionals', tells how to get the others"


def setup_family(xc: str) -> str:
    """Return the name of the PAW setups that go with a functional, such as PBE for PBEsol.

    Args:
        xc: name of the functional, as GPAW knows it.

    Raises:
        UsageError: this build of GPAW does not have the functional, or H(R) of it is no local Hamiltonian: that of
            exact exchange depends on the orbitals, and GPAW's interface for LCAO does not offer it.
    """
    from gpaw.xc import XC

    try:
        functional = XC(xc)
    except Exception as problem:  # a name is looked up in many places, each with errors of its own
        known = ", ".join(BUILT_IN)
        if not has_libxc():
            raise UsageError(
                f"xc: expected one of {known}, found {xc!r}: this GPAW was built without libxc, which brings all "
                f"other functionals; {_HOW}"
            ) from None
        raise UsageError(
            f"xc: neither GPAW nor libxc has a functional {xc!r} ({_first_line(problem)}); expected {known}, or a "
            "name of libxc's such as PBEsol or GGA_X_PBE_SOL+GGA_C_PBE_SOL"
        ) from None
    # Meta-GGAs count as orbital-dependent in GPAW for their kinetic energy density, whose potential is local.
    if functional.type == "HYB" or (functional.type != "MGGA" and functional.orbital_dependent):
        raise UsageError(
            f"xc: {xc!r} has exact exchange or depends on the orbitals in another way, which GPAW does not offer for "
            "LCAO; choose an LDA, GGA or meta-GGA"
        )
    return functional.get_setup_name()


def has_libxc() -> bool:
    """Return whether this GPAW was built with libxc."""
    from gpaw import get_libraries

    return bool(get_libraries().get("libxc"))


def _first_line(problem: Exception) -> str:
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__
