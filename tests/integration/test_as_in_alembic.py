"""What people who come from Alembic type and look for: `--sql`, `-c`, `(head)` and what is pending."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shop

CREATE = (
    'op.create_index({"index": {"name": "NAME", "prefix": "NAME:"}, '
    '"fields": [{"name": "title", "type": "text"}]})'
)


def head_lines(shop: Shop) -> list[str]:
    return [line.split()[0] for line in shop.run("current").out.splitlines() if "(head)" in line]


def test_current_says_head_only_where_nothing_is_pending_and_how_many_are(shop: Shop):
    shop.write(CREATE.replace("NAME", "one"), 'op.drop_index("one")', revision="aaa")
    assert shop.run("upgrade").code == 0
    assert head_lines(shop) == ["aaa"]
    assert shop.run("current", "--json").json["pending"] == 0
    for revision in ("bbb", "ccc"):
        shop.write(CREATE.replace("NAME", revision), f'op.drop_index("{revision}")', revision=revision)
    assert head_lines(shop) == []
    assert "  2 revisions to apply: redismigrate upgrade head\n" in shop.run("current").out
    assert shop.run("current", "--json").json["pending"] == 2
    assert shop.run("upgrade", "bbb").code == 0
    assert head_lines(shop) == []
    assert "  1 revision to apply" in shop.run("current").out
    assert shop.run("upgrade").code == 0
    assert head_lines(shop) == ["ccc"]


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        (("upgrade", "head", "--sql"), "--script"),
        (("upgrade", "base:head", "--sql"), "--script"),
        (("downgrade", "--sql", "head:base"), "--script"),
        (("stamp", "head", "--sql"), "--script"),
        (("revision", "-m", "a", "--sql"), "leave it out"),
        (("-c", "alembic.ini", "upgrade", "head"), "--config FILE"),
        (("upgrade", "-c", "alembic.ini", "head"), "--config FILE"),
        (("current", "-c", "alembic.ini"), "--config FILE"),
        (("-c",), "--config FILE"),
    ],
)
def test_an_option_of_alembic_says_what_ours_is(shop: Shop, words: tuple[str, ...], ours: str):
    shop.write(revision="aaa")
    result = shop.run(*words)
    assert result.code == 2
    assert ours in result.err
    assert "option of Alembic" in result.err
    assert shop.client.keys() == []


def test_options_of_alembic_are_in_no_help(shop: Shop):
    for command in ((), ("upgrade",), ("stamp",), ("revision",)):
        shown = shop.run(*command, "--help").out
        assert "--sql" not in shown
        assert " -c" not in shown
