"""Asks an index the same questions every 20 ms and sums up for how long it did not answer them in full.

Run as a program, `search_prober.py PORT INDEX TOTAL QUERY…`, it prints `ready`, asks until its standard input
is closed, and prints a JSON object. An answer is full if any of the queries finds TOTAL documents: a renamed
field needs one query with its old name and one with its new. It is partial if none of them does, and failed
if the server has nothing but errors.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, assert_never

from raw_connection import RawConnection

_INTERVAL_SECONDS = 0.02
# Documents may be missing for a while after a migration that says it is done.
_AFTERWARDS_SECONDS = 1.0

Answer = Literal["full", "partial", "failed"]


@dataclass
class ProbedSearch:
    """For how long search was not what it should be.

    Attributes:
        failed_seconds: The server answered with an error.
        partial_seconds: It found fewer documents than there are.
    """

    failed_seconds: float = 0.0
    partial_seconds: float = 0.0

    @property
    def not_full_seconds(self) -> float:
        """Either of the two."""
        return self.failed_seconds + self.partial_seconds

    def add(self, answer: Answer, seconds: float) -> None:
        """Count an answer until the next one was asked for."""
        match answer:
            case "full":
                pass
            case "partial":
                self.partial_seconds += seconds
            case "failed":
                self.failed_seconds += seconds
            case _:
                assert_never(answer)


@contextmanager
def probed(port: int, index: str, total: int, queries: Sequence[str]) -> Iterator[ProbedSearch]:
    """Ask in a process of its own while the `with` block runs; what is yielded is filled in after it."""
    command = [sys.executable, __file__, str(port), index, str(total), *queries]
    search = ProbedSearch()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as prober:
        assert prober.stdout is not None
        assert prober.stdout.readline() == "ready\n"
        yield search
        time.sleep(_AFTERWARDS_SECONDS)
        seconds = json.loads(prober.communicate()[0])
    search.failed_seconds, search.partial_seconds = seconds["failed"], seconds["partial"]


def main() -> None:
    """Ask until standard input ends."""
    port, index, total, *queries = sys.argv[1:]
    connection = RawConnection(int(port))
    stopped = threading.Event()
    threading.Thread(target=_await_end_of_input, args=[stopped], daemon=True).start()
    search = ProbedSearch()
    if _ask(connection, index, int(total), queries) != "full":
        raise SystemExit(f"{queries} don't find {total} documents before anything has begun.")
    print("ready", flush=True)
    asked = time.monotonic()
    while not stopped.is_set():
        answer = _ask(connection, index, int(total), queries)
        stopped.wait(asked + _INTERVAL_SECONDS - time.monotonic())
        now = time.monotonic()
        search.add(answer, now - asked)
        asked = now
    print(json.dumps({"failed": search.failed_seconds, "partial": search.partial_seconds}))


def _await_end_of_input(stopped: threading.Event) -> None:
    sys.stdin.read()
    stopped.set()


def _ask(connection: RawConnection, index: str, total: int, queries: Sequence[str]) -> Answer:
    best = -1
    for query in queries:
        reply = connection.ask("FT.SEARCH", index, query, "LIMIT", 0, 0)
        if isinstance(reply, list):
            best = max(best, reply[0])
    if best < 0:
        return "failed"
    return "full" if best == total else "partial"


if __name__ == "__main__":
    main()
