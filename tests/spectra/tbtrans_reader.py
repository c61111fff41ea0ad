"""What TBtrans does with its input, by sisl's readers and self-energies."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose

sisl = pytest.importorskip("sisl")


def as_tbtrans(path, spin=0):
    """Return energies and T(E) from an input and the files that it names, after what TBtrans checks."""
    given = sisl.get_sile(str(path))

    def matrix(name):
        return sisl.get_sile(str(path.with_name(name)), mode="r").read_hamiltonian()

    def block(name):
        return dict(line.split(None, 1) for line in given.get(name))

    device = matrix(given.get("TBT.HS"))
    eta = given.get("TBT.Elecs.Eta", unit="eV")
    contour = block("TBT.Contour.line")
    assert contour["method"] == "mid-rule"
    low, high = (float(number) for number in re.findall(r"(\S+) eV", contour["from"]))
    count = int(contour["points"])
    energy = low + (high - low) / count * (np.arange(count) + 0.5)
    grid = [int(line.split()[n]) for n, line in enumerate(given.get("TBT.kgrid.MonkhorstPack"))]
    ends = []
    for name in given.get("TBT.Elecs"):
        lead = block(f"TBT.Elec.{name}")
        assert block(f"TBT.ChemPot.{lead['chemical-potential']}") == {"mu": "0.0 eV"}
        electrode = matrix(lead["HS"])
        n = electrode.na
        atoms = np.arange(n) + (0 if lead["electrode-position"] == "1" else device.na - n)
        sign, axis = lead["semi-inf-direction"][0], int(lead["semi-inf-direction"][2]) - 1
        assert electrode.nsc[axis] == 3
        assert device.nsc[axis] == 1
        assert grid[axis] == 1
        assert_allclose(
            device.xyz[atoms] - device.xyz[atoms[0]],
            electrode.xyz - electrode.xyz[0],
            atol=1e-6,
        )
        ratio = device.cell / np.linalg.norm(electrode.cell, axis=1, keepdims=True)
        for m in range(3):  # parallel, and as wide
            along = ratio[m] @ electrode.cell[m] / np.linalg.norm(electrode.cell[m])
            assert along == pytest.approx(np.linalg.norm(ratio[m]))
            assert m == axis or along == pytest.approx(1)
        ends.append(
            (
                sisl.physics.RecursiveSI(electrode, f"{sign}{'ABC'[axis]}", eta=eta),
                device.a2o(atoms, all=True),
            )
        )
    assert sum(len(orbitals) for _, orbitals in ends) < device.no
    found = np.zeros(count)
    points = sisl.MonkhorstPack(device.geometry, grid, trs=False)
    extra = {"spin": spin} if device.spin.is_polarized else {}
    for k, weight in zip(points.k, points.weight, strict=True):
        h, s = device.Hk(k, format="array", **extra), device.Sk(k, format="array")
        for index, e in enumerate(energy):
            z = complex(e, eta)
            inverse, gammas = z * s - h, []
            for of, orbitals in ends:
                sigma = of.self_energy(z, k, dtype=np.complex128, **extra)
                inverse[np.ix_(orbitals, orbitals)] -= sigma
                gammas.append(1j * (sigma - sigma.conj().T))
            green = np.linalg.inv(inverse)[np.ix_(ends[0][1], ends[1][1])]
            found[index] += weight * np.trace(gammas[0] @ green @ gammas[1] @ green.conj().T).real
    return energy, found
