"""Files of SIESTA that cannot be imported as they are, as sisl writes them."""

import pytest

from gh_tools.errors import DataError
from gh_tools.formats import table
from gh_tools.formats.format import read_source
from gh_tools.formats.sisl import to_sisl
from tests.formats.sample import sample

sisl = pytest.importorskip("sisl")
pytest.importorskip("netCDF4")


def test_orbitals_without_l_and_m_are_asked_for(tmp_path):
    """SIESTA's nc files hold shells, and those of gh-export; those that sisl writes hold a number of orbitals."""
    with sisl.get_sile(tmp_path / "x.nc", "w") as sile:
        sile.write_hamiltonian(to_sisl(sample()))
    form = table.get("siesta")
    sources = form.find(tmp_path)
    assert len(sources) == 1 and form.find(tmp_path / "x.nc")
    with pytest.raises(DataError, match=r"l and m of its orbitals; put x\.HSX"):
        read_source(form, sources[0])


def test_a_truncated_file_is_refused_in_one_sentence(tmp_path):
    table.get("sisl").write(tmp_path / "x.nc", sample())
    content = (tmp_path / "x.nc").read_bytes()
    (tmp_path / "x.nc").write_bytes(content[: len(content) // 2])
    form = table.get("siesta")
    for source in form.find(tmp_path):
        with pytest.raises(DataError) as error:
            read_source(form, source)
        assert "\n" not in str(error.value)
