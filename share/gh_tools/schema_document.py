"""The schema of the stores as a document, made from the schema as code."""

from __future__ import annotations

from gh_tools.store.schema import KINDS, SCHEMA, Field

PREFACE = f"""# Stores, schema {SCHEMA}

Made from `gh_tools/store/schema.py`; do not edit. Every command validates what it opens against it.

A store is a directory in [Zarr](https://zarr.dev) format 3, named `NAME.zarr`. It appears under its name only when it is
whole; what is unfinished is in `NAME.zarr.partial`. There is no pickle, no padding and no group a structure: arrays hold the
rows of all structures behind each other, and `ptr` arrays say where each begins.

Attributes of the root:

| attribute | holds |
| --- | --- |
| `kind` | what the store holds: {", ".join(f"`{kind}`" for kind in KINDS)} |
| `schema` | {SCHEMA}; readers refuse a larger one, and read smaller ones (names of before: `gh_tools/aliases.py`) |
| `id` | SHA-256 of all files but the root's `zarr.json`, with their names, and of the root's other attributes but `history` and `status` |
| `metadata_id` | the same of the metadata of all arrays (their `zarr.json`) alone, and without `id` |
| `history` | how it was made, oldest entry first: program, version, argv, time (honours SOURCE_DATE_EPOCH), seed, config, and each input's path (relative to the store's folder), id and kind |
| `status` | `complete`; written last |

Nothing is read unchecked. Whatever a command opens has attributes and arrays of this schema, hashes that hold (of stores above
256 MiB the `metadata_id`), all its chunks (those of zeros are written too), no more in memory than the files can hold, and values
that can be: elements, finite positions and weights, cutoffs, electrons, offsets within bounds. Each chunk carries its CRC32C, which
is verified whenever the chunk is read, and with it blocks of H and S: finite, symmetric, of the right pairs, S within its diagonal.
`gh-info --check` hashes stores of any size and looks at structures; `gh-info --deep` looks at all matrices, and at S(k).

Schema 1, which is still read, has no `metadata_id` and no CRC32C, and chunks of zeros may be absent: such stores are always hashed
whole.

Units are in the attribute `unit` of each array. Lengths are in Å, energies in eV. Shapes: n structures and N atoms hold for the
store, other letters within one group; `+1` adds one; `?` marks a spin axis, which leads where it is there. `<Z>` is an atomic
number, `<Zi>-<Zj>` a species pair with Zi ≤ Zj, `<name>` any name.

Conventions: real spherical harmonics, m from −l to l, shells in the order of the basis table; H_ij(R) = ⟨i,0|H|j,R⟩ with R counted
from positions wrapped into the cell (those of a `hamiltonians` store are); H(k) = Σ_R exp(2πi k·R) H(R). Of (i,j,R) and (j,i,−R)
one is stored: that with Zi < Zj, or for Zi = Zj the lexicographically smaller; H_ji(−R) = H_ij(R)ᵀ gives the other. Energies
are absolute, in the potential zero of the DFT code. Cell, R and k-points are those of the structure as it was given, also where the DFT
code worked in a reduced cell of its lattice.
"""

REMARKS = {
    "structures": "`column/charge`, in |e|, says how many electrons a structure lacks; without it structures are neutral.",
    "hamiltonians": "Labels and predictions alike; the attribute `predicted` tells. `failed` lists structures left out, with "
    "reasons. Labels are float64, predictions float32.",
    "overlap": "S alone, of structures and a basis table; float64.",
    "scaleshift": "The structures are those that the split counts. Parameters by component of the irreps of a block; see `gh_tools/scaleshift/scaleshift.py`.",
    "model": "The structures are those that the split counts; the attribute `charges` lists the charges in |e| that those of the training set "
    "have. Further groups: `parameters/<path>` (one array a weight, by its path in the network) and `history/<metric>` (by "
    "epoch). The attribute `config` holds the training configuration.",
    "posterior": "Groups of ArviZ's schema: `posterior`, `sample_stats`, `observed_data` and more. ArviZ 1 opens it with "
    "`arviz.from_zarr(path, consolidated=False)`, ArviZ 0.2x with "
    "`arviz.InferenceData.from_datatree(gh_tools.bayes.posterior.read_posterior(path))`.",
}


def schema_document() -> str:
    """Return the document as Markdown."""
    parts = [PREFACE]
    for kind, fields in KINDS.items():
        parts.append(f"## {kind}\n")
        if kind in REMARKS:
            parts.append(REMARKS[kind] + "\n")
        if fields:
            parts.append(
                "| array | shape | type | unit | | holds |\n| --- | --- | --- | --- | --- | --- |"
            )
            parts += [_row(field) for field in fields]
            parts.append("")
    return "\n".join(parts)


def _row(field: Field) -> str:
    shape = ", ".join(field.shape.split())
    needed = "" if field.required else "optional"
    return f"| `{field.path}` | {shape} | {field.dtype} | {field.unit} | {needed} | {field.description} |"
