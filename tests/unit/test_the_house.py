"""The page about the architecture is true of the house, of the ways through it, and of the names in it."""

from __future__ import annotations

import ast
import re
from functools import cache

import networkx as nx
import pytest
from doc_pages import ROOT
from test_layers import RANK, layer_of, modules, ours, target_of

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
WAYS = ("One `upgrade head`", "One copied document", "One rollback")
# What anybody may import, so that it tells nothing.
OF_EVERYBODY = {"", "schema"}
# A class that so many modules import is part of the language that the code is written in.
KNOWN_BY_MANY = 5


def section(title: str) -> str:
    level = title.partition(" ")[0]
    return PAGE.partition(f"\n{title}\n")[2].partition(f"\n{level} ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of the table of a section, its head left out."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[1:]]


@cache
def arrows() -> nx.DiGraph:
    """Every module, and what it imports."""
    graph = nx.DiGraph()
    graph.add_nodes_from(modules())
    graph.add_edges_from((each.importer, target_of(each)) for each in ours())
    return graph


def folder_of(module: str) -> str:
    """The row of the table that a module is in; of what lies in the root, its own name is no folder."""
    folders = {row[0].strip("`/").replace("/", ".") for row in rows("### After")}
    parts = module.split(".")[1:]
    return next(
        (".".join(parts[:count]) for count in range(len(parts), 0, -1) if ".".join(parts[:count]) in folders),
        "",
    )


def test_the_page_counts_what_there_is_today():
    inside = {name for name in modules() if layer_of(name) == "execution"}
    packages = {name for name in inside if any(each.startswith(f"{name}.") for each in inside)}
    arrows_inside = [edge for edge in arrows().edges if {*edge} <= inside - packages]
    folders = {name.rpartition(".")[0] for name in inside - packages}
    told = re.search(r"Today it is (\d+) modules in (\d+) folders, with (\d+) imports", PAGE)
    assert told is not None
    assert tuple(map(int, told.groups())) == (len(inside - packages), len(folders), len(arrows_inside))


def test_the_table_of_folders_says_who_imports_whom():
    said = {row[0].strip("`/"): set(re.findall(r"`([\w/]+?)/?`", row[2])) for row in rows("### After")}
    found: dict[str, set[str]] = {folder: set() for folder in said}
    for importer, imported in arrows().edges:
        above, below = folder_of(importer), folder_of(imported)
        if above != below and above and below not in OF_EVERYBODY:
            found[above.replace(".", "/")].add(below.replace(".", "/"))
    assert said == found


@pytest.mark.parametrize("way", WAYS)
def test_a_way_is_read_downhill(way: str):
    """Each module is imported by one before it, perhaps by way of others, and by none behind it."""
    listed = re.findall(r"^\d+\. `([\w.]+)`:", section(f"### {way}"), re.MULTILINE)
    names = [f"redismigrate.{name}" for name in listed]
    assert len(names) > 10
    assert set(names) <= modules().keys()
    ranks = [RANK[layer_of(name)] for name in names]
    assert ranks == sorted(ranks, reverse=True)
    below = {name: nx.descendants(arrows(), name) for name in names}
    assert [
        name for at, name in enumerate(names) if at and not any(name in below[each] for each in names[:at])
    ] == []
    assert [(name, each) for at, name in enumerate(names) for each in names[:at] if each in below[name]] == []


def public_classes() -> dict[str, str]:
    """Every public class, and where it is defined."""
    return {
        node.name: module.removeprefix("redismigrate.")
        for module, tree in modules().items()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }


def names_of(module: str) -> set[str]:
    """What a module defines: classes, functions, constants and types."""
    body = modules()[f"redismigrate.{module}"].body
    targets = [each for node in body if isinstance(node, ast.Assign) for each in node.targets]
    defined = {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    return defined | {each.id for each in targets if isinstance(each, ast.Name)}


GLOSSARY = "## Glossary of public names"


def test_every_entry_of_the_glossary_is_defined_where_it_says():
    entries = [(name, row[1].strip("`")) for row in rows(GLOSSARY) for name in re.findall(r"`(\w+)`", row[0])]
    assert [(name, module) for name, module in entries if name not in names_of(module)] == []
    assert len({name for name, _ in entries}) == len(entries)


def test_the_glossary_has_every_class_that_many_modules_know():
    known: dict[str, set[str]] = {}
    for each in ours():
        known.setdefault(each.name, set()).add(each.importer)
    entries = {name for row in rows(GLOSSARY) for name in re.findall(r"`(\w+)`", row[0])}
    assert {
        name: module
        for name, module in public_classes().items()
        if len(known.get(name, ())) >= KNOWN_BY_MANY and module != "errors" and name not in entries
    } == {}
