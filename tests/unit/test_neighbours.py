"""How much of the nearest neighbours stays when vectors are truncated."""

import numpy as np
import pytest

from redismigrate.documents.neighbours import LEAST_VECTORS, overlap_of_neighbours

METRICS = ("COSINE", "IP", "L2")


def vectors(count=200, dims=16, seed=1):
    return np.random.default_rng(seed).normal(size=(count, dims))


@pytest.mark.parametrize("metric", METRICS)
def test_all_neighbours_stay_where_what_is_cut_off_says_nothing(metric):
    padded = np.pad(vectors(), ((0, 0), (0, 8)))
    assert overlap_of_neighbours(padded, 16, metric, renormalize=False) == 1


@pytest.mark.parametrize("metric", METRICS)
def test_few_stay_where_what_is_left_says_nothing(metric):
    noise = np.concatenate([vectors(seed=2, dims=4) * 1e-3, vectors()], axis=1)
    assert overlap_of_neighbours(noise, 4, metric, renormalize=True) < 0.2


@pytest.mark.parametrize("metric", METRICS)
def test_it_is_what_a_plain_search_finds(metric):
    full = vectors(dims=12)
    left = full[:, :6]

    def nearest(rows, at):
        if metric == "COSINE":
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        likeness = -np.linalg.norm(rows - rows[at], axis=1) if metric == "L2" else rows @ rows[at]
        likeness[at] = -np.inf
        return set(np.argsort(-likeness)[:10].tolist())

    shares = [len(nearest(full, at) & nearest(left, at)) / 10 for at in range(len(full))]
    assert overlap_of_neighbours(full, 6, metric, renormalize=False) == pytest.approx(np.mean(shares))


def test_too_few_vectors_tell_nothing():
    assert overlap_of_neighbours(vectors(LEAST_VECTORS - 1), 8, "IP", renormalize=True) is None
