"""The benchmark's variants are configurations, none of them twice."""

import tomllib
from pathlib import Path

import pytest

from gh_tools.cli.configuration import load_config
from gh_tools.training.config import TrainConfig

FILE = Path(__file__).parents[2] / "share/gh_tools/benchmarks/model/ablations.toml"
VARIANTS = tomllib.loads(FILE.read_text())


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_a_configuration_of_its_own(name):
    config = load_config(TrainConfig, None, VARIANTS[name])
    same = [
        other
        for other, settings in VARIANTS.items()
        if load_config(TrainConfig, None, settings) == config
    ]
    assert same == [name]
    assert "." not in name  # in names of files a seed follows behind a dot
