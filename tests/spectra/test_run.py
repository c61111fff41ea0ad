"""Stores of spectra: written, resumed, made in parallel, with structures that fail."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from gh_tools.errors import CannotCreateError, DataError, NoInputError
from gh_tools.spectra.config import DosConfig
from gh_tools.spectra.report import draw, spectra_errors, tell_spectra
from gh_tools.spectra.run import make_spectra, reference_spectra
from gh_tools.spectra.scalars import SCALARS
from gh_tools.spectra.spectra import read_spectra
from gh_tools.spectra.spectrum import compute_spectrum
from gh_tools.spectra.store import SpectraWriter
from gh_tools.store.checks.arrays import check_arrays
from gh_tools.store.hamiltonians import HamiltonianReader
from gh_tools.store.provenance import Provenance
from gh_tools.store.read import open_store
from gh_tools.store.structures import read_structures
from gh_tools.workers.processes import Processes

CONFIG = DosConfig(kpts=(3, 3, 1), points=500, window=(-9.0, 12.0), carriers=("B",))


@pytest.fixture(scope="module")
def source(tmp_path_factory, graphene, write_hamiltonians):
    folder = tmp_path_factory.mktemp("spectra")
    sizes = [(1, 1, 1), (2, 1, 1), (2, 2, 1)]
    hamiltonians = [
        graphene(size, mass=mass, overlap=0.1)
        for size, mass in zip(sizes, [0.3, 0.4, 0.5], strict=True)
    ]
    return write_hamiltonians(folder / "bn.hamiltonians.zarr", hamiltonians)


def provenance(source, config=CONFIG):
    return Provenance("gh-dos", config=config.model_dump(mode="json"), inputs=[open_store(source)])


def run(source, output, config=CONFIG, **options):
    """Return one sentence for each structure that failed."""
    path, failures = make_spectra(source, output, config, provenance(source, config), **options)
    assert path == output
    return [f"{failure['name']}: {failure['reason']}" for failure in failures]


@pytest.fixture(scope="module")
def finished(source):
    output = source.with_name("bn.spectra.zarr")
    assert run(source, output) == []
    return output


def test_store_holds_what_was_computed(source, finished):
    store = open_store(finished, "spectra")
    assert list(check_arrays(store)) == []
    spectra = read_spectra(store)
    reader = HamiltonianReader(source)
    assert spectra.names == ["s0", "s1", "s2"]
    column = read_structures(store).columns["order"]
    np.testing.assert_array_equal(column.values, [0, 0.5, 1.0])
    assert (column.unit, column.description) == ("eV", "a design variable")
    for index in range(3):
        expected = compute_spectrum(reader.read(index), CONFIG)
        for z, density in zip(expected.eigenvalues.species, expected.density, strict=True):
            np.testing.assert_array_equal(spectra.species[z][index], density)
        for name, value in expected.scalars.items():
            assert spectra.scalars[name][index] == value
        first, last = store["bands/eigenvalue_ptr"][index : index + 2]
        np.testing.assert_array_equal(
            store["bands/eigenvalue"][first:last], expected.eigenvalues.energies.ravel()
        )
        first, last = store["bands/kpoint_ptr"][index : index + 2]
        np.testing.assert_array_equal(
            store["bands/kpoint"][first:last], expected.eigenvalues.kpoints.points
        )
    np.testing.assert_array_equal(spectra.total, sum(spectra.species.values()))
    for name, (unit, _) in SCALARS.items():
        assert store.unit(f"scalar/{name}") == unit


def test_processes_give_the_same_store(source, finished, tmp_path):
    run(source, tmp_path / "two.zarr", executor=Processes(2))
    assert open_store(tmp_path / "two.zarr").id == open_store(finished).id


def test_resume_computes_only_what_is_missing(source, tmp_path, monkeypatch):
    output = tmp_path / "bn.spectra.zarr"
    reader = HamiltonianReader(source)
    writer = SpectraWriter(output, reader.structures, CONFIG, provenance(source))
    writer.write(1, compute_spectrum(reader.read(1), CONFIG))
    with pytest.raises(CannotCreateError, match="--resume"):
        run(source, output)
    with pytest.raises(CannotCreateError, match="width"):
        run(source, output, CONFIG.model_copy(update={"width": 0.1}), resume=True)

    computed = []

    def spy(hamiltonian, *options):
        computed.append(len(hamiltonian.atoms))
        return compute_spectrum(hamiltonian, *options)

    monkeypatch.setattr("gh_tools.spectra.run.compute_spectrum", spy)
    assert run(source, output, resume=True) == []
    assert computed == [2, 8]
    assert read_spectra(output).names == ["s0", "s1", "s2"]

    # Once more: there is nothing to do, and another configuration is refused.
    before = open_store(output).id
    assert run(source, output, resume=True) == []
    assert computed == [2, 8] and open_store(output).id == before
    with pytest.raises(CannotCreateError, match=r"another config .*width"):
        run(source, output, CONFIG.model_copy(update={"width": 0.1}), resume=True)
    with pytest.raises(CannotCreateError, match="--overwrite"):
        run(source, output)


def test_one_structure_that_fails_does_not_lose_the_others(
    tmp_path, graphene, write_hamiltonians, capsys
):
    # S = 1 ± 3·0.4 at Γ: not positive.
    bad = graphene((2, 1, 1), mass=0.3, overlap=0.4)
    source = write_hamiltonians(
        tmp_path / "x.hamiltonians.zarr", [graphene(mass=0.3), bad, graphene(mass=0.4)]
    )
    output = tmp_path / "x.spectra.zarr"
    (failure,) = run(source, output)
    assert failure.startswith("s1: the overlap matrix") and "not positive definite" in failure
    spectra = read_spectra(output)
    assert spectra.names == ["s0", "s2"]
    np.testing.assert_allclose(spectra.scalars["band_gap"], [0.6, 0.8], atol=1e-9)
    assert open_store(output).attributes["failed"][0]["name"] == "s1"


def test_resume_tries_what_failed_again_and_keeps_the_rest(source, finished, tmp_path, monkeypatch):
    output, computed = tmp_path / "bn.spectra.zarr", []

    def fail_once(hamiltonian, *options):
        computed.append(len(hamiltonian.atoms))
        if computed.count(4) == 1 and computed[-1] == 4:
            raise DataError("not this time")
        return compute_spectrum(hamiltonian, *options)

    monkeypatch.setattr("gh_tools.spectra.run.compute_spectrum", fail_once)
    assert run(source, output) == ["s1: not this time"]
    assert read_spectra(output).names == ["s0", "s2"]
    assert run(source, output, resume=True) == []
    assert computed == [2, 4, 8, 4]
    assert open_store(output).id == open_store(finished).id


def test_nothing_that_works_is_an_error(tmp_path, graphene, write_hamiltonians):
    source = write_hamiltonians(tmp_path / "x.hamiltonians.zarr", [graphene(overlap=0.4)])
    with pytest.raises(DataError, match="s0: the overlap matrix"):
        run(source, tmp_path / "x.spectra.zarr")
    assert not (tmp_path / "x.spectra.zarr").exists()


def test_bad_requests(source, tmp_path):
    absent = CONFIG.model_copy(update={"carriers": ("Se",)})
    with pytest.raises(DataError, match="no structure contains Se"):
        run(source, tmp_path / "x.zarr", absent)
    with pytest.raises(NoInputError):
        HamiltonianReader(tmp_path / "missing.zarr")
    assert list(tmp_path.iterdir()) == []


def test_a_fermi_level_outside_of_the_gap_is_not_said_to_lie_in_it(finished, caplog):
    """On few k-points a gap is narrower between them than on them, so that E_F may lie beyond an edge."""
    spectra = read_spectra(finished)
    scalars = dict(spectra.scalars) | {
        "fermi_level": np.array([0.5, -0.003, 0.0]),
        "valence_band_maximum": np.array([0.0, 0.0, np.nan]),
        "conduction_band_minimum": np.array([1.0, 0.001, np.nan]),
        "band_gap": np.array([1.0, 0.001, 0.0]),
    }
    logger = logging.getLogger("gh_tools")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, logger="gh_tools"):
            tell_spectra(replace(spectra, scalars=scalars), carriers=False)
    finally:
        logger.removeHandler(caplog.handler)
    assert "E_F lies in the gap: at 50 % of the way" in caplog.text
    assert "E_F lies outside of the gap of s1, by up to 3.0 meV" in caplog.text


def test_reference_by_name(source, finished):
    spectra = read_spectra(finished)
    asked = spectra.select([2, 1, 0])
    asked.structures.names[1] = "unknown"
    # From Hamiltonians and from their spectra, in the order asked for.
    for reference in (source, finished):
        mine, known = reference_spectra(reference, asked, CONFIG)
        assert mine.names == known.names == ["s2", "s0"]
        np.testing.assert_array_equal(known.total, spectra.total[[2, 0]])
        errors = spectra_errors(spectra.select([2, 0]), known)
        assert errors == {
            "band_gap_mae": 0,
            "fermi_level_mae": 0,
            "carriers_mae": 0,
            "dos_error": 0,
        }
        assert spectra_errors(spectra.select([1, 0]), known)["band_gap_mae"] == pytest.approx(0.1)
    with pytest.raises(DataError, match="no structure named 'unknown'"):
        reference_spectra(source, asked.select([1]), CONFIG)
    asked.structures.atoms[0].positions[0, 0] += 0.01
    for reference in (source, finished):
        with pytest.raises(DataError, match=r"structure 's2' is another one .* positions differ"):
            reference_spectra(reference, asked, CONFIG)


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_pictures_are_what_they_are_called(source, finished, tmp_path, ending):
    picture = tmp_path / f"dos.{ending}"
    facts = draw(picture, finished, source, CONFIG)
    assert facts["plot"] == str(picture) and facts["band_gap_mae"] == 0
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending]
    assert picture.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [picture]


def unfinished(source, output):
    """Make the parts of a store, and nothing else; return their files."""
    for shard in ((1, 2), (2, 2)):
        make_spectra(source, output, CONFIG, provenance(source), shard=shard)
    return sorted(output.with_name(output.name + ".partial").glob("parts/*.npz"))


def test_parts_that_an_earlier_version_wrote_are_joined_by_todays_names(source, finished, tmp_path):
    output = tmp_path / "x.zarr"
    for file in unfinished(source, output):
        with np.load(file) as part:
            arrays = {k.replace("solver/eigenvalues", "solver/levels"): part[k] for k in part}
        assert "solver/levels" in arrays
        np.savez(file, **arrays)
    run(source, output, resume=True)
    assert open_store(output).id == open_store(finished).id


def test_parts_that_lack_what_this_version_joins_are_refused(source, tmp_path):
    output = tmp_path / "x.zarr"
    file = unfinished(source, output)[0]
    with np.load(file) as part:
        arrays = {k: part[k] for k in part if k != "bands/below"}
    np.savez(file, **arrays)
    with pytest.raises(CannotCreateError, match=r"000000.npz: lacks bands/below.*--overwrite"):
        run(source, output, resume=True)
    run(source, output, overwrite=True)
