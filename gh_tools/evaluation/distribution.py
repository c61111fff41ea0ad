"""How errors are distributed: counts that take in any number of errors in little memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

CDF_THRESHOLD = 1e-4  # eV; smaller errors are left out of cumulative distributions, as in the paper
QUARTILES = (0.25, 0.5, 0.75)

_BINS = 512  # a side; even, so that pairs of bins join around zero
_FIRST_WIDTH = 2.0**-20  # eV
_PER_DECADE = 1000  # logarithmic bins: quantiles are exact to 10^(1/1000), 0.23 %
_DECADES = 7  # from 0.1 meV to 1 keV
_CHUNK = 1 << 20  # errors taken at once: bounds the memory of temporary arrays


class ErrorHistogram:
    """Errors against reference values, on square bins around (0, 0) that widen as data need it.

    Attributes:
        counts: weight in each bin, by reference and by error.
        widths: of the bins of reference and error, eV.
    """

    def __init__(self) -> None:
        self.counts: Float[np.ndarray, "bins bins"] = np.zeros((_BINS, _BINS))
        self.widths = np.full(2, _FIRST_WIDTH)

    def add(
        self,
        reference: Float[np.ndarray, " values"],
        error: Float[np.ndarray, " values"],
        weight: Float[np.ndarray, " values"],
    ) -> None:
        """Count values.

        Args:
            reference: values, eV.
            error: predicted minus reference, eV.
            weight: of each value.
        """
        if len(reference) == 0:
            return
        for axis, values in enumerate((reference, error)):
            while abs(values).max() >= self.widths[axis] * _BINS / 2:
                self._widen(axis)
        row, column = (
            np.floor(values / width).astype(np.int64) + _BINS // 2
            for values, width in zip((reference, error), self.widths, strict=True)
        )
        added = np.bincount(row * _BINS + column, weight, minlength=_BINS**2)
        self.counts += added.reshape(_BINS, _BINS)

    def _widen(self, axis: int) -> None:
        counts = np.moveaxis(self.counts, axis, 0)
        widened = np.zeros_like(counts)
        quarter = _BINS // 4
        widened[quarter:-quarter] = counts.reshape(_BINS // 2, 2, _BINS).sum(axis=1)
        self.counts = np.moveaxis(widened, 0, axis)
        self.widths[axis] *= 2

    def cropped(
        self, most: int
    ) -> tuple[
        Float[np.ndarray, "rows columns"],
        Float[np.ndarray, " rows+1"],
        Float[np.ndarray, " columns+1"],
    ]:
        """Return the part that holds counts, in few bins.

        Args:
            most: bins a side; there are more than half as many where the data are as fine.

        Returns:
            Counts by reference and by error, edges of the reference's bins and of the error's, eV.
        """
        counts, edges = self.counts, []
        for axis in (0, 1):
            other = counts.sum(axis=1 - axis)
            held = np.flatnonzero(other)
            first, last = (held[0], held[-1]) if len(held) else (_BINS // 2, _BINS // 2)
            factor = 1
            while last // factor - first // factor >= most:
                factor *= 2
            # Joined bins are counted from zero, so that zero stays an edge.
            joined = np.add.reduceat(counts, np.arange(0, counts.shape[axis], factor), axis=axis)
            part = slice(first // factor, last // factor + 1)
            counts = joined[part] if axis == 0 else joined[:, part]
            index = np.arange(part.start, part.stop + 1) * factor - _BINS // 2
            edges.append(index * self.widths[axis])
        return counts, *edges


class ErrorDistribution:
    """The distribution of errors: against the reference, and of their absolute values.

    Attributes:
        histogram: of errors against reference values.
        cumulative: weight of absolute errors in logarithmic bins above `CDF_THRESHOLD`.
        below: weight of the smaller ones.
        total: weighted sum of all absolute errors, eV.
    """

    def __init__(self) -> None:
        self.histogram = ErrorHistogram()
        self.cumulative = np.zeros(_PER_DECADE * _DECADES)
        self.below = 0.0
        self.total = 0.0

    def add(
        self,
        predicted: Float[np.ndarray, "..."],
        reference: Float[np.ndarray, "..."],
        weight: Float[np.ndarray, "..."] | float = 1.0,
        shown: tuple[float, float] = (-np.inf, np.inf),
    ) -> None:
        """Take in values.

        Args:
            predicted: eV.
            reference: eV, of the same shape.
            weight: of each value.
            shown: reference values between which the histogram counts; the rest counts all.
        """
        weight = np.broadcast_to(weight, reference.shape)
        for truth, found, w in _chunks(reference, predicted, weight):
            error = found - truth
            inside = (truth >= shown[0]) & (truth <= shown[1])
            self.histogram.add(truth[inside], error[inside], w[inside])
            size = abs(error)
            self.total += float(size @ w)
            large = size > CDF_THRESHOLD
            self.below += float(w[~large].sum())
            place = np.log10(size[large] / CDF_THRESHOLD) * _PER_DECADE
            place = np.minimum(place.astype(np.int64), len(self.cumulative) - 1)
            self.cumulative += np.bincount(place, w[large], minlength=len(self.cumulative))

    @property
    def mean(self) -> float:
        """Mean absolute error of all, eV; NaN of nothing."""
        weight = self.below + self.cumulative.sum()
        return self.total / weight if weight else float("nan")

    @property
    def above(self) -> float:
        """Part of the errors that is above the threshold; NaN of nothing."""
        weight = self.below + self.cumulative.sum()
        return float(self.cumulative.sum() / weight) if weight else float("nan")

    def cdf(self) -> tuple[Float[np.ndarray, " edges"], Float[np.ndarray, " edges"]]:
        """Return absolute errors (eV) and the part of those above the threshold that is smaller."""
        edges = CDF_THRESHOLD * 10.0 ** (np.arange(len(self.cumulative) + 1) / _PER_DECADE)
        summed = np.concatenate([[0.0], np.cumsum(self.cumulative)])
        last = int(np.searchsorted(summed, summed[-1]))
        return edges[: last + 1], summed[: last + 1] / (summed[-1] or 1.0)

    def quantile(self, part: float) -> float:
        """Return what a part of the errors above the threshold is smaller than, eV; NaN if none is."""
        edges, smaller = self.cdf()
        return float(np.interp(part, smaller, edges)) if len(edges) > 1 else float("nan")


def _chunks(*arrays: np.ndarray) -> Iterator[list[Float[np.ndarray, " values"]]]:
    flat = [array.reshape(-1) for array in arrays]
    for start in range(0, flat[0].size, _CHUNK):
        yield [part[start : start + _CHUNK].astype(np.float64) for part in flat]
