"""S from radial functions, against integrals in closed form."""

import json

import numpy as np
import pytest
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


def table(degree, r):
    """The Gaussian of a shell, normalised, over r in Bohr."""
    fine = np.linspace(0, 20, 4001)
    norm = np.sqrt(np.sum(fine**2 * (fine**degree * np.exp(-EXPONENT * (fine * Bohr) ** 2)) ** 2))
    return r**degree * np.exp(-EXPONENT * (r * Bohr) ** 2) / (norm * np.sqrt(fine[1]))


def read_one(name, place):
    from gh_tools.formats.assemble import assemble
    from gh_tools.formats.format import read_source
    from gh_tools.formats.table import get_format

    form = get_format(name)
    return assemble(read_source(form, form.find(place)[0]))[0]


def assert_exact(ham, radius):
    """S of the labels is that of the files, and of pairs farther apart than all labels, too."""
    assert np.allclose([shell.cutoff for shell in ham.basis[14].shells], radius)
    fit = fit_overlap(ham.basis, [ham])
    # The files end where the Gaussian has fallen to 1e-6 of its height.
    assert fit.source == "radial functions" and fit.held_out < 1e-5
    source = FittedOverlap(Basis(ham.basis.elements, fit.arrays), [14])
    vector = np.array([[0.0, 0.3, 1.2], [0.9, 0.0, 0.7]])  # nearer than in any label
    assert np.abs(source.blocks((14, 14), vector) - gaussian_overlap(vector)).max() < 1e-5


def test_orb_files_of_abacus(tmp_path):
    """7 Bohr in steps of 0.01."""
    from gh_tools.formats.table import get_format

    get_format("abacus").write(tmp_path / "si", gaussian_label(silicon()))
    r = 0.01 * np.arange(701)
    lines = ["Element Si", "Radius Cutoff(a.u.)         7", "Mesh 701", "dr 0.01"]
    for degree in (0, 1):
        values = table(degree, r)
        lines += ["                Type                   L                   N", f" 0 {degree} 0"]
        lines += [" ".join(f"{x:.14e}" for x in values[i : i + 4]) for i in range(0, 701, 4)]
    (tmp_path / "si" / "Si_1s1p.orb").write_text("\n".join(lines) + "\n")
    assert_exact(read_one("abacus", tmp_path / "si"), 7 * Bohr)


def write_ion_xml(file, degrees=(1, 0)):
    """500 points, over r^l, in the order of SIESTA's file, which need not be that of the matrices."""
    r = np.linspace(0, 7, 500)
    lines = ['<ion version="0.1">', "<symbol> Si </symbol>", "<label>Si</label>", "<z> 14 </z>"]
    lines += ["<mass> 28.09 </mass>", "<paos>"]
    for degree in degrees:
        with np.errstate(all="ignore"):
            values = table(degree, r) / r**degree
        values[0] = 2 * values[1] - values[2]
        values[-1] = 0
        lines += [
            f'<orbital l="{degree}" n="{degree + 1}" z="1" ispol="0" population="2.0">',
            f"<radfunc><npts> 500 </npts><delta> {r[1]:.12e} </delta><cutoff> 7.0 </cutoff><data>",
            *(f"{x:.12e} {y:.12e}" for x, y in zip(r, values, strict=True)),
            "</data></radfunc></orbital>",
        ]
    file.write_text("\n".join([*lines, "</paos>", "</ion>"]) + "\n")


def siesta_run(folder):
    pytest.importorskip("sisl")
    from gh_tools.formats.sisl import to_sisl
    from tests.formats.writers import write_hsx

    folder.mkdir()
    write_hsx(folder / "si.HSX", to_sisl(gaussian_label(silicon())), -6.0, 32.0)


def test_ion_xml_files_of_siesta(tmp_path):
    siesta_run(tmp_path / "si")
    write_ion_xml(tmp_path / "si" / "Si.ion.xml")
    assert_exact(read_one("siesta", tmp_path / "si"), 7 * Bohr)


def test_ion_files_that_do_not_fit_are_named(tmp_path, caplog):
    siesta_run(tmp_path / "si")
    write_ion_xml(tmp_path / "si" / "Si.ion.xml", degrees=(0, 1, 2))
    assert not read_one("siesta", tmp_path / "si").basis[14].basis_text
    assert "its shells are not those of Si" in caplog.text
    whole = (tmp_path / "si" / "Si.ion.xml").read_text()
    (tmp_path / "si" / "Si.ion.xml").write_text(whole[:3000])
    assert not read_one("siesta", tmp_path / "si").basis[14].basis_text
    assert "no radial functions that can be read" in caplog.text


def test_ion_nc_files_of_siesta(tmp_path):
    netcdf = pytest.importorskip("netCDF4")
    siesta_run(tmp_path / "si")
    r = np.linspace(0, 7, 500)
    with netcdf.Dataset(str(tmp_path / "si" / "Si.ion.nc"), "w") as ion:
        ion.Atomic_number = np.int32(14)
        ion.createDimension("norbs", 2)
        ion.createDimension("ntb", 500)
        for name, kind, values in (
            ("orbnl_l", "i4", [0, 1]),
            ("orbnl_n", "i4", [1, 2]),
            ("orbnl_z", "i4", [1, 1]),
            ("delta", "f8", [r[1]] * 2),
            ("cutoff", "f8", [7.0] * 2),
        ):
            ion.createVariable(name, kind, ("norbs",))[:] = values
        orb = ion.createVariable("orb", "f8", ("norbs", "ntb"))
        for degree in (0, 1):
            orb[degree] = table(degree, r) / np.where(r > 0, r, 1) ** degree
            orb[degree, 0] = 2 * orb[degree, 1] - orb[degree, 2]
    assert_exact(read_one("siesta", tmp_path / "si"), 7 * Bohr)


def test_pao_files_of_openmx(tmp_path):
    """500 points on a logarithmic mesh, and more functions than the basis takes."""
    from tests.formats import writers

    (tmp_path / "si").mkdir()
    made = writers.dense(gaussian_label(silicon()), "openmx")
    writers.write_openmx(tmp_path / "si" / "si.scfout", made)
    x = np.linspace(-7.0, np.log(7.0), 500)
    lines = ["radial.cutoff.pao  7.0", "maxL.pao 1", "num.pao 2"]
    for degree in (0, 1):
        rows = np.column_stack([x, np.exp(x), table(degree, np.exp(x)), np.sin(x)])
        lines += [f"<pseudo.atomic.orbitals.L={degree}"]
        lines += [" ".join(f"{value:.14e}" for value in row) for row in rows]
        lines += [f"pseudo.atomic.orbitals.L={degree}>"]
    (tmp_path / "si" / "Si7.0.pao").write_text("\n".join(lines) + "\n")
    assert_exact(read_one("openmx", tmp_path / "si"), 7 * Bohr)


def test_one_structures_files_hold_for_all(tmp_path):
    """Whichever is imported first."""
    from gh_tools.formats.importing import import_structures
    from gh_tools.formats.search import find_sources
    from gh_tools.formats.table import get_format
    from gh_tools.store.hamiltonians import HamiltonianReader
    from gh_tools.store.provenance import Provenance

    for name in ("a", "b", "c"):
        siesta_run(tmp_path / name)
    write_ion_xml(tmp_path / "b" / "Si.ion.xml")
    sources, names = find_sources([str(tmp_path)], [get_format("siesta")])
    store = tmp_path / "x.hamiltonians.zarr"
    import_structures(store, sources, names, Provenance(program="test"))
    element = HamiltonianReader(store).basis[14]
    assert element.basis_text and np.allclose([s.cutoff for s in element.shells], 7 * Bohr)
