"""One migration script: its metadata, read without running it, and its two functions."""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redismigrate.errors import DuplicateRevision, ScriptError
from redismigrate.foreign_modules import (
    ForeignCode,
    ForeignFailure,
    describe,
    execute,
    parse,
    place_in_file,
    read_source,
    shown_value,
)
from redismigrate.history.script_text import code_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

RESERVED_NAMES = frozenset({"head", "heads", "base", "current"})

_NAME = re.compile(r"[0-9A-Za-z_]+")
_CREATE_DATE = re.compile(r"^[ \t]*Create Date:[ \t]*(\S.*)$", re.MULTILINE)
METADATA = ("revision", "down_revision", "branch_labels", "depends_on", "replaces")
# What a squashed script calls the functions that do and undo one of those it replaces: this, and its id.
DOES_REPLACED, UNDOES_REPLACED = "upgrade_", "downgrade_"


@dataclass(frozen=True)
class ScriptFunctions:
    """What a script does, ready to be called.

    Attributes:
        upgrade: Records the operations that lead to the revision; takes an `Operations`.
        downgrade: Records those that lead back.
        undo_replaced: Of a squashed script: the id of a replaced revision -> what undoes that one alone.
        do_replaced: Of one that applies these one by one: id -> what leads to that one.
    """

    upgrade: Callable[[Any], object]
    downgrade: Callable[[Any], object]
    undo_replaced: Mapping[str, Callable[[Any], object]] = field(default_factory=dict)
    do_replaced: Mapping[str, Callable[[Any], object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Script:
    """One revision as its file describes it.

    Attributes:
        revision: The id.
        down_revisions: The revisions it revises: none for a base, several for a merge.
        branch_labels: The labels that start here.
        depends_on: Revision ids or branch labels that must be applied before it.
        message: The first line of the docstring, or an empty string.
        create_date: The text after "Create Date:" in the docstring, if there is any.
        path: The file.
        sha256: The hexadecimal digest of the file's bytes.
        code_sha256: That of what Python reads of them, see `code_digest`.
        replaces: The revisions that a squashed one stands for, in the order in which they were applied.
        applies_one_by_one: A squashed one has a function for each of these, and to apply it is to apply them.
    """

    revision: str
    down_revisions: tuple[str, ...]
    branch_labels: tuple[str, ...]
    depends_on: tuple[str, ...]
    message: str
    create_date: str | None
    path: Path
    sha256: str
    code_sha256: str = ""
    replaces: tuple[str, ...] = ()
    applies_one_by_one: bool = False

    def load(self) -> ScriptFunctions:
        """Execute the script and return its functions.

        Raises:
            ScriptError: The script can't be read or executed, has changed since its metadata was
                read, or lacks an `upgrade` or a `downgrade` that takes one argument.
        """
        source = read_source(self.path)
        if hashlib.sha256(source).hexdigest() != self.sha256:
            raise ScriptError(f"{self.path} has changed while it was in use.", "Run the command again.")
        names = execute(source, self.path)
        with _odd_values(self.path):
            return ScriptFunctions(
                upgrade=_function(names, "upgrade", self.path),
                downgrade=_function(names, "downgrade", self.path),
                undo_replaced=self._of_replaced(UNDOES_REPLACED, names),
                do_replaced=self._of_replaced(DOES_REPLACED, names) if self.applies_one_by_one else {},
            )

    def _of_replaced(self, prefix: str, names: Mapping[str, Any]) -> dict[str, Callable[[Any], object]]:
        return {
            revision: _function(names, f"{prefix}{revision}", self.path)
            for revision in self.replaces
            if f"{prefix}{revision}" in names
        }


def read_script(path: Path) -> Script:
    """Read a script's metadata.

    The script is parsed, not executed, as long as `revision`, `down_revision`, `branch_labels` and
    `depends_on`, and `replaces`, are assigned literals; otherwise its module is executed to learn their
    values.

    Raises:
        ScriptError: The file can't be read or parsed, lacks `revision` or `down_revision`, or one
            of these has a value that makes no sense.
    """
    return script_from_source(read_source(path), path)


def script_from_source(source: bytes, path: Path) -> Script:
    """Read a script's metadata from its bytes.

    Args:
        source: The bytes of the script.
        path: Where they are from, for errors.

    Raises:
        ScriptError: As `read_script`, but for reading the file.
    """
    # A syntax tree can be too deep for what walks it, and values of a module are of any kind.
    with _odd_values(path):
        return _described(source, path)


def _described(source: bytes, path: Path) -> Script:
    tree = parse(source, path)
    values = _literals(tree)
    if values is None:
        names = execute(source, path, is_kept=False)
        values = {name: (names[name], None) for name in METADATA if name in names}
    if "revision" not in values:
        raise ScriptError(
            f"{path} has no `revision`.", 'Add `revision = "..."`, or move the file out of this folder.'
        )
    if "down_revision" not in values:  # not taken for a base: a misspelt name would fork the history
        raise ScriptError(f"{path} has no `down_revision`.", "Add it; it is None for a first revision.")
    metadata = {name: _names(name, *values.get(name, (None, None)), path) for name in METADATA}
    if metadata["revision"][0] in metadata["replaces"]:
        where = place_in_file(path, values["replaces"][1])
        raise ScriptError(f"{where}: a revision can't replace itself.", "Correct `replaces`.")
    functions = {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}
    docstring = (ast.get_docstring(tree, clean=False) or "").strip()
    message, _, details = docstring.partition("\n")
    create_date = _CREATE_DATE.search(details)
    return Script(
        revision=metadata["revision"][0],
        down_revisions=metadata["down_revision"],
        branch_labels=metadata["branch_labels"],
        depends_on=metadata["depends_on"],
        message=message.rstrip(),
        create_date=create_date.group(1).rstrip() if create_date else None,
        path=path,
        sha256=hashlib.sha256(source).hexdigest(),
        code_sha256=code_digest(source),
        replaces=metadata["replaces"],
        applies_one_by_one=bool(metadata["replaces"])
        and functions.issuperset(f"{DOES_REPLACED}{revision}" for revision in metadata["replaces"]),
    )


def by_revision(scripts: Iterable[Script]) -> Mapping[str, Script]:
    """Return scripts by their revision ids.

    Raises:
        DuplicateRevision: Two of them carry the same id.
    """
    found: dict[str, Script] = {}
    for script in scripts:
        first = found.setdefault(script.revision, script)
        if first is not script:
            raise DuplicateRevision(
                f"{first.path} and {script.path} both carry the revision id {script.revision}.",
                "Give one of them another id, or delete it if it is a copy.",
            )
    return found


def problem_with_name(name: str) -> str | None:
    """Say why a text can't be a revision id or a branch label; None if it can."""
    if name in RESERVED_NAMES:
        return f"'{name}' is a word with a meaning of its own in revision identifiers"
    if not _NAME.fullmatch(name):
        return f"{shown_value(name)} has characters other than ASCII letters, digits and underscores"
    return None


def _literals(tree: ast.Module) -> dict[str, tuple[object, int | None]] | None:
    """Return the literal metadata with line numbers, or None if the module has to be executed for it."""
    values: dict[str, tuple[object, int | None]] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        target, value = _simple_assignment(statement)
        if target is None:
            if _binds_metadata(statement):
                return None
        elif target in METADATA and value is not None:
            try:
                values[target] = (ast.literal_eval(value), statement.lineno)
            except (ValueError, TypeError, RecursionError):
                return None
    return values if "revision" in values else None


def _simple_assignment(statement: ast.stmt) -> tuple[str | None, ast.expr | None]:
    """Return name and value of `name = value` or `name: type = value`, else (None, None)."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target: ast.expr = statement.targets[0]
    elif isinstance(statement, ast.AnnAssign):
        target = statement.target
    else:
        return None, None
    return (target.id, statement.value) if isinstance(target, ast.Name) else (None, None)


def _binds_metadata(statement: ast.stmt) -> bool:
    """Whether an unusual statement (an unpacking, a condition, an import) may set one of these names."""
    return any(
        (isinstance(node, ast.Name) and node.id in METADATA and isinstance(node.ctx, ast.Store))
        or (isinstance(node, ast.alias) and (node.asname or node.name) in METADATA)
        for node in ast.walk(statement)
    )


def _names(attribute: str, value: object, line: int | None, path: Path) -> tuple[str, ...]:
    """Return a metadata value as a tuple of valid names without repetitions."""
    where = place_in_file(path, line)
    if attribute == "revision" and not isinstance(value, str):
        raise ScriptError(
            f"{where}: revision must be a string, not {shown_value(value)}.", "Correct the script."
        )
    names = () if value is None else (value,) if isinstance(value, str) else value
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        raise ScriptError(
            f"{where}: {attribute} must be None, a string or a tuple of strings, not {shown_value(value)}.",
            "Correct the script.",
        )
    # As plain texts: a subclass can compare as it likes.
    plain = [str.__str__(name) for name in names]
    for name in plain:
        problem = problem_with_name(name)
        if problem:
            raise ScriptError(f"{where}: {attribute} can't be used: {problem}.", "Choose another name.")
    return tuple(dict.fromkeys(plain))


def _odd_values(path: Path) -> ForeignCode:
    """A block that looks at what a script has defined."""

    def as_error(failure: ForeignFailure) -> ScriptError:
        where = place_in_file(path, failure.line_in(path))
        return ScriptError(
            f"{where}: what the script defines can't be read ({failure.reason}).", "Correct the script."
        )

    return ForeignCode(as_error, passes=(ScriptError,))


def _function(names: Mapping[str, Any], name: str, path: Path) -> Callable[[Any], object]:
    function = names.get(name)
    if not callable(function):
        raise ScriptError(
            f"{path} has no function `{name}`.",
            f"Add `def {name}(op: Operations) -> None:`; its body may be `pass`.",
        )
    try:
        inspect.signature(function).bind(object())
    except TypeError as error:
        raise ScriptError(
            f"{path}: `{name}` must take exactly one argument, the operations ({describe(error)}).",
            f"Write `def {name}(op: Operations) -> None:`.",
        ) from error
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ScriptError(
            f"{path}: `{name}` is async or has a yield: a call would record nothing.",
            f"Write `def {name}(op: Operations) -> None:`, and no yield in it.",
        )
    return function  # type: ignore[no-any-return]
