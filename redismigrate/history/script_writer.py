"""Writes a new migration script from the project's `script.py.j2`."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
import uuid
from types import MappingProxyType
from typing import TYPE_CHECKING

from redismigrate.configuration_file import DEFAULT_FILE_TEMPLATE, DEFAULT_SLUG_LENGTH
from redismigrate.errors import ScriptError, UsageError
from redismigrate.foreign_modules import ForeignCode, ForeignFailure, parse, place_in_file
from redismigrate.history.script import (
    DOES_REPLACED,
    METADATA,
    UNDOES_REPLACED,
    problem_with_name,
    script_from_source,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

TEMPLATE_NAME = "script.py.j2"

_REVISION_LENGTH = 12


def new_revision_id() -> str:
    """Return a random revision id of 12 hexadecimal digits."""
    return uuid.uuid4().hex[-_REVISION_LENGTH:]


def write_script(
    template_folder: Path,
    version_location: Path,
    *,
    revision: str,
    message: str,
    down_revisions: Sequence[str],
    branch_labels: Sequence[str] = (),
    depends_on: Sequence[str] = (),
    create_date: datetime,
    file_template: str = DEFAULT_FILE_TEMPLATE,
    slug_length: int = DEFAULT_SLUG_LENGTH,
    upgrade_lines: Sequence[str] = (),
    downgrade_lines: Sequence[str] = (),
    imports: Sequence[str] = (),
    undo_replaced: Mapping[str, Sequence[str]] = MappingProxyType({}),
    do_replaced: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Path:
    """Render a script, check that it says what was asked for, and write it to a new file.

    Args:
        template_folder: The folder of the project's own `script.py.j2`.
        version_location: The folder to write to; it is created if missing.
        revision: The id.
        message: What the revision does, any text; line breaks become spaces.
        down_revisions: The ids it revises: none for a base, several for a merge.
        branch_labels: Labels of a branch that starts here.
        depends_on: Ids or labels that it depends on.
        create_date: When it is made, with its time zone.
        file_template: The name of the file without `.py`, see `Settings.file_template`.
        slug_length: How many characters of the name come from the message at most.
        upgrade_lines: The body of `upgrade`, not indented; without any the body is `pass`.
        downgrade_lines: The body of `downgrade`, likewise.
        imports: Import statements that the two bodies need.
        undo_replaced: Of a squashed script: each revision that it replaces, in order, and the body of what
            undoes that one alone, not indented. A template needs to know nothing of it.
        do_replaced: Where they are to be applied one by one: likewise what leads to each; else empty.

    Returns:
        The path of the file.

    Raises:
        UsageError: The message is empty, or the id or a label can't be one.
        ScriptError: The template is missing or broken, or its result is not valid Python or not the
            revision asked for, and nothing is written; or the file exists or can't be written.
    """
    message = " ".join(line.strip() for line in message.splitlines() if line.strip())
    if not message:
        raise UsageError("A revision needs a message.", 'Say in a few words what it does: `-m "..."`.')
    for name in (revision, *branch_labels):
        problem = problem_with_name(name)
        if problem:
            raise UsageError(f"It can't be a revision id or branch label: {problem}.", "Choose another name.")
    path = version_location / _file_name(file_template, revision, slug(message, slug_length), create_date)
    rendered = _render(
        template_folder,
        {
            "message": _in_docstring(message),
            "revision": revision,
            "revises": ", ".join(down_revisions) or "base",
            "create_date": create_date.isoformat(timespec="seconds"),
            "down_revision": _scalar_or_tuple(down_revisions),
            "branch_labels": tuple(branch_labels),
            "depends_on": tuple(depends_on),
            "imports": tuple(imports),
            "upgrade_body": _body(upgrade_lines),
            "downgrade_body": _body(downgrade_lines),
        },
    )
    if undo_replaced:
        rendered = _squashed(rendered, template_folder / TEMPLATE_NAME, do_replaced, undo_replaced)
    source = rendered.encode()
    wanted = {
        "revision": (revision,),
        "down_revision": down_revisions,
        "branch_labels": branch_labels,
        "depends_on": depends_on,
        "replaces": tuple(undo_replaced),
    }
    _check(source, template_folder / TEMPLATE_NAME, wanted)
    try:
        version_location.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(source)
    except OSError as error:
        raise ScriptError(
            f"{error.filename or path} can't be written: {error.strerror}.",
            "Choose another revision id or folder, or correct the folder's rights.",
        ) from error
    return path


def slug(message: str, length: int = DEFAULT_SLUG_LENGTH) -> str:
    """Return a message as a part of a file name: lower-case ASCII words, `length` characters at most."""
    ascii_only = unicodedata.normalize("NFKD", message.casefold()).encode("ascii", "ignore").decode()
    words = "_".join(re.findall(r"[a-z0-9]+", ascii_only))
    if len(words) > length:
        whole_words = words[: length + 1].rpartition("_")[0]
        words = whole_words or words[:length]
    return words


def _file_name(template: str, revision: str, words: str, created: datetime) -> str:
    moments = ("year", "month", "day", "hour", "minute", "second")
    parts = {"rev": revision, "slug": words, "epoch": int(created.timestamp())}
    name = template % {**parts, **{moment: getattr(created, moment) for moment in moments}}
    # A message without a letter has no slug: what stood between it and the rest goes, too.
    return f"{name if words else name.strip('_-')}.py"


def _render(folder: Path, variables: Mapping[str, object]) -> str:
    # Imported on first use: only the commands that write scripts need it.
    import jinja2
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["python"] = _python
    path = folder / TEMPLATE_NAME

    def as_error(failure: ForeignFailure) -> ScriptError:
        error = failure.error
        if isinstance(error, jinja2.TemplateNotFound):
            return ScriptError(
                f"{path} can't be rendered: there is no template {error.name}.",
                "Copy it from the folder that `redismigrate init` makes.",
            )
        line = error.lineno if isinstance(error, jinja2.TemplateSyntaxError) else failure.line_in(path)
        return ScriptError(
            f"{place_in_file(path, line)}: the template can't be rendered ({failure.reason}).",
            "Correct the template.",
        )

    # A template is the user's own code, and calls what it likes.
    with ForeignCode(as_error):
        return environment.get_template(TEMPLATE_NAME).render(variables)


def _check(source: bytes, template: Path, wanted: Mapping[str, Sequence[str]]) -> None:
    """Refuse a script that is not the revision asked for, as a template can leave things out."""
    try:
        script = script_from_source(source, template)
    except ScriptError as error:
        raise ScriptError(
            f"{template} makes a script that can't be used. {error.message}", "Correct the template."
        ) from error
    found = {
        "revision": (script.revision,),
        "down_revision": script.down_revisions,
        "branch_labels": script.branch_labels,
        "depends_on": script.depends_on,
        "replaces": script.replaces,
    }
    for attribute, names in wanted.items():
        if found[attribute] != tuple(dict.fromkeys(names)):
            raise ScriptError(
                f"{template} makes a script whose {attribute} is {_python(found[attribute])} "
                f"instead of {_python(tuple(names))}.",
                f"Add `{attribute} = {{{{ {attribute} | python }}}}` to the template.",
            )


def _squashed(
    source: str, template: Path, do: Mapping[str, Sequence[str]], undo: Mapping[str, Sequence[str]]
) -> str:
    """A script with `replaces` below its metadata, and at its end what does and undoes each of these."""
    tree = parse(source.encode(), template)
    at = max((each.end_lineno or 0 for each in tree.body if _is_metadata(each)), default=0)
    names = {name.asname or name.name for each in tree.body for name in getattr(each, "names", ())}
    annotation = ": Operations" if "Operations" in names else ""
    lines = source.rstrip("\n").split("\n")
    lines[at:at] = [
        "replaces: tuple[str, ...] = (",
        *(f"    {_python(revision)}," for revision in undo),
        ")",
    ]
    functions = [
        *((DOES_REPLACED, id_, body, f"Do what {id_} did.") for id_, body in do.items()),
        *(
            (UNDOES_REPLACED, id_, body, f"Undo {id_} where it was applied alone, with its own backup.")
            for id_, body in reversed(list(undo.items()))
        ),
    ]
    for prefix, revision, body, told in functions:
        opening = f"def {prefix}{revision}(op{annotation}) -> None:"
        lines += ["", "", opening, f'    """{told}"""', _body(body)]
    return "\n".join([*lines, ""])


def _is_metadata(statement: ast.stmt) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return any(isinstance(each, ast.Name) and each.id in METADATA for each in targets)


def _in_docstring(text: str) -> str:
    """Escape a text so that it means itself between triple double quotes."""
    escaped = text.replace("\\", "\\\\")
    if '"""' in escaped or escaped.endswith('"'):
        escaped = escaped.replace('"', '\\"')
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in escaped
    )


def _python(value: object) -> str:
    """Return None, a string or a tuple of strings as a Python literal with double quotes."""
    if isinstance(value, tuple):
        items = ", ".join(_python(item) for item in value)
        return f"({items},)" if len(value) == 1 else f"({items})"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _scalar_or_tuple(names: Sequence[str]) -> str | tuple[str, ...] | None:
    if not names:
        return None
    return names[0] if len(names) == 1 else tuple(names)


def _body(lines: Sequence[str]) -> str:
    """Indent the lines of a function's body."""
    return "\n".join(f"    {line}" if line else "" for line in lines) or "    pass"
