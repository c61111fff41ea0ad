import tomllib

import pydantic
import pytest

from gh_tools.cli.configuration import load_config, show_config
from gh_tools.errors import NoInputError, UsageError


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
    config = load_config(Outer, file, ["inner.rate=0.7", "setups.W=6x"], base)
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
        (["inner.rate=true"], r"inner\.rate: expected a number, found true"),
        (["size=[3,true]"], r"size\.1: expected a number, found true"),
        (["cutoff=false"], "cutoff: .*found"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(UsageError, match=message):
        load_config(Outer, None, settings)


def test_a_configuration_file_must_be_there_and_be_toml(tmp_path):
    with pytest.raises(NoInputError, match="no such configuration file"):
        load_config(Outer, tmp_path / "none.toml", None)
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(UsageError, match=r"bad\.toml: not valid TOML"):
        load_config(Outer, tmp_path / "bad.toml", None)


def test_printed_configuration_reads_back_as_itself(capsys):
    config = Outer(size=(4, 5), setups={"W": "6"})
    show_config(config)
    printed = capsys.readouterr().out
    assert Outer.model_validate(tomllib.loads(printed)) == config
    assert "# cutoff =" in printed
