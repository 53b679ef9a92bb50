"""Adds the built-in tests to what pytest has collected, in the folder whose fixtures they are to see."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from types import ModuleType

import pytest

from redismigrate.testing import tests

_PREFIX = "test_"
_USUAL_FOLDERS = ("tests", "test")
NAMES = tuple(name.removeprefix(_PREFIX) for name in vars(tests) if name.startswith(_PREFIX))


class BuiltinTests(pytest.Module):
    """The module of the built-in tests, as if it stood in the project's folder of tests."""

    def _getobj(self) -> ModuleType:
        return tests


class BuiltinTest(pytest.Function):
    """A test of this plugin, as an item of pytest."""

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it is shown to be: pytest would say where this package is installed."""
        return self.path, None, self.name


class BuiltinCollection:
    """A plugin that adds the built-in tests to a session, wherever else it collects."""

    def __init__(self) -> None:
        self._collected: dict[Path, pytest.Collector] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Remember the folders: what a conftest.py defines is seen below the node that pytest read it for."""
        report = yield
        if isinstance(collector, pytest.Directory):
            self._collected.setdefault(collector.path, collector)
        return report

    @pytest.hookimpl(tryfirst=True)  # before others select, order or count the tests
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Add the tests.

        Raises:
            pytest.UsageError: A setting names a test or a folder that does not exist.
        """
        names = _selected(session.config)
        folder = _folder(session.config)
        module = BuiltinTests.from_parent(self._node(session, folder), path=folder / "redismigrate")
        items += [
            BuiltinTest.from_parent(module, name=name, callobj=getattr(tests, name))
            for name in (f"{_PREFIX}{short}" for short in names)
        ]

    def _node(self, session: pytest.Session, folder: Path) -> pytest.Collector:
        """The node of a folder; where the arguments of pytest name another one, it is not collected yet."""
        if folder not in self._collected and folder != session.config.rootpath:
            parent = self._node(session, folder.parent)
            node = session.gethookproxy(folder.parent).pytest_collect_directory(path=folder, parent=parent)
            # What it finds does not matter, but its conftest.py is read for that.
            report = node.ihook.pytest_make_collect_report(collector=node)
            if report.failed:
                raise session.CollectError(str(report.longrepr))
        return self._collected.get(folder, session)


def _selected(config: pytest.Config) -> tuple[str, ...]:
    given = [name.removeprefix(_PREFIX) for name in config.getini("redismigrate_tests")]
    excluded = {name.removeprefix("!").removeprefix(_PREFIX) for name in given if name.startswith("!")}
    wanted = {name for name in given if not name.startswith("!")} or set(NAMES)
    unknown = sorted((wanted | excluded) - set(NAMES))
    if unknown:
        raise pytest.UsageError(
            f"redismigrate_tests names {', '.join(unknown)}; the built-in tests are {', '.join(NAMES)}."
        )
    return tuple(name for name in NAMES if name in wanted - excluded)


def _folder(config: pytest.Config) -> Path:
    """The folder whose conftest.py the tests see."""
    named = config.getini("redismigrate_tests_folder")
    if named:
        folder = Path(config.rootpath, named).resolve()
        if not (folder.is_dir() and folder.is_relative_to(config.rootpath)):
            raise pytest.UsageError(f"redismigrate_tests_folder is {named}, no folder in {config.rootpath}.")
        return folder
    for name in (*config.getini("testpaths"), *_USUAL_FOLDERS):
        if (folder := Path(config.rootpath, name)).is_dir():
            return folder
    return config.rootpath
