"""What pytest finds by the entry point: options, settings and fixtures; the rest is imported when used.

PYTEST_DONT_REWRITE: it asserts nothing, and a session inside another must not warn that it is imported.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redismigrate.commands.migration_options import MigrationOptions
    from redismigrate.testing.document_forms import SampleDocuments
    from redismigrate.testing.history_runner import MigrationRunner
    from redismigrate.testing.scratch_server import ScratchServer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--test-redismigrate` and the settings that choose among its tests."""
    group = parser.getgroup("redismigrate", "migrations of Redis Search indexes")
    group.addoption(
        "--test-redismigrate",
        action="store_true",
        help="Also test what every history of migrations should be able to do.",
    )
    parser.addini(
        "redismigrate_tests",
        "The built-in tests to run, by default all; those behind a ! are left out.",
        type="args",
        default=[],
    )
    parser.addini(
        "redismigrate_tests_folder",
        "The folder whose conftest.py the built-in tests see, by default that of the project's tests.",
        default="",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Add the built-in tests where they are asked for."""
    if config.getoption("test_redismigrate"):
        from redismigrate.testing.collection import BuiltinCollection

        config.pluginmanager.register(BuiltinCollection(), "redismigrate-builtin-tests")


@pytest.fixture
def redismigrate_config(pytestconfig: pytest.Config) -> Path:
    """The project's configuration file. Override it where that is not the nearest one above the root."""
    from redismigrate.configuration_file import CONFIGURATION_FILE, find_configuration

    file = find_configuration(pytestconfig.rootpath)
    if file is None:
        pytest.fail(
            f"There is no {CONFIGURATION_FILE}, and no pyproject.toml with [tool.redismigrate], in "
            f"{pytestconfig.rootpath} or above.\n"
            "Let a fixture redismigrate_config in conftest.py return the path of the configuration.",
            pytrace=False,
        )
    return file


@pytest.fixture
def redismigrate_documents() -> SampleDocuments:
    """Documents to migrate, by index: override it. They are inserted once their index exists."""
    return {}


@pytest.fixture
def redismigrate_options() -> MigrationOptions:
    """The options of every upgrade and downgrade: override it for those that need others.

    They are exclusive: nobody but the tests writes to what the tests have made.
    """
    from redismigrate.commands.migration_options import MigrationOptions

    return MigrationOptions(exclusive=True)


@pytest.fixture(scope="session")
def redismigrate_server() -> Iterator[ScratchServer]:
    """An embedded server for this process, or the one that REDISMIGRATE_TEST_URL names."""
    from redismigrate.errors import RedisMigrateError
    from redismigrate.foreign_text import readable_lines
    from redismigrate.testing.scratch_server import scratch_server

    with ExitStack() as started:
        try:
            server = started.enter_context(scratch_server())
        except RedisMigrateError as error:
            raise pytest.fail.Exception(readable_lines(str(error)), pytrace=False) from None
        yield server


@pytest.fixture
def redismigrate_runner(
    redismigrate_config: Path,
    redismigrate_server: ScratchServer,
    redismigrate_documents: SampleDocuments,
    redismigrate_options: MigrationOptions,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MigrationRunner]:
    """Takes the project up and down its history; what it makes is removed after the test."""
    from redismigrate.commands.project import Project
    from redismigrate.errors import RedisMigrateError
    from redismigrate.foreign_text import readable_lines
    from redismigrate.testing.history_runner import MigrationRunner
    from redismigrate.testing.scratch_server import ScratchProject

    overrides = {
        "url": redismigrate_server.url,
        "backup_dir": tmp_path_factory.mktemp("redismigrate-backups"),
    }
    try:
        project = ScratchProject(Project.load(redismigrate_config, overrides).settings)
        runner = MigrationRunner(project, redismigrate_server, redismigrate_documents, redismigrate_options)
    except RedisMigrateError as error:
        raise pytest.fail.Exception(readable_lines(str(error)), pytrace=False) from None
    with runner:
        yield runner
