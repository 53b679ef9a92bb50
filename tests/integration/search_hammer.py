"""Asks an index as fast as it can, and counts the errors and the answers that are cut short.

Run as a program, `search_hammer.py URL INDEX TOTAL VECTOR`, it prints `ready`, asks until its standard input
is closed, and prints a JSON object. VECTOR is that of the query, as hex digits.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

NEIGHBOURS = 10
EVERY_PRODUCT = "shoe"


@contextmanager
def hammered(
    url: str, index: str, total: int, query_vector: bytes, processes: int = 2
) -> Iterator[list[Counter[str]]]:
    """Ask from several processes while the block runs; the list is filled at its end.

    Args:
        url: The server.
        index: The name that is queried.
        total: How many documents have the word `shoe` in their title.
        query_vector: Bytes of the index's datatype.
        processes: How many ask.
    """
    counts: list[Counter[str]] = []
    arguments = [sys.executable, str(Path(__file__)), url, index, str(total), query_vector.hex()]
    with ExitStack() as stack:
        hammers = [
            stack.enter_context(
                subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(processes)
        ]
        for hammer in hammers:
            assert hammer.stdout is not None
            assert hammer.stdout.readline() == "ready\n"
        try:
            yield counts
        finally:
            counts += [Counter(json.loads(hammer.communicate()[0])) for hammer in hammers]


def _questions(index: str, query_vector: bytes) -> list[tuple[int, tuple[str | bytes, ...]]]:
    """How many rows an answer has to have, and the question; 0 for as many as there are documents."""
    knn = f"*=>[KNN {NEIGHBOURS} @embedding $vector AS distance]"
    parameters = ("PARAMS", "2", "vector", query_vector, "DIALECT", "2")
    return [
        (NEIGHBOURS, ("FT.SEARCH", index, knn, *parameters, "NOCONTENT", "LIMIT", "0", str(NEIGHBOURS))),
        (0, ("FT.SEARCH", index, f"@title:{EVERY_PRODUCT}", "LIMIT", "0", "0")),
        (0, ("FT.AGGREGATE", index, "*", "GROUPBY", "0", "REDUCE", "COUNT", "0", "AS", "n")),
    ]


def _answered(question: tuple[str | bytes, ...], reply: list[object]) -> int:
    """What an answer counts: its rows, or the documents it tells of."""
    if question[0] == "FT.AGGREGATE":
        row = reply[1]
        assert isinstance(row, list)
        return int(row[1])
    count = reply[0]
    assert isinstance(count, int)
    return count


def _hammer(url: str, index: str, total: int, query_vector: bytes) -> None:
    client = redis.Redis.from_url(url, protocol=2)
    questions = [(wanted or total, question) for wanted, question in _questions(index, query_vector)]
    counts: Counter[str] = Counter()
    is_over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), is_over.set()), daemon=True).start()
    print("ready", flush=True)
    while not is_over.is_set():
        for wanted, question in questions:
            counts["asked"] += 1
            try:
                answered = _answered(question, client.execute_command(*question))
            except redis.RedisError as error:
                counts["failed"] += 1
                counts[f"failed: {error}"] += 1
            else:
                counts["short"] += answered < wanted
    print(json.dumps(counts))


if __name__ == "__main__":
    _hammer(sys.argv[1], sys.argv[2], int(sys.argv[3]), bytes.fromhex(sys.argv[4]))
