"""`wizard`: asks on a terminal, or takes answers from a file or standard input, and writes a revision."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from redismigrate.cli.context import REVISION, FilePath, Invocation, RevisionCommand, echo, global_options
from redismigrate.cli.revision_options import placing_options, show_generated
from redismigrate.errors import RedisMigrateError, UsageError

if TYPE_CHECKING:
    from redismigrate.commands import Project
    from redismigrate.commands.authoring.guided import Wizard
    from redismigrate.wizard.entries import GivenAnswers
    from redismigrate.wizard.questions import Question

_NARROWEST, _WIDEST = 40, 100


@click.command(cls=RevisionCommand)
@click.argument("index", type=REVISION, required=False)
@click.option(
    "--answers",
    type=FilePath(path_type=Path, dir_okay=False, allow_dash=True),
    help="A YAML file with the answers; - for standard input.",
)
@click.option("-m", "--message", help="What the revision is for. [asked]")
@click.option(
    "--patch",
    type=FilePath(path_type=Path, dir_okay=False),
    help="Begin with what a schema patch of RedisVL says.",
)
@click.option(
    "--patch-out",
    type=FilePath(path_type=Path, dir_okay=False),
    help="Also write the change as a schema patch of RedisVL.",
)
@click.option(
    "--target-schema-out",
    type=FilePath(path_type=Path, dir_okay=False),
    help="Also write the index as it is then, in RedisVL's form.",
)
@placing_options
@global_options
@click.pass_obj
def wizard(
    invocation: Invocation,
    /,
    index: str | None,
    answers: Path | None,
    message: str | None,
    patch: Path | None,
    patch_out: Path | None,
    target_schema_out: Path | None,
    rev_id: str | None,
    **placing: Any,
) -> None:
    """Ask what to change of an index and write the revision."""
    from redismigrate.commands.authoring.guided import begin_wizard
    from redismigrate.commands.authoring.other_branches import refuse_indexes_of_other_branches
    from redismigrate.commands.placing import place_revision

    project = invocation.project()
    # What is wrong with its place is told before anything is asked.
    at = {name: value for name, value in placing.items() if name != "head"}
    heads = () if placing["head"] is None else (placing["head"],)
    placement = place_revision(project, heads=heads, revision_id=rev_id, **at)
    given = None if answers is None else _read_answers(answers)
    driver = _Driver(invocation, given)
    index = index or (given.index if given else None) or driver.choose(project)
    refuse_indexes_of_other_branches(project, placement, (index,), ())
    message = message or (given.message if given else None)
    with begin_wizard(
        project, index, revision_id=rev_id, message=message, needs_patch=patch_out is not None
    ) as asking:
        if patch is not None:
            from redismigrate.operations.redisvl_patch import read_schema_patch

            asking.start_with(read_schema_patch(patch))
        driver.ask(asking)
    _write(invocation, project, asking, driver, placing, patch_out, target_schema_out)


def _write(
    invocation: Invocation,
    project: Project,
    asking: Wizard,
    driver: _Driver,
    placing: dict[str, Any],
    patch_out: Path | None,
    target_schema_out: Path | None,
) -> None:
    from redismigrate import commands
    from redismigrate.schema.yaml_file import write_yaml

    ending = asking.dialogue
    content = asking.content()
    if ending.ending == "quit" or ending.message is None:
        reason = "Nothing was written." if content.operations else "Nothing changes: no script was written."
        invocation.result({"path": None, "revision": None, "operations": [], "notes": []}, reason)
        return
    files = []
    if patch_out is not None:
        files.append((asking.patch(), patch_out))
    if target_schema_out is not None:
        files.append((asking.target_schema(), target_schema_out))
    path = commands.revision(project, ending.message, revision_id=asking.revision, content=content, **placing)
    show_generated(invocation, path, replace(content, notes=driver.notes_left(content.notes)))
    for document, file in files:
        write_yaml(document, file)
        invocation.say(f"Wrote {file}")


def _read_answers(file: Path) -> GivenAnswers:
    from redismigrate.errors import SchemaError
    from redismigrate.foreign_documents import UnreadableDocument, parse_yaml
    from redismigrate.schema.redisvl import located
    from redismigrate.schema.yaml_file import read_yaml
    from redismigrate.wizard.entries import given_answers

    if str(file) == "-":
        try:
            content = parse_yaml("".join(_lines(sys.stdin)))
        except UnreadableDocument as error:
            raise SchemaError(f"standard input: {error.problem}.", error.hint) from None
    else:
        content = read_yaml(file)
    with located("standard input" if str(file) == "-" else str(file)):
        return given_answers(content)


class _Driver:
    """Asks and shows: on a terminal everything, elsewhere what somebody wants to read afterwards.

    Args:
        invocation: The call.
        given: The answers, where a file has them.
    """

    def __init__(self, invocation: Invocation, given: GivenAnswers | None) -> None:
        self.is_terminal = given is None and _is_terminal(sys.stdin)
        self._invocation = invocation
        self._given = given
        self._typed = _lines(sys.stdin) if given is None and not self.is_terminal else iter(())
        self._notes: list[str] = []
        columns = shutil.get_terminal_size().columns
        self._width = max(_NARROWEST, min(columns, _WIDEST))

    def choose(self, project: Project) -> str:
        """The index to change."""
        from redismigrate.commands.authoring.guided import index_question

        if self._given is not None:
            raise UsageError("The answers name no index.", "Add index: NAME to the file, or give INDEX.")
        question = index_question(project)
        while True:
            try:
                meant = question.meant(self._read(question))
                if meant:
                    return str(meant)
            except UsageError as error:
                self._refuse(error)

    def ask(self, asking: Wizard) -> None:
        """Ask until the wizard has ended."""
        from redismigrate.cli.wizard_view import schema_lines
        from redismigrate.wizard.entries import played

        self._show(schema_lines(asking.schema, self._width))
        self._show_notes(asking.notes)
        if self._given is not None:
            for _ in played(asking, self._given.entries):
                self._show_result(asking)
            return
        while asking.dialogue.ending is None:
            if asking.dialogue.form is None:
                self._show_draft(asking)
            asking.answer(self._read(asking.question, is_last=asking.dialogue.form == "finish"))
            if asking.dialogue.refusal is not None:
                self._refuse(asking.dialogue.refusal)
            self._show_result(asking)

    def notes_left(self, of_script: Iterable[str]) -> tuple[str, ...]:
        """What is still to be told of a script: on a terminal it was told where it belongs."""
        if self.is_terminal and not self._invocation.json:
            return ()
        return tuple(dict.fromkeys((*of_script, *self._notes)))

    def _read(self, question: Question, *, is_last: bool = False) -> str:
        """What is typed, or the next line of standard input; the last question may have none."""
        from redismigrate.cli.wizard_view import question_lines

        if self.is_terminal:
            *above, prompt = question_lines(question, self._width)
            self._show(above)
            return _typed(prompt, self._stream)
        line = next(self._typed, None)
        if line is not None:
            return line.rstrip("\n")
        if is_last:
            return ""
        raise UsageError(
            f"The answers end before `finish`, at “{question.text}”: nothing was written.",
            "Add the rest, one answer per line.",
        )

    def _refuse(self, error: RedisMigrateError) -> None:
        """Tell why an answer was refused; where nobody can give another one, end."""
        from redismigrate.cli.wizard_view import refusal_lines

        if not self.is_terminal:
            raise error
        self._show(refusal_lines(error, self._width))

    def _show_result(self, asking: Wizard) -> None:
        from redismigrate.cli.wizard_preview import preview_text

        notes = [told.text for told in asking.dialogue.told if told.kind == "note"]
        self._show_notes(notes)
        if asking.dialogue.view is None:
            return
        try:
            echo(preview_text(asking, self._width).rstrip("\n"), self._stream)
        except RedisMigrateError as error:
            self._refuse(error)

    def _show_draft(self, asking: Wizard) -> None:
        from redismigrate.cli.wizard_view import draft_lines

        self._show(["", *draft_lines(asking.dialogue.draft, self._width)])

    def _show_notes(self, notes: Iterable[str]) -> None:
        from redismigrate.cli.wizard_view import wrapped
        from redismigrate.foreign_text import readable

        for note in notes:
            self._notes.append(note)
            self._show(wrapped(f"Note: {readable(note)}", self._width, "  "))

    def _show(self, lines: Iterable[str]) -> None:
        if self.is_terminal:
            for line in lines:
                echo(line, self._stream)

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self._invocation.json else sys.stdout


def _typed(prompt: str, stream: TextIO) -> str:
    """A line that is typed behind a prompt.

    Raises:
        RedisMigrateError: Somebody wants to leave.
    """
    try:
        stream.write(prompt)
        stream.flush()
        return input()
    except (EOFError, KeyboardInterrupt):
        echo("", stream)
        raise RedisMigrateError("The wizard was left before `finish`: nothing was written.") from None
    except UnicodeDecodeError:
        raise UsageError("What was typed is no UTF-8.", "Answer by the number instead.") from None


def _lines(stream: TextIO) -> Iterator[str]:
    """Lines of standard input; bytes that are no UTF-8 are escaped, as in names of Redis."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="surrogateescape")
    try:
        yield from stream
    except (OSError, ValueError) as error:
        raise UsageError(f"Standard input can't be read: {error}.", "Use --answers FILE.") from None


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


COMMANDS = (wizard,)
