"""The last layer of a network as a linear regression: what its weights may be, given the data.

What a network predicts is linear in the weights of its readouts, y = w · x with features x. With all other weights as they are
and a Gaussian error, the posterior of w is Gaussian (the Laplace approximation of the last layer, exact here) with a covariance
proportional to (Σ x xᵀ + prior)⁻¹, the sum over the training set. Features unlike those of the training set get large
deviations. Networks whose readouts are drawn from it are a shallow ensemble, see Bigi et al., Mach. Learn.: Sci. Technol. 5,
045018 (2024) and Kellner and Ceriotti, Mach. Learn.: Sci. Technol. 5, 035006 (2024). How large errors are for given
deviations is learned from a validation set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from jaxtyping import Float, Int16

# Collection of the Gram matrices Σ x xᵀ of readouts, by their names.
GRAMS = "grams"
# Behind the name of a readout, which is taken.
_GRAMS_OF = "_grams"
# The prior's precision in units of the data's, of each feature: on h-BN and WSe2 from 1e-6 to 0.1 deviations tell errors alike.
PRIOR = 1e-3
# Of the mean over features: as much of the data as any has, at least.
_HARDLY = 1e-3
# Of 1, in which cosines of features are kept.
_STEPS = 32767


def keep_grams(network: nn.Module, name: str, grams: dict[str, jax.Array]) -> None:
    """Keep the Gram matrices of a readout in the collection `GRAMS`, where ``apply`` has it mutable.

    Args:
        network: that calls the readout.
        name: of the readout.
        grams: Σ x xᵀ of its features over a batch, by name.
    """
    if not network.is_initializing():
        # A name of its own: the readout has its own already.
        network.sow(
            GRAMS, f"{name}{_GRAMS_OF}", grams, init_fn=lambda: None, reduce_fn=lambda _, new: new
        )


def gram(
    features: Float[jax.Array, "*several features rows"], weight: Float[jax.Array, "types rows"]
) -> Float[jax.Array, "*several types features features"]:
    """Return the Gram matrices Σ_r w_tr x_r x_rᵀ of each type t, sums over rows r.

    Args:
        features: x; of several orders or degrees at once, because each product is a program to compile.
        weight: w; one at the type of each row, zero in the padding.
    """
    return (weight[:, None] * features[..., None, :, :]) @ features[..., None, :, :].swapaxes(
        -1, -2
    )


class CompactGram(NamedTuple):
    """Gram matrices of which a posterior needs no more: cosines between features, rounded, and the features' lengths.

    Attributes:
        length: root of the sum of squares of each feature.
        cosine: upper triangle without the diagonal, in units of 1/32767. Rounding moves eigenvalues by less than `PRIOR`.
    """

    length: Float[np.ndarray, "*types features"]
    cosine: Int16[np.ndarray, "*types _products"]

    @classmethod
    def of(cls, gram: Float[np.ndarray, "*types features features"]) -> CompactGram:
        """Round Gram matrices."""
        length = np.sqrt(np.einsum("...ff->...f", gram)).astype(np.float32)
        safe = np.where(length > 0, length, np.inf).astype(float)
        cosine = gram / (safe[..., :, None] * safe[..., None, :])
        upper = np.triu_indices(gram.shape[-1], 1)
        return cls(
            length, np.rint(_STEPS * cosine[..., *upper]).clip(-_STEPS, _STEPS).astype(np.int16)
        )

    def whole(self) -> Float[np.ndarray, "*types features features"]:
        """Return the Gram matrices."""
        n = self.length.shape[-1]
        upper = np.zeros((*self.length.shape, n))
        upper[..., *np.triu_indices(n, 1)] = self.cosine / _STEPS
        cosine = upper + upper.swapaxes(-1, -2) + np.eye(n)
        length = self.length.astype(float)
        return cosine * length[..., :, None] * length[..., None, :]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self.length.nbytes + self.cosine.nbytes


def draw_rows(
    grams: Float[np.ndarray, "*types features features"],
    shape: tuple[int, ...],
    random: np.random.Generator,
) -> Float[np.ndarray, "..."]:
    """Draw deviations of rows of weights from their posterior, in units of the noise.

    Args:
        grams: Σ x xᵀ of the features that the rows multiply.
        shape: of the rows, to which the types broadcast.
        random: where numbers come from.

    Returns:
        Of shape ``(*shape, features)``, of covariance (gram + prior)⁻¹.
    """
    diagonal = np.einsum("...ff->...f", grams)
    mean = diagonal.mean(axis=-1, keepdims=True)
    # What never occurs has deviations as what hardly does; where nothing does, nothing is drawn.
    unit = np.sqrt(np.maximum(diagonal, _HARDLY * mean))
    unit = np.where(unit > 0, unit, np.inf)
    scaled = grams / (unit[..., :, None] * unit[..., None, :])
    # Of Cholesky's factors, other than of eigenvectors, all machines have the same.
    lower = np.linalg.cholesky(scaled + PRIOR * np.eye(grams.shape[-1]))
    root = np.linalg.inv(lower).swapaxes(-1, -2) / unit[..., :, None]
    normal = random.standard_normal((*shape, grams.shape[-1]))
    return (root @ normal[..., None])[..., 0]


class LastLayerPosterior(NamedTuple):
    """What the weights of readouts may be, given the data: from it the last layers of a shallow ensemble are drawn.

    Attributes:
        grams: of each readout by its name, those of its features by name, summed over the training set.
        noise: root mean square error of what each readout gives, on the training set.
        members: how many are drawn, two at least.
        seed: of the random numbers. Those of a readout do not depend on which others are drawn.
    """

    grams: Mapping[str, Mapping[str, CompactGram]]
    noise: Mapping[str, float]
    members: int
    seed: int

    @classmethod
    def of(
        cls,
        kept: Mapping[str, Mapping[str, Any]],
        noise: Mapping[str, float],
        members: int,
        seed: int,
    ) -> LastLayerPosterior:
        """Make it of what `keep_grams` kept.

        Args:
            kept: summed over the training set.
            noise: of the readouts that there are, and perhaps of others.
            members: how many.
            seed: of the random numbers.
        """
        grams = {
            key.removesuffix(_GRAMS_OF): {
                name: CompactGram.of(one) for name, one in matrices.items()
            }
            for key, matrices in sorted(kept.items())
        }
        return cls(grams, {name: noise[name] for name in grams}, members, seed)

    def draw(self, network: nn.Module, params: Mapping[str, Any]) -> dict[str, Any]:
        """Draw the members' weights.

        Args:
            network: what has the readouts.
            params: its weights; those of the readouts are the mean of what is drawn.

        Returns:
            Weights of each readout by its name, with a leading axis of members.
        """
        bound = network.bind(params)
        drawn = {}
        for name, grams in self.grams.items():
            random = np.random.default_rng([self.seed, *name.encode()])
            mean = jax.tree.map(np.asarray, params["params"][name])
            whole = {key: gram.whole() for key, gram in grams.items()}
            rows = getattr(bound, name).draw(mean, whole, self.members, random)
            deviations = jax.tree.map(lambda one, of=self.noise[name]: of * one, rows)
            drawn[name] = jax.tree.map(_about, mean, deviations)
        return drawn


def _about(mean: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Return weights whose mean is the given one."""
    return np.asarray(mean + deviations - deviations.mean(axis=0), np.asarray(mean).dtype)
