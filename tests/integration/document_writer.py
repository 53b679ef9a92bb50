"""An application that writes all the time: a process of its own, and what its log says that there has to be.

Every write is in the log before it is sent, and has a number of its own that is also in the document. Vectors
follow from the number of the write. What is only true by chance of timing is avoided: a key that was given a
time to live is never written again, and a field that was given one is replaced or left to its end.
"""

from __future__ import annotations

import json
import random
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import redis

DTYPES: dict[str, Any] = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}
LONGEST_TTL_MS = 300
HOUR_MS = 3_600_000
SENT_AT_ONCE = 20
# What it does how often, of a hundred writes.
MIXED = {"rewrite": 42, "touch": 22, "add": 13, "delete": 8, "expire": 6, "fade": 5, "date": 4}
REWRITES = {"rewrite": 90, "touch": 10}


@dataclass(frozen=True)
class Writer:
    """What the application writes.

    Attributes:
        url: The server.
        log: Where it notes every write.
        dims: Components of a vector.
        datatype: Of the vectors.
        documents: How many there are to begin with, `p:0` and so on.
        per_second: Writes.
        weights: Kind of write -> how often, of a hundred.
        hot: It writes to so many of the first documents only; None: to all.
        seed: Of its choices.
    """

    url: str
    log: str
    dims: int
    datatype: str
    documents: int
    per_second: int = 2000
    weights: dict[str, int] = field(default_factory=lambda: dict(MIXED))
    hot: int | None = None
    seed: int = 1

    def fill(self) -> None:
        """Write the first documents, in the log as well."""
        with redis.Redis.from_url(self.url) as client, Path(self.log).open("w", encoding="utf-8") as log:
            application = _Application(self, client, log)
            for number in range(self.documents):
                application.write("add", f"p:{number}")
                if number % 500 == 499:
                    application.flush()
            application.flush()

    @contextmanager
    def at_work(self) -> Iterator[Callable[[str], None]]:
        """Let a process of its own write meanwhile; fails when that could not write.

        Yields:
            Makes it write vectors of another datatype from now on, as a new version of the application does.
        """
        command = [sys.executable, __file__, json.dumps(asdict(self))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            stdin, stdout = process.stdin, process.stdout
            assert stdin is not None
            assert stdout is not None

            def ask(word: str) -> None:
                stdin.write(f"{word}\n")
                stdin.flush()
                assert stdout.readline() == f"{word}\n"

            try:
                ask(self.datatype)
                yield ask
            finally:
                process.communicate(timeout=120)
        assert process.returncode == 0


@dataclass
class Written:
    """What has to be in a document.

    Attributes:
        values: Its fields but for the vector.
        vector: The number of the write that its vector is of; None: it has none.
        vector_at_ms: When that was, Unix time.
        datatype: Of that vector.
        vector_expires_ms: When the vector expires; -1 for never.
        expires_ms: When the document expires; -1 for never.
    """

    values: dict[bytes, bytes]
    vector: int | None
    vector_at_ms: int
    datatype: str
    vector_expires_ms: int = -1
    expires_ms: int = -1


def written(log: Path) -> dict[bytes, Written]:
    """What there has to be by a log, once all short times to live are over."""
    documents: dict[bytes, Written] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        key, kind, number = entry["key"].encode(), entry["kind"], entry["number"]
        if kind == "delete":
            del documents[key]
        elif kind in {"add", "rewrite", "touch"}:
            document = documents.setdefault(key, Written({}, None, 0, ""))
            document.values |= _values(number, kind)
            if kind != "touch":
                document.vector, document.vector_at_ms = number, entry["at"]
                document.datatype, document.vector_expires_ms = entry["datatype"], -1
        elif kind == "expire":
            documents[key].expires_ms = entry["until"]
        else:
            documents[key].vector_expires_ms = entry["until"]
    over = time.time() * 1000
    for document in documents.values():
        if 0 < document.vector_expires_ms < over:
            document.vector, document.vector_expires_ms = None, -1
    return {key: document for key, document in documents.items() if not 0 < document.expires_ms < over}


def vector_of(number: int, dims: int, datatype: str) -> bytes:
    """The vector of a write; every component has a place of its own in all datatypes."""
    return np.random.default_rng(number).standard_normal(dims).astype(DTYPES[datatype]).tobytes()


def converted(vector: bytes, before: str, after: str) -> bytes:
    """A vector in another datatype."""
    return np.frombuffer(vector, DTYPES[before]).astype(DTYPES[after]).tobytes()


def _values(number: int, kind: str) -> dict[bytes, bytes]:
    """What a write of a kind writes, but for the vector."""
    values = {b"number": b"%d" % number}
    return values | {b"title": b"added by %d" % number} if kind == "add" else values


class _Application:
    """Chooses and sends writes."""

    def __init__(self, writer: Writer, client: redis.Redis, log: Any, documents: int = 0) -> None:
        self._writer = writer
        self._log = log
        self._pipeline = client.pipeline(transaction=False)
        self._random = random.Random(writer.seed)  # noqa: S311 - no secret
        self._keys = [f"p:{number}" for number in range(documents)][: writer.hot]
        self._deleted: list[str] = []
        self._fading: set[str] = set()
        self._number = documents
        self._datatype = writer.datatype

    def run(self) -> None:
        """Write at the wanted rate until standard input ends; its lines say in which datatype."""
        kinds, weights = list(self._writer.weights), list(self._writer.weights.values())
        begun, sent = time.monotonic(), 0
        while True:
            if select.select([sys.stdin], [], [], 0)[0]:
                line = sys.stdin.readline()
                if not line:
                    return
                self._datatype = line.strip()
                sys.stdout.write(line)
                sys.stdout.flush()
            for kind in self._random.choices(kinds, weights, k=SENT_AT_ONCE):
                self._write_some(kind)
            self.flush()
            sent += SENT_AT_ONCE
            time.sleep(max(0.0, begun + sent / self._writer.per_second - time.monotonic()))

    def write(self, kind: str, key: str, until: int = -1) -> None:
        """Note a write and queue it."""
        number, now = self._number, int(time.time() * 1000)
        self._number += 1
        entry: dict[str, Any] = {"number": number, "at": now, "kind": kind, "key": key}
        if kind == "delete":
            self._pipeline.delete(key)
        elif kind == "expire":
            self._pipeline.pexpireat(key, until)
        elif kind in {"fade", "date"}:
            self._pipeline.execute_command("HPEXPIREAT", key, until, "FIELDS", 1, "embedding")
        else:
            mapping: dict[Any, Any] = _values(number, kind)
            if kind != "touch":
                mapping[b"embedding"] = vector_of(number, self._writer.dims, self._datatype)
            self._pipeline.hset(key, mapping=mapping)
        if until > 0:
            entry["until"] = until
        self._log.write(json.dumps({**entry, "datatype": self._datatype}) + "\n")

    def flush(self) -> None:
        """Send what is queued."""
        self._log.flush()
        self._pipeline.execute()

    def _write_some(self, kind: str) -> None:
        """A write of a kind to a document of its choice."""
        if kind == "add":
            comes_back = self._deleted and self._random.random() < 0.5
            key = self._take(self._deleted) if comes_back else f"p:new:{self._number}"
            self._keys.append(key)
            self.write("add", key)
            return
        if kind in {"delete", "expire"}:
            key = self._take(self._keys)
            self._fading.discard(key)
            if kind == "delete":
                self._deleted.append(key)
            self.write(kind, key, -1 if kind == "delete" else self._soon())
            return
        key = self._random.choice(self._keys)
        if kind == "rewrite":
            self._fading.discard(key)
        if kind == "date" and key in self._fading:
            kind = "touch"
        if kind == "fade":
            self._fading.add(key)
        until = {"fade": self._soon(), "date": int(time.time() * 1000) + HOUR_MS}.get(kind, -1)
        self.write(kind, key, until)

    def _soon(self) -> int:
        return int(time.time() * 1000) + self._random.randint(1, LONGEST_TTL_MS)

    def _take(self, keys: list[str]) -> str:
        at = self._random.randrange(len(keys))
        keys[at], keys[-1] = keys[-1], keys[at]
        return keys.pop()


def _main() -> None:
    writer = Writer(**json.loads(sys.argv[1]))
    with redis.Redis.from_url(writer.url) as client, Path(writer.log).open("a", encoding="utf-8") as log:
        _Application(writer, client, log, writer.documents).run()


if __name__ == "__main__":
    _main()
