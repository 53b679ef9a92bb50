"""Every change of `op.index` up, down and up again, on every kind of index that there is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from redismigrate.redis_server.inspection import read_index

if TYPE_CHECKING:
    from conftest import Shop

DOCUMENTS = 6
STATE = b"{redismigrate"
# Of so many cases one is run every day. Prime, so that all words of the table come.
SHARE = 19
IN_HASHES = (
    "title TEXT section TAG price NUMERIC shelf AS place TAG "
    "embedding VECTOR FLAT 6 TYPE FLOAT32 DIM 4 DISTANCE_METRIC L2"
)
IN_JSON = (
    "$.title AS title TEXT $.section AS section TAG $.price AS price NUMERIC $.shelf AS place TAG "
    "$.embedding AS embedding VECTOR FLAT 6 TYPE FLOAT32 DIM 4 DISTANCE_METRIC L2"
)


@dataclass(frozen=True)
class Change:
    """What a revision does to index `idx`, and what undoes it.

    Attributes:
        up: Calls in a block of `op.index("idx")`, or of `op` where they begin with it.
        down: Those of the way back.
        name: What the index is called afterwards.
        needs_exclusive: Whether values move within documents, which no other client may write to.
        query: What finds all documents afterwards.
    """

    up: tuple[str, ...]
    down: tuple[str, ...]
    name: str = "idx"
    needs_exclusive: bool = False
    query: str = "*"

    def source(self, *, goes_back: bool) -> str:
        calls, name = (self.down, self.name) if goes_back else (self.up, "idx")
        if calls[0].startswith("op."):
            return "\n".join(calls)
        lines = "\n".join(f"    index.{call}" for call in calls)
        return f"with op.index({name!r}) as index:\n{lines}"


CHANGES = {
    "add_field": Change(("add_field({'name': 'color', 'type': 'tag'})",), ("drop_field('color')",)),
    "drop_field": Change(("drop_field('price')",), ("add_field({'name': 'price', 'type': 'numeric'})",)),
    "alter_field": Change(
        ("alter_field('section', separator='|')",),
        ("alter_field('section', separator=None)",),
        query="@section:{a\\,b}",
    ),
    "other algorithm": Change(
        ("alter_field('embedding', algorithm='hnsw', m=8)",), ("alter_field('embedding', algorithm='flat')",)
    ),
    "other datatype": Change(
        ("alter_field('embedding', datatype='float16')",), ("alter_field('embedding', datatype='float32')",)
    ),
    "set_options": Change(("set_options(language='german')",), ("set_options(language=None)",)),
    "rename_field": Change(
        ("rename_field('title', 'headline')",),
        ("rename_field('headline', 'title')",),
        needs_exclusive=True,
        query="@headline:book",
    ),
    "rename_field of a vector": Change(
        ("rename_field('embedding', 'vector')",),
        ("rename_field('vector', 'embedding')",),
        needs_exclusive=True,
    ),
    "rename_field of the index alone": Change(
        ("rename_field('place', 'spot')",), ("rename_field('spot', 'place')",), query="@spot:{left}"
    ),
    "change_prefix": Change(("change_prefix('doc:', 'item:')",), ("change_prefix('item:', 'doc:')",)),
    "rename_to": Change(("rename_to('goods')",), ("rename_to('idx')",), name="goods"),
    "rename_to with more": Change(
        ("rename_to('goods')", "alter_field('section', separator='|')"),
        ("alter_field('section', separator=None)", "rename_to('idx')"),
        name="goods",
    ),
    "several": Change(
        (
            "rename_field('title', 'headline')",
            "change_prefix('doc:', 'item:')",
            "drop_field('price')",
            "alter_field('section', separator='|')",
        ),
        (
            "alter_field('section', separator=None)",
            "add_field({'name': 'price', 'type': 'numeric'})",
            "change_prefix('item:', 'doc:')",
            "rename_field('headline', 'title')",
        ),
        needs_exclusive=True,
        query="@headline:book",
    ),
    "several with another datatype": Change(
        ("rename_field('embedding', 'vector')", "alter_field('vector', datatype='float16')"),
        ("alter_field('vector', datatype='float32')", "rename_field('vector', 'embedding')"),
        needs_exclusive=True,
    ),
    "synonyms": Change(
        ("op.set_synonyms('idx', 'g', ['book', 'tome'])",),
        ("op.set_synonyms('idx', 'g', [])",),
        query="@title:tome",
    ),
    "create_alias": Change(("op.create_alias('live', 'idx')",), ("op.drop_alias('live')",)),
}
KINDS = (
    "adopted",
    "created",
    "adopted earlier",
    "alias",
    "alias since a change",
    "adopted and an alias since",
)
WAYS = {
    "auto": (),
    "exclusive": ("--exclusive",),
    "rebuild": ("--strategy", "rebuild", "--exclusive"),
}


def schema(storage: str) -> dict[str, Any]:
    """The same index as other tools make it, for `op.create_index`."""
    separator = {"attrs": {"separator": "," if storage == "hash" else ""}}
    path = {"path": "shelf" if storage == "hash" else "$.shelf"}
    vector = {"algorithm": "flat", "dims": 4, "distance_metric": "l2", "datatype": "float32"}
    return {
        "index": {"name": "idx", "prefix": "doc:", "storage_type": storage},
        "fields": [
            {"name": "title", "type": "text"},
            {"name": "section", "type": "tag", **separator},
            {"name": "price", "type": "numeric"},
            {"name": "place", "type": "tag", **path, **separator},
            {"name": "embedding", "type": "vector", "attrs": vector},
        ],
    }


def make_index(shop: Shop, storage: str, name: str = "idx") -> None:
    """As another tool makes it."""
    fields = (IN_HASHES if storage == "hash" else IN_JSON).split()
    head = ("FT.CREATE", name, "ON", storage.upper(), "PREFIX", "1", "doc:", "SCHEMA")
    shop.client.execute_command(*head, *fields)


def fill(shop: Shop, storage: str) -> None:
    for number in range(DOCUMENTS):
        vector = np.array([number, 1, 0, 0.5], np.float32)
        fields: dict[str, Any] = {
            "title": f"book {number}",
            "section": "a,b",
            "price": number,
            "shelf": "left",
        }
        if storage == "hash":
            shop.client.hset(f"doc:{number}", mapping={**fields, "embedding": vector.tobytes()})
        else:
            text = json.dumps({**fields, "embedding": vector.tolist()})
            shop.client.execute_command("JSON.SET", f"doc:{number}", "$", text)


def done(shop: Shop, *arguments: str) -> None:
    result = shop.run(*arguments)
    assert result.code == 0, f"{' '.join(arguments)}: {result.err}"


def prepare(shop: Shop, storage: str, kind: str) -> None:
    """Documents, and index `idx` over them."""
    fill(shop, storage)
    other = "with op.index('idx') as index:\n    index.{}"
    match kind:
        case "adopted":
            make_index(shop, storage)
        case "alias":
            make_index(shop, storage, "idx_v1")
            shop.client.execute_command("FT.ALIASADD", "idx", "idx_v1")
        case "adopted earlier" | "adopted and an alias since":
            make_index(shop, storage)
            by = "alter" if kind == "adopted earlier" else "shadow"
            shop.write(
                other.format("add_field({'name': 'size', 'type': 'tag'})"), other.format("drop_field('size')")
            )
            done(shop, "upgrade", "--strategy", by)
        case "created" | "alias since a change":
            shop.write(f"op.create_index({schema(storage)!r})", "op.drop_index('idx')")
            done(shop, "upgrade")
            if kind == "alias since a change":
                shop.write(
                    other.format("set_options(stopwords=[])"), other.format("set_options(stopwords=None)")
                )
                done(shop, "upgrade", "--strategy", "shadow")
    shop.wait_until_indexed()


def content(shop: Shop, storage: str) -> dict[bytes, Any]:
    """Every document."""
    keys = [key for key in shop.client.scan_iter(count=10_000) if not key.startswith(STATE)]
    execute = shop.client.execute_command
    read = shop.client.hgetall if storage == "hash" else lambda key: json.loads(execute("JSON.GET", key))
    return {key: read(key) for key in sorted(keys)}


def served(shop: Shop, name: str) -> Any:
    """The index to which a name leads, as the server tells; a field that went and came back is the last."""
    shop.wait_until_indexed()
    index = read_index(shop.client.execute_command, name)
    assert index is not None, f"there is no {name}"
    statistics = index.statistics
    fields = tuple(sorted(index.schema.fields, key=lambda field: field.name))
    schema = index.schema.renamed("idx").with_fields(fields)
    return schema, index.synonyms, statistics.num_docs, statistics.indexing_failures


def cases() -> list[Any]:
    """All of the table; a share of them, in which each word of it comes, is for every day."""
    found = [
        (storage, kind, name, way)
        for kind, (name, change), storage, way in product(KINDS, CHANGES.items(), ("hash", "json"), WAYS)
        if not (change.needs_exclusive and way == "auto")
    ]
    return [
        pytest.param(*case, id="-".join(case), marks=() if number % SHARE == 0 else pytest.mark.slow)
        for number, case in enumerate(found)
    ]


@pytest.mark.parametrize(("storage", "kind", "change", "way"), cases())
def test_every_change_goes_up_and_down_and_up_again(
    shop: Shop, storage: str, kind: str, change: str, way: str
):
    there_and_back(shop, storage, kind, CHANGES[change], WAYS[way])


def there_and_back(shop: Shop, storage: str, kind: str, change: Change, options: tuple[str, ...]) -> None:
    prepare(shop, storage, kind)
    documents, index = content(shop, storage), served(shop, "idx")
    assert index[2:] == (DOCUMENTS, 0)
    recorded = shop.state("indexes")
    shop.write(change.source(goes_back=False), change.source(goes_back=True))

    done(shop, "upgrade", *options)
    changed, changed_index = content(shop, storage), served(shop, change.name)
    assert changed_index[2:] == (DOCUMENTS, 0)
    assert shop.hits(change.name, change.query) == DOCUMENTS
    done(shop, "check")

    done(shop, "downgrade", "-1", *options)
    assert content(shop, storage) == documents
    assert served(shop, "idx") == index
    assert set((shop.state("indexes") or {})["indexes"]) == set((recorded or {"indexes": {}})["indexes"])
    result = shop.run("check")
    assert result.code == 4, result.err

    done(shop, "upgrade", *options)
    assert content(shop, storage) == changed
    assert served(shop, change.name) == changed_index
    assert shop.hits(change.name, change.query) == DOCUMENTS
    done(shop, "check")


SEPARATOR = CHANGES["alter_field"]
FLOAT16 = CHANGES["other datatype"]
MOVE = CHANGES["change_prefix"]


def write(shop: Shop, change: Change, **options: Any) -> str:
    return shop.write(change.source(goes_back=False), change.source(goes_back=True), **options)


@pytest.mark.parametrize("strategy", ["auto", pytest.param("rebuild", marks=pytest.mark.slow)])
def test_two_revisions_wait_for_an_adopted_index(shop: Shop, strategy: str):
    prepare(shop, "hash", "adopted")
    documents, index = content(shop, "hash"), served(shop, "idx")
    write(shop, SEPARATOR)
    write(shop, FLOAT16)
    write(shop, MOVE)
    options = ("--strategy", strategy, *(("--exclusive",) if strategy == "rebuild" else ()))
    done(shop, "plan", *options)
    assert shop.run("check").code == 4
    for _ in range(2):
        done(shop, "upgrade", "head", *options)
        done(shop, "check")
        assert shop.hits("idx", SEPARATOR.query) == DOCUMENTS

        done(shop, "plan", "--down", "base", *options)
        done(shop, "downgrade", "base", *options)
        assert (content(shop, "hash"), served(shop, "idx")) == (documents, index)
        assert shop.run("check").code == 4

    # And one by one.
    for count in range(3):
        done(shop, "upgrade", "+1", *options)
        assert shop.run("check").code == (0 if count == 2 else 4)
    for _ in range(3):
        done(shop, "downgrade", "-1", *options)
        assert shop.run("check").code == 4
    assert (content(shop, "hash"), served(shop, "idx")) == (documents, index)


def test_a_declared_schema_is_compared_with_what_waits_for_an_adopted_index(shop: Shop):
    prepare(shop, "hash", "adopted")
    write(shop, SEPARATOR)
    write(shop, CHANGES["add_field"])
    layout = schema("hash")
    layout["fields"][1]["attrs"] = {"separator": "|"}
    layout["fields"].append({"name": "color", "type": "tag"})
    file = shop.folder / "schema.yaml"
    file.write_text(json.dumps(layout))
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text() + 'schemas = ["schema.yaml"]\n')
    for step in ("+1", "+1"):
        assert shop.run("check").code == 4
        done(shop, "upgrade", step)
    done(shop, "check")
    layout["fields"].pop()
    file.write_text(json.dumps(layout))
    result = shop.run("check")
    assert result.code == 3
    assert "field 'color' is dropped" in result.out
    done(shop, "downgrade", "-1")
    assert shop.run("check").code == 3


def test_check_still_tells_a_fault_of_a_script_that_waits(shop: Shop):
    prepare(shop, "hash", "adopted")
    write(shop, SEPARATOR)
    done(shop, "upgrade")
    shop.write("with op.index('idx') as index:\n    index.drop_field('nothing')")
    result = shop.run("check")
    assert result.code == 8
    assert "000000000002.py:16" in result.err


def test_two_adopted_indexes_over_the_same_documents_go_there_and_back_together(shop: Shop):
    prepare(shop, "hash", "adopted")
    make_index(shop, "hash", "other")
    documents, before = content(shop, "hash"), served(shop, "other")
    both = [[change.source(goes_back=back) for change in (FLOAT16, MOVE)] for back in (False, True)]
    for up, down in zip(*both, strict=True):
        shop.write(f"{up}\n{up.replace('idx', 'other')}", f"{down}\n{down.replace('idx', 'other')}")
    for _ in range(2):
        done(shop, "upgrade", "--strategy", "rebuild", "--exclusive")
        assert served(shop, "other")[2:] == (DOCUMENTS, 0)
        done(shop, "downgrade", "-2", "--strategy", "rebuild", "--exclusive")
        assert (content(shop, "hash"), served(shop, "other")) == (documents, before)


def test_what_a_downgrade_has_given_up_is_still_seen_by_the_next_one_of_the_plan(shop: Shop):
    prepare(shop, "hash", "adopted")
    write(shop, FLOAT16)
    done(shop, "upgrade")
    # As another tool makes it over the new bytes, and brought under management after that.
    fields = IN_HASHES.replace("FLOAT32", "FLOAT16").split()
    head = ("FT.CREATE", "other", "ON", "HASH", "PREFIX", "1", "doc:", "SCHEMA")
    shop.client.execute_command(*head, *fields)
    add = CHANGES["add_field"]
    up, down = (add.source(goes_back=back).replace("idx", "other") for back in (False, True))
    shop.write(up, down)
    done(shop, "upgrade")
    blocked = shop.run("plan", "--down", "base", "--json").json["blocked"]
    assert len(blocked) == 1
    assert "index other__" in blocked[0]
    assert "reads field embedding of the same keys as 4 x FLOAT16" in blocked[0]


def test_of_two_branches_that_change_an_adopted_index_any_goes_back_first(shop: Shop):
    prepare(shop, "hash", "adopted")
    documents, index = content(shop, "hash"), served(shop, "idx")
    first = write(shop, SEPARATOR, down_revision=None, branch_labels=("one",))
    second = write(shop, FLOAT16, down_revision=None, branch_labels=("two",))
    for label in ("one", "two"):
        for undone in (("one", "two"), ("two", "one")):
            done(shop, "upgrade", first if label == "one" else second)
            done(shop, "upgrade", "heads")
            for branch in undone:
                done(shop, "downgrade", f"{branch}@base")
            assert (content(shop, "hash"), served(shop, "idx")) == (documents, index)
            assert set((shop.state("indexes") or {})["indexes"]) == set()
            assert shop.run("check").code in {3, 4}


def test_an_adopted_index_that_a_revision_drops_comes_back_and_goes_again(shop: Shop):
    prepare(shop, "hash", "adopted")
    documents, index = content(shop, "hash"), served(shop, "idx")
    shop.write("op.drop_index('idx')", f"op.create_index({schema('hash')!r})")
    for _ in range(2):
        done(shop, "upgrade")
        assert read_index(shop.client.execute_command, "idx") is None
        done(shop, "downgrade", "-1")
        assert (content(shop, "hash"), served(shop, "idx")) == (documents, index)
        assert (shop.state("indexes") or {})["indexes"] == {}


@pytest.mark.parametrize("kind", ["adopted", "alias"])
def test_a_run_over_an_adopted_index_is_rolled_back_in_either_direction(shop: Shop, kind: str):
    prepare(shop, "hash", kind)
    documents, index = content(shop, "hash"), served(shop, "idx")
    write(shop, SEPARATOR)
    write(shop, MOVE)
    run = shop.run("upgrade", "--json").json["run"]
    changed = content(shop, "hash")
    done(shop, "rollback", "--run", run)
    assert (content(shop, "hash"), served(shop, "idx")) == (documents, index)
    done(shop, "upgrade")
    run = shop.run("downgrade", "base", "--json").json["run"]
    assert (content(shop, "hash"), served(shop, "idx")) == (documents, index)
    done(shop, "rollback", "--run", run)
    assert content(shop, "hash") == changed
    done(shop, "check")
    done(shop, "downgrade", "base")
    assert (content(shop, "hash"), served(shop, "idx")) == (documents, index)


def test_the_file_of_a_downgrade_gives_an_adopted_index_up(shop: Shop):
    prepare(shop, "hash", "adopted")
    write(shop, SEPARATOR)
    done(shop, "upgrade")
    result = shop.run("downgrade", "-1", "--script")
    assert result.code == 0, result.err
