"""Schema 2 of the stores, declared as data: which arrays a store of each kind holds.

`share/gh_tools/docs/reference/stores.md` is this table as a document; `checks.arrays` validates a store against it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

SCHEMA = 2


@dataclass(frozen=True)
class Field:
    """One array, or a family of arrays, of a store.

    Attributes:
        path: in the store; ``<Z>``, ``<Zi>-<Zj>`` and ``<name>`` stand for one path component.
        shape: axes separated by blanks: a number, or a letter that means the same length wherever it
            stands. n (structures) and N (atoms) hold for the store, all others within one group.
            ``+1`` adds one, ``?`` marks an axis that may be absent.
        dtype: ``float``, ``int``, ``bool`` or ``str``; ``number`` for any of the first three.
        unit: of the values; empty where they have none.
        description: what the values are.
        required: whether a store without the array is invalid.
    """

    path: str
    shape: str
    dtype: str
    unit: str
    description: str
    required: bool = True

    @property
    def pattern(self) -> re.Pattern:
        """Regular expression that matches the paths of the family."""
        return _pattern(self.path)


@functools.cache  # each store that is opened asks for all of them, for each array
def _pattern(path: str) -> re.Pattern:
    parts = re.split(r"(<[^>]*>)", path)
    number = {"<Z>", "<Zi>", "<Zj>"}
    parts[1::2] = [r"[1-9]\d{0,2}" if part in number else "[^/]+" for part in parts[1::2]]
    parts[::2] = map(re.escape, parts[::2])
    return re.compile("".join(parts))


STRUCTURES = (
    Field("structures/atom_ptr", "n+1", "int", "", "first atom of each structure, and the end"),
    Field(
        "structures/cell", "n 3 3", "float", "Å", "cell vectors as rows; zero where there is none"
    ),
    Field("structures/pbc", "n 3", "bool", "", "periodic directions"),
    Field("structures/name", "n", "str", "", "unique name of each structure"),
    Field("atoms/number", "N", "int", "", "atomic number"),
    Field("atoms/position", "N 3", "float", "Å", "Cartesian position"),
    Field(
        "column/<name>",
        "n",
        "number",
        "",
        "design variable; unit and description in attributes",
        False,
    ),
)
BASIS = (
    Field("basis/number", "shells", "int", "", "atomic number; one row a shell"),
    Field("basis/index", "shells", "int", "", "place of the shell among those of its element"),
    Field("basis/l", "shells", "int", "", "degree of the spherical harmonics"),
    Field("basis/cutoff", "shells", "float", "Å", "radius beyond which the shell vanishes"),
    Field("basis/element/number", "elements", "int", "", "atomic number; one row an element"),
    Field(
        "basis/element/n_valence",
        "elements",
        "float",
        "",
        "valence electrons of the PAW setup or pseudopotential; NaN if not known",
    ),
    Field("basis/element/basis_name", "elements", "str", "", "basis as given to GPAW"),
    Field("basis/element/basis_text", "elements", "str", "", "the basis file itself"),
    Field(
        "basis/element/setup", "elements", "str", "", "type of the PAW setup; empty for the default"
    ),
    Field("basis/element/fingerprint", "elements", "str", "", "of the PAW setup"),
    Field("basis/element/hubbard", "elements", "str", "", "Hubbard terms; empty for none"),
    Field(
        "basis/element/code",
        "elements",
        "str",
        "",
        "program that the orbitals come from; empty for GPAW, whose setup and basis the other texts name",
        False,
    ),
    Field(
        "basis/overlap/onsite/<Z>/matrix", "k k", "float", "", "S_ii(0), fitted to labels", False
    ),
    Field(
        "basis/overlap/pairs/<Zi>-<Zj>/knots",
        "K",
        "float",
        "Å",
        "of quintic splines of the distance, the two-centre functions of S",
        False,
    ),
    Field(
        "basis/overlap/pairs/<Zi>-<Zj>/coefficients",
        "L f",
        "float",
        "",
        "of the splines, six fewer than knots; one column a function",
        False,
    ),
    Field(
        "basis/overlap/pairs/<Zi>-<Zj>/covered",
        "c 2",
        "float",
        "Å",
        "intervals of distances that the labels cover",
        False,
    ),
)
SPLIT = tuple(
    Field(f"split/{part}", part, "int", "", f"structures of the {name} set, in input order")
    for part, name in (("train", "training"), ("validation", "validation"), ("test", "test"))
)
HAMILTONIANS = (
    *STRUCTURES,
    *BASIS,
    Field("onsite/<Z>/ptr", "n+1", "int", "", "first row of each structure, and the end"),
    Field("onsite/<Z>/atom", "M", "int", "", "atom, counted within its structure"),
    Field(
        "onsite/<Z>/hamiltonian",
        "spin? M k k",
        "float",
        "eV",
        "H_ii(0), symmetric; of spinors (root attribute `spinor`) real and imaginary part, k counting both spins",
    ),
    Field("onsite/<Z>/overlap", "M k k", "float", "", "S_ii(0), symmetric"),
    Field("onsite/<Z>/uncertainty", "spin? M k k", "float", "eV", "of the hamiltonian", False),
    Field(
        "onsite/<Z>/members",
        "m spins M k k",
        "float",
        "eV",
        "what members of an ensemble differ by, scaled to the uncertainty",
        False,
    ),
    Field(
        "onsite/<Z>/out_of_domain",
        "M",
        "float",
        "",
        "how far the atom's environment is from those of the model's training set; above 1 it is outside",
        False,
    ),
    Field("pairs/<Zi>-<Zj>/ptr", "n+1", "int", "", "first row of each structure, and the end"),
    Field("pairs/<Zi>-<Zj>/i", "P", "int", "", "atom in cell 0, counted within its structure"),
    Field("pairs/<Zi>-<Zj>/j", "P", "int", "", "atom in cell R, counted within its structure"),
    Field("pairs/<Zi>-<Zj>/cell_offset", "P 3", "int", "", "lattice vector R, in cell vectors"),
    Field(
        "pairs/<Zi>-<Zj>/hamiltonian",
        "spin? P ki kj",
        "float",
        "eV",
        "H_ij(R); of spinors real and imaginary part",
    ),
    Field("pairs/<Zi>-<Zj>/overlap", "P ki kj", "float", "", "S_ij(R)"),
    Field(
        "pairs/<Zi>-<Zj>/uncertainty", "spin? P ki kj", "float", "eV", "of the hamiltonian", False
    ),
    Field(
        "pairs/<Zi>-<Zj>/members",
        "m spins P ki kj",
        "float",
        "eV",
        "what members of an ensemble differ by, scaled to the uncertainty",
        False,
    ),
    Field("scalar/<name>", "n", "float", "", "a number a structure; unit in attributes", False),
    Field(
        "bands/kpoint_ptr", "n+1", "int", "", "first k-point of each structure, and the end", False
    ),
    Field(
        "bands/kpoint", "K 3", "float", "", "k-points of the DFT run, in reciprocal vectors", False
    ),
    Field("bands/weight", "K", "float", "", "their weights", False),
    Field(
        "bands/eigenvalue_ptr",
        "n+1",
        "int",
        "",
        "first eigenvalue of each structure, and the end",
        False,
    ),
    Field(
        "bands/eigenvalue",
        "E",
        "float",
        "eV",
        "eigenvalues of the DFT run, by spin, k-point, band",
        False,
    ),
)

OVERLAP = tuple(
    field
    for field in HAMILTONIANS
    if not field.path.startswith("bands/")
    and field.path.rsplit("/", 1)[1]
    not in ("hamiltonian", "uncertainty", "members", "out_of_domain")
)


def _scaleshift(group: str = "") -> tuple[Field, ...]:
    """Parameters of the scale-shift, one a component of the irreps of a block.

    Pairs have them in both frames; a model store has those that the model needs.
    """
    onsite, pairs = f"{group}onsite/<Z>/", f"{group}pairs/<Zi>-<Zj>/"
    bond = f"{group}bond_pairs/<Zi>-<Zj>/"
    pair_fields = (
        ("shift_amplitude", "C", "eV", "a of the shift a exp(-(r/λ)^p)"),
        ("shift_length", "C", "Å", "λ of the shift"),
        ("shift_power", "C", "", "p of the shift"),
        ("scale_amplitude", "C", "eV", "b of the scale's b exp(-(r/μ)^q)"),
        ("scale_length", "C", "Å", "μ of the scale"),
        ("scale_power", "C", "", "q of the scale"),
        ("scale_floor", "C", "eV", "added to that in quadrature"),
        ("r_min", "C", "Å", "smaller r count as this"),
    )
    bond_fields = (
        ("shift", "K C", "eV", "in the bond's frame: coefficients of radial functions"),
        ("scale", "3 C", "", "a, b, c of exp(a + b r + c r²)"),
        ("range", "3", "Å", "shortest and longest distance of the data; cutoff"),
    )
    onsite_energy = (
        ("r_min", "1", "Å", "closer neighbours count as that far"),
        ("local", "E D", "eV", "coefficients of an atom's own descriptors, by element"),
        (
            "neighbour",
            "E D",
            "eV",
            "coefficients of an atom's contribution to the energies of its neighbours",
        ),
        (
            "charge",
            "E D",
            "e",
            "coefficients of an atom's charge, of which the potential counts; there if it helps",
        ),
        ("draws", "M Q E D", "", "what draws of all these from their posterior differ by"),
    )
    return (
        *(
            Field(f"{group}onsite_energy/{n}", shape, "float", u, t, False)
            for n, shape, u, t in onsite_energy
        ),
        Field(onsite + "shift", "C", "float", "eV", "zero but for scalars"),
        Field(
            onsite + "scale",
            "C",
            "float",
            "eV",
            "what predictions of order one are multiplied with",
        ),
        *(Field(pairs + n, shape, "float", unit, text) for n, shape, unit, text in pair_fields),
        *(Field(bond + n, shape, "float", unit, text) for n, shape, unit, text in bond_fields),
    )


def _projected(group: str, what: str, unit: str, *names: Field) -> tuple[Field, ...]:
    """Densities of states projected on parts of structures, and the local band edges of these."""
    edge = "eV", "where its density, integrated from E_F, reaches the threshold; from E_F"
    unsure = "eV", "between its places at half and at twice the threshold"
    fields = (
        Field("ptr", "n+1", "int", "", f"first of the {what} of each structure, and the end"),
        Field("atoms", "G", "float", "", "number of atoms"),
        Field("density", "G p", "float", unit, "projected density of states, on dos/energy"),
        Field("valence", "G", "float", edge[0], f"local valence band edge: {edge[1]}"),
        Field("conduction", "G", "float", edge[0], f"local conduction band edge: {edge[1]}"),
        Field("valence_uncertainty", "G", "float", unsure[0], f"distance {unsure[1]}"),
        Field("conduction_uncertainty", "G", "float", unsure[0], f"distance {unsure[1]}"),
    )
    own = (replace(field, path=f"{group}/{field.path}", required=False) for field in fields)
    return (*(replace(field, required=False) for field in names), *own)


# What a split counts; stores of earlier versions lack it.
COUNTED = tuple(replace(field, required=False) for field in STRUCTURES)
SCALESHIFT = (*COUNTED, *BASIS, *SPLIT, *_scaleshift())
# What a model was trained on; those of earlier versions lack it.
DOMAIN = tuple(
    Field(f"domain/{path}", shape, dtype, unit, text, False)
    for path, shape, dtype, unit, text in (
        ("pairs/number", "P 2", "int", "", "atomic numbers of a species pair"),
        ("pairs/distance", "P 2", "float", "Å", "shortest, and deviation of the nearest ones"),
        ("elements/number", "E", "int", "", "atomic number"),
        ("elements/coordination", "E c", "int", "", "atoms with 0, 1, 2 ... neighbours"),
        ("groups/periodic", "G", "int", "", "number d of periodic directions"),
        ("groups/structures", "G", "int", "", "structures of the same elements and d"),
        (
            "groups/density",
            "G 2",
            "float",
            "u/Å^d",
            "least and largest mass density; zeros if d = 0",
        ),
        (
            "groups/extents",
            "G 3 2",
            "float",
            "Å",
            "rms bond lengths along principal axes, likewise",
        ),
        ("groups/fractions", "G e 2", "float", "", "part of each element, likewise"),
        (
            "environments/left_out",
            "s",
            "float",
            "",
            "largest distance of an atom's environment of each left-out structure",
        ),
        ("environments/atoms", "1", "float", "", "mean number of atoms of these structures"),
        ("environments/<Z>/mean", "f", "float", "", "mean of the descriptors' invariants"),
        ("environments/<Z>/axes", "f q", "float", "", "directions of their largest variance"),
        ("environments/<Z>/scale", "q+1", "float", "", "deviation along them, and of the rest"),
        ("environments/<Z>/points", "m q+1", "float", "", "whitened coordinates of atoms"),
    )
)
CALIBRATION = (
    Field(
        "calibration/onsite/<Z>/factor",
        "C",
        "float",
        "",
        "by component of on-site irreps, what deviations of an ensemble are multiplied with",
        False,
    ),
    Field(
        "calibration/pairs/<Zi>-<Zj>/factor",
        "r C",
        "float",
        "",
        "the same of pairs, at distances of 0, 1, 2 ... Å",
        False,
    ),
)
MODEL = (*COUNTED, *BASIS, *SPLIT, *_scaleshift("scaleshift/"), *DOMAIN, *CALIBRATION)
SPECTRA = (
    *STRUCTURES,
    Field("scalar/<name>", "n", "float", "", "a number a structure; unit in attributes", False),
    Field("bands/kpoint_ptr", "n+1", "int", "", "first k-point of each structure, and the end"),
    Field("bands/kpoint", "K 3", "float", "", "k-points, in reciprocal vectors"),
    Field("bands/weight", "K", "float", "", "their weights"),
    Field(
        "bands/eigenvalue_ptr", "n+1", "int", "", "first eigenvalue of each structure, and the end"
    ),
    Field(
        "bands/eigenvalue",
        "E",
        "float",
        "eV",
        "eigenvalues, absolute, by spin, k-point, band; infinite where another k-point has more",
    ),
    Field("bands/below", "B", "int", "", "eigenvalues below those listed, by spin, k-point", False),
    Field("solver/solver", "n", "str", "", "dense, slices or kpm", False),
    Field("solver/engine", "n", "str", "", "library that factorised", False),
    Field(
        "solver/window", "n 2", "float", "eV", "where all eigenvalues are listed, absolute", False
    ),
    Field(
        "solver/eigenvalues",
        "n",
        "int",
        "",
        "number of eigenvalues listed; the difference of the inertia at both ends of the window",
        False,
    ),
    Field("solver/residual", "n", "float", "eV", "largest ‖Hx - εSx‖; NaN where dense", False),
    Field("solver/error", "n", "float", "eV", "bound of an eigenvalue's error that follows", False),
    Field("dos/energy", "p", "float", "eV", "energies of the densities, from E_F"),
    Field(
        "dos/total", "n p", "float", "1/eV", "density of states of both spins, mean over grid cells"
    ),
    Field("dos/species/<Z>", "n p", "float", "1/eV", "projection on an element", False),
    Field("dos/error", "n p", "float", "1/eV", "standard error of the total (solver kpm)", False),
    *_projected(
        "groups",
        "groups",
        "1/eV",
        Field("groups/name", "G", "str", "", "of the group"),
        Field("groups/center", "G", "float", "Å", "mean coordinate along the direction"),
    ),
    *_projected(
        "positions",
        "positions along a direction",
        "1/(eV Å)",
        Field("positions/position", "G", "float", "Å", "middle of the bin along the direction"),
        Field("positions/spacing", "G", "float", "Å", "width of the bin"),
    ),
    *(
        replace(field, path=f"states/{field.path}", required=False)
        for field in (
            Field("ptr", "n+1", "int", "", "first state of each structure, and the end"),
            Field("spin", "M", "int", "", "spin channel"),
            Field("band", "M", "int", "", "number of the band, from 0"),
            Field("zone", "M", "float", "", "part of the zone in which it lies in the window"),
            Field("energy", "M", "float", "eV", "mean over that part, from E_F"),
            Field("lowest", "M", "float", "eV", "from E_F"),
            Field("highest", "M", "float", "eV", "from E_F"),
            Field("electrons", "M", "float", "", "that are in it"),
            Field("sharing", "M", "float", "", "atoms that share it: 1/Σ p² of Löwdin's weights"),
            Field("atom", "M kept", "int", "", "atoms with the largest weights; -1 for none"),
            Field("weight", "M kept", "float", "", "their weights"),
        )
    ),
)

KINDS: Mapping[str, tuple[Field, ...]] = {
    "structures": STRUCTURES,
    "hamiltonians": HAMILTONIANS,
    "overlap": OVERLAP,
    "scaleshift": SCALESHIFT,
    "model": MODEL,
    "spectra": SPECTRA,
    "posterior": (),
}

# What makes a store of each kind.
MAKERS = {
    "structures": "gh-build",
    "hamiltonians": "gh-label (by DFT) or gh-infer (with a model)",
    "overlap": "gh-overlap",
    "scaleshift": "gh-fit-scaleshift",
    "model": "gh-train",
    "spectra": "gh-dos",
    "posterior": "gh-bayes",
}
