"""Which files are scripts, and the heads they have."""

import subprocess
import sys

import pytest
from history_builder import make_script, write_script_file

from redismigrate.errors import DuplicateRevision, ScriptError
from redismigrate.history.folder import heads_of, read_scripts


def test_scripts_of_all_folders_are_read_in_order_of_folder_and_name(tmp_path):
    for folder, revision in (("two", "d"), ("one", "b"), ("one", "a"), ("two", "c")):
        write_script_file(tmp_path / folder, revision)
    scripts = read_scripts([tmp_path / "two", tmp_path / "one"])
    assert [script.revision for script in scripts] == ["c", "d", "a", "b"]


def test_files_that_are_no_scripts_are_skipped(tmp_path):
    write_script_file(tmp_path, "a")
    for name in (
        *("__init__.py", "__main__.py", ".hidden.py", ".#lock.py", "#a.py#", "~a.py"),
        *("a.py~", "a.py.orig", ".a.py.swp", "a.pyc", "README", "a.txt"),
    ):
        (tmp_path / name).write_text("not a script")
    write_script_file(tmp_path / "deeper", "b")
    (tmp_path / "folder.py").mkdir()
    assert [script.revision for script in read_scripts([tmp_path])] == ["a"]


def test_a_folder_named_twice_is_read_once(tmp_path):
    write_script_file(tmp_path / "versions", "a")
    (tmp_path / "link").symlink_to(tmp_path / "versions")
    locations = [tmp_path / "versions", tmp_path / "x" / ".." / "versions", tmp_path / "link"]
    assert [script.path for script in read_scripts(locations)] == [tmp_path / "versions" / "a.py"]


def test_an_empty_folder_has_no_scripts(tmp_path):
    assert read_scripts([tmp_path]) == ()


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ScriptError) as caught:
        read_scripts([tmp_path / "versions"])
    assert str(caught.value) == (
        f"The folder of migration scripts {tmp_path / 'versions'} does not exist.\n"
        "Create it with `redismigrate init`, or correct the configuration."
    )


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "versions").touch()
    with pytest.raises(ScriptError, match="can't be read: Not a directory"):
        read_scripts([tmp_path / "versions"])


def test_a_copied_script_is_refused_naming_both_files(tmp_path):
    path = write_script_file(tmp_path, "a")
    copy = tmp_path / "a_copy.py"
    copy.write_bytes(path.read_bytes())
    with pytest.raises(DuplicateRevision, match=f"{path} and {copy} both carry the revision id a"):
        read_scripts([tmp_path])


def test_heads_are_the_revisions_that_no_other_revises():
    scripts = [
        make_script("a"),
        make_script("c", ("a",)),
        make_script("b", ("a",)),
        make_script("z", (), (), ("b",)),
    ]
    assert heads_of(iter(scripts)) == ("b", "c", "z")


def test_no_scripts_have_no_heads():
    assert heads_of([]) == ()


@pytest.mark.parametrize("module", ["folder", "graph", "identifiers", "script_writer", "templates"])
def test_importing_a_module_of_the_history_imports_neither_networkx_nor_jinja2(module):
    code = (
        f"import sys, redismigrate.history.{module}\n"
        "print({'networkx', 'jinja2', 'redis', 'pydantic', 'numpy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"
