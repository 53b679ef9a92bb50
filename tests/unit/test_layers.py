"""Imports point one way: each layer knows those below it, and only some talk to Redis."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import networkx as nx
import pytest

import redismigrate

ROOT = Path(redismigrate.__file__).parent

# From top to bottom; those of one line don't know each other.
LAYERS = (
    ("__main__",),
    ("aio", "cli", "testing"),
    ("commands",),
    ("execution",),
    ("planning",),
    ("backup", "state", "wizard"),
    ("history", "operations", "redis_server"),
    ("documents",),
    ("schema",),
    ("config", "packaged"),
    ("foreign_modules",),
    ("html_tables",),
    ("configuration_file", "foreign_text", "process_state", "quantities", "shown_url"),
    ("foreign_documents",),
    ("errors",),
)
RANK = {name: -position for position, layer in enumerate(LAYERS) for name in layer}
# What execution may know of planning: data, and what undoes or compares it; not how a plan is made.
PLANS_AS_DATA = {
    "redismigrate.planning.document_sample",
    "redismigrate.planning.index_parts",
    "redismigrate.planning.inventory",
    "redismigrate.planning.name_moves",
    "redismigrate.planning.other_databases",
    "redismigrate.planning.plan",
    "redismigrate.planning.physical_names",
    "redismigrate.planning.rewrites",
    "redismigrate.planning.step_life",
    "redismigrate.planning.undo",
    "redismigrate.planning.drift",
}
# What planning may know of the server: values that others have read.
SERVER_AS_DATA = {
    "redismigrate.redis_server.capabilities.Capabilities",
    "redismigrate.redis_server.inspection.LiveIndex",
    "redismigrate.redis_server.persistence.Persistence",
}
# `testing` plays the application, as tests do.
TALK_TO_REDIS = {"state", "execution", "redis_server", "testing"}
# It plays the application.
DEMO = "redismigrate.commands.demo"
# Of the folders of `execution`: the left one may import the right one, never the other way round.
FLOORS_OF_EXECUTION = [
    *pairwise(("offline", "steps", "documents.beside", "documents.traffic", "pace", "indexes")),
    ("steps", "documents.in_place"),
    ("documents.in_place", "documents.traffic"),
]
ONE_PLACE = {
    "networkx": ("redismigrate.history.graph",),
    "jinja2": ("redismigrate.history.script_writer",),
    "click": ("redismigrate.cli",),
    "rich": ("redismigrate.cli",),
    "pytest": ("redismigrate.testing",),
}


@dataclass(frozen=True)
class Import:
    """One name that one module imports, wherever in the module."""

    importer: str
    module: str
    name: str

    @property
    def layers(self) -> tuple[str, str]:
        return layer_of(self.importer), layer_of(self.module)

    def __str__(self) -> str:
        return f"{self.importer} imports {self.name} from {self.module}"


def layer_of(module: str) -> str:
    return [*module.split("."), ""][1]


def target_of(each: Import) -> str:
    """The module that is imported, or that a name is imported from."""
    named = f"{each.module}.{each.name}"
    return named if named in modules() else each.module


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(file.read_text())
    return found


@cache
def imports() -> list[Import]:
    found = []
    for importer, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found += [Import(importer, alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found += [Import(importer, f"{node.module}", alias.name) for alias in node.names]
    return found


def ours() -> list[Import]:
    """Imports of one of our modules by another; the root holds but the version and two lazy names."""
    found = []
    for each in imports():
        if each.module == "redismigrate" and each.name in RANK:
            found.append(Import(each.importer, f"redismigrate.{each.name}", ""))
        elif each.module.startswith("redismigrate."):
            found.append(each)
    return [each for each in found if each.importer != "redismigrate"]


def test_every_module_has_its_layer():
    assert {layer_of(module) for module in modules() if module != "redismigrate"} == set(RANK)


def test_imports_point_from_a_layer_to_those_below_it():
    wrong = [
        str(each)
        for each in ours()
        if each.layers[0] != each.layers[1] and RANK[each.layers[0]] <= RANK[each.layers[1]]
    ]
    assert wrong == []


def test_no_import_is_relative():
    nodes = [node for tree in modules().values() for node in ast.walk(tree)]
    assert [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level] == []


def test_execution_knows_plans_as_data_only():
    assert [
        str(each)
        for each in ours()
        if each.layers == ("execution", "planning") and each.module not in PLANS_AS_DATA
    ] == []


def test_planning_is_told_about_the_server_and_does_not_ask():
    assert [
        str(each)
        for each in ours()
        if each.layers[0] == "planning"
        and (
            each.layers[1] == "state"
            or (each.layers[1] == "redis_server" and f"{each.module}.{each.name}" not in SERVER_AS_DATA)
        )
    ] == []


@pytest.mark.parametrize(
    "layer", ["schema", "documents", "backup", "operations", "history", "planning", "config", "cli", "wizard"]
)
def test_layers_that_are_pure_or_only_draw_do_not_import_redis(layer):
    assert [
        str(each)
        for each in imports()
        if each.module.split(".")[0] == "redis" and layer_of(each.importer) == layer
    ] == []


def test_only_four_layers_and_the_demo_talk_to_redis():
    talking = {
        module
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in {"client", "execute", "execute_command"})
        or (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "redis" for alias in node.names))
    }
    assert [
        module
        for module in sorted(talking)
        if layer_of(module) not in TALK_TO_REDIS and not module.startswith(DEMO)
    ] == []


@pytest.mark.parametrize("library", ONE_PLACE)
def test_a_library_is_imported_in_one_place(library):
    assert [
        str(each)
        for each in imports()
        if each.module.split(".")[0] == library and not each.importer.startswith(ONE_PLACE[library])
    ] == []


def test_every_module_says_in_its_first_line_why_it_exists():
    silent = [
        module
        for module, tree in modules().items()
        if not (ast.get_docstring(tree) or "").partition("\n")[0].endswith((".", ":"))
    ]
    assert silent == []


def test_no_modules_import_each_other_in_a_circle():
    graph = nx.DiGraph()
    graph.add_edges_from(
        (each.importer, target_of(each)) for each in ours() if each.importer != target_of(each)
    )
    assert [sorted(circle) for circle in nx.strongly_connected_components(graph) if len(circle) > 1] == []


@pytest.mark.parametrize(("one", "other"), [("in_place", "beside"), ("beside", "in_place")])
def test_the_two_ways_to_change_documents_do_not_know_each_other(one: str, other: str):
    folder = "redismigrate.execution.documents"
    assert [
        str(each)
        for each in ours()
        if each.importer.startswith(f"{folder}.{one}.") and each.module.startswith(f"{folder}.{other}")
    ] == []


@pytest.mark.parametrize(("above", "below"), FLOORS_OF_EXECUTION)
def test_within_execution_imports_point_one_way(above: str, below: str):
    root = "redismigrate.execution"
    assert [
        str(each)
        for each in ours()
        if each.importer.startswith(f"{root}.{below}.") and each.module.startswith(f"{root}.{above}")
    ] == []


def test_no_file_is_longer_than_400_lines():
    longest = {
        str(file.relative_to(ROOT)): count
        for file in ROOT.rglob("*.py")
        if (count := len(file.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert longest == {}


def test_no_two_modules_have_one_name():
    """A name says one thing: what is looked for by its name is found at once."""
    places: dict[str, list[str]] = {}
    for file in ROOT.rglob("*.py"):
        if not file.stem.startswith("__"):
            places.setdefault(file.stem, []).append(str(file.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
