"""The table of promises on the page about safety: every command in it finds tests."""

from __future__ import annotations

import ast
import shlex
import subprocess
import sys
from functools import cache

import pytest
from doc_pages import ROOT, rows_of, sections_of

PAGE = ROOT / "docs" / "explanation" / "safety.md"
ROWS = rows_of(sections_of(PAGE)["How each promise is tested"])
SLOW = ("-m", "slow")


def command_of(row: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The options of a row's command, and what it names."""
    program, *words = shlex.split(row[2].strip("`"))
    assert program == "pytest"
    options = SLOW if words[:2] == list(SLOW) else ()
    return options, tuple(words[len(options) :])


@cache
def collected(options: tuple[str, ...]) -> tuple[str, ...]:
    """What is found by all commands of the table with these options: one session is faster than one each."""
    commands = map(command_of, ROWS)
    named = sorted({name for given, names in commands if given == options for name in names})
    # The name of a test beside that of its file would be collected twice.
    named = [
        name for name in named if name.partition("::")[0] == name or name.partition("::")[0] not in named
    ]
    session = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *options, *named],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert session.returncode == 0, session.stdout[-2000:] + session.stderr
    return tuple(line for line in session.stdout.splitlines() if "::" in line)


def test_the_table_has_a_row_for_every_promise_once():
    promises = [row[0] for row in ROWS]
    assert len(promises) == len(set(promises)) > 30
    assert all(len(row) == 3 and all(row) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_files_of_a_promise_exist(row: tuple[str, ...]):
    _, named = command_of(row)
    assert named
    for name in named:
        assert (ROOT / name.partition("::")[0]).is_file(), name


@cache
def names_in(file: str) -> frozenset[str]:
    """The names of the functions of a file that are tests, as far as its text tells."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_tests_of_a_promise_exist(row: tuple[str, ...]):
    options, named = command_of(row)
    for name in named:
        file, _, test = name.partition("::")
        assert test.partition("[")[0] in names_in(file) if test else names_in(file), name
        assert not options or "mark.slow" in (ROOT / file).read_text(encoding="utf-8"), name


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), SLOW], ids=["default", "slow"])
def test_every_command_finds_tests_in_each_file_that_it_names(options: tuple[str, ...]):
    tests = collected(options)
    for row in ROWS:
        given, named = command_of(row)
        if given == options:
            for name in named:
                assert any(test.startswith((f"{name}::", f"{name}[")) or test == name for test in tests), name
