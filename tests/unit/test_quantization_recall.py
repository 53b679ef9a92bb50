"""How many of the true neighbours are still found after re-encoding, on real embeddings where there are some.

Distances between integers are those that the server computes. Queries are encoded like the vectors, as they
have to be for the server to take them. REDISMIGRATE_EMBEDDINGS may name an npy file with others than those of
the example.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from redismigrate.documents.integer_vectors import Calibration, quantize
from redismigrate.documents.vectors import DTYPES, VectorConversion, VectorEncoding

REAL_EMBEDDINGS = Path("alembic_style_example", "data", "packages_minilm384.npy")
QUERIES = 200
NEIGHBOURS = 10


def clustered(vectors=1_000, dims=384):
    """Unit vectors around 50 centres: what embeddings look like where no real ones are at hand."""
    random = np.random.default_rng(7)
    centres = random.standard_normal((50, dims))
    numbers = centres[random.integers(0, 50, vectors)] + 0.7 * random.standard_normal((vectors, dims))
    return (numbers / np.linalg.norm(numbers, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def embeddings():
    places = [folder / REAL_EMBEDDINGS for folder in Path(__file__).parents]
    if "REDISMIGRATE_EMBEDDINGS" in os.environ:
        places = [Path(os.environ["REDISMIGRATE_EMBEDDINGS"])]
    found = next(filter(Path.exists, places), None)
    return clustered() if found is None else np.load(found, allow_pickle=False)


def nearest(numbers, metric):
    """The positions of each query's neighbours among the rest; the last rows are the queries."""
    numbers = np.asarray(numbers, np.float64)
    base, queries = numbers[:-QUERIES], numbers[-QUERIES:]
    products = queries @ base.T
    if metric == "COSINE":
        scores = products / np.linalg.norm(base, axis=1)
    elif metric == "IP":
        scores = products
    else:
        scores = 2 * products - (base**2).sum(axis=1)
    return np.argsort(-scores, axis=1, kind="stable")[:, :NEIGHBOURS]


def recall(before, after, metric):
    pairs = zip(nearest(before, metric), nearest(after, metric), strict=True)
    return sum(len(set(true) & set(found)) for true, found in pairs) / (QUERIES * NEIGHBOURS)


def re_encoded(numbers, datatype, metric):
    """What the server has after a migration to the datatype."""
    dims = numbers.shape[1]
    quantization = None
    if datatype in {"INT8", "UINT8"}:
        calibration = Calibration()
        calibration.add(numbers)
        quantization = calibration.quantization(datatype, metric)
    conversion = VectorConversion(
        VectorEncoding("FLOAT32", dims), VectorEncoding(datatype, dims), target_quantization=quantization
    )
    converted = conversion.convert([row.tobytes() for row in numbers])
    assert converted.failures == []
    return np.frombuffer(b"".join(converted.values), DTYPES[datatype]).reshape(-1, dims)


def of_different_lengths(numbers):
    """The same directions with lengths between 0.5 and 2, so that the metrics disagree."""
    lengths = np.random.default_rng(3).uniform(0.5, 2, (len(numbers), 1))
    return (numbers * lengths).astype(np.float32)


@pytest.mark.parametrize(
    ("datatype", "metric", "expected"),
    [
        ("FLOAT16", "COSINE", 0.995),
        ("FLOAT16", "IP", 0.995),
        ("FLOAT16", "L2", 0.995),
        ("BFLOAT16", "COSINE", 0.98),
        ("BFLOAT16", "IP", 0.98),
        ("BFLOAT16", "L2", 0.98),
        ("INT8", "COSINE", 0.97),
        ("INT8", "IP", 0.97),
        ("INT8", "L2", 0.97),
        ("UINT8", "L2", 0.97),
    ],
)
@pytest.mark.parametrize("lengths", [np.asarray, of_different_lengths], ids=["unit length", "any length"])
def test_re_encoded_vectors_have_the_same_neighbours(embeddings, datatype, metric, expected, lengths):
    numbers = lengths(embeddings)
    assert recall(numbers, re_encoded(numbers, datatype, metric), metric) >= expected


@pytest.mark.parametrize("metric", ["COSINE", "IP", "L2"])
def test_uint8_keeps_the_neighbours_of_vectors_that_are_never_negative(embeddings, metric):
    numbers = np.maximum(embeddings, 0)
    assert recall(numbers, re_encoded(numbers, "UINT8", metric), metric) >= 0.97


@pytest.mark.parametrize("metric", ["COSINE", "IP", "L2"])
def test_minimum_and_maximum_of_each_vector_would_lose_neighbours(embeddings, metric):
    numbers = of_different_lengths(embeddings)
    low, high = numbers.min(axis=1, keepdims=True), numbers.max(axis=1, keepdims=True)
    with_offset = np.rint((numbers - low) / (high - low) * 255) - 128
    symmetric = re_encoded(numbers, "INT8", metric)
    assert recall(numbers, with_offset, metric) < recall(numbers, symmetric, metric) - 0.15


@pytest.mark.parametrize("metric", ["IP", "L2"])
def test_scales_of_each_vector_would_lose_neighbours_where_lengths_count(embeddings, metric):
    numbers = of_different_lengths(embeddings)
    per_vector = re_encoded(numbers, "INT8", "COSINE")
    assert recall(numbers, per_vector, metric) < 0.7


@pytest.mark.parametrize("metric", ["COSINE", "IP"])
def test_an_offset_would_lose_neighbours_for_other_metrics_than_l2(embeddings, metric):
    numbers = of_different_lengths(embeddings)
    calibration = Calibration()
    calibration.add(numbers)
    codes = quantize(numbers, calibration.quantization("UINT8", "L2"))
    assert recall(numbers, codes, metric) < 0.7
