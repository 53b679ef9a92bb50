"""Every command says what it does, at once: `--help` imports nothing that takes long."""

from __future__ import annotations

import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from command_tree import COMMANDS
from doc_pages import ROOT

from redismigrate.cli import redismigrate as program

SLOW_IMPORTS = {"numpy", "redis", "rich", "jinja2", "networkx", "pydantic"}
# Runs the command line in a fresh interpreter and prints which packages that imported.
IMPORTED = """
import sys
from redismigrate.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ending:
    code = ending.code
print(code, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""

every_command = pytest.mark.parametrize("name", sorted(COMMANDS))


def imported_by(*arguments: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments], capture_output=True, text=True, check=True
    )
    code, *packages = result.stderr.splitlines()[-1].split()
    assert code == "0"
    return set(packages)


@every_command
def test_help_tells_what_a_command_does(name: str):
    result = CliRunner().invoke(program, [*name.split(), "--help"])
    assert result.exit_code == 0
    assert COMMANDS[name].get_short_help_str(limit=200).endswith(".")


def test_what_commands_do_fits_into_a_line_of_80_columns():
    listed = CliRunner().invoke(program, ["--help"], terminal_width=80).output.partition("Commands:")[2]
    assert "..." not in listed


@every_command
def test_every_option_of_a_command_has_help(name: str):
    options = [option for option in COMMANDS[name].params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_a_call_without_a_command_shows_the_help():
    result = CliRunner().invoke(program, [])
    assert "Versioned migrations for Redis Search indexes." in result.output


def test_h_is_short_for_help():
    assert CliRunner().invoke(program, ["-h"]).exit_code == 0


def test_help_imports_nothing_that_takes_long():
    assert imported_by("--help") & SLOW_IMPORTS == set()


@pytest.mark.parametrize("name", ["upgrade", "revision", "current", "backup list"])
def test_the_help_of_a_command_imports_nothing_that_takes_long(name: str):
    assert imported_by(*name.split(), "--help") & SLOW_IMPORTS == set()


def test_every_command_that_a_message_names_exists():
    source = "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((ROOT / "redismigrate").rglob("*.py"))
    )
    named = set(re.findall(r"`redismigrate ([a-z][\w-]*)", source))
    assert named - set(program.commands) == set()
