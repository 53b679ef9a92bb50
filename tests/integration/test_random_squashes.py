"""Random histories, squashed: wherever they are applied, indexes and documents end as by the old scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from random_squashes import DIMS, random_history

from redismigrate.redis_server.inspection import list_indexes, read_index, resolve_alias

if TYPE_CHECKING:
    from conftest import Shop


def state_of(shop: Shop) -> tuple[Any, ...]:
    """Documents, and what clients find under each name, whatever the index is called."""
    shop.wait_until_indexed()
    execute = shop.client.execute_command
    found = {}
    recorded = shop.run("current", "--json").json["indexes"]
    for name, definition in recorded.items():
        for served in (name, *definition["aliases"]):
            index = read_index(execute, resolve_alias(execute, served) or served)
            assert index is not None
            found[served] = (index.schema.renamed("any"), index.synonyms, index.statistics.num_docs)
    assert len(list_indexes(execute)) == len(recorded)
    documents = {key: shop.client.hgetall(key) for key in shop.client.scan_iter("p:*")}
    return recorded.keys(), found, documents


def succeed(shop: Shop, *words: str) -> Any:
    result = shop.run(*words, "--exclusive", "--json")
    assert result.code == 0, result.out + result.err
    return result.json


@pytest.mark.parametrize(
    ("seed", "length"),
    [(3, 2), *(pytest.param(seed, 6, marks=pytest.mark.slow) for seed in range(24))],
)
def test_a_squashed_history_is_the_old_one(shop: Shop, seed: int, length: int):
    ids = [shop.write(each.upgrade, each.downgrade) for each in random_history(seed, length)]
    for number in range(8):
        vector = np.linspace(number, number + 1 / 3, DIMS, dtype=np.float32).tobytes()
        shop.client.hset(f"p:{number}", mapping={"title": "t", "brand": f"b{number}", "embedding": vector})
    before = state_of(shop)
    succeed(shop, "upgrade")
    one_by_one = state_of(shop)
    made = shop.run("squash", f"{ids[0]}:{ids[-1]}", "--rev-id", "eee", "--json")
    assert made.code == 0, made.out
    for revision in ids:
        shop.script(revision).unlink()
    assert shop.run("check").code == 0
    assert succeed(shop, "upgrade")["result"] == "nothing"
    # Applied by the old scripts, undone by the new one.
    succeed(shop, "downgrade", "base")
    assert state_of(shop) == before
    # Applied by the new one.
    succeed(shop, "upgrade")
    assert state_of(shop) == one_by_one
    assert shop.run("check").code == 0
    fields = [{"name": "a", "type": "tag"}]
    shop.write(
        f"op.create_index({{'index': {{'name': 'last', 'prefix': 'l:'}}, 'fields': {fields}}})",
        "op.drop_index('last')",
        revision="fff",
        down_revision="eee",
    )
    succeed(shop, "upgrade")
    succeed(shop, "downgrade", "base")
    assert state_of(shop) == before
