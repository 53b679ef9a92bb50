"""The page for people who come from Alembic: it has all of Alembic, and each of our commands in it runs."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
from doc_pages import ROOT, rows_of, sections_of

if TYPE_CHECKING:
    from conftest import Shop

SECTIONS = sections_of(ROOT / "docs" / "coming-from-alembic.md")
ROWS = [row for section in SECTIONS.values() for row in rows_of(section)]
OURS = sorted({command for row in ROWS for command in re.findall(r"`(redismigrate [^`]+)`", row[1])})
# What `alembic --help` and the help of each command list (1.17).
ALEMBIC = {
    "": {"--config", "--name", "-x", "--raiseerr", "--quiet", "--version"},
    "branches": {"--verbose"},
    "check": set(),
    "current": {"--check-heads", "--verbose"},
    "downgrade": {"--sql", "--tag"},
    "edit": set(),
    "ensure_version": {"--sql"},
    "heads": {"--resolve-dependencies", "--verbose"},
    "history": {"--rev-range", "--verbose", "--indicate-current"},
    "init": {"--template", "--package"},
    "list_templates": set(),
    "merge": {"-m", "--branch-label", "--rev-id"},
    "revision": {
        "-m",
        "--autogenerate",
        "--sql",
        "--head",
        "--splice",
        "--branch-label",
        "--version-path",
        "--rev-id",
        "--depends-on",
    },
    "show": set(),
    "stamp": {"--sql", "--tag", "--purge"},
    "upgrade": {"--sql", "--tag"},
}

ENVIRONMENT = """
def include(kind, name):
    return True
"""


def test_every_command_and_option_of_alembic_is_on_the_page():
    found: dict[str, set[str]] = {}
    for row in ROWS:
        words = row[0].strip("`").split()[1:]
        command = words[0] if not words[0].startswith("-") else ""
        found.setdefault(command, set()).update(word for word in words if word.startswith("-"))
    assert found == ALEMBIC


def test_every_row_has_a_command_or_says_that_there_is_none():
    assert {row[1] for row in ROWS if "`" not in row[1]} <= {"not yet", "none needed"}


@pytest.fixture
def project(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Two revisions, the second one applied on the first, declared schemas, and an environment."""
    monkeypatch.setenv("EDITOR", "true")
    shop.write(
        'op.create_index({"index": {"name": "products", "prefix": "p:"}, '
        '"fields": [{"name": "title", "type": "text"}]})',
        'op.drop_index("products")',
        revision="8f3a1c9b2d4e",
    )
    shop.write(
        'with op.index("products") as index:\n    index.add_field({"name": "brand", "type": "tag"})',
        'with op.index("products") as index:\n    index.drop_field("brand")',
        revision="1b2c3d4e5f60",
    )
    (shop.folder / "products.yaml").write_text(
        "index: {name: products, prefix: 'p:'}\n"
        "fields: [{name: title, type: text}, {name: brand, type: tag}]\n",
        encoding="utf-8",
    )
    (shop.folder / "migrations" / "env.py").write_text(ENVIRONMENT, encoding="utf-8")
    configuration = shop.folder / "redismigrate.toml"
    text = configuration.read_text(encoding="utf-8")
    more = f'schemas = ["products.yaml"]\n\n[environments.production]\nurl = "{shop.url}"\n'
    configuration.write_text(text + more, encoding="utf-8")
    assert shop.run("upgrade").code == 0
    shop.wait_until_indexed()
    return shop


@pytest.mark.parametrize("command", OURS)
def test_each_of_our_commands_on_the_page_runs(project: Shop, command: str):
    words = shlex.split(command)[1:]
    if "merge" in words:
        project.write(revision="c8f2064d9e1a", down_revision="8f3a1c9b2d4e")
    if "init" in words:
        for file in ("redismigrate.toml", "products.yaml"):
            (project.folder / file).unlink()
        (project.folder / "migrations").rename(project.folder / "former")
    result = project.run(*words)
    assert result.code == 0, result.err
    assert "Traceback" not in result.err
