import io
import json
import sys
import tomllib

import pydantic
import pytest

from gh_tools.cli import common
from gh_tools.errors import DataError, NoInputError, UsageError


class Inner(pydantic.BaseModel, extra="forbid"):
    rate: float = pydantic.Field(1e-3, gt=0)
    name: str = "adam"


class Outer(pydantic.BaseModel, extra="forbid"):
    inner: Inner = Inner()
    size: tuple[int, int] = (2, 2)
    cutoff: float | None = None
    setups: dict[str, str] = {}


def test_configuration_comes_from_defaults_preset_file_and_settings_in_this_order(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("size = [3, 3]\n[inner]\nrate = 0.5\n")
    base = {"inner": {"rate": 0.1, "name": "lamb"}, "size": [1, 1]}
    config = common.load_config(Outer, file, ["inner.rate=0.7", "setups.W=6x"], base)
    assert config.inner == Inner(rate=0.7, name="lamb")
    assert config.size == (3, 3)
    assert config.setups == {"W": "6x"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["inner.speed=1"], r"inner\.speed: there is no such key; known keys are rate, name"),
        (["inner.rate=-1"], r"inner\.rate: input should be greater than 0, found -1"),
        (["rate"], "expected KEY=VALUE"),
        (["size=[1]"], "size"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(UsageError, match=message):
        common.load_config(Outer, None, settings)


def test_a_configuration_file_must_be_there_and_be_toml(tmp_path):
    with pytest.raises(NoInputError, match="no such configuration file"):
        common.load_config(Outer, tmp_path / "none.toml", None)
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(UsageError, match=r"bad\.toml: not valid TOML"):
        common.load_config(Outer, tmp_path / "bad.toml", None)


def test_printed_configuration_reads_back_as_itself(capsys):
    config = Outer(size=(4, 5), setups={"W": "6"})
    common.print_config(config)
    printed = capsys.readouterr().out
    assert Outer.model_validate(tomllib.loads(printed)) == config
    assert "# cutoff =" in printed


def standard_input(text):
    return io.TextIOWrapper(io.BytesIO(text.encode()))


def test_inputs_are_arguments_or_lines_of_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", standard_input('a.zarr\n\n{"path": "b.zarr", "n": 3}\n'))
    assert [str(p) for p in common.inputs(["x.zarr", "-"])] == ["x.zarr", "a.zarr", "b.zarr"]
    monkeypatch.setattr(sys, "stdin", standard_input("a.zarr\n"))
    assert [str(p) for p in common.inputs(None)] == ["a.zarr"]


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
        common.inputs(["-"])


def test_outputs_are_named_after_inputs(tmp_path):
    sources = [tmp_path / "a.structures.zarr", tmp_path / "b.predicted.zarr"]
    names = [path.name for path in common.outputs(None, sources, "spectra")]
    assert names == ["a.spectra.zarr", "b.predicted.spectra.zarr"]
    assert common.outputs(tmp_path / "o.zarr", sources[:1], "spectra") == [tmp_path / "o.zarr"]
    with pytest.raises(UsageError, match="2 inputs"):
        common.outputs(tmp_path / "o.zarr", sources, "spectra")


def test_results_are_lines_of_paths_or_of_json(tmp_path, capsys):
    common.emit(tmp_path, False, n=3)
    common.emit(tmp_path, True, n=3)
    plain, line = capsys.readouterr().out.splitlines()
    assert plain == str(tmp_path)
    assert json.loads(line) == {"path": str(tmp_path), "n": 3}
