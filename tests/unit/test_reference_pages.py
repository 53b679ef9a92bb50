"""The reference pages list everything there is, and nothing that is not."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, get_args

import click
import pytest
from command_tree import COMMANDS
from doc_pages import ROOT, rows_of, sections_of

from redismigrate import aio, commands, errors
from redismigrate.cli import redismigrate as program
from redismigrate.commands.migration_options import MigrationOptions, MigrationResult
from redismigrate.commands.migration_report import (
    CheckedExpectation,
    IndexSizes,
    MigrationReport,
    ReportedError,
    ReportResult,
    StepTime,
    ValidatedIndex,
)
from redismigrate.commands.progress_events import Progress, ProgressKind
from redismigrate.config import ENVIRONMENT_PREFIX, Settings
from redismigrate.execution.pace_report import PaceReport
from redismigrate.execution.run import Run
from redismigrate.operations.index_block import IndexChanges
from redismigrate.operations.recorder import Operations
from redismigrate.schema import create, fields, vector_field
from redismigrate.schema import index_schema as model
from redismigrate.state.control import Control
from redismigrate.state.keys import OWNERS_KEY, StateKeys
from redismigrate.state.lock import Holder
from redismigrate.state.stored_documents import AppliedRevision

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

REFERENCE = ROOT / "docs" / "reference"
COMMAND_LINE = sections_of(REFERENCE / "command-line.md")
OPERATIONS = sections_of(REFERENCE / "operations.md")
SCHEMA = sections_of(REFERENCE / "schema.md")
STATE = sections_of(REFERENCE / "state.md")
PYTHON_API = sections_of(REFERENCE / "python-api.md")

# Heading -> the model whose attributes it lists, and the one whose attributes it leaves to another section.
SCHEMA_SECTIONS: dict[str, tuple[type[BaseModel], type[BaseModel] | None]] = {
    "The index": (model.IndexSchema, None),
    "Every field": (fields.FieldBase, None),
    "Every field but vectors": (fields.SortableField, fields.FieldBase),
    "Text fields": (fields.TextField, fields.SortableField),
    "Tag fields": (fields.TagField, fields.SortableField),
    "Numeric fields": (fields.NumericField, fields.SortableField),
    "Geo fields": (fields.GeoField, fields.SortableField),
    "Geoshape fields": (fields.GeoShapeField, fields.SortableField),
    "Vector fields": (vector_field.VectorField, fields.FieldBase),
}


def documented_commands() -> dict[str, list[str]]:
    """Command -> its documented arguments."""
    pattern = r"`redismigrate ([a-z-]+(?: [a-z-]+)*)((?: \S+)*)`"
    headings = (re.fullmatch(pattern, heading) for heading in COMMAND_LINE)
    return {match[1]: match[2].split() for match in headings if match}


def options_in(heading: str) -> set[str]:
    return {
        option for row in rows_of(COMMAND_LINE[heading]) for option in re.findall(r"(?<!\w)(-[\w-]+)", row[0])
    }


def options_of(command: click.Command) -> set[str]:
    shown = [option for option in command.params if not getattr(option, "hidden", False)]
    return {name for parameter in shown for name in parameter.opts if name.startswith("-")}


def words_in(rows: tuple[tuple[str, ...], ...], column: int = 0) -> list[str]:
    return [row[column].strip("`") for row in rows]


def signature_of(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for name, parameter in signature.parameters.items()
        if name != "self"
    ]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


def public_methods(cls: type) -> set[str]:
    functions = inspect.getmembers(cls, inspect.isfunction)
    return {f"{name}{signature_of(function)}" for name, function in functions if not name.startswith("_")}


def test_every_command_is_documented():
    assert set(documented_commands()) == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_argument_and_option_of_a_command_is_documented(name: str):
    command, arguments = COMMANDS[name], documented_commands()[name]
    heading = f"`{' '.join(['redismigrate', name, *arguments])}`"
    assert options_in(heading) == options_of(command) - options_of(program)
    assert [not argument.startswith("[") for argument in arguments] == [
        parameter.required for parameter in command.params if isinstance(parameter, click.Argument)
    ]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_documented_defaults_of_a_command_are_its_own(name: str):
    heading = f"`{' '.join(['redismigrate', name, *documented_commands()[name]])}`"
    defaults = {row[0]: row[1] for row in rows_of(COMMAND_LINE[heading])}
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option) and isinstance(parameter.default, str):
            (default,) = (text for option, text in defaults.items() if f"`{parameter.opts[-1]} " in option)
            assert default == f"`{parameter.default}`"


def test_every_global_option_is_documented():
    assert options_in("Global options") == options_of(program) | {"-h", "--help"}


def test_every_exit_code_is_documented():
    assert words_in(rows_of(COMMAND_LINE["Exit codes"])) == [str(code) for code in range(9)]


def test_the_readme_lists_every_command():
    rows = rows_of(sections_of(ROOT / "README.md")["Commands"])
    assert set(re.findall(r"`([\w-]+)", " ".join(row[0] for row in rows))) == set(program.commands)


def test_every_operation_is_documented_with_its_signature():
    headings = {heading.strip("`") for heading in OPERATIONS if heading.startswith(("`op.", "`index."))}
    assert headings == {f"op.{method}" for method in public_methods(Operations)} | {
        f"index.{method}" for method in public_methods(IndexChanges)
    }


def test_every_operation_says_what_reverses_it():
    (rows,) = (rows_of(section) for heading, section in OPERATIONS.items() if heading == "Operations")
    on_op = {method.partition("(")[0] for method in public_methods(Operations)} - {"index", "indexes"}
    on_index = {f"index(…).{method.partition('(')[0]}" for method in public_methods(IndexChanges)}
    assert set(words_in(rows)) == on_op | on_index


@pytest.mark.parametrize("heading", SCHEMA_SECTIONS)
def test_every_attribute_of_a_schema_is_documented_with_its_default(heading: str):
    documented, inherited = SCHEMA_SECTIONS[heading]
    known = {} if inherited is None else inherited.model_fields
    expected = {
        name: "required" if info.is_required() else f"`{info.default!r}`"
        for name, info in documented.model_fields.items()
        if name not in known
    }
    rows = rows_of(SCHEMA[heading])
    assert dict(zip(words_in(rows), (row[2] for row in rows), strict=True)) == expected
    assert {row[3] for row in rows} <= {"FT.INFO", "FT.DEBUG", "no"}


def test_the_documented_words_of_ft_create_are_those_that_are_sent():
    source = inspect.getsource(create)
    words = {
        word
        for heading in SCHEMA_SECTIONS
        for row in rows_of(SCHEMA[heading])
        for word in re.findall(r"`([A-Z_]+)`", row[1])
    }
    sent_by_value = {"TEXT", "TAG", "NUMERIC", "GEO", "GEOSHAPE", "VECTOR", "SPHERICAL", "FLAT"}
    assert {word for word in words if f'b"{word}"' not in source} <= sent_by_value


def test_every_setting_is_documented_with_its_variable_and_default():
    rows = rows_of(sections_of(REFERENCE / "configuration.md")["Configuration"])
    settings = {name: info for name, info in Settings.model_fields.items() if name != "file"}
    assert words_in(rows) == list(settings)
    for name, variable, default, _ in rows:
        setting = name.strip("`")
        assert variable == f"`{ENVIRONMENT_PREFIX}{setting.upper()}`"
        if not settings[setting].is_required() and settings[setting].default != ():
            assert default.strip("`") == str(settings[setting].default)


def test_every_error_is_documented_with_its_exit_code():
    rows = rows_of(sections_of(REFERENCE / "errors.md")["Errors"])
    classes = {name: cls for name, cls in vars(errors).items() if inspect.isclass(cls)}
    own = {name: cls.exit_code for name, cls in classes.items() if issubclass(cls, errors.RedisMigrateError)}
    assert {name: int(code) for name, code in zip(words_in(rows), words_in(rows, 1), strict=True)} == own


def test_every_key_of_the_state_is_documented():
    properties = inspect.getmembers(StateKeys, lambda member: isinstance(member, property))
    keys = StateKeys("<project>")
    expected = {getattr(keys, name) for name, _ in properties if name != "scratch_prefix"} | {OWNERS_KEY}
    assert set(words_in(rows_of(STATE["State in Redis"]))) == expected


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("Head", list(AppliedRevision.__dataclass_fields__)),
        ("Run", list(Run.model_fields)),
        ("Pace", list(PaceReport.model_fields)),
        ("Control", list(Control.__dataclass_fields__)),
        ("Lock", list(Holder.__dataclass_fields__)),
    ],
)
def test_every_entry_of_a_document_of_the_state_is_documented(heading: str, names: list[str]):
    assert words_in(rows_of(STATE[heading])) == names


def test_every_function_of_the_python_api_is_documented_with_its_signature():
    documented = {
        row[0].strip("`")
        for section in PYTHON_API.values()
        for row in rows_of(section)
        if "(" in row[0] and not row[0].startswith("`aio.")
    } - {"connect()"}
    functions = {
        name: function
        for name in commands.__all__
        if not isinstance(function := getattr(commands, name), type)
    }
    assert documented == {f"{name}{signature_of(function)}" for name, function in functions.items()}


def test_every_part_of_a_report_is_documented():
    documented = {row[0].strip("`"): row[1] for row in rows_of(PYTHON_API["The report"])}
    assert list(documented) == list(MigrationReport.model_fields)
    parts = {
        "steps": StepTime,
        "validated": ValidatedIndex,
        "query_checks": CheckedExpectation,
        "sizes": IndexSizes,
        "error": ReportedError,
    }
    for name, part in parts.items():
        assert [
            word for word in re.findall(r"`(\w+)`", documented[name]) if word in part.model_fields
        ] == list(part.model_fields)
    assert re.findall(r"`(\w+)`", documented["result"]) == list(get_args(ReportResult))


def test_every_coroutine_function_is_documented_with_its_signature():
    assert words_in(rows_of(PYTHON_API["Coroutines"])) == [
        f"aio.{name}{signature_of(getattr(aio, name))}" for name in aio.__all__
    ]


def test_coroutines_take_what_the_functions_take_but_for_the_watcher():
    for name in sorted(set(aio.__all__) - {"follow"}):
        taken = inspect.signature(getattr(commands, name)).parameters
        assert {**inspect.signature(getattr(aio, name)).parameters}.keys() == taken.keys() - {"watcher"}


def test_every_attribute_of_an_event_is_documented():
    rows = rows_of(PYTHON_API["Progress"])
    assert words_in(rows) == list(Progress.__dataclass_fields__)
    assert re.findall(r"`(\w+)`:", rows[0][1]) == list(get_args(ProgressKind))


def test_every_option_and_result_of_a_migration_is_documented():
    rows = rows_of(PYTHON_API["Migrating"])
    names = [word for word in words_in(rows) if "(" not in word]
    assert names == [*MigrationOptions.__dataclass_fields__, *MigrationResult.__dataclass_fields__]
    defaults = {row[0].strip("`"): row[1] for row in rows if len(row) == 3}
    assert defaults == {
        name: f"`{field.default!r}`" for name, field in MigrationOptions.__dataclass_fields__.items()
    }
