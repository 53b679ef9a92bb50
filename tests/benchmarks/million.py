"""Measures how much memory the command needs for very many documents; run by hand.

`python tests/benchmarks/million.py` writes a million hashes with a vector of 128 dimensions to a private
server, re-encodes them from FLOAT32 to FLOAT16 by the real command, with and without `--exclusive`, and
prints the peak of its resident memory and the seconds that it took. The same command at a fiftieth of that
size shows whether the peak grows with the number of documents.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark_cases import Contestant
from benchmark_contestants import Outcome, run_contestant
from benchmark_documents import Documents

CASE = "float16"
CONTESTANTS: tuple[Contestant, ...] = ("redismigrate --exclusive", "redismigrate")
SMALLER = 50
MOST_BYTES = 200_000_000


def main() -> None:
    """Measure, print, and end with 1 if a peak is over the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=1_000_000, help="[%(default)s]")
    parser.add_argument("--dims", type=int, default=128, help="components of a vector [%(default)s]")
    options = parser.parse_args()
    print(f"{'':26}{'documents':>12}{'peak MB':>10}{'data s':>9}{'total s':>9}")
    is_over = False
    for count in (options.documents // SMALLER, options.documents):
        for contestant in CONTESTANTS:
            outcome = measure(contestant, Documents(count, options.dims))
            print(
                f"{contestant:26}{count:12,}{(outcome.peak_bytes or 0) / 1e6:10.0f}"
                f"{outcome.documents_seconds:9.2f}{outcome.total_seconds or 0:9.2f}",
                flush=True,
            )
            is_over |= (outcome.peak_bytes or 0) > MOST_BYTES
    if is_over:
        raise SystemExit(f"A peak is over {MOST_BYTES / 1e6:.0f} MB.")


def measure(contestant: Contestant, documents: Documents) -> Outcome:
    """Migrate documents on a fresh server."""
    return run_contestant(contestant, CASE, documents, Path(), is_probed=False)


if __name__ == "__main__":
    main()
