"""Random revisions, folded and one by one: the same indexes and documents, up and down."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from conftest import Shop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redismigrate.errors import SchemaError
from redismigrate.operations.recorder import Operations
from redismigrate.operations.reversing import reversed_operations
from redismigrate.operations.source import source_lines
from redismigrate.schema.definition import Catalog

DIMS = 3
FIRST = "000000000001"
FOREIGN = ("n1", "size")
INTERRUPTED = 7
ATTEMPTS = 3


class RandomRevisions:
    """A project whose first revision creates two indexes, and whose others change them.

    Args:
        seed: Makes it.
        shop: An empty project on an empty server.
    """

    def __init__(self, seed: int, shop: Shop) -> None:
        self.random = random.Random(seed)  # noqa: S311 - the same for a seed
        self.numbers = np.random.default_rng(seed)
        self.shop = shop
        self.is_json = self.random.random() < 0.3
        self.strategy = self.random.choice(["auto", "rebuild"])
        self.catalog = Catalog()

    def write(self) -> None:
        """Write documents and scripts."""
        for prefix in ("p:", "o:", "z:"):
            for number in range(8):
                self._write_document(f"{prefix}{prefix}{number}")
        op = Operations(self.catalog)
        for name, prefix in (("products", "p:"), ("orders", "o:")):
            op.create_index(self._schema(name, prefix))
        self._write_script(op)
        wanted = self.random.randint(2, 4)
        while wanted:
            name = self.random.choice(sorted(self.catalog))
            op = Operations(self.catalog)
            try:
                with op.index(name) as changes:
                    for _ in range(self.random.choice([1, 1, 2])):
                        self._change(changes)
            except SchemaError:
                continue  # it can't be, after what came before
            wanted -= 1
            self._write_script(op)

    def _schema(self, name: str, prefix: str) -> dict[str, Any]:
        algorithm = self.random.choice(["flat", "hnsw"])
        vector = {"algorithm": algorithm, "dims": DIMS, "distance_metric": "l2", "datatype": "float32"}
        fields: list[dict[str, Any]] = [
            {"name": "color", "type": "tag"},
            {"name": "price", "type": "numeric"},
            {"name": "embedding", "type": "vector", "attrs": vector},
        ]
        if self.is_json:
            fields = [{**field, "path": f"$.{field['name']}"} for field in fields]
        storage = "json" if self.is_json else "hash"
        return {"index": {"name": name, "prefix": prefix, "storage_type": storage}, "fields": fields}

    def _write_document(self, key: str) -> None:
        vector = self.numbers.normal(size=DIMS).astype("<f4")
        document: dict[Any, Any] = {"color": "red", "price": 1, "extra": "x"}
        document = {name: value for name, value in document.items() if self.random.random() < 0.8}
        document |= {name: "there" for name in FOREIGN if self.random.random() < 0.1}
        if self.is_json:
            self.shop.client.json().set(key, "$", document | {"embedding": vector.tolist()})
        else:
            self.shop.client.hset(key, mapping=document | {"embedding": vector.tobytes()})

    def _change(self, changes: Any) -> None:
        choose, schema = self.random.choice, changes.schema
        names = [field.name for field in schema.fields]
        vectors = [field.name for field in schema.fields if field.type == "vector"]
        path = {"path": "$.size"} if self.is_json else {}
        choose(
            [
                lambda: changes.add_field({"name": "size", "type": "tag", **path}),
                lambda: changes.drop_field(choose(names)),
                lambda: changes.rename_field(choose(names), choose(["n1", "n2", "color"])),
                lambda: changes.alter_field(choose(vectors or ["none"]), algorithm="hnsw", m=choose([8, 24])),
                lambda: changes.alter_field(
                    choose(vectors or ["none"]), datatype=choose(["float16", "float64"])
                ),
                lambda: changes.set_options(language=choose(["german", "french"])),
                lambda: changes.set_options(prefixes=[*schema.prefixes, "z:"]),
                lambda: changes.change_prefix(choose(schema.prefixes), choose(["q:", "r:"])),
                lambda: changes.rename_to(choose(["goods", "wares"])),
            ]
        )()

    def _write_script(self, op: Operations) -> None:
        before, self.catalog = self.catalog, op.catalog
        back = reversed_operations(op.recorded, before)
        up, down = source_lines(op.recorded, before), source_lines(back, op.catalog)
        self.shop.write("\n".join(up), "\n".join(down))

    def run(self, *arguments: str) -> Any:
        """Run a migration, once more where a busy machine has interrupted it; wait for indexes."""
        result = self.shop.run(*arguments, "--exclusive", "--strategy", self.strategy)
        for _ in range(ATTEMPTS):
            if result.code == INTERRUPTED:
                result = self.shop.run(*arguments, "--exclusive", "--strategy", self.strategy)
        self.shop.wait_until_indexed()
        return result

    def content(self) -> Any:
        """The indexes as recorded, and what they find, and all documents."""
        recorded = json.loads(self.shop.run("current", "--json").out)["indexes"]
        hits = {name: self.shop.hits(name) for name in recorded}
        for index in recorded.values():
            del index["physical"]
            # A field that goes and comes back is the last one.
            index["schema"]["fields"].sort(key=lambda field: field["name"])
        assert self.shop.run("check").code in {0, 4}
        client = self.shop.client
        keys = sorted(key for key in client.scan_iter(count=10_000) if not key.startswith(b"{"))
        read = client.json().get if self.is_json else client.hgetall
        return recorded, hits, {key: read(key) for key in keys}


def require_same_folded(seed: int, tmp_path: Path, url: str, client: redis.Redis) -> None:
    client.flushall()
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    shop = Shop(folder, url, client)
    assert shop.run("init", "migrations", "--url", url).code == 0
    revisions = RandomRevisions(seed, shop)
    revisions.write()
    if revisions.run("upgrade", FIRST).code != 0:
        return  # what documents hold by chance can't be indexed
    before = revisions.content()
    if revisions.run("upgrade").code != 0:
        return
    one_by_one = revisions.content()
    if revisions.run("downgrade", FIRST).code != 0:
        return
    back = revisions.content()
    assert back[0] == before[0]
    if back != before:
        return  # what was under a new name from the beginning can't be told from what was moved there
    up = revisions.run("upgrade", "--fold")
    assert up.code == 0, up.err
    assert revisions.content() == one_by_one
    down = revisions.run("downgrade", FIRST)
    if down.code != 0:
        assert (down.code, "with --fold" in down.err) == (6, True), down.err
        assert revisions.content() == one_by_one
    else:
        assert revisions.content() == before
        assert revisions.run("upgrade", "--fold").code == 0
        assert revisions.content() == one_by_one
    down = revisions.run("downgrade", FIRST, "--fold")
    assert down.code == 0, down.err
    assert revisions.content() == before


@given(seed=st.integers(0, 2**32))
@settings(max_examples=1, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_revisions_folded_are_as_one_by_one(
    seed: int, tmp_path: Path, redis_url: str, client: redis.Redis
):
    require_same_folded(seed, tmp_path, redis_url, client)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_many_random_revisions_folded_are_as_one_by_one(
    seed: int, tmp_path: Path, redis_url: str, client: redis.Redis
):
    require_same_folded(seed, tmp_path, redis_url, client)
