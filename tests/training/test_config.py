"""Configurations: defaults, one sentence for what is wrong, files that load."""

from __future__ import annotations

from pathlib import Path

import pytest

from gh_tools.cli.configuration import load_config
from gh_tools.errors import UsageError
from gh_tools.model.config import GearsHConfig
from gh_tools.training.config import TrainConfig

CONFIGS = Path(__file__).parents[2] / "share/gh_tools/configs"


def test_the_papers_file_is_the_papers():
    config = load_config(TrainConfig, CONFIGS / "gears-h.toml", None)
    assert config.model == GearsHConfig()
    assert config.optimizer.name == "adan"
    assert config.schedule.name == "reduce_on_plateau"
    assert config.model.mlp.layers == (32, 16, 32)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("optimizer.learnin_rate=1", "optimizer.adamw.learnin_rate"),
        ("loss.pair=2", "loss.pair"),
        ("epoch=3", "epoch"),
        ("model.hiden=3", "model.bond-frame.hiden"),
        ("budget=soon", "budget"),
        ("optimizer.name=sgd", "optimizer"),
        ("ema=1.5", "ema"),
        ("epochs=0", "epochs"),
    ],
)
def test_wrong_keys_and_values_are_named(setting, named):
    with pytest.raises(UsageError) as error:
        load_config(TrainConfig, None, [setting])
    assert named in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45s", 45), ("10m", 600), ("1.5h", 5400), (30, 30)]
)
def test_budgets_are_times(text, seconds):
    assert TrainConfig(budget=text).budget == seconds


@pytest.mark.parametrize("text", ["3", "1.5", " 3 "])
def test_a_typed_time_needs_a_unit(text):
    with pytest.raises(UsageError, match=r"budget: expected a time with its unit, such as .*s, "):
        load_config(TrainConfig, None, [f'budget="{text}"'])


def test_a_configuration_survives_the_store():
    settings = ["budget=10m", "optimizer.name=lamb", "schedule.name=cosine"]
    config = load_config(TrainConfig, None, settings)
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("name", ["bond-frame", "gears-h", "gears-h-small"])
def test_shipped_files_load(name):
    load_config(TrainConfig, CONFIGS / f"{name}.toml", None)


def test_the_default_networks_file_is_the_default():
    config = load_config(TrainConfig, CONFIGS / "bond-frame.toml", None)
    assert config == load_config(TrainConfig, None, None)
    assert config.model.model == "bond-frame"
