import io
import sys

import pytest

from gh_tools.cli.paths import input_paths, output_paths
from gh_tools.errors import DataError, NoInputError, UsageError


def standard_input(text):
    return io.TextIOWrapper(io.BytesIO(text.encode()))


def test_inputs_are_arguments_or_lines_of_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", standard_input('a.zarr\n\n{"path": "b.zarr", "n": 3}\n'))
    assert [str(p) for p in input_paths(["x.zarr", "-"])] == ["x.zarr", "a.zarr", "b.zarr"]
    monkeypatch.setattr(sys, "stdin", standard_input("a.zarr\n"))
    assert [str(p) for p in input_paths(None)] == ["a.zarr"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", NoInputError, "upstream command produced nothing"),
        ('{"file": 1}', DataError, "JSON object with a 'path'"),
        ("{nonsense", DataError, "JSON object with a 'path'"),
    ],
)
def test_useless_standard_input_is_an_error(monkeypatch, text, error, message):
    monkeypatch.setattr(sys, "stdin", standard_input(text))
    with pytest.raises(error, match=message):
        input_paths(["-"])


def test_outputs_are_named_after_inputs(tmp_path):
    sources = [tmp_path / "a.structures.zarr", tmp_path / "b.predicted.zarr"]
    names = [path.name for path in output_paths(None, sources, "spectra")]
    assert names == ["a.spectra.zarr", "b.predicted.spectra.zarr"]
    assert output_paths(tmp_path / "o.zarr", sources[:1], "spectra") == [tmp_path / "o.zarr"]
    with pytest.raises(UsageError, match="2 inputs"):
        output_paths(tmp_path / "o.zarr", sources, "spectra")
