"""From names of basis sets and setups to the basis table."""

import re
from dataclasses import replace

import numpy as np
import pytest
from ase.units import Bohr, Ha
from gpaw.atom.all_electron import ValenceData
from gpaw.setup_data import SetupData

from gh_tools.dft.basis_sets import basis_table, gpaw_basis, make_setups
from gh_tools.dft.config import LabelConfig
from gh_tools.errors import DataError, UsageError
from gh_tools.orbitals.basis import Basis


def test_shells_and_cutoffs_are_those_of_the_basis_files():
    basis = basis_table(LabelConfig(setups={"W": "6"}), [74, 34])
    assert basis.numbers == (34, 74)
    # GPAW's own listing of these files, in Bohr.
    cutoffs = {34: (5.734375, 7.265625, 7.265625), 74: (9.03125, 7.125, 9.03125)}
    for number, expected in cutoffs.items():
        found = [shell.cutoff / Bohr for shell in basis[number].shells]
        np.testing.assert_allclose(found, expected, atol=1e-12)
    assert (basis[34].degrees, basis[74].degrees) == ((0, 1, 2), (0, 2, 1))
    assert (basis[34].n_valence, basis[74].n_valence) == (6, 6)


def test_named_sets_of_single_elements():
    config = LabelConfig(basis="dzp", basis_by_element={"O": "sz(dzp)"})
    basis = basis_table(config, [1, 8])
    assert (basis[1].degrees, basis[8].degrees) == ((0, 0, 1), (0, 1))
    with pytest.raises(UsageError, match=r"no basis 'qzp' .* for H.*basis_by_element\.H"):
        basis_table(LabelConfig(basis="qzp"), [1])
    # A setup that is not there: what to type instead.
    with pytest.raises(UsageError, match=r"leave setups\.B out.* 3 valence electrons$"):
        basis_table(LabelConfig(setups={"B": "3"}), [5])
    with pytest.raises(UsageError, match=r"14 valence electrons, or setups\.Mo=6$"):
        basis_table(LabelConfig(setups={"Mo": "14"}), [42])


def test_sets_of_lanthanides_are_not_divided():
    with pytest.raises(UsageError, match=r"for Gd: .* --set basis_by_element\.Gd=dzp"):
        basis_table(LabelConfig(), [64])
    gadolinium = basis_table(LabelConfig(basis_by_element={"Gd": "dzp"}), [64])[64]
    assert gadolinium.degrees == (0, 0, 1, 1, 2, 3, 0, 1, 2, 3)
    with pytest.raises(UsageError, match=r"for At: .*At\.PBE"):
        basis_table(LabelConfig(), [85])


def test_confinement_raises_the_energy_of_the_atoms_states():
    config = LabelConfig(energy_shift={"Au": 0.3})
    shells = {shell.l: shell.cutoff / Bohr for shell in basis_table(config, [79])[79].shells}
    atom = ValenceData.from_setupdata_onthefly_potentials(
        SetupData.find_and_read_path("Au", "PBE", "paw")
    )
    for j, (n, degree) in enumerate(zip(atom.n_j, atom.l_j, strict=True)):
        if (n, degree) in ((6, 0), (5, 2)):
            # The confining potential that GPAW documents: amplitude 12, from 0.6 of the cutoff on.
            cutoff = shells[degree]
            wall = atom.get_confinement_potential(12.0, 0.6 * cutoff, cutoff)
            _, energy = atom.solve_confined(j, cutoff, wall)
            # The cutoff in the file is rounded up to a grid of 1/64 Bohr.
            assert (energy - atom.e_j[j]) * Ha == pytest.approx(0.3, abs=0.02)
    weak = basis_table(LabelConfig(energy_shift={"Au": 0.1}), [79])[79]
    assert weak.reach / Bohr > max(shells.values())


def test_the_text_in_the_table_is_the_whole_basis():
    for config in (LabelConfig(), LabelConfig(energy_shift={"Hf": 0.3})):
        element = basis_table(config, [72])[72]
        again = gpaw_basis(element)
        assert tuple(bf.l for bf in again.bf_j) == element.degrees
        assert max(bf.rc for bf in again.bf_j) * Bohr == element.reach
        assert all(np.abs(bf.phit_g).max() > 0 for bf in again.bf_j)


def test_hubbard_terms_reach_the_setup():
    config = LabelConfig(setups={"Ni": "10"}, hubbard={"Ni": {"d": 4.5}})
    basis = basis_table(config, [28, 8])
    assert (basis[28].hubbard, basis[8].hubbard) == (":d,4.5", "")
    oxygen, nickel = make_setups(basis)
    assert oxygen.hubbard_u is None
    assert (nickel.hubbard_u.l, nickel.hubbard_u.U) == ([2], [pytest.approx(4.5 / Ha)])
    assert nickel.Nv == 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "no element found"),
        (lambda text: text[: len(text) // 2], "no element found"),
        (lambda text: text.replace('l="0"', 'l="1"'), "shells"),
        (lambda text: text.replace('rc="', 'rc="1'), "shells"),
        (lambda text: text.replace('iend="', 'iend="999999'), "more than 100000 points"),
        (lambda text: text.replace('eq="', 'eq="q'), "Unknown grid"),
        (lambda text: re.sub(r"(<basis_function[^>]*>)", r"\1 nan ", text), "not finite"),
        (lambda text: text.replace("<basis_function", "<function"), "mismatched tag"),
    ],
)
def test_a_basis_file_that_is_none_or_another_is_refused(change, said):
    element = basis_table(LabelConfig(), [1])[1]
    gpaw_basis(element)
    with pytest.raises(DataError, match=f"basis_text: expected the basis file of H .*{said}"):
        gpaw_basis(replace(element, basis_text=change(element.basis_text)))


@pytest.mark.parametrize("setup", ["ae", "ah", "hgh", "ghost", "../../x", "paw:zz"])
def test_a_setup_that_is_none_or_another_is_refused(setup):
    element = replace(basis_table(LabelConfig(), [1])[1], setup=setup)
    with pytest.raises(DataError, match="install the gpaw-data that the labels were made with"):
        make_setups(Basis({1: element}))
