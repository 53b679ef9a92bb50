"""The page for people who come from RedisVL: it has every subcommand, and each of our commands in it runs."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
from doc_pages import ROOT, rows_of, sections_of

if TYPE_CHECKING:
    from conftest import Shop

SECTIONS = sections_of(ROOT / "docs" / "coming-from-redisvl.md")
ROWS = rows_of(SECTIONS["Commands"])
OURS = sorted({command for row in ROWS for command in re.findall(r"`(redismigrate [^`]+)`", row[1])})
# What `rvl migrate` lists (0.28).
SUBCOMMANDS = {
    "helper",
    "wizard",
    "plan",
    "apply",
    "estimate",
    "rollback",
    "validate",
    "batch-plan",
    "batch-apply",
    "batch-resume",
    "batch-status",
}
# The sections of its patches.
PATCH_SECTIONS = ["add_fields", "remove_fields", "update_fields", "rename_fields", "index"]


def test_every_subcommand_is_on_the_page():
    assert {row[0].strip("`").split()[2] for row in ROWS} == SUBCOMMANDS


def test_every_section_of_a_patch_is_on_the_page():
    assert [row[0].strip("`") for row in rows_of(SECTIONS["Sections of a patch"])] == PATCH_SECTIONS


@pytest.fixture
def project(shop: Shop) -> Shop:
    """One revision applied, one waiting, a schema that differs and a patch."""
    create = '{"index": {"name": "products", "prefix": "p:"}, "fields": [{"name": "title", "type": "text"}]}'
    shop.write(f"op.create_index({create})", 'op.drop_index("products")')
    shop.run("upgrade", "--quiet")
    shop.write()
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text() + 'schemas = ["products.yaml"]\n')
    (shop.folder / "products.yaml").write_text(create)
    (shop.folder / "patch.yaml").write_text("changes: {add_fields: [{name: brand, type: tag}]}")
    return shop


@pytest.mark.parametrize("command", OURS)
def test_every_command_on_the_page_runs(project: Shop, command: str):
    if "downgrade" in command or "check" in command:
        project.run("upgrade", "--quiet")
    result = project.run(*shlex.split(command)[1:])
    assert result.code == 0, result.out + result.err
