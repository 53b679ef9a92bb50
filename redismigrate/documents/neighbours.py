"""How much of the nearest neighbours stays when vectors are truncated: exact search, before and after."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from redismigrate.schema.vector_field import DistanceMetric

_NEIGHBOURS = 10
# Of fewer vectors nearly all are neighbours of each other, whatever is cut off.
LEAST_VECTORS = 100


def overlap_of_neighbours(
    vectors: NDArray[Any], dims: int, metric: DistanceMetric, *, renormalize: bool
) -> float | None:
    """The mean share of the ten nearest neighbours of a vector that are so after truncation, too.

    Every vector is the query once, and not its own neighbour.

    Args:
        vectors: Shape (vectors, components), floats, all finite.
        dims: How many components stay.
        metric: What is near.
        renormalize: What is left gets length 1.

    Returns:
        0 to 1; None of fewer vectors than 100.
    """
    if len(vectors) < LEAST_VECTORS:
        return None
    left = vectors[:, :dims]
    if renormalize:
        left = _with_length_one(left)
    before, after = _nearest(vectors, metric), _nearest(left, metric)
    shared = [len(np.intersect1d(*rows)) for rows in zip(before, after, strict=True)]
    return float(np.mean(shared)) / _NEIGHBOURS


def _nearest(vectors: NDArray[Any], metric: DistanceMetric) -> NDArray[np.intp]:
    """The ten nearest of each, shape (vectors, 10), in no order."""
    if metric == "COSINE":
        vectors = _with_length_one(vectors)
    likeness = vectors @ vectors.T
    if metric == "L2":  # |a - b|^2 = |a|^2 + |b|^2 - 2 ab, of which |a|^2 is the same for all b
        likeness = 2 * likeness - np.einsum("ij,ij->i", vectors, vectors)[np.newaxis, :]
    np.fill_diagonal(likeness, -np.inf)
    return np.argpartition(-likeness, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]


def _with_length_one(vectors: NDArray[Any]) -> NDArray[Any]:
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    lengths[lengths == 0] = 1
    scaled: NDArray[Any] = vectors / lengths[:, np.newaxis]
    return scaled
