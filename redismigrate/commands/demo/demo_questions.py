"""The demo's KNN queries, asked by the example's own `search.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import redis

from redismigrate.foreign_modules import functions_in
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.inspection import read_index

INDEX = "packages"
HITS = 3


@dataclass(frozen=True)
class DemoQuestion:
    """A KNN query.

    Attributes:
        like: The package whose neighbours are searched.
        among: The query that says where to look; `*` is everywhere.
        index: The index or an alias of it.
    """

    like: str = "dnshistory"
    among: str = "*"
    index: str = INDEX


@dataclass(frozen=True)
class Hit:
    """A package that was found.

    Attributes:
        name: Its name.
        summary: What it is.
        distance: Its cosine distance to the package asked for.
    """

    name: str
    summary: str
    distance: float


@dataclass(frozen=True)
class Answer:
    """What the server said to a question.

    Attributes:
        hits: The nearest packages, nearest first.
        matching: How many packages there are to look among.
        refusal: The server's words when it refused the query, else empty.
    """

    hits: tuple[Hit, ...] = ()
    matching: int = 0
    refusal: str = ""


class Asker:
    """Asks questions by the functions of the example's `search.py`.

    Args:
        server: The connection.
        folder: The example.
    """

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._functions = functions_in(folder / "search.py")

    def query(self, question: DemoQuestion) -> str:
        """The text of the query."""
        return str(self._functions["knn_query"](question.among, HITS + 1))

    def ask(self, question: DemoQuestion) -> Answer:
        """The answer; a refusal is one, too, since before a revision a query may be impossible."""
        client, index = self._server.client, question.index
        try:
            with self._server.translated_errors():
                hits = self._functions["similar_packages"](
                    client, question.like, among=question.among, count=HITS, index=index
                )
                matching, _ = self._functions["matching_packages"](client, question.among, index=index)
        except redis.ResponseError as error:
            return Answer(refusal=str(error))
        return Answer(tuple(Hit(hit.name, hit.summary, hit.distance) for hit in hits), matching)

    def documents(self) -> int:
        """How many documents the index sees."""
        with self._server.translated_errors():
            index = read_index(self._server.client.execute_command, INDEX)
        return 0 if index is None else index.statistics.num_docs
