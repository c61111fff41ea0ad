"""Values of --set are taken as they are meant where they can be."""

import pytest

from gh_tools.cli.configuration import load_config
from gh_tools.dft.config import LabelConfig
from gh_tools.errors import UsageError
from gh_tools.structures.recipes.file import FileConfig
from gh_tools.structures.recipes.tmd import TmdConfig


@pytest.mark.parametrize(
    ("model", "setting", "key", "expected"),
    [
        (LabelConfig, "setups.B=3", "setups", {"B": "3"}),
        (LabelConfig, 'setups.B="3"', "setups", {"B": "3"}),
        (LabelConfig, "kpts=5,5,1", "kpts", (5, 5, 1)),
        (LabelConfig, "kpts=[5, 5, 1]", "kpts", (5, 5, 1)),
        (LabelConfig, "basis=szp(dzp)", "basis", "szp(dzp)"),
        (LabelConfig, "charge=1", "charge", 1.0),
        (TmdConfig, "materials=[BN]", "materials", ("BN",)),
        (TmdConfig, "materials=BN", "materials", ("BN",)),
        (TmdConfig, "materials=BN, MoS2", "materials", ("BN", "MoS2")),
        (FileConfig, "size=2,2,1", "size", (2, 2, 1)),
        (FileConfig, "size=varied", "size", "varied"),
        (FileConfig, "pbc=True,True,False", "pbc", (True, True, False)),
        (FileConfig, "substitute={Si={Ge=0.1}}", "substitute", {"Si": {"Ge": 0.1}}),
    ],
)
def test_values_are_taken_as_meant(model, setting, key, expected):
    assert getattr(load_config(model, None, [setting]), key) == expected


def test_each_of_several_settings_is_read_on_its_own():
    config = load_config(LabelConfig, None, ["kpts=3,3,1", "setups.W=6", "xc=LDA", "kpts=5,5,1"])
    assert (config.kpts, config.setups, config.xc) == ((5, 5, 1), {"W": "6"}, "LDA")


@pytest.mark.parametrize(
    ("model", "setting", "says"),
    [
        (LabelConfig, "kpts=5", r"kpts: expected 3 values, as in kpts=\[a,b,c\], found \[5\]"),
        (LabelConfig, "setups={B=3}", 'setups.B: expected text, found 3; write it in quotes, "3"'),
        (LabelConfig, "h=a,b", "h: input should be a valid number"),
        (TmdConfig, "materials=[BN,XY]", r"materials\.1: input should be 'BN', .*found 'XY'"),
    ],
)
def test_what_is_not_meant_is_told_with_what_to_type(model, setting, says):
    with pytest.raises(UsageError, match=says):
        load_config(model, None, [setting])
