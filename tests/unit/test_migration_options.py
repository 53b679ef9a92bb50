"""The options of a migration, which Python programs give as well: out of range they are refused at once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
import pytest

from redismigrate.cli import redismigrate as program
from redismigrate.cli.context import Invocation
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.commands.taking_up import stored_options
from redismigrate.errors import UsageError


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("batch_size", 0, "It has to be at least 1 and at most 100,000."),
        ("batch_size", 100_001, "It has to be at least 1 and at most 100,000."),
        ("workers", 0, "It has to be at least 1 and at most 64."),
        ("workers", 65, "It has to be at least 1 and at most 64."),
        ("max_failures", -1, "It has to be at least 0 and at most 9,223,372,036,854,775,807."),
        ("lock_timeout", -0.5, "It has to be at least 0."),
        ("lock_timeout", math.nan, "It has to be at least 0."),
        ("max_latency_ms", 0, "It has to be a number of at least 0.1, or off."),
        ("max_docs_per_second", math.nan, "It has to be a number of at least 1, or off."),
    ],
)
def test_a_number_out_of_its_range_is_refused(option: str, value: Any, hint: str):
    with pytest.raises(UsageError) as caught:
        MigrationOptions(**{option: value})
    assert caught.value.message == f"{option} is {value}."
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("strategy", "shadw", "It has to be one of auto, alter, shadow, shadow_field, shadow_copy, rebuild."),
        ("phase", "expnd", "It has to be one of all, expand, contract."),
    ],
)
def test_a_choice_that_there_is_not_is_refused(option: str, value: Any, hint: str):
    with pytest.raises(UsageError) as caught:
        MigrationOptions(**{option: value})
    assert caught.value.message == f"{option} is '{value}'."
    assert caught.value.hint == hint


def test_a_path_may_be_a_string():
    given: Any = {"backup_dir": "/backups", "plan_file": "plan.yaml"}
    assert MigrationOptions(**given) == MigrationOptions(
        backup_dir=Path("/backups"), plan_file=Path("plan.yaml")
    )


def test_the_ends_of_the_ranges_are_taken():
    assert MigrationOptions(batch_size=1, workers=1, max_failures=0, lock_timeout=0)
    assert MigrationOptions(batch_size=100_000, workers=64)


@pytest.mark.parametrize("command", ["plan", "upgrade", "downgrade", "rollback"])
def test_the_command_line_has_the_defaults_and_ranges_of_python(command: str):
    fields, found = MigrationOptions.__dataclass_fields__, program.commands[command]
    arguments = [] if command == "rollback" else ["head"]
    values = found.make_context(command, arguments, obj=Invocation()).params
    shared = values.keys() & fields.keys()
    assert {name: values[name] for name in shared} == {name: fields[name].default for name in shared}
    assert shared
    for parameter in found.params:
        if parameter.name in shared and isinstance(parameter.type, click.IntRange | click.FloatRange):
            least, most = parameter.type.min, parameter.type.max
            outside = [*(() if least is None else (least - 1,)), *(() if most is None else (most * 2,))]
            assert outside
            for value in outside:
                with pytest.raises(UsageError):
                    MigrationOptions(**{str(parameter.name): value})


def test_every_option_of_python_has_one_of_the_command_line():
    given = {parameter.name for parameter in program.commands["upgrade"].params}
    assert MigrationOptions.__dataclass_fields__.keys() - given == set()


def test_what_a_run_was_begun_with_is_looked_at_as_well():
    with pytest.raises(UsageError, match=r"workers is 0\."):
        stored_options({"workers": 0, "backup_dir": "/backups"})
