"""gh-overlap: S of structures as a store."""

import numpy as np
import pytest

from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import read_structures, write_structures


def test_it_is_that_of_the_labels_whichever_store_has_the_basis(
    call, tiny_labels, random_bond_model, tmp_path
):
    """The labels' S is compared with GPAW's own in tests/dft."""
    write_structures(
        tmp_path / "x.structures.zarr", read_structures(tiny_labels), Provenance("test")
    )
    done = call(f"gh-overlap {tiny_labels} -o of-labels.zarr -q", tmp_path)
    assert (done.returncode, done.stdout) == (0, "of-labels.zarr\n"), done.stderr
    done = call(f"gh-overlap x.structures.zarr -b {random_bond_model} -q", tmp_path)
    assert (done.returncode, done.stdout) == (0, "x.overlap.zarr\n"), done.stderr
    store = open_store(tmp_path / "x.overlap.zarr", "overlap")
    assert store.id == open_store(tmp_path / "of-labels.zarr").id
    assert not [key for key in store.keys() if key.endswith("hamiltonian")]
    checked = call("gh-info --deep x.overlap.zarr", tmp_path)
    assert checked.returncode == 0, checked.stderr

    mine, labels = HamiltonianReader(store).read(2), HamiltonianReader(tiny_labels).read(2)
    for z, blocks in labels.onsite.items():
        np.testing.assert_allclose(mine.onsite[z].overlap, blocks.overlap, atol=1e-12)
    for pair, blocks in labels.pairs.items():
        here, there = (
            {
                (i, j, *cell_offset): s
                for i, j, cell_offset, s in zip(
                    b.i, b.j, b.cell_offset.tolist(), b.overlap, strict=True
                )
            }
            for b in (mine.pairs[pair], blocks)
        )
        assert len(here) > 0.8 * len(there)
        nothing = np.zeros(blocks.overlap.shape[1:])
        for place in here.keys() | there.keys():
            # Labels drop blocks below 1e-7, this those beyond the reach of the orbitals.
            found, expected = here.get(place, nothing), there.get(place, nothing)
            np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ("", 2, "x.structures.zarr: has no basis table"),
        ("-b x.structures.zarr", 65, "found structures"),
        ("-b none.zarr", 66, "none.zarr: no such store"),
    ],
)
def test_a_basis_is_needed(call, tiny_labels, tmp_path, options, code, said):
    write_structures(
        tmp_path / "x.structures.zarr", read_structures(tiny_labels), Provenance("test")
    )
    done = call(f"gh-overlap x.structures.zarr {options}", tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.structures.zarr"]
