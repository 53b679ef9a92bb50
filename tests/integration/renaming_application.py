"""One release of an application that has a name for a field: it writes documents with it, and searches by it.

Two releases share no document, so that what each has written last is what there has to be. Run as a program
it does one of both until its standard input is closed, and prints what it has counted.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import redis

# What it writes how often, of a hundred writes.
WRITES = {"rewrite": 70, "touch": 15, "add": 10, "delete": 5}
ASKED_EVERY_SECONDS = 0.01


@dataclass(frozen=True)
class Release:
    """One release.

    Attributes:
        url: The server.
        log: Where it notes every write.
        storage: Of the documents.
        name: What it calls the field.
        first: The number of the first document that is its own; every second one is.
        documents: How many there are to begin with.
        dims: Components of a vector.
        per_second: Writes.
    """

    url: str
    log: str
    storage: Literal["hash", "json"]
    name: str
    first: int
    documents: int
    dims: int
    per_second: int

    @contextmanager
    def writing(self) -> Iterator[Work]:
        """Let it write while the block lasts, or until that is stopped."""
        with _working({"role": "write", "release": asdict(self)}) as work:
            yield work
        assert not work.counts["failed"], work.counts

    @contextmanager
    def asking(self, index: str) -> Iterator[Work]:
        """Let it search while the block lasts, or until that is stopped; all has to be found all the time.

        Args:
            index: The name that it asks.
        """
        with _working({"role": "ask", "release": asdict(self), "index": index}) as work:
            yield work
        told = (index, self.name, work.counts)
        assert work.counts["asked"], told
        assert not work.counts["failed"], told
        assert not work.counts["short"], told

    def content(self, name: str, number: int, written: int, views: int) -> dict[str, Any]:
        """A document: its number is a word of its text, and so is that of the write.

        Args:
            name: Of the field.
            number: Of the document.
            written: Of the write of the field.
            views: Of the write of what all releases call alike.
        """
        text = f"shoe item{number} written{written}"
        vector = self.vector(number)
        if self.storage == "hash":
            return {name: text, "views": views, "embedding": vector.tobytes()}
        return {"spec": {name: text, "size": number}, "views": views, "embedding": vector.tolist()}

    def vector(self, number: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The vector of a document, which stays; RedisJSON may read the last bit of longer numbers wrong."""
        return (np.round(np.random.default_rng(number).standard_normal(self.dims) * 64) / 64).astype(
            np.float32
        )

    def fill(self) -> None:
        """Write the first documents: `p:0` and so on."""
        with redis.Redis.from_url(self.url) as client:
            pipeline = client.pipeline(transaction=False)
            for number in range(self.documents):
                _put(pipeline, self.storage, f"p:{number}", self.content(self.name, number, 0, 0))
                if number % 500 == 499:
                    pipeline.execute()
            pipeline.execute()

    def has_written(self) -> int:
        """How many writes are in its log."""
        log = Path(self.log)
        return len(log.read_bytes().splitlines()) if log.exists() else 0


class Work:
    """What a process of a release does, and has counted once it is over."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.counts: Counter[str] = Counter()

    def stop(self) -> None:
        """End it once what it has begun is done."""
        if self._process.returncode is None:
            out, _ = self._process.communicate(timeout=120)
            assert self._process.returncode == 0
            self.counts.update(json.loads(out))


@contextmanager
def _working(task: dict[str, Any]) -> Iterator[Work]:
    command = [sys.executable, __file__, json.dumps(task)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        work = Work(process)
        try:
            yield work
        finally:
            work.stop()


def expected(releases: list[Release], name: str) -> dict[bytes, dict[str, Any]]:
    """Every document by what the releases have written, with the field under one name."""
    state: dict[int, tuple[int, int]] = dict.fromkeys(range(releases[0].documents), (0, 0))
    for release in releases:
        log = Path(release.log)
        for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
            kind, number, written = json.loads(line)
            text, views = state.get(number, (0, 0))
            if kind == "delete":
                state.pop(number, None)
            elif kind == "touch":
                state[number] = (text, written)
            else:
                state[number] = (written, views)
    content = releases[0].content
    return {b"p:%d" % number: content(name, number, *each) for number, each in state.items()}


def found(client: redis.Redis, storage: str) -> dict[bytes, dict[str, Any]]:
    """Every document as it is."""
    keys = sorted(client.scan_iter(match="p:*", count=10_000))
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        if storage == "hash":
            pipeline.hgetall(key)
        else:
            pipeline.json().get(key)
    documents = {}
    for key, document in zip(keys, pipeline.execute(), strict=True):
        if storage == "hash":
            values = {field.decode(): value for field, value in document.items()}
            documents[key] = {
                field: value if field == "embedding" else _as_written(value)
                for field, value in values.items()
            }
        else:
            documents[key] = document
    return documents


def _as_written(value: bytes) -> Any:
    text = value.decode()
    return int(text) if text.isdigit() else text


def _put(pipeline: Any, storage: str, key: str, document: dict[str, Any]) -> None:
    if storage == "hash":
        pipeline.hset(key, mapping=document)
    else:
        pipeline.json().set(key, "$", document)


def _write(release: Release, client: redis.Redis, is_over: threading.Event) -> Counter[str]:
    counts: Counter[str] = Counter()
    chance = random.Random(release.first)  # noqa: S311 - no secret
    own = list(range(release.first, release.documents, 2))
    added: list[int] = []
    log = Path(release.log)
    # Numbers of writes and of new documents go on where an earlier process has ended.
    written = release.first + 2 * (1 + release.has_written())
    begun, kinds = time.monotonic(), list(WRITES)
    with log.open("a", encoding="utf-8") as lines:
        while not is_over.is_set():
            [kind] = chance.choices(kinds, list(WRITES.values()))
            if kind == "delete" and not added:
                kind = "touch"
            number = chance.choice(own)
            if kind == "add":
                number = 10_000_000 + written
                added.append(number)
            elif kind == "delete":
                number = added.pop(chance.randrange(len(added)))
            written += 2
            lines.write(json.dumps([kind, number, written]) + "\n")
            lines.flush()
            _send(client, release, kind, number, written)
            counts["written"] += 1
            time.sleep(max(0.0, begun + counts["written"] / release.per_second - time.monotonic()))
    return counts


def _send(client: redis.Redis, release: Release, kind: str, number: int, written: int) -> None:
    key = f"p:{number}"
    text = f"shoe item{number} written{written}"
    if kind == "delete":
        client.delete(key)
    elif kind == "add":
        _put(client, release.storage, key, release.content(release.name, number, written, 0))
    elif release.storage == "hash":
        client.hset(key, *(("views", str(written)) if kind == "touch" else (release.name, text)))
    elif kind == "touch":
        client.json().set(key, "$.views", written)
    else:
        client.json().set(key, f"$.spec.{release.name}", text)


def _ask(release: Release, index: str, client: redis.Redis, is_over: threading.Event) -> Counter[str]:
    counts: Counter[str] = Counter()
    chance = random.Random(1)  # noqa: S311 - no secret
    while not is_over.is_set():
        number = chance.randrange(release.documents)
        neighbours = (
            "*=>[KNN 10 @embedding $vector]",
            *("PARAMS", "2", "vector", release.vector(number).tobytes(), "NOCONTENT", "LIMIT", "0", "10"),
        )
        for wanted, words in (
            (release.documents, (f"@{release.name}:shoe", "LIMIT", "0", "0")),
            (1, (f"@{release.name}:item{number}", "NOCONTENT")),
            (10, neighbours),
        ):
            counts["asked"] += 1
            try:
                reply: Any = client.execute_command("FT.SEARCH", index, *words, "DIALECT", "2")
            except redis.RedisError as error:
                counts["failed"] += 1
                counts[f"failed: {error}"] += 1
            else:
                counts["short"] += reply[0] < wanted
        time.sleep(ASKED_EVERY_SECONDS)
    return counts


def _main() -> None:
    task = json.loads(sys.argv[1])
    release = Release(**task["release"])
    is_over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), is_over.set()), daemon=True).start()
    with redis.Redis.from_url(release.url, protocol=2) as client:
        client.ping()
        print("ready", flush=True)
        if task["role"] == "write":
            counts = _write(release, client, is_over)
        else:
            counts = _ask(release, task["index"], client, is_over)
    with suppress(BrokenPipeError):
        print(json.dumps(counts))


if __name__ == "__main__":
    _main()
