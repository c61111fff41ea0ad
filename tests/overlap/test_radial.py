"""S from radial functions, against integrals in closed form."""

import json

import numpy as np
from ase.units import Bohr

from gh_tools.orbitals.basis import Basis, ElementBasis, Shell
from gh_tools.orbitals.irreps import IrrepLayout
from gh_tools.overlap.fit import fit_overlap
from gh_tools.overlap.functions import FittedOverlap
from tests.overlap.gaussians import EXPONENT, gaussian_label, gaussian_overlap, silicon


def with_radial_functions(basis):
    """The Gaussians as a table: φ_s ∝ exp(-a r²), φ_p ∝ r exp(-a r²), normalised, in Bohr^(-3/2)."""
    r = np.linspace(0, 6.0 / Bohr, 1201)
    functions = []
    for degree in (0, 1):
        values = r**degree * np.exp(-EXPONENT * (r * Bohr) ** 2)
        values /= np.sqrt(np.sum(r**2 * values**2) * r[1])
        # p functions are derivatives by the centre: along +x the function is positive at positive x
        functions.append({"l": degree, "step": float(r[1] * Bohr), "values": values.tolist()})
    element = basis[14]
    shells = tuple(Shell(s.l, 3.5) for s in element.shells)
    text = json.dumps(functions)
    return Basis({14: ElementBasis(14, shells, 4.0, basis_text=text, code=element.code)})


def test_functions_are_those_of_the_integrals():
    label = gaussian_label(silicon())
    basis = with_radial_functions(label.basis)
    fit = fit_overlap(basis, [label])
    assert fit.source == "radial functions"
    assert fit.held_out < 1e-6
    source = FittedOverlap(Basis(basis.elements, fit.arrays), [14])
    random = np.random.default_rng(2)
    vector = random.normal(size=(300, 3))
    vector *= (random.uniform(0.5, 6.9, 300) / np.linalg.norm(vector, axis=1))[:, None]
    found = source.blocks((14, 14), vector)
    assert np.abs(found - gaussian_overlap(vector)).max() < 2e-6
    assert IrrepLayout(basis).pair[14, 14].shape == (4, 4)


def test_radial_functions_that_do_not_give_the_labels_are_not_used():
    label = gaussian_label(silicon())
    basis = with_radial_functions(label.basis)
    functions = json.loads(basis[14].basis_text)
    functions[1]["values"] = [1.1 * value for value in functions[1]["values"]]
    element = ElementBasis(
        14, basis[14].shells, 4.0, basis_text=json.dumps(functions), code="a program"
    )
    fit = fit_overlap(Basis({14: element}), [label])
    assert fit.source == "labels"


def test_files_of_orbitals_beside_the_matrices_are_found(tmp_path):
    """ABACUS's .orb file, 7 Bohr in steps of 0.01, gives the S of the folder's matrices."""
    from gh_tools.formats import table
    from gh_tools.formats.assemble import assemble
    from gh_tools.formats.format import read_source

    form = table.get("abacus")
    form.write(tmp_path / "si", gaussian_label(silicon()))
    r = 0.01 * np.arange(701)
    lines = ["Element Si", "Radius Cutoff(a.u.)         7", "Mesh 701", "dr 0.01"]
    for degree in (0, 1):
        values = r**degree * np.exp(-EXPONENT * (r * Bohr) ** 2)
        values /= np.sqrt(np.sum(r**2 * values**2) * 0.01)
        lines += ["                Type                   L                   N", f" 0 {degree} 0"]
        lines += [" ".join(f"{x:.14e}" for x in values[i : i + 4]) for i in range(0, 701, 4)]
    (tmp_path / "si" / "Si_1s1p.orb").write_text("\n".join(lines) + "\n")
    ham, _ = assemble(read_source(form, form.find(tmp_path / "si")[0]))
    assert [shell.cutoff for shell in ham.basis[14].shells] == [7 * Bohr] * 2
    fit = fit_overlap(ham.basis, [ham])
    # The file ends where the Gaussian has fallen to 1e-6 of its height.
    assert fit.source == "radial functions" and fit.held_out < 1e-5
