"""The templates that `redismigrate init` copies."""

import re

import pytest

from redismigrate.errors import ConfigurationError, UsageError
from redismigrate.history.templates import copy_template, known_templates, template_folder

NAMES = ["generic", "guided"]


def test_there_are_two_templates_with_one_line_of_description_each():
    templates = known_templates()
    assert [template.name for template in templates] == NAMES
    assert all(re.fullmatch(r"[^\n]+\.", template.description) for template in templates)


def test_an_unknown_template_is_refused_with_the_names():
    with pytest.raises(UsageError) as caught:
        template_folder("guide")
    assert str(caught.value) == (
        "There is no template 'guide'.\nDid you mean 'guided'? The templates are: generic, guided."
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_new_folder_is_filled(tmp_path, name):
    directory = tmp_path / "deeper" / "migrations"
    written = copy_template(name, directory)
    assert sorted(written) == [
        directory / "README",
        directory / "script.py.j2",
        directory / "versions" / ".gitkeep",
    ]
    assert {path for path in directory.rglob("*") if path.is_file()} == set(written)
    for file in ("README", "script.py.j2"):
        assert (directory / file).read_bytes() == (template_folder(name) / file).read_bytes()


def test_an_existing_empty_folder_is_filled(tmp_path):
    assert copy_template("generic", tmp_path)


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / ".hidden").touch()
    with pytest.raises(ConfigurationError) as caught:
        copy_template("generic", tmp_path)
    assert (
        str(caught.value) == f"{tmp_path} exists already and is not an empty folder.\nChoose another folder."
    )
    assert [path.name for path in tmp_path.iterdir()] == [".hidden"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "migrations").write_text("mine")
    with pytest.raises(ConfigurationError, match="is not an empty folder"):
        copy_template("generic", tmp_path / "migrations")
    assert (tmp_path / "migrations").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="can't be written: Not a directory"):
        copy_template("generic", tmp_path / "file" / "migrations")


def test_an_unknown_template_writes_nothing(tmp_path):
    with pytest.raises(UsageError):
        copy_template("nope", tmp_path / "migrations")
    assert list(tmp_path.iterdir()) == []
