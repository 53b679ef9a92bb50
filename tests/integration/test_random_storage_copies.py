"""Random writes of two releases, one that knows hashes and one that knows JSON, and what a mirror makes.

After every write all is brought in step. Who wrote alone is followed, whoever it was; where both did, the new
form stands. What nobody wrote stays as it was spelled.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from mirrored_documents import FENCE, KEPT, MARKS, synchronise

from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.storage_change import StorageChange, StoredValue
from redismigrate.documents.storage_conversion import FROM_HASH, StorageConversion
from redismigrate.documents.storage_transform import documents_transform
from redismigrate.execution.documents.beside.copies import Copies
from redismigrate.execution.documents.beside.marks import fence_of
from redismigrate.redis_server.connection import Server, connect
from redismigrate.schema.moves import PrefixChange
from redismigrate.schema.redisvl import schema_from_redisvl

VALUES = (
    StoredValue("title", "$.meta.title"),
    StoredValue("price", "$.price", "number"),
    StoredValue("tags", "$.tags", "tags", separator=";", is_tag=True),
)
CHANGE = StorageChange("json", VALUES)
CONVERSION = StorageConversion(VALUES)
PRICES = ("1.50", "007", "2.5", "3", "1e3")
FAR_AWAY = 4_102_444_800_000
ROUNDS, MANY = 60, 600


def mirror() -> Copies:
    rewrite = Rewrite("hash", prefixes=(PrefixChange("p:", "j:"),), storage=CHANGE)
    schema = schema_from_redisvl(
        {"index": {"name": "products", "prefix": "p:"}, "fields": [{"name": "title", "type": "text"}]}
    )
    return Copies(
        schema,
        "json",
        rewrite.prefixes,
        documents_transform(rewrite, {}),
        MARKS,
        back=documents_transform(rewrite.reversed(), {}),
        fence=fence_of(FENCE.token),
        keep=KEPT.extend,
        may_round=True,
        is_slow=True,
    )


@pytest.fixture
def server(redis_url: str, client: redis.Redis) -> Iterator[Server]:
    client.set(FENCE.key, FENCE.token)
    with connect(redis_url) as server:
        yield server


class _Releases:
    """What both write; `serial` makes every value a new one."""

    def __init__(self, client: redis.Redis, chance: random.Random) -> None:
        self.client, self.chance, self.serial = client, chance, 0

    def text(self) -> str:
        self.serial += 1
        return f"written {self.serial}"

    def write_hash(self, key: str) -> None:
        word = self.chance.choice(["title", "title", "price", "whole", "tags", "remove", "delete", "expire"])
        match word:
            case "delete":
                self.client.delete(key)
            case "remove":
                self.client.hdel(key, "price")
            case "expire":
                self.client.pexpireat(key, FAR_AWAY + self.serial)
            case "whole":
                self.client.delete(key)
                self.client.hset(key, mapping={"title": self.text(), "price": self.chance.choice(PRICES)})
            case "price":
                self.client.hset(key, "price", self.chance.choice(PRICES))
            case "tags":
                self.client.hset(key, "tags", f"{self.text()};b")
            case _:
                self.client.hset(key, "title", self.text())

    def write_json(self, key: str) -> None:
        word = self.chance.choice(["title", "title", "price", "whole", "object", "delete", "expire"])
        is_there = self.client.exists(key)
        if word == "whole" or not is_there:
            content = {"meta": {"title": self.text(), "more": [1, None]}, "price": 4.25}
            self.client.execute_command("JSON.SET", key, "$", json.dumps(content))
        elif word == "delete":
            self.client.delete(key)
        elif word == "expire":
            self.client.pexpireat(key, FAR_AWAY + self.serial)
        elif word == "price":
            self.client.execute_command("JSON.SET", key, "$.price", self.chance.choice(["5", "6.5"]))
        elif word == "object":
            self.client.execute_command("JSON.SET", key, "$.deep", json.dumps({"a": self.text()}))
        else:
            self.client.execute_command("JSON.SET", key, "$", self._with_title(key))

    def _with_title(self, key: str) -> str:
        content = json.loads(self.client.execute_command("JSON.GET", key))
        content.setdefault("meta", {})["title"] = self.text()
        return json.dumps(dict(reversed(content.items())))


def state(client: redis.Redis, number: int) -> tuple[Any, Any, int, int]:
    """Both forms, as values, and their lifetimes."""
    text = client.execute_command("JSON.GET", f"j:{number}")
    return (
        client.hgetall(f"p:{number}"),
        None if text is None else json.loads(text),
        client.pexpiretime(f"p:{number}"),
        client.pexpiretime(f"j:{number}"),
    )


@pytest.mark.parametrize(
    "rounds", [ROUNDS, pytest.param(MANY, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_both_forms_come_in_step_whoever_writes(server: Server, client: redis.Redis, rounds: int):
    seed = random.getrandbits(32)
    chance = random.Random(seed)  # noqa: S311 - no secret
    releases, copies = _Releases(client, chance), mirror()
    for number in range(4):
        client.hset(f"p:{number}", mapping={"title": f"first {number}", "price": "1.50", "tags": "a;b"})
    synchronise(server, copies)
    for done in range(rounds):
        number = chance.randrange(4)
        before = state(client, number)
        sides = chance.choice(["old", "old", "new", "new", "both"])
        if sides != "new" and (before[0] or sides == "old"):
            releases.write_hash(f"p:{number}")
        if sides != "old" and before[1] is not None:
            releases.write_json(f"j:{number}")
        written = state(client, number)
        synchronise(server, copies)
        found = state(client, number)
        told = f"seed {seed}, round {done}, {sides}: {before} -> {written} -> {found}"
        require_in_step(found, told)
        require_followed(before, written, found, told)


def require_in_step(found: tuple[Any, Any, int, int], told: str) -> None:
    fields, document, old_moment, new_moment = found
    assert bool(fields) == (document is not None), told
    if fields:
        assert json.loads(CONVERSION.to_json(fields)) == document, told
        assert old_moment == new_moment, told


def require_followed(before: Any, written: Any, found: Any, told: str) -> None:
    is_old_changed = (before[0], before[2]) != (written[0], written[2])
    is_new_changed = (before[1], before[3]) != (written[1], written[3])
    if is_old_changed and not is_new_changed:
        assert (found[0], found[2]) == (written[0], written[2]), told
    elif is_new_changed and not is_old_changed:
        assert (said(found[1]), found[3]) == (said(written[1]), written[3]), told
        kept = {name for name in (b"price", b"tags") if name in before[0] and name in (found[0] or {})}
        for name in kept:
            if before[1].get(name.decode()) == (written[1] or {}).get(name.decode()):
                assert found[0][name] == before[0][name], told
    elif not is_old_changed:
        assert found == before, told
    elif written[1] is not None and before[1] != written[1]:
        assert said(found[1]) == said(written[1]), told


def said(document: dict[str, Any] | None) -> dict[str, Any] | None:
    """A document without what it remembers of the hash, which goes where the value is another one."""
    return document and {name: value for name, value in document.items() if name != FROM_HASH}
