"""The files around the package say the same about it, and are where they should be."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

from doc_pages import ROOT, blocks_of
from lowest_versions import lowest_versions
from packaging.requirements import Requirement

import redismigrate

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TOP_LEVEL = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "alembic_style_example",
    "docs",
    "migrations_template",
    "pyproject.toml",
    "redismigrate",
    "tests",
    "tox.ini",
}
MAKE_ENVIRONMENT = "python3 -m venv .venv && .venv/bin/pip install -q -e"
SET_UP = {
    "demo": f"{MAKE_ENVIRONMENT} '.[embedded]' && .venv/bin/redismigrate demo",
    "tests": f"{MAKE_ENVIRONMENT} '.[dev]' && .venv/bin/pytest -n 3",
}


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_the_top_level_holds_what_it_should():
    ignored = {line.strip("/") for line in read(".gitignore").splitlines()} | {".git"}
    found = {
        path.name
        for path in ROOT.iterdir()
        if path.name not in ignored and not any(path.match(pattern) for pattern in ignored)
    }
    assert found == TOP_LEVEL


def test_no_two_test_files_have_one_name():
    """Without packages pytest imports a file by its name alone, and refuses the second."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_the_readme_has_the_two_set_up_commands_and_no_other():
    bash = [block.text for block in blocks_of(ROOT / "README.md") if block.language == "bash"]
    assert bash == list(SET_UP.values())


def test_ci_runs_the_tests_by_the_command_of_the_readme():
    assert SET_UP["tests"] in read(".ci/run").splitlines()


def test_ci_runs_the_tests_with_redisvl_where_it_is_installed():
    # Without the variable they would be skipped, and nobody would notice.
    run = read(".ci/run").replace("\\\n", "")
    tests = next(line for line in run.splitlines() if line.startswith("REDISVL_PYTHON="))
    named = {ROOT / word for word in tests.split() if word.startswith("tests/")}
    assert named == {
        path
        for path in (ROOT / "tests" / "integration").glob("test_*.py")
        if "needs_redisvl" in path.read_text(encoding="utf-8")
    }


def test_the_lowest_versions_are_those_that_the_project_admits():
    constraints = lowest_versions(read("pyproject.toml"))
    declared = [Requirement(text) for text in PROJECT["dependencies"]]
    assert len(constraints) > len(declared)  # and the embedded server
    for requirement, constraint in zip(declared, map(Requirement, constraints), strict=False):
        assert requirement.name == constraint.name
        (bound,) = requirement.specifier
        assert (bound.operator, f"=={bound.version}") == (">=", str(constraint.specifier))


def test_ci_and_tox_install_what_the_project_declares_and_pin_nothing_themselves():
    assert "tests/lowest_versions.py" in read(".ci/run")
    lowest = read("tox.ini").partition("[testenv:lowest]")[2].partition("\n[")[0]
    assert "tests/lowest_versions.py" in lowest
    assert "==" not in lowest
    assert "redismigrate demo" in lowest


def test_ci_can_be_run():
    assert Path(ROOT, ".ci", "run").stat().st_mode & 0o111


def test_the_extras_of_the_set_up_commands_exist():
    assert {"dev", "embedded"} <= PROJECT["optional-dependencies"].keys()


def test_the_version_is_the_same_everywhere():
    assert PROJECT["version"] == redismigrate.__version__


def test_the_changelog_mentions_the_version_or_what_is_not_released_yet():
    headings = [
        line.removeprefix("## ") for line in read("CHANGELOG.md").splitlines() if line.startswith("## ")
    ]
    assert headings[0] == "Unreleased" or headings[0].startswith(PROJECT["version"])


def test_the_entry_point_exists():
    module, _, function = PROJECT["scripts"]["redismigrate"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_files_that_the_metadata_names_exist():
    assert (ROOT / PROJECT["readme"]).is_file()
    assert all((ROOT / file).is_file() for file in PROJECT["license-files"])
