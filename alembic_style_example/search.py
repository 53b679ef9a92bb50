"""Searches the packages: `python search.py --like dnshistory`, `python search.py --text 'mail editor'`."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import redis
from redis.commands.search.query import Query

INDEX = "packages"
HERE = Path(__file__).parent


class Hit(NamedTuple):
    """A package that was found.

    Attributes:
        name: Its name.
        summary: What it is.
        distance: 1 - cosine similarity to the package asked for, 0 to 2; None for a text query.
    """

    name: str
    summary: str
    distance: float | None


def knn_query(among: str, count: int) -> str:
    """The text of a query for the `count` vectors nearest to `$vector` among what another query matches."""
    return f"({among})=>[KNN {count} @embedding $vector AS distance]"


def similar_packages(
    client: redis.Redis, package: str, among: str = "*", count: int = 3, index: str = INDEX
) -> list[Hit]:
    """The packages whose embeddings are nearest to that of a package, nearest first, itself left out.

    Args:
        client: A client that doesn't decode, since embeddings are bytes.
        package: The name of the package.
        among: A query that says where to look; `*` is everywhere.
        count: How many.
        index: The name of the index, or an alias of it.

    Raises:
        LookupError: There is no such package.
        redis.ResponseError: The server refuses the query, for example because there is no such index.
    """
    embedding = client.hget(f"package:{package}", "embedding")
    if embedding is None:
        raise LookupError(f"There is no package {package}.")
    query = (
        # One more than asked for: the package itself is its own nearest neighbour.
        Query(knn_query(among, count + 1))
        .return_fields("name", "summary", "distance")
        .sort_by("distance")
        .paging(0, count + 1)
        .dialect(2)
    )
    found = client.ft(index).search(query, {"vector": embedding})
    hits = [Hit(document.name, document.summary, float(document.distance)) for document in found.docs]
    return [hit for hit in hits if hit.name != package][:count]


def matching_packages(
    client: redis.Redis, text: str, count: int = 3, index: str = INDEX
) -> tuple[int, list[Hit]]:
    """How many packages match a query in Redis Search's query language, and the best of them.

    Args:
        client: A client.
        text: The query.
        count: How many to return at most.
        index: The name of the index, or an alias of it.

    Raises:
        redis.ResponseError: The server refuses the query.
    """
    query = Query(text).return_fields("name", "summary").paging(0, count).dialect(2)
    found = client.ft(index).search(query)
    return found.total, [Hit(document.name, document.summary, None) for document in found.docs]


def default_url() -> str:
    """The Redis that redismigrate would take."""
    settings = tomllib.loads((HERE / "redismigrate.toml").read_text(encoding="utf-8"))
    return os.environ.get("REDISMIGRATE_URL") or str(settings["url"])


def main() -> None:
    """Print what is like a package, or what matches a query."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default=default_url(), help="[%(default)s]")
    parser.add_argument("--index", default=INDEX, help="the index or an alias of it [%(default)s]")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--like", metavar="PACKAGE", help="find packages like this one")
    asked.add_argument("--text", metavar="QUERY", help="find packages that match a query")
    arguments = parser.parse_args()
    with redis.Redis.from_url(arguments.url) as client:
        try:
            if arguments.like:
                for hit in similar_packages(client, arguments.like, index=arguments.index):
                    print(f"{hit.distance:.4f}  {hit.name:<20}  {hit.summary}")
            else:
                total, hits = matching_packages(client, arguments.text, index=arguments.index)
                for hit in hits:
                    print(f"{hit.name:<20}  {hit.summary}")
                print(f"{total:,} packages match.")
        except (LookupError, redis.RedisError) as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
