"""Escape sequences and line breaks in what Redis, scripts and names say reach no terminal, by any command."""

from __future__ import annotations

import json

import pytest

CLEARS = "\x1b[2J\x1b]0;x\x07\x9b"
FORGED = "\nThe lock is free."
EVIL = f"{CLEARS}{FORGED}\r"
KEY = "{redismigrate:shop}:"
READING = (
    ("current",), ("status",), ("check",), ("history",), ("history", "-i"), ("history", "--graph"),
    ("heads",), ("branches",), ("graph",), ("graph", "--format", "svg"), ("graph", "--format", "mermaid"),
    ("show", "head"), ("plan",), ("plan", "--compare"), ("upgrade", "--script"), ("upgrade",),
    ("downgrade", "-1"), ("backup", "list"), ("backup", "verify"), ("rollback",), ("stamp", "head"),
    ("repair",), ("unlock",), ("revision", "--from-live", f"evil{CLEARS}"), ("plan", "x\x1b[2J"),
)  # fmt: skip


def create(name):
    return (
        f"op.create_index({{'index': {{'name': {name!r}, 'prefix': 'p:'}},"
        f" 'fields': [{{'name': {'title' + CLEARS!r}, 'type': 'text'}}]}})"
    )


@pytest.fixture
def evil(shop, client):
    """Whatever can be said by others is said with escape sequences; what can have line breaks has them."""
    name = f"products{CLEARS}"
    first = shop.write(create(name), f"op.drop_index({name!r})")
    second = shop.write(
        f"with op.index({name!r}) as index:\n    index.alter_field({'title' + CLEARS!r}, sortable=True)",
        f"with op.index({name!r}) as index:\n    index.alter_field({'title' + CLEARS!r}, sortable=False)",
    )
    for revision in (first, second):
        script = shop.script(revision)
        script.write_text(
            script.read_text().replace('"""revision', f'"""{CLEARS.encode("unicode_escape").decode()}')
        )
    assert shop.run("upgrade", "+1").code == 0
    client.execute_command("FT.CREATE", f"evil{CLEARS}", "SCHEMA", f"a{CLEARS}", "TAG")
    client.hset("p:1", f"title{CLEARS}", EVIL)
    head = json.loads(client.get(f"{KEY}head"))
    head["revisions"][first] |= {"message": EVIL, "by": EVIL, "adopted": [EVIL], "backup": EVIL}
    head["revisions"]["0000000000ff"] = head["revisions"][first] | {"parents": [first]}
    head["heads"] = ["0000000000ff"]
    client.set(f"{KEY}head", json.dumps(head))
    fields = {"event": EVIL, "revision": EVIL, "kind": EVIL, "index": EVIL, "alias": EVIL, "reason": EVIL}
    client.xadd(f"{KEY}journal", fields)
    return shop


def tells_nothing_raw(result, *arguments):
    shown = result.out + result.err
    wrong = [character for character in shown if character != "\n" and not character.isprintable()]
    assert wrong == [], (arguments, shown)
    assert FORGED not in shown, (arguments, shown)
    assert result.code in {0, 1, 2, 3, 4, 5, 6, 7, 8}, (arguments, shown)


def test_no_command_shows_escape_sequences_or_lines_of_others(evil, client):
    for command in READING:
        for options in ((), ("-v",), ("--json",)):
            tells_nothing_raw(evil.run(*command, *options), *command, *options)


def test_who_holds_the_lock_forges_nothing(evil, client):
    holder = {"id": "1", "host": EVIL, "pid": 1, "process": EVIL, "by": EVIL, "since": EVIL}
    for command in (("status",), ("upgrade", "--lock-timeout", "0"), ("unlock",)):
        client.set(f"{KEY}lock", json.dumps(holder))
        result = evil.run(*command)
        tells_nothing_raw(result, *command)
        assert "\\x1b[2J" in result.out + result.err


def test_nor_does_a_follower_or_a_script_that_fails(evil, client):
    evil.write(f"raise ValueError({EVIL!r})")
    for command in (("plan",), ("show", "head"), ("upgrade",)):
        for options in ((), ("-v",)):
            tells_nothing_raw(evil.run(*command, *options), *command, *options)
