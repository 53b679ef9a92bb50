"""The reference page of the pytest plugin lists everything there is, and nothing that is not."""

from __future__ import annotations

import inspect

from doc_pages import ROOT, rows_of, sections_of

from redismigrate.testing import MigrationRunner, plugin
from redismigrate.testing.collection import NAMES

PAGE = sections_of(ROOT / "docs" / "reference" / "pytest-plugin.md")


def first_words(heading: str) -> list[str]:
    return [row[0].strip("`") for row in rows_of(PAGE[heading])]


class Options:
    """Notes what the plugin adds to pytest."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def getgroup(self, *_: str) -> Options:
        return self

    def addoption(self, name: str, **_: object) -> None:
        self.names.append(name)

    def addini(self, name: str, *_: str, **__: object) -> None:
        self.names.append(name)


def test_every_option_and_setting_is_documented():
    options = Options()
    plugin.pytest_addoption(options)
    documented = [name for name in first_words("Option and settings") if not name.startswith("REDISMIGRATE_")]
    assert documented == options.names


def test_every_built_in_test_is_documented():
    assert first_words("Built-in tests") == list(NAMES)


def test_every_fixture_is_documented():
    assert set(first_words("Fixtures")) == {name for name in vars(plugin) if name.startswith("redismigrate_")}


def test_every_attribute_and_method_of_the_runner_is_documented_with_its_signature():
    documented = first_words("`MigrationRunner`")
    public = [(name, value) for name, value in vars(MigrationRunner).items() if not name.startswith("_")]
    methods = {
        f"{name}({', '.join(str(p.replace(annotation=p.empty)) for p in parameters[1:])})"
        for name, value in public
        if inspect.isfunction(value)
        for parameters in [list(inspect.signature(value).parameters.values())]
    }
    properties = {name for name, value in public if isinstance(value, property)}
    assert {word for word in documented if "(" in word} == methods
    assert {word for word in documented if "(" not in word} == properties | {"client", "project", "options"}
