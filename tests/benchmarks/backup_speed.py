"""Measures re-encoding and backup; run by hand: `python tests/benchmarks/backup_speed.py [FOLDER]`.

Prints documents per second for 100,000 vectors of 768 float32 in batches of 500: converted; written to a
backup in FOLDER (default: that of temporary files), with every chunk on disk before the next is added (`add`)
and with the disk and the caller working at the same time (`submit`); verified; and read.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from redismigrate.backup.backup import Backup
from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.manifest import Manifest
from redismigrate.documents.batch import Batch
from redismigrate.documents.integer_vectors import Calibration
from redismigrate.documents.vectors import VectorConversion, VectorEncoding

BATCHES = 200
BATCH_SIZE = 500
DIMS = 768
REPEATS = 3


def main() -> None:
    """Measure and print."""
    numbers = np.random.default_rng(1).standard_normal((BATCH_SIZE, DIMS), dtype=np.float32)
    vectors: list[bytes | None] = [row.tobytes() for row in numbers]
    _measure_conversions(numbers, vectors)
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    keys = [b"doc:%d" % row for row in range(BATCH_SIZE)]
    chunk = Chunk(Batch(keys, {"embedding": vectors}), {"ttl_ms": [-1] * BATCH_SIZE})
    for name, write in (("add", _add), ("submit", _submit)):
        with tempfile.TemporaryDirectory(dir=folder) as backup_dir:
            runs = iter(range(REPEATS))
            _print(f"backup, {name}", lambda: write(Path(backup_dir), f"run{next(runs)}", chunk))  # noqa: B023
            backup = Backup.open(Path(backup_dir, "shop", "run0", "8f3a1c9b2d4e", "products"))
            _print("backup, verify", backup.verify)
            _print("backup, read", lambda: sum(1 for _ in backup.chunks()))  # noqa: B023


def _measure_conversions(numbers: np.ndarray, vectors: list[bytes | None]) -> None:
    calibration = Calibration()
    calibration.add(numbers)
    source = VectorEncoding("FLOAT32", DIMS)
    _print("astype(float16) alone", lambda: [numbers.astype(np.float16) for _ in range(BATCHES)])
    for datatype, quantization in (
        ("FLOAT16", None),
        ("BFLOAT16", None),
        ("FLOAT64", None),
        ("INT8", calibration.quantization("INT8", "COSINE")),
        ("INT8", calibration.quantization("INT8", "L2")),
        ("UINT8", calibration.quantization("UINT8", "L2")),
    ):
        target = VectorEncoding(datatype, DIMS)
        conversion = VectorConversion(source, target, target_quantization=quantization)
        _print(
            f"FLOAT32 to {datatype} {quantization.kind if quantization else ''}",
            lambda: [conversion.convert(vectors) for _ in range(BATCHES)],  # noqa: B023
        )
        back = VectorConversion(target, source, source_quantization=quantization)
        converted = conversion.convert(vectors).values
        _print(f"{datatype} to FLOAT32", lambda: [back.convert(converted) for _ in range(BATCHES)])  # noqa: B023


def _add(backup_dir: Path, run: str, chunk: Chunk) -> None:
    with BackupWriter.create(backup_dir, _manifest(run)) as writer:
        for _ in range(BATCHES):
            writer.add(chunk)
        writer.finish()


def _submit(backup_dir: Path, run: str, chunk: Chunk) -> None:
    with BackupWriter.create(backup_dir, _manifest(run)) as writer:
        for _ in range(BATCHES):
            writer.submit(chunk)
        writer.finish()


def _manifest(run: str) -> Manifest:
    return Manifest(
        project="shop",
        run=run,
        revision="8f3a1c9b2d4e",
        index="products",
        phase="all",
        fields=("embedding",),
        schema_before={},
        options={},
    )


def _print(what: str, work: Callable[[], object]) -> None:
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    print(f"{what}: {min(seconds):.2f} s, {BATCHES * BATCH_SIZE / min(seconds):,.0f} documents/s")


if __name__ == "__main__":
    main()
