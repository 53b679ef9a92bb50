"""The command needs as much memory for few documents as for many."""

from __future__ import annotations

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MOST_GROWTH_BYTES = 40_000_000
MOST_BYTES = 200_000_000


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("contestant", ["redismigrate", "redismigrate --exclusive"])
def test_five_times_the_documents_need_no_more_memory(contestant: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from benchmark_documents import Documents
    from million import measure

    # Fewer are all in memory at once: chunks of them are read, converted and written at a time.
    few, many = (measure(contestant, Documents(count, 128)).peak_bytes for count in (100_000, 500_000))
    assert many - few < MOST_GROWTH_BYTES
    assert many < MOST_BYTES
