"""Files of SIESTA that cannot be imported as they are, as sisl writes them."""

import numpy as np
import pytest

from gh_tools.errors import DataError
from gh_tools.formats import table
from gh_tools.formats.assemble import assemble
from gh_tools.formats.format import Source, read_source
from gh_tools.formats.sisl import to_sisl
from tests.formats import writers
from tests.formats.sample import sample

sisl = pytest.importorskip("sisl")
pytest.importorskip("netCDF4")


def test_orbitals_without_l_and_m_are_asked_for(tmp_path):
    """SIESTA's nc files hold shells, and those of gh-export; those that sisl writes hold a number of orbitals."""
    with sisl.get_sile(tmp_path / "x.nc", "w") as sile:
        sile.write_hamiltonian(to_sisl(sample()))
    form = table.get_format("siesta")
    sources = form.find(tmp_path)
    assert len(sources) == 1 and form.find(tmp_path / "x.nc")
    with pytest.raises(DataError, match=r"l and m of its orbitals; put x\.HSX"):
        read_source(form, sources[0])


def test_a_truncated_file_is_refused_in_one_sentence(tmp_path):
    table.get_format("sisl").write(tmp_path / "x.nc", sample())
    content = (tmp_path / "x.nc").read_bytes()
    (tmp_path / "x.nc").write_bytes(content[: len(content) // 2])
    form = table.get_format("siesta")
    for source in form.find(tmp_path):
        with pytest.raises(DataError) as error:
            read_source(form, source)
        assert "\n" not in str(error.value)


def test_a_run_without_fermi_level_has_none(tmp_path):
    """SIESTA writes the largest number where it stopped before the Fermi level."""
    huge = np.finfo(float).max
    writers.write_hsx(tmp_path / "x.HSX", to_sisl(sample()), huge, 20.0)
    matrices = read_source(table.get_format("siesta"), Source(tmp_path / "x.HSX"))
    assert "fermi_level" not in matrices.scalars
    ham, _ = assemble(matrices)
    assert np.abs(ham.onsite[6].hamiltonian - sample().onsite[6].hamiltonian).max() < 1e-8


def test_elements_are_those_of_the_xv_file(tmp_path, caplog):
    """A label such as Surface begins with sulphur's symbol, and means carbon."""
    h = to_sisl(sample())
    tagged = sisl.Geometry(
        h.geometry.xyz,
        [
            atom.copy(tag="Surface") if atom.Z == 6 else atom
            for atom in (h.geometry.atoms[i] for i in range(4))
        ],
        h.geometry.lattice,
    )
    named = sisl.Hamiltonian.fromsp(tagged, h.tocsr(0), S=h.tocsr(1))
    writers.write_hsx(tmp_path / "x.HSX", named, 0.0, 20.0)
    form = table.get_format("siesta")
    guessed = read_source(form, Source(tmp_path / "x.HSX"))
    assert guessed.atoms.get_chemical_formula() == "Mo2S2"
    assert "Surface is taken for S" in caplog.text
    sisl.get_sile(tmp_path / "x.XV", "w").write_geometry(h.geometry)
    told = read_source(form, Source(tmp_path / "x.HSX"))
    assert told.atoms.get_chemical_formula() == "C2Mo2"
    assert set(told.valence) == {6, 42}
