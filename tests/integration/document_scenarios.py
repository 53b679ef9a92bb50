"""Revisions that rewrite documents in every way there is, and what they leave on the server, to compare."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from long_chain import Outcome, outcome, run

from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.schema import IndexSchema

if TYPE_CHECKING:
    from conftest import Shop

    from redismigrate.planning.strategies import StrategyChoice

DIMS = 8
DOCUMENTS = 90
# Far away, so that nothing expires: 2100-01-01 in milliseconds.
EXPIRY = 4_102_444_800_000
# Several batches are under way at a time, and every backup has several chunks.
BATCH_SIZE, WORKERS = 15, 3
BASE = "000000000001"

_INDEX = """
op.create_index({{
    "index": {{"name": "products", "prefix": "p:", "storage_type": "{storage_type}"}},
    "fields": [
        {{"name": "title", "type": "text", "path": {title}}},
        {{"name": "brand", "type": "tag", "path": {brand}}},
        {{"name": "embedding", "type": "vector", "path": {embedding}, "attrs": {{
            "algorithm": "flat", "dims": 8, "distance_metric": "l2", "datatype": "{datatype}"}}}},
    ],
}})
op.create_alias("catalog", "products")
op.set_synonyms("products", "seats", ["sofa", "couch"])
"""
_FLOAT16 = 'index.alter_field("embedding", datatype="float16")'
_FLOAT32 = 'index.alter_field("embedding", datatype="float32")'
_BFLOAT16 = 'index.alter_field("embedding", datatype="bfloat16")'


@dataclass(frozen=True)
class Scenario:
    """A history over some documents.

    Attributes:
        changes: What each revision after the base does to the index, and what undoes it.
        strategy: How the indexes are changed.
        is_exclusive: Whether the command says that nobody else writes.
        storage_type: Of the documents.
        datatype: Of their vectors at the base.
        is_sparse: Whether a doomed process takes the documents for few among many keys, which are shown to
            their new index one by one.
        holds_text: Hashes hold text beside vectors and nothing that expires, as JSON documents do.
    """

    changes: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    strategy: StrategyChoice = "rebuild"
    is_exclusive: bool = False
    storage_type: str = "hash"
    datatype: str = "float32"
    is_sparse: bool = False
    holds_text: bool = False

    @property
    def options(self) -> MigrationOptions:
        return MigrationOptions(
            strategy=self.strategy,
            exclusive=self.is_exclusive,
            batch_size=BATCH_SIZE,
            workers=WORKERS,
            lock_timeout=30,
        )

    @property
    def flags(self) -> tuple[str, ...]:
        """The same as options of the command line."""
        exclusive = ("--exclusive",) if self.is_exclusive else ()
        return (
            *exclusive,
            "--strategy",
            self.strategy,
            "--batch-size",
            str(BATCH_SIZE),
            "--workers",
            str(WORKERS),
        )


_EVERYTHING = (
    (
        'index.alter_field("embedding", datatype="float16", algorithm="hnsw")',
        'index.rename_field("embedding", "vector")',
        'index.rename_field("title", "name")',
        'index.change_prefix("p:", "products:")',
    ),
    (
        'index.change_prefix("products:", "p:")',
        'index.rename_field("name", "title")',
        'index.rename_field("vector", "embedding")',
        'index.alter_field("embedding", datatype="float32", algorithm="flat")',
    ),
)
_RENAME = (
    ('index.rename_field("title", "name")', 'index.rename_field("brand", "label")'),
    ('index.rename_field("label", "brand")', 'index.rename_field("name", "title")'),
)
_PREFIX = (('index.change_prefix("p:", "q:")',), ('index.change_prefix("q:", "p:")',))
_WIDER = (
    ('index.change_prefix("p:", "q:")', 'index.alter_field("embedding", datatype="float64")'),
    ('index.alter_field("embedding", datatype="float32")', 'index.change_prefix("q:", "p:")'),
)
_PLACES = {"title": "$.info.title", "brand": "$.b[*]"}
_TO_JSON = (
    (f'index.change_storage("json", prefix=("p:", "j:"), paths={_PLACES})',),
    ('index.change_storage("hash", prefix=("j:", "p:"))',),
)
_TO_HASH = (
    ('index.change_storage("hash", prefix=("p:", "h:"))',),
    ('index.change_storage("json", prefix=("h:", "p:"), paths={"brand": "$.info.brand"})',),
)
_BESIDE_ITSELF = (
    ('index.alter_field("embedding", datatype="float16", path="embedding_f16")',),
    ('index.alter_field("embedding_f16", datatype="float32", path="embedding")',),
)
_TRUNCATED = (('index.truncate("embedding", dims=4)',), ('index.alter_field("embedding", dims=8)',))
_TO_JSON_IN_PLACE = (
    (f'index.change_storage("json", paths={_PLACES})',),
    ('index.change_storage("hash")',),
)
_TO_HASH_IN_PLACE = (
    ('index.change_storage("hash")',),
    ('index.change_storage("json", paths={"brand": "$.info.brand"})',),
)
_PHYSICAL_NAME = re.compile(r"(products)__[0-9a-f]{12}_[0-9_a-z]+")
_SHADOW = (
    ('index.alter_field("embedding", algorithm="hnsw", m=8)', 'index.drop_field("brand")'),
    ('index.add_field({"name": "brand", "type": "tag"})', 'index.alter_field("embedding", algorithm="flat")'),
)
SCENARIOS = {
    "float16": Scenario((((_FLOAT16,), (_FLOAT32,)),)),
    "float16 exclusive": Scenario((((_FLOAT16,), (_FLOAT32,)),), is_exclusive=True),
    "few": Scenario((((_FLOAT16,), (_FLOAT32,)),), is_sparse=True),
    "one width": Scenario((((_BFLOAT16,), (_FLOAT16,)),), datatype="float16"),
    "one width exclusive": Scenario((((_BFLOAT16,), (_FLOAT16,)),), datatype="float16", is_exclusive=True),
    "prefix": Scenario((_PREFIX,), is_exclusive=True),
    "rename": Scenario((_RENAME,), is_exclusive=True),
    "JSON": Scenario((_RENAME,), is_exclusive=True, storage_type="json"),
    "hashes as JSON": Scenario((_TO_JSON_IN_PLACE,), is_exclusive=True, holds_text=True),
    "JSON as hashes": Scenario((_TO_HASH_IN_PLACE,), is_exclusive=True, storage_type="json"),
    "everything": Scenario((_EVERYTHING,), is_exclusive=True),
    "chain": Scenario(
        (
            ((_FLOAT16,), (_FLOAT32,)),
            (
                ('index.rename_field("brand", "label")', 'index.change_prefix("p:", "q:")'),
                ('index.change_prefix("q:", "p:")', 'index.rename_field("label", "brand")'),
            ),
            (
                (_BFLOAT16, 'index.rename_field("title", "name")'),
                ('index.rename_field("name", "title")', _FLOAT16),
            ),
        ),
        is_exclusive=True,
    ),
}


# With search up all the time.
SCENARIOS |= {
    "shadow": Scenario((_SHADOW,), "shadow"),
    "shadows": Scenario(
        (
            _SHADOW,
            (
                ("index.set_options(stopwords=['und'])",),
                ("index.set_options(stopwords=None)",),
            ),
            (
                ("index.set_options(no_offsets=True)", "index.set_options(no_freqs=True)"),
                ("index.set_options(no_freqs=False, no_offsets=False)",),
            ),
        ),
        "shadow",
    ),
    "float16 beside": Scenario((((_FLOAT16,), (_FLOAT32,)),), "shadow_field"),
    "rename beside": Scenario((_RENAME,), "shadow_field"),
    "JSON beside": Scenario((_RENAME,), "shadow_field", storage_type="json"),
    "prefix beside": Scenario((_PREFIX,), "shadow_copy"),
    "everything beside": Scenario(
        (
            (
                ('index.rename_field("brand", "label")', 'index.change_prefix("p:", "q:")'),
                ('index.change_prefix("q:", "p:")', 'index.rename_field("label", "brand")'),
            ),
            (
                (_FLOAT16, 'index.alter_field("embedding", algorithm="hnsw")'),
                ('index.alter_field("embedding", algorithm="flat")', _FLOAT32),
            ),
        ),
        "auto",
    ),
    "hashes as JSON beside": Scenario((_TO_JSON,), "shadow_copy", holds_text=True),
    "JSON as hashes beside": Scenario((_TO_HASH,), "shadow_copy", storage_type="json", holds_text=True),
    "a path of its own beside": Scenario((_BESIDE_ITSELF,), "shadow_field"),
    "truncated": Scenario((_TRUNCATED,), is_exclusive=True),
    "truncated beside": Scenario((_TRUNCATED,), "shadow_field"),
    "JSON truncated": Scenario((_TRUNCATED,), is_exclusive=True, storage_type="json"),
    "JSON truncated beside": Scenario((_TRUNCATED,), "shadow_field", storage_type="json"),
    "prefix and float64 beside": Scenario((_WIDER,), "shadow_copy"),
}


@dataclass
class Stage:
    """A project with the base applied, its documents, and what uninterrupted runs leave.

    Attributes:
        shop: The project.
        scenario: Its history.
        heads: The revision that is the head -> what an uninterrupted run leaves there.
    """

    shop: Shop
    scenario: Scenario
    heads: dict[str, Outcome] = field(default_factory=dict)

    @property
    def revisions(self) -> tuple[str, ...]:
        """The base and all after it."""
        return tuple(f"{number + 1:012x}" for number in range(len(self.scenario.changes) + 1))

    @property
    def top(self) -> str:
        return self.revisions[-1]

    @property
    def head(self) -> str:
        """The revision that is applied now."""
        (head,) = (self.shop.state("head") or {})["heads"]
        return str(head)

    def run(self, verb: str, *target: str) -> None:
        """Run a command that is expected to succeed, as an uninterrupted one or to take one up."""
        flags = () if verb == "rollback" else self.scenario.flags
        run(self.shop, verb, *target, *flags)

    def now(self) -> Outcome:
        """What is on the server now."""
        now = {**outcome(self.shop), "documents": documents(self.shop), "neighbours": _neighbours(self.shop)}
        return _without_tokens(now)

    def require(self, revision: str, told: object = "") -> None:
        """Check that all is as an uninterrupted run leaves it at a revision."""
        now, expected = self.now(), self.heads[revision]
        assert now == expected, f"{told}: {_differences(now, expected)}"


def set_stage(shop: Shop, name: str, count: int = DOCUMENTS, *, rehearses: bool = True) -> Stage:
    """Write the history of a scenario and its documents, apply the base, and run it up and down once.

    Up and down before anything is noted: a field that was renamed and renamed back is the last one of a JSON
    document, and from then on stays it.
    """
    scenario = SCENARIOS[name]
    is_json = scenario.storage_type == "json"
    paths = ("$.title", "$.info.brand", "$.embedding") if is_json else (None, None, None)
    title, brand, embedding = map(repr, paths)
    shop.write(
        _INDEX.format(
            storage_type=scenario.storage_type,
            datatype=scenario.datatype,
            title=title,
            brand=brand,
            embedding=embedding,
        ),
        'op.drop_alias("catalog"); op.drop_index("products")',
    )
    for up, down in scenario.changes:
        shop.write(*("\n    ".join(("with op.index('products') as index:", *body)) for body in (up, down)))
    (_add_json if is_json else _add_hashes)(shop, scenario, count)
    stage = Stage(shop, scenario)
    stage.run("upgrade", BASE)
    if rehearses:
        stage.run("upgrade", "head")
        stage.run("downgrade", BASE)
        stage.heads[BASE] = stage.now()
        for revision in stage.revisions[1:]:
            stage.run("upgrade", revision)
            stage.heads[revision] = stage.now()
        stage.run("downgrade", BASE)
        stage.require(BASE, "the rehearsal")
    return stage


def _vector(number: int) -> list[float]:
    """Numbers of which no type but float32 holds all digits, different in each document."""
    return [(number * DIMS + at) / 7 + 0.1 for at in range(DIMS)]


def _add_hashes(shop: Shop, scenario: Scenario, count: int) -> None:
    """Hashes with and without vector and title, any byte in their key, that expire or have fields that do."""
    format_ = {"float32": "<8f", "float16": "<8e"}[scenario.datatype]
    pipeline: Any = shop.client.pipeline(transaction=False)
    for number in range(count):
        key = b"p:%d" % number if number % 7 else b"p:\xff\x00 %d" % number
        other = {"ünïcode.\n": "\0other"} if scenario.holds_text else {b"\xfe\n": b"\x00other"}
        mapping: dict[Any, Any] = {"brand": f"b{number % 3}", **other}
        if number % 10:
            mapping["embedding"] = struct.pack(format_, *_vector(number))
        if number % 4:
            mapping["title"] = f"a couch number {number}"
        pipeline.hset(key, mapping=mapping)
        if not number % 5:
            pipeline.pexpireat(key, EXPIRY + number)
        if scenario.holds_text:
            continue
        if not number % 6 and number % 10:
            pipeline.hpexpireat(key, EXPIRY + number, "embedding")
        if not number % 9 and number % 4:
            pipeline.hpexpireat(key, EXPIRY - number, "title")
    pipeline.execute()
    shop.add_documents(20, "elsewhere:", title="another couch", embedding=b"\x00" * 32)


def _add_json(shop: Shop, scenario: Scenario, count: int) -> None:
    """JSON documents with and without what is renamed, and of different order."""
    del scenario
    pipeline: Any = shop.client.pipeline(transaction=False)
    for number in range(count):
        key = b"p:%d" % number if number % 7 else b"p:\xff\x00 %d" % number
        document: dict[str, Any] = {
            "price": number / 8,
            "title": f"a couch number {number} \u00e9 \U0001f6cb",
        }
        document["info"] = {"size": [1, 2.5, None], "brand": f"b{number % 3}", "deep": {"brand": 1}}
        document["embedding"] = _vector(number)
        if not number % 6:
            del document["title"]
        if not number % 8:
            del document["info"]["brand"]
        text = json.dumps(dict(reversed(document.items())) if number % 2 else document)
        pipeline.execute_command("JSON.SET", key, "$", text)
        if not number % 5:
            pipeline.pexpireat(key, EXPIRY + number)
    pipeline.execute()
    shop.add_documents(20, "elsewhere:", title="another couch")


def documents(shop: Shop) -> dict[bytes, object]:
    """Every key that is not the state's, with type, value and expiry, and the expiry of each field.

    Not DUMP: a hash keeps its fields in the order in which they were written, which nobody sees.
    """
    # What a killed process has written to hear of it expires soon.
    found = shop.client.scan_iter(count=10_000)
    passing = b"redismigrate:barrier:"
    keys = sorted(key for key in found if not key.startswith(b"{redismigrate") and passing not in key)
    content: dict[bytes, object] = {}
    for start in range(0, len(keys), 500):
        content.update(_content(shop, keys[start : start + 500]))
    return content


def _content(shop: Shop, keys: list[bytes]) -> dict[bytes, object]:
    types = _ask(shop, keys, lambda _: ("TYPE",))
    readers = {b"hash": ("HGETALL",), b"ReJSON-RL": ("JSON.GET",)}
    values = _ask(shop, keys, lambda at: readers.get(types[at], ("DUMP",)))
    moments = _ask(shop, keys, lambda _: ("PEXPIRETIME",))
    fields = [sorted(value) if isinstance(value, dict) else [] for value in values]
    field_moments = _ask(
        shop,
        keys,
        lambda at: ("HPEXPIRETIME", "FIELDS", len(fields[at]), *fields[at]) if fields[at] else ("EXISTS",),
    )
    return {
        key: (types[at], values[at], moments[at], fields[at], field_moments[at])
        for at, key in enumerate(keys)
    }


def _ask(shop: Shop, keys: list[bytes], words: Callable[[int], tuple[Any, ...]]) -> list[Any]:
    pipeline: Any = shop.client.pipeline(transaction=False)
    for at, key in enumerate(keys):
        name, *arguments = words(at)
        pipeline.execute_command(name, key, *arguments)
    replies: list[Any] = pipeline.execute()
    return replies


def _without_tokens(value: Any) -> Any:
    """The same with physical names that don't depend on when an index was built beside another one."""
    if isinstance(value, str):
        return _PHYSICAL_NAME.sub(r"\1__", value)
    if isinstance(value, IndexSchema):
        return value.renamed(_without_tokens(value.name))
    if isinstance(value, dict):
        return {_without_tokens(key): _without_tokens(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map(_without_tokens, value))
    return value


def _differences(now: Outcome, expected: Outcome) -> str:
    """What differs, of the documents the first ones."""
    parts = {part: (now[part], expected[part]) for part in expected if now[part] != expected[part]}
    mine, theirs = parts.pop("documents", ({}, {}))
    keys = sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
    shown = [(key, mine.get(key), theirs.get(key)) for key in keys[:3]]
    return f"now and expected are {parts}, and of {len(keys)} documents {shown}"


def _neighbours(shop: Shop) -> int:
    """How many documents the nearest-neighbour search finds: those whose vector is in the index."""
    execute: Any = shop.client.execute_command
    definition = (shop.state("indexes") or {})["indexes"]["products"]["schema"]
    (vector,) = (each for each in definition["fields"] if each["type"] == "vector")
    width = {"FLOAT64": 8, "FLOAT32": 4, "FLOAT16": 2, "BFLOAT16": 2}[vector["datatype"].upper()]
    query = f"*=>[KNN 10000 @{vector['name']} $vector]"
    parameters = (
        "PARAMS",
        "2",
        "vector",
        b"\x00" * (vector["dims"] * width),
        "DIALECT",
        "2",
        "LIMIT",
        "0",
        "0",
    )
    return int(execute("FT.SEARCH", "catalog", query, *parameters)[0])
