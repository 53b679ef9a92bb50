"""Loads the packages into Redis, one hash each: `python load_data.py`."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tomllib
from pathlib import Path

import numpy as np
import redis

HERE = Path(__file__).parent
DATA = HERE / "data"
BATCH = 250


def load_packages(client: redis.Redis) -> int:
    """Write one hash `package:<name>` per package; a repeat writes the same again.

    Returns:
        How many hashes were written.
    """
    with gzip.open(DATA / "packages.jsonl.gz", "rt", encoding="utf-8") as lines:
        packages = [json.loads(line) for line in lines]
    embeddings = np.load(DATA / "packages_minilm384.npy").astype("<f4")
    with client.pipeline(transaction=False) as pipeline:
        for number, (package, embedding) in enumerate(zip(packages, embeddings, strict=True), start=1):
            fields = {
                **package,
                "tags": "|".join(package["tags"]),
                "embedding": embedding.tobytes(),
            }
            pipeline.hset(f"package:{package['name']}", mapping=fields)
            if number % BATCH == 0:
                pipeline.execute()
        pipeline.execute()
    return len(packages)


def default_url() -> str:
    """The Redis that redismigrate would take."""
    settings = tomllib.loads((HERE / "redismigrate.toml").read_text(encoding="utf-8"))
    return os.environ.get("REDISMIGRATE_URL") or str(settings["url"])


def main() -> None:
    """Load all packages into the Redis that --url names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default=default_url(), help="[%(default)s]")
    with redis.Redis.from_url(parser.parse_args().url) as client:
        print(f"Loaded {load_packages(client):,} packages.")


if __name__ == "__main__":
    main()
