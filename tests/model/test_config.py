"""The configuration of networks: the paper's defaults, and what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gh_tools.errors import UsageError
from gh_tools.model.build import build_model
from gh_tools.model.config import GearsHConfig
from gh_tools.orbitals.basis import Basis, ElementBasis, Shell

BASIS = Basis(
    {
        8: ElementBasis(8, (Shell(0, 1.4), Shell(1, 2.0)), 6.0),
        72: ElementBasis(72, (Shell(0, 3.0), Shell(3, 4.0)), 4.0),
    }
)


def test_defaults_are_the_papers():
    config = GearsHConfig()
    assert config.atom_centered.radial_basis.n_radial == 24
    assert config.atom_centered.radial_basis.max_degree == 4
    assert config.atom_centered.n_tensor_dense == 1
    assert config.atom_centered.attention is None
    assert config.mlp.layers == (32, 16, 32)
    assert config.mlp.activation == "bent_identity"


def test_every_key_is_described_and_an_unknown_one_refused():
    def sections(model):
        yield model
        for field in model.model_fields.values():
            for kind in getattr(field.annotation, "__args__", (field.annotation,)):
                if hasattr(kind, "model_fields"):
                    yield from sections(kind)

    found = list(sections(GearsHConfig))
    assert len(found) == 6
    for section in found:
        assert all(field.description for field in section.model_fields.values())
    with pytest.raises(ValidationError, match="n_tensor_danse"):
        GearsHConfig.model_validate({"atom_centered": {"n_tensor_danse": 2}})
    with pytest.raises(ValidationError, match="less than or equal to 2"):
        GearsHConfig.model_validate({"atom_centered": {"n_tensor_dense": 3}})


def test_attention_heads_share_features_evenly():
    with pytest.raises(ValidationError, match="no multiple of n_heads"):
        GearsHConfig.model_validate({"atom_centered": {"attention": {"n_heads": 5}}})


def test_cutoffs_follow_the_basis_unless_given():
    config = GearsHConfig()
    assert config.cutoffs(BASIS).descriptor == 8.0
    assert config.cutoffs(BASIS).pairs == {(8, 8): 4.0, (8, 72): 6.0, (72, 72): 8.0}
    config = GearsHConfig.model_validate(
        {"atom_centered": {"radial_basis": {"cutoff": 5.0}}, "bond_centered": {"cutoff": 6.5}}
    )
    assert config.cutoffs(BASIS).descriptor == 5.0
    assert config.cutoffs(BASIS).pairs == {(8, 8): 4.0, (8, 72): 6.0, (72, 72): 6.5}


def test_degrees_too_small_for_the_basis_are_refused():
    with pytest.raises(UsageError, match=r"max_degree is 4, but .* degree 6"):
        build_model(GearsHConfig(), BASIS)
