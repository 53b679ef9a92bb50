"""How many of the ten nearest neighbours vectors keep in another datatype; run by hand.

`python tests/benchmarks/recall.py` converts the embeddings of the example project, or those of an npy file
that is named, and prints tables. For each of the first thousand vectors, as a query, the ten nearest of all
others are found among the originals and among the converted ones, by exact search: recall@10 is the share of
the former that is among the latter. Queries are converted like the vectors, and distances are computed from
what a FLAT index would hold, so that what is lost is lost by the datatype alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from redismigrate.documents.integer_vectors import Calibration
from redismigrate.documents.vectors import DTYPES, VectorConversion, VectorEncoding
from redismigrate.errors import PlanBlocked
from redismigrate.schema.quantization import IntegerDatatype, Quantization
from redismigrate.schema.vector_field import Datatype, DistanceMetric

EMBEDDINGS = Path(__file__).parents[2] / "alembic_style_example" / "data" / "packages_minilm384.npy"
MOST_QUERIES = 1_000
NEIGHBOURS = 10
DATATYPES: tuple[Datatype, ...] = ("FLOAT64", "FLOAT16", "BFLOAT16", "INT8", "UINT8")
METRICS: tuple[DistanceMetric, ...] = ("COSINE", "IP", "L2")


def main() -> None:
    """Measure and print."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else EMBEDDINGS
    embeddings = np.load(file, allow_pickle=False).astype(np.float32)
    kinds: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
        "as they are": np.asarray,
        "of different lengths": _of_different_lengths,
        "without negative components": lambda numbers: np.maximum(numbers, 0),
    }
    for name, kind in kinds.items():
        vectors = kind(embeddings)
        print(f"\n{len(vectors):,} vectors {name}\n")
        _print_table(vectors)


def _print_table(vectors: NDArray[Any]) -> None:
    dims = vectors.shape[1]
    true = {metric: nearest(vectors, metric) for metric in METRICS}
    print(f"| datatype | bytes of {dims} dimensions | {' | '.join(METRICS)} |")
    print(f"|---|---|{'---|' * len(METRICS)}")
    for datatype in DATATYPES:
        cells = [_cell(vectors, datatype, metric, true[metric]) for metric in METRICS]
        size_bytes = VectorEncoding(datatype, dims).size_bytes
        print(f"| {datatype} | {size_bytes:,} | {' | '.join(cells)} |")


def _cell(vectors: NDArray[Any], datatype: Datatype, metric: DistanceMetric, true: NDArray[np.int64]) -> str:
    try:
        converted = _converted(vectors, datatype, metric)
    except PlanBlocked:
        return "blocked"
    found = nearest(converted, metric)
    kept = sum(len(np.intersect1d(*pair)) for pair in zip(true, found, strict=True))
    return f"{kept / true.size:.4f}"


def _converted(vectors: NDArray[Any], datatype: Datatype, metric: DistanceMetric) -> NDArray[Any]:
    """What the server has after a migration to the datatype.

    Raises:
        PlanBlocked: The datatype can't hold these vectors for this metric.
    """
    dims = vectors.shape[1]
    conversion = VectorConversion(
        VectorEncoding("FLOAT32", dims),
        VectorEncoding(datatype, dims),
        target_quantization=_quantization(vectors, datatype, metric),
    )
    values = conversion.convert([row.tobytes() for row in vectors]).values
    return np.frombuffer(b"".join(value or b"" for value in values), DTYPES[datatype]).reshape(-1, dims)


def _quantization(vectors: NDArray[Any], datatype: Datatype, metric: DistanceMetric) -> Quantization | None:
    if datatype not in get_args(IntegerDatatype):
        return None
    calibration = Calibration()
    calibration.add(vectors)
    return calibration.quantization("INT8" if datatype == "INT8" else "UINT8", metric)


def nearest(vectors: NDArray[Any], metric: DistanceMetric, queries: int = MOST_QUERIES) -> NDArray[np.int64]:
    """The rows of each query's nearest neighbours by exact arithmetic, in any order.

    Args:
        vectors: The first ones are the queries, too.
        metric: How near is meant.
        queries: How many.

    Returns:
        Of shape (queries, NEIGHBOURS).
    """
    numbers = np.asarray(vectors, np.float64)
    scores = numbers[:queries] @ numbers.T
    if metric == "COSINE":
        scores /= np.maximum(np.linalg.norm(numbers, axis=1), np.finfo(np.float64).tiny)
    elif metric == "L2":
        scores = 2 * scores - (numbers**2).sum(axis=1)
    np.fill_diagonal(scores, -np.inf)  # no query is a neighbour of itself
    return np.argpartition(-scores, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]


def _of_different_lengths(vectors: NDArray[Any]) -> NDArray[Any]:
    """The same directions with lengths between 0.5 and 2, so that the metrics disagree."""
    lengths = np.random.default_rng(3).uniform(0.5, 2, (len(vectors), 1))
    return (vectors * lengths).astype(np.float32)


if __name__ == "__main__":
    main()
