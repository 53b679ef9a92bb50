"""Revisions that free the name of an index and use it again, or create an index and change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from redismigrate.redis_server.inspection import list_indexes, resolve_alias

if TYPE_CHECKING:
    from conftest import Shop

# By shadow, for FT.ALTER can't do it.
CHANGE = 'with op.index("a") as index:\n    index.set_options(stopwords={words})\n'
DROP = 'op.drop_index("a")\n'


def create(name: str, field: str) -> str:
    fields = f'[{{"name": "{field}", "type": "text"}}]'
    return f'op.create_index({{"index": {{"name": "{name}", "prefix": "{name}:"}}, "fields": {fields}}})\n'


def rename(old: str, new: str) -> str:
    return f'with op.index("{old}") as index:\n    index.rename_to("{new}")\n'


def changed(words: list[str]) -> str:
    return CHANGE.format(words=words)


EXCHANGE = rename("a", "c") + rename("b", "a") + rename("c", "b")
# Each with the field that the index `a` has after it, None where there is none, and with what takes it back.
REVISIONS = {
    "dropped and created again": (DROP + create("a", "new"), "new", DROP + create("a", "old")),
    "changed, dropped and created again": (
        changed(["x"]) + DROP + create("a", "new"),
        "new",
        DROP + create("a", "old"),
    ),
    "dropped, created again and changed": (
        DROP + create("a", "new") + changed(["x"]),
        "new",
        DROP + create("a", "old"),
    ),
    "renamed, with a new one of the old name": (
        rename("a", "c") + create("a", "new"),
        "new",
        DROP + rename("c", "a"),
    ),
    "replaced by another one": (
        DROP + rename("b", "a"),
        "other",
        rename("a", "b") + create("a", "old"),
    ),
    "renamed to another one's name": (
        'op.drop_index("b")\n' + rename("a", "b"),
        None,
        rename("b", "a") + create("b", "other"),
    ),
    "replaced by an alias": (
        DROP + 'op.create_alias("a", "b")',
        "other",
        'op.drop_alias("a")\n' + create("a", "old"),
    ),
    "exchanged": (EXCHANGE, "other", EXCHANGE),
}


def field_of(shop: Shop, name: str) -> str | None:
    """The only field of the index that answers to a name; its record has to agree."""
    execute: Any = shop.client.execute_command
    names = list_indexes(execute)
    recorded = (shop.state("indexes") or {})["indexes"]
    assert {definition["physical"] for definition in recorded.values()} == set(names)
    assert shop.run("status", "--json").json["problems"] == []
    target = name if name in names else resolve_alias(execute, name)
    if target is None:
        return None
    fields = [
        [field["name"] for field in definition["schema"]["fields"]]
        for definition in recorded.values()
        if definition["physical"] == target
    ]
    assert len(fields) == 1
    return str(fields[0][0])


def add_documents(shop: Shop) -> None:
    for name, field in (("a", "old"), ("a", "new"), ("b", "other")):
        shop.add_documents(3, f"{name}:{field}", **{field: "boot {n}"})


@pytest.fixture(params=["an alias", pytest.param("an index", marks=pytest.mark.slow)])
def letters(request: pytest.FixtureRequest, shop: Shop) -> Shop:
    """Indexes `a` and `b`; of `a` the name is still that of the index, or an alias by now."""
    add_documents(shop)
    shop.write(create("a", "old") + create("b", "other"), DROP + 'op.drop_index("b")')
    shop.write(changed(["the"]) if request.param == "an alias" else "pass", "pass")
    assert shop.run("upgrade").code == 0
    return shop


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_revision_may_use_a_name_again_and_goes_back(letters: Shop, revision: str) -> None:
    upgrade, field, downgrade = REVISIONS[revision]
    letters.write(upgrade, downgrade)
    run = letters.run("upgrade", "--json")
    assert run.code == 0, run.out
    assert field_of(letters, "a") == field

    assert letters.run("rollback", "--run", run.json["run"]).code == 0
    assert (field_of(letters, "a"), field_of(letters, "b")) == ("old", "other")

    assert letters.run("upgrade").code == 0
    assert field_of(letters, "a") == field
    for verb, target, wanted in (("downgrade", "-1", "old"), ("upgrade", "head", field)):
        result = letters.run(verb, target)
        assert result.code == 0, result.err
        assert field_of(letters, "a") == wanted
    result = letters.run("downgrade", "base")
    assert result.code == 0, result.err
    assert list_indexes(letters.client.execute_command) == ()


@pytest.mark.parametrize(
    "revision",
    ["dropped, created again and changed", "renamed, with a new one of the old name", "exchanged"],
)
def test_a_revision_that_fails_gives_every_name_back(letters: Shop, revision: str) -> None:
    letters.write(
        REVISIONS[revision][0] + "\nop.run(fail)", preamble="def fail(client):\n    raise ValueError('no')"
    )
    assert letters.run("upgrade").code == 1
    assert (field_of(letters, "a"), field_of(letters, "b")) == ("old", "other")
    assert resolve_alias(letters.client.execute_command, "c") is None


def test_an_index_that_a_revision_creates_and_changes_goes_with_it(shop: Shop) -> None:
    add_documents(shop)
    shop.write(create("a", "old") + changed(["x"]) + "op.run(work, forget)", DROP, preamble=WORKS_ONCE)
    assert shop.run("upgrade").code == 1
    assert list_indexes(shop.client.execute_command) == ()
    assert resolve_alias(shop.client.execute_command, "a") is None

    run = shop.run("upgrade", "--json")
    assert run.code == 0, run.out
    assert shop.hits("a") == 6
    assert shop.run("rollback", "--run", run.json["run"]).code == 0
    assert list_indexes(shop.client.execute_command) == ()
    assert shop.state("indexes")["indexes"] == {}  # type: ignore[index]


WORKS_ONCE = """
def work(client):
    if client.incr("attempts") == 1:
        raise ValueError("not yet")

def forget(client):
    pass
"""
