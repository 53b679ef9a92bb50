"""A public name of a module is defined once: whoever looks for it finds what is meant, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from doc_pages import ROOT

import redismigrate.commands

# What each module of `cli` offers to the group of all commands.
OFFERED_BY_EACH = {"COMMANDS"}


@cache
def trees() -> dict[Path, ast.Module]:
    """Every module by its path below the package."""
    package = ROOT / "redismigrate"
    return {
        file.relative_to(package): ast.parse(file.read_text(encoding="utf-8"))
        for file in sorted(package.rglob("*.py"))
    }


def definitions(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """The names that a module binds itself, imports left out."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            yield from ((each.id, node) for each in node.targets if isinstance(each, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node
        elif isinstance(node, ast.If | ast.Try):
            yield from definitions([*node.body, *node.orelse])


def is_command(node: ast.stmt) -> bool:
    """Whether click makes a command of a function."""
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    called = [each.func for each in decorators if isinstance(each, ast.Call)]
    return any(isinstance(each, ast.Attribute) and each.attr == "command" for each in called)


def test_no_public_name_is_defined_in_two_modules():
    """Commands of the command line are called as the functions of the Python API that they call."""
    places: dict[str, list[str]] = {}
    for file, tree in trees().items():
        names = {name: node for name, node in definitions(tree.body) if not name.startswith("_")}
        for name, node in names.items():
            if not (file.parts[0] == "cli" and (name in OFFERED_BY_EACH or is_command(node))):
                places.setdefault(name, []).append(file.as_posix())
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_a_command_is_called_as_the_function_that_it_calls():
    """Or as a thing of its own: no other public function of the package has its name."""
    commands = {
        name
        for file, tree in trees().items()
        if file.parts[0] == "cli"
        for name, node in definitions(tree.body)
        if is_command(node)
    }
    elsewhere = {
        name: file.as_posix()
        for file, tree in trees().items()
        if file.parts[0] != "cli"
        for name, _ in definitions(tree.body)
        if name in commands
    }
    assert elsewhere.keys() <= set(redismigrate.commands.__all__)
    assert all(file.startswith("commands/") for file in elsewhere.values())


def test_a_public_docstring_says_more_than_three_words():
    """`help()` shows it alone, far from the code that it stands above."""
    short = [
        f"{file.as_posix()}: {node.name}: {text}"
        for file, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and (text := ast.get_docstring(node))
        and len(text.split()) <= 3
    ]
    assert short == []
