"""What is shown of text of others: what can't be printed as escapes, on the line where it stands."""

from __future__ import annotations

import io
import logging
import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress, TextColumn
from rich.table import Table

from redismigrate.cli import _StandardErrorHandler
from redismigrate.cli.rendering import ForeignSafeConsole, markup
from redismigrate.foreign_text import readable, readable_lines, readable_paragraph, shell_command

CLEARS = "\x1b[2J\x1b[31mred\x9b0m\r\x07"
SHOWN = "\\x1b[2J\\x1b[31mred\\x9b0m\\r\\x07"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("grün 12 % 東京\u3000a\xa0b 👩\u200d💻", "grün 12 % 東京\u3000a\xa0b 👩\u200d💻"),
        (CLEARS, SHOWN),
        ("a\nThe lock is free.", "a\\nThe lock is free."),
        ("a\tb\u2028c", "a\\tb\\u2028c"),
        ("\u202egpj.exe\u2066", "\\u202egpj.exe\\u2066"),
        ("caf\udce9 \ud800", "caf\\xe9 \\ud800"),
        (b"caf\xe9\x00", "caf\\xe9\\x00"),
    ],
)
def test_a_value_is_shown_on_one_line(text, shown):
    assert readable(text) == shown


def test_lines_stay_lines_and_those_of_a_message_are_indented():
    assert readable_lines(f"a\n{CLEARS}\n") == f"a\n{SHOWN}\n"
    assert readable_paragraph("a\nThe lock is free.\n  log") == "a\n  The lock is free.\n  log"


@given(st.text(st.characters(exclude_categories=[])))
def test_nothing_shown_controls_a_terminal(text):
    shown = readable_lines(text)
    assert all(character == "\n" or ord(character) >= 32 for character in shown)
    assert not any("\x7f" <= character <= "\x9f" for character in shown)
    shown.encode()
    assert "\n" not in readable(text)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_console_writes_no_escape_sequence_of_others(is_terminal):
    file = io.StringIO()
    console = ForeignSafeConsole(file=file, force_terminal=is_terminal, width=200, color_system=None)
    table = Table(CLEARS)
    table.add_row(markup(f"[bold]{CLEARS}"))
    console.print(table)
    console.print(CLEARS, markup=False)
    console.print(f"[bold]{markup(CLEARS)}[/]")
    with Progress(TextColumn(CLEARS), console=console) as progress:
        progress.add_task("")
    written = file.getvalue()
    assert "\x1b[2J" not in written
    assert "\x1b[31m" not in written
    assert written.count(SHOWN.replace("\\r", "").replace("\\x07", "")[:14]) >= 4
    assert f"[bold]{SHOWN}" in written


def test_a_console_makes_no_emoji_of_text_of_others():
    file = io.StringIO()
    console = ForeignSafeConsole(file=file, width=200)
    table = Table("key")
    table.add_row(markup("p:new: 1"))
    console.print(table)
    console.print(f"[bold]{markup('p:new: 2')}[/]")
    assert "p:new: 1" in file.getvalue()
    assert "p:new: 2" in file.getvalue()


def test_the_log_shows_text_of_others_as_escapes(capsys: pytest.CaptureFixture[str]):
    record = logging.LogRecord("redismigrate", logging.WARNING, "", 0, "lost %s", (CLEARS,), None)
    _StandardErrorHandler().emit(record)
    assert capsys.readouterr().err == f"lost {SHOWN}\n"


@pytest.mark.parametrize(
    "word", ["plain", "", "-x", "it's", 'a"b', "a$b`c", "\x1b[1m'\\", "a\nb", "caf\udce9", "größe\t"]
)
def test_a_command_can_be_typed_whatever_is_in_its_words(word: str):
    command = shell_command("printf", "%s", word)
    assert command.isprintable()
    assert os.fsdecode(subprocess.check_output(["/usr/bin/env", "bash", "-c", command])) == word
