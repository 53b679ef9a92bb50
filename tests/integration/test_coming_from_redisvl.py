"""The page for people who come from RedisVL: it has all of `rvl migrate`, and says of ours what is true."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from doc_pages import ROOT, rows_of, sections_of
from redisvl_application import PYTHON, needs_redisvl

from redismigrate import aio, commands

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conftest import Shop

SECTIONS = sections_of(ROOT / "docs" / "coming-from-redisvl.md")
COMMANDS, OPTIONS = rows_of(SECTIONS["Commands"]), rows_of(SECTIONS["Options"])
CODE = re.compile(r"`([^`]+)`")
OURS = sorted(
    {
        command
        for row in (*COMMANDS, *OPTIONS)
        for command in CODE.findall(" ".join(row[1:]))
        if command.startswith("redismigrate ")
    }
)
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
# Heading -> the models of RedisVL whose fields the tables below it have, one table each.
MODELS = {
    "Fields of a plan": ("MigrationPlan", "BatchPlan"),
    "Fields of an estimate": ("DiskSpaceEstimate",),
    "Fields of a report": ("MigrationReport",),
}
# The limits in the order of the page, and where RedisVL says so: what its source has to hold.
LIMITS = {
    "new dimensions": "dims from",
    "a new storage type": "Changing the storage type requires document migration (not yet supported).",
    "another separator of keys": "Changing the key separator requires document migration",
    "another type of a field": "type from {source_type} to {target_type} is not supported by drop_recreate.",
    "another path of a field": "path from {source_path} to {target_path} is not supported by drop_recreate.",
    "a new vector field": "requires document migration (not yet supported).",
    "a field that goes and one like it that comes": "Possible field rename from",
    "several prefixes": "Multi-prefix migrations are not supported.",
    "float16 to bfloat16, int8 to uint8 and back": (
        "Crash-safe resume is not supported for same-width datatype "
    ),
    "a field renamed to a name that is taken": "because a field with the new name already exists",
    "indexes over the same keys in one batch": (
        "Refusing to create batch plan: overlapping indexes detected."
    ),
    "no migration without a backup directory": "A backup directory is required to apply migrations. ",
    "SVS-VAMANA from Redis 8.2 on": "SVS-VAMANA requires Redis >= 8.2.0",
    "TEMPORARY indexes are not known": "",
}
INTROSPECTION = """
import ast, json, pathlib, sys
import redisvl.cli.migrate as cli
import redisvl.migration as migration
from pydantic import BaseModel
from redisvl.migration import models

def leaves(model, prefix=""):
    for name, field in model.model_fields.items():
        parts = [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)
        if inner is None:
            yield prefix + name
        else:
            yield from leaves(inner, f"{prefix}{name}.")

tree = ast.parse(pathlib.Path(cli.__file__).read_text())
options = {
    argument.value
    for call in ast.walk(tree)
    if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "add_argument"
    for argument in call.args
    if isinstance(argument, ast.Constant) and argument.value.startswith("--")
}
lines = [line.split()[0] for line in cli.Migrate.usage.splitlines() if line.startswith("\\t")]
files = pathlib.Path(migration.__file__).parent.glob("*.py")
print(json.dumps({
    "classes": [name for name in (*dir(migration), *dir(models))],
    "subcommands": lines,
    "options": sorted(options),
    "models": {name: list(leaves(getattr(models, name))) for name in json.loads(sys.argv[1])},
    "patch": list(models.SchemaPatchChanges.model_fields),
    "source": "".join(file.read_text() for file in files),
}))
"""


@pytest.fixture(scope="module")
def peer() -> dict[str, Any]:
    """What the installed RedisVL has."""
    names = json.dumps([name for models in MODELS.values() for name in models])
    done = subprocess.run(
        [PYTHON, "-W", "ignore", "-c", INTROSPECTION, names], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def tables_of(heading: str) -> list[tuple[tuple[str, ...], ...]]:
    """The tables of a section, apart."""
    lines, tables = SECTIONS[heading], []
    for position, line in enumerate(lines):
        if line.startswith("|") and not lines[position - 1].startswith("|"):
            end = next((n for n in range(position, len(lines)) if not lines[n].startswith("|")), len(lines))
            tables.append(rows_of(lines[position:end]))
    return tables


def test_every_subcommand_is_on_the_page():
    assert {row[0].strip("`").split()[2] for row in COMMANDS} == SUBCOMMANDS


def test_every_section_of_a_patch_is_on_the_page():
    assert [row[0].strip("`") for row in rows_of(SECTIONS["Sections of a patch"])] == PATCH_SECTIONS


def test_every_limit_is_on_the_page():
    assert [row[0] for row in rows_of(SECTIONS["Limits"])] == list(LIMITS)


@needs_redisvl
def test_redisvl_has_the_subcommands_sections_and_limits_that_the_page_has(peer):
    assert set(peer["subcommands"]) == SUBCOMMANDS
    assert peer["patch"] == PATCH_SECTIONS
    assert [limit for limit, sentence in LIMITS.items() if sentence not in peer["source"]] == []
    assert "TEMPORARY" not in peer["source"]


@needs_redisvl
def test_redisvl_has_the_classes_that_the_page_has(peer):
    named = {name for row in rows_of(SECTIONS["Python"]) for name in CODE.findall(row[0])}
    assert named - set(peer["classes"]) == set()


def test_our_functions_on_the_page_exist():
    named = {name for row in rows_of(SECTIONS["Python"]) for name in CODE.findall(row[1])}
    modules = {"commands": commands, "aio": aio}
    for name in named:
        module, _, attribute = name.partition(".")
        assert attribute in modules[module].__all__


@needs_redisvl
def test_every_option_of_rvl_migrate_is_on_the_page(peer):
    assert sorted(option for row in OPTIONS for option in CODE.findall(row[0])) == peer["options"]


@needs_redisvl
@pytest.mark.parametrize("heading", MODELS)
def test_every_field_of_redisvl_is_on_the_page(peer, heading: str):
    tables = tables_of(heading)
    assert len(tables) == len(MODELS[heading])
    for table, model in zip(tables, MODELS[heading], strict=True):
        fields = peer["models"][model]
        # The name of a model stands for all that is in it.
        named = [name for row in table for name in CODE.findall(row[0])]
        assert [name for name in named if not any(stands_for(name, field) for field in fields)] == []
        assert [field for field in fields if not any(stands_for(name, field) for name in named)] == []


def stands_for(name: str, field: str) -> bool:
    return field == name or field.startswith(f"{name}.")


@pytest.fixture
def project(shop: Shop) -> Shop:
    """One revision applied, one waiting, a schema that differs and a patch."""
    create = '{"index": {"name": "products", "prefix": "p:"}, "fields": [{"name": "title", "type": "text"}]}'
    shop.write(f"op.create_index({create})", 'op.drop_index("products")')
    shop.run("upgrade", "--quiet")
    shop.write(
        "with op.index('products') as index:\n    index.alter_field('title', weight=2)",
        "with op.index('products') as index:\n    index.alter_field('title', weight=1)",
    )
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text() + 'schemas = ["products.yaml"]\n')
    (shop.folder / "products.yaml").write_text(
        create.replace('"type": "text"', '"type": "text", "attrs": {"weight": 2}')
    )
    (shop.folder / "patch.yaml").write_text("changes: {add_fields: [{name: brand, type: tag}]}")
    (shop.folder / "indexes.txt").write_text("# of the shop\nproducts\n")
    (shop.folder / "answers.yaml").write_text("- {change: title, weight: 3}")
    (shop.folder / "checks.yaml").write_text("{index: products, search: [{query: '@title:no', finds: 0}]}")
    shop.run("plan", "-o", "plan.yaml")
    return shop


@pytest.mark.parametrize("command", OURS)
def test_every_command_on_the_page_runs(project: Shop, command: str):
    if "downgrade" in command or "check" in command:
        project.run("upgrade", "--quiet")
    given = shlex.split(command)[1:]
    if "--autogenerate" in given and "-m" not in given:
        given += ["-m", "as declared"]
    result = project.run(*given)
    assert result.code == 0, result.out + result.err


@pytest.mark.parametrize(
    ("heading", "command"),
    [
        ("Fields of a plan", "plan"),
        ("Fields of an estimate", "plan"),
    ],
)
def test_our_fields_on_the_page_exist(project: Shop, heading: str, command: str):
    require_fields(heading, project.run(command, "--json").json)


def test_our_fields_of_a_report_on_the_page_exist(project: Shop):
    arguments = ("--report-out", "report.yaml", "--query-check", "checks.yaml")
    assert project.run("upgrade", *arguments).code == 0
    require_fields("Fields of a report", yaml.safe_load((project.folder / "report.yaml").read_text()))


def require_fields(heading: str, content: Any) -> None:
    known = set(paths(content))
    named = {name for table in tables_of(heading) for row in table for name in CODE.findall(row[1])}
    assert named
    assert named - known == set()


def paths(content: Any, prefix: str = "") -> Iterator[str]:
    """The names in a JSON document, joined by dots; items of lists go without a number."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield prefix + name
            yield from paths(value, f"{prefix}{name}.")
    elif isinstance(content, list):
        for item in content:
            yield from paths(item, prefix)


BLOCKED = "its documents would have to be rewritten, which this version can't do"


@pytest.mark.parametrize(
    ("limit", "patch", "options", "reason"),
    [
        ("new dimensions", "update_fields: [{name: embedding, attrs: {dims: 4}}]", (), BLOCKED),
        ("a new storage type", "index: {storage_type: json}", (), "say prefix=(old, new) in change_storage"),
        ("another separator of keys", "index: {key_separator: _}", (), ""),
        ("another type of a field", "update_fields: [{name: price, type: tag}]", (), ""),
        ("another path of a field", "update_fields: [{name: price, path: cost}]", (), ""),
        (
            "a new vector field",
            "add_fields: [{name: image, type: vector, attrs: {dims: 2, algorithm: flat}}]",
            (),
            "",
        ),
        ("several prefixes", "index: {prefix: ['goods:', 'q:']}", ("--exclusive",), ""),
        ("several prefixes", "index: {prefix: ['goods:', 'r:']}", (), ""),
        (
            "float16 to bfloat16, int8 to uint8 and back",
            "update_fields: [{name: embedding, attrs: {datatype: bfloat16}}]",
            (),
            "",
        ),
        pytest.param(
            "SVS-VAMANA from Redis 8.2 on",
            "update_fields: [{name: embedding, attrs: {algorithm: svs-vamana}}]",
            (),
            "SVS-VAMANA needs Redis Search 8.2 or newer",
            marks=pytest.mark.lacks("svs-vamana"),
        ),
    ],
)
def test_a_limit_of_redisvl_is_one_here_or_is_none(
    shop: Shop, client, limit: str, patch: str, options: Iterable[str], reason: str
):
    assert limit in LIMITS
    shop.write(
        """op.create_index({
            "index": {"name": "products", "prefix": ["p:", "q:"]},
            "fields": [
                {"name": "price", "type": "numeric"},
                {
                    "name": "embedding",
                    "type": "vector",
                    "attrs": {"algorithm": "flat", "dims": 2, "datatype": "float16"},
                },
            ],
        })"""
    )
    shop.run("upgrade")
    client.hset("p:1", mapping={"price": 3, "embedding": bytes(4)})
    (shop.folder / "patch.yaml").write_text(f"changes: {{{patch}}}")
    arguments = ("--schema-patch", "patch.yaml", "--index", "products")
    assert shop.run("revision", "-m", "patch", *arguments).code == 0
    result = shop.run("upgrade", *options)
    assert (result.code, reason in result.err) == ((6, True) if reason else (0, True))


def test_a_field_renamed_to_a_name_that_is_taken_is_refused(project: Shop):
    (project.folder / "patch.yaml").write_text("changes: {rename_fields: [{old_name: a, new_name: title}]}")
    arguments = ("--schema-patch", "patch.yaml", "--index", "products")
    assert project.run("revision", "-m", "patch", *arguments).code == 8


@needs_redisvl
def test_redisvl_reads_the_patch_that_the_wizard_writes(project: Shop):
    (project.folder / "answers.yaml").write_text(
        "[{add: price, type: numeric, sortable: true}, {rename: title, to: name}, {prefix: shop}]"
    )
    arguments = ("--answers", "answers.yaml", "--patch-out", "changes.yaml")
    assert project.run("wizard", "products", *arguments).code == 0
    program = (
        "import json, sys, yaml; from redisvl.migration.models import SchemaPatch; "
        "patch = SchemaPatch.model_validate(yaml.safe_load(open(sys.argv[1]))); "
        "print(json.dumps(patch.changes.model_dump(exclude_defaults=True)))"
    )
    done = subprocess.run(
        [PYTHON, "-W", "ignore", "-c", program, project.folder / "changes.yaml"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {
        "add_fields": [{"name": "price", "type": "numeric", "attrs": {"sortable": True}}],
        "rename_fields": [{"old_name": "title", "new_name": "name"}],
        "index": {"prefix": "shop"},
    }
