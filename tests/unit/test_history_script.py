"""What is read from a migration script, with and without running it."""

import hashlib
import pickle
import sys

import pytest
from history_builder import write_script_file

from redismigrate.errors import DuplicateRevision, ScriptError
from redismigrate.history.script import by_revision, read_script

HEADER = '"""m"""\nrevision = "a1"\ndown_revision = None\n'


@pytest.fixture
def write(tmp_path):
    def write_source(source, name="a1.py"):
        path = tmp_path / name
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        return path

    return write_source


def error_of(path):
    with pytest.raises(ScriptError) as caught:
        read_script(path)
    assert caught.value.exit_code == 8
    return caught.value


def test_all_metadata_is_read(tmp_path):
    path = write_script_file(
        tmp_path,
        "8f3a1c9b2d4e",
        ("1b2c3d4e5f60",),
        message="store embeddings as float16",
        branch_labels=("shop",),
        depends_on=("aa", "bb"),
        create_date="2026-11-20T10:07:00+00:00",
    )
    script = read_script(path)
    assert script.revision == "8f3a1c9b2d4e"
    assert script.down_revisions == ("1b2c3d4e5f60",)
    assert script.branch_labels == ("shop",)
    assert script.depends_on == ("aa", "bb")
    assert script.message == "store embeddings as float16"
    assert script.create_date == "2026-11-20T10:07:00+00:00"
    assert script.path == path
    assert script.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_literal_metadata_is_read_without_running_the_script(write):
    path = write(HEADER + 'branch_labels: tuple[str, ...] = ("x",)\nraise SystemError("it ran")\n')
    assert read_script(path).branch_labels == ("x",)


@pytest.mark.parametrize(
    "statements",
    [
        'suffix = "1"\nrevision = "a" + suffix\ndown_revision = None',
        'revision, down_revision = "a1", None',
        'from string import digits\nrevision = f"a{digits[1]}"\ndown_revision = None',
        'down_revision = None\nif True:\n    revision = "a1"',
        'down_revision = other = None\nrevision = "a1"',
    ],
)
def test_metadata_that_is_no_literal_is_read_by_running_the_script(write, statements):
    modules = set(sys.modules)
    script = read_script(write(statements))
    assert script.revision == "a1"
    assert script.down_revisions == ()
    assert not {name for name in sys.modules.keys() - modules if name.startswith("redismigrate_script")}


def test_metadata_can_be_imported(write, tmp_path, monkeypatch):
    (tmp_path / "elsewhere_in_the_project.py").write_text('revision = "fromelsewhere"\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    path = write("from elsewhere_in_the_project import revision\ndown_revision = None\n")
    assert read_script(path).revision == "fromelsewhere"


@pytest.mark.parametrize(
    ("literal", "parents"),
    [
        ("None", ()),
        ('"b"', ("b",)),
        ('("b", "c")', ("b", "c")),
        ('["b", "c"]', ("b", "c")),
        ('("b", "b")', ("b",)),
        ("()", ()),
    ],
)
def test_down_revision_may_be_none_or_a_string_or_a_sequence_of_them(write, literal, parents):
    assert read_script(write(f'revision = "a1"\ndown_revision = {literal}\n')).down_revisions == parents


def test_branch_labels_and_depends_on_may_be_none_or_absent(write):
    script = read_script(write(HEADER + "branch_labels = None\n"))
    assert script.branch_labels == script.depends_on == ()


def test_the_message_is_the_first_line_of_the_docstring_even_below_a_blank_one(write):
    assert read_script(write('"""\n  add a field  \n\nmore\n"""' + HEADER[7:])).message == "add a field"


def test_a_script_without_docstring_has_an_empty_message_and_no_date(write):
    script = read_script(write(HEADER[8:]))
    assert script.message == ""
    assert script.create_date is None


def test_a_message_that_looks_like_a_date_line_is_not_taken_for_the_date(write):
    source = '"""Create Date: a joke\n\nCreate Date: 2026-01-01\n"""' + HEADER[7:]
    assert read_script(write(source)).create_date == "2026-01-01"


def test_the_encoding_that_a_script_declares_is_honoured(write):
    source = '# -*- coding: latin-1 -*-\n"""Größe"""\n'.encode("latin-1") + HEADER[8:].encode()
    assert read_script(write(source)).message == "Größe"


@pytest.mark.parametrize(
    "source", ["revision = = 1", HEADER + "return\n", HEADER + "\0", b"revision = '\xff'"]
)
def test_a_script_that_is_no_python_is_refused_without_a_traceback(write, source):
    path = write(source)
    with pytest.raises(ScriptError, match="the script is not valid Python") as caught:
        read_script(path).load()
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint == "Correct the script."
    assert caught.value.__cause__ is not None


def test_a_syntax_error_is_reported_with_its_line(write):
    path = write(HEADER + "x = (\n")
    assert (
        error_of(path).message
        == f"{path}, line 4: the script is not valid Python (SyntaxError: '(' was never closed)."
    )


def test_an_error_while_the_metadata_is_computed_is_reported_with_its_line(write):
    path = write("revision = undefined_name\n")
    assert error_of(path).message == (
        f"{path}, line 1: the script fails when it is imported "
        "(NameError: name 'undefined_name' is not defined)."
    )


def test_a_script_without_revision_is_refused(write):
    path = write("down_revision = None\n")
    assert (
        str(error_of(path))
        == f'{path} has no `revision`.\nAdd `revision = "..."`, or move the file out of this folder.'
    )


def test_a_script_without_down_revision_is_not_taken_for_a_base(write):
    path = write('revision = "a1"\ndown_revisions = "b"\n')
    assert str(error_of(path)) == f"{path} has no `down_revision`.\nAdd it; it is None for a first revision."


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("revision = 5", "line 1: revision must be a string, not 5."),
        ("revision = None", "line 1: revision must be a string, not None."),
        (
            'revision = "head"',
            "revision can't be used: 'head' is a word with a meaning of its own in revision identifiers.",
        ),
        (
            'revision = "a-b"',
            "revision can't be used: 'a-b' has characters other than ASCII letters, digits and underscores.",
        ),
        (
            'revision = ""',
            "revision can't be used: '' has characters other than ASCII letters, digits and underscores.",
        ),
        (
            'revision = "a"\ndown_revision = 7',
            "line 2: down_revision must be None, a string or a tuple of strings, not 7.",
        ),
        (
            'revision = "a"\ndown_revision = None\nbranch_labels = ("x", 1)',
            "line 3: branch_labels must be None, a string or a tuple of strings, not ('x', 1).",
        ),
        (
            'revision = "a"\ndown_revision = None\nbranch_labels = "shop@eu"',
            "line 3: branch_labels can't be used: 'shop@eu' has characters other than",
        ),
    ],
)
def test_metadata_that_makes_no_sense_is_refused(write, statement, message):
    source = statement if "down_revision" in statement else f"{statement}\ndown_revision = None"
    assert message in error_of(write(source)).message


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    assert (
        error_of(tmp_path / "gone.py").message
        == f"{tmp_path / 'gone.py'} can't be read: No such file or directory."
    )


def test_loading_gives_the_two_functions(tmp_path):
    path = write_script_file(tmp_path, "a1", upgrade='op.append("up")', downgrade='op.append("down")')
    migration = read_script(path).load()
    calls = []
    migration.upgrade(calls)
    migration.downgrade(calls)
    assert calls == ["up", "down"]


def test_equally_named_scripts_of_two_folders_do_not_meet(tmp_path):
    scripts = [
        read_script(write_script_file(tmp_path / folder, "a1", upgrade=f"op.append({folder!r})"))
        for folder in ("one", "two")
    ]
    migrations = [script.load() for script in scripts]
    calls = []
    for migration in migrations:
        migration.upgrade(calls)
    assert calls == ["one", "two"]


def test_functions_of_a_loaded_script_can_be_pickled(tmp_path):
    migration = read_script(write_script_file(tmp_path, "a1")).load()
    assert pickle.loads(pickle.dumps(migration.upgrade)) is migration.upgrade  # noqa: S301  our own bytes


def test_a_script_may_define_dataclasses_whose_hints_are_strings(write):
    path = write(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Point:\n    x: int = 3\n"
        'revision = "a1"\ndown_revision = None\n'
        "def upgrade(op): op.append(Point().x)\ndef downgrade(op): pass\n"
    )
    calls = []
    read_script(path).load().upgrade(calls)
    assert calls == [3]


def test_loading_neither_imports_by_name_nor_writes_bytecode(tmp_path):
    path_before = list(sys.path)
    read_script(write_script_file(tmp_path, "a1")).load()
    assert sys.path == path_before
    assert "a1" not in sys.modules
    assert [path.name for path in tmp_path.iterdir()] == ["a1.py"]


FUNCTIONS = "def upgrade(op): pass\ndef downgrade(op): pass\n"


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import not_installed_anywhere", "ModuleNotFoundError: No module named 'not_installed_anywhere'"),
        ("from . import sibling", "ImportError: attempted relative import with no known parent package"),
        ("raise SystemExit", "SystemExit"),
        ("raise ValueError('one\\ntwo')", "ValueError: one"),
    ],
)
def test_a_script_that_raises_when_imported_is_refused_with_file_line_and_error(write, statement, problem):
    path = write(HEADER + statement + "\n" + FUNCTIONS)
    with pytest.raises(ScriptError) as caught:
        read_script(path).load()
    assert caught.value.message == f"{path}, line 4: the script fails when it is imported ({problem})."
    assert caught.value.__cause__ is not None
    assert not [name for name, module in sys.modules.items() if getattr(module, "__file__", "") == str(path)]


@pytest.mark.parametrize("name", ["upgrade", "downgrade"])
def test_a_script_without_one_of_its_functions_is_refused(write, name):
    path = write(HEADER + FUNCTIONS.replace(name, name + "s"))
    with pytest.raises(ScriptError) as caught:
        read_script(path).load()
    assert str(caught.value) == (
        f"{path} has no function `{name}`.\n"
        f"Add `def {name}(op: Operations) -> None:`; its body may be `pass`."
    )


def test_a_function_that_takes_no_operations_is_refused(write):
    path = write(HEADER + "def upgrade(): pass\ndef downgrade(op): pass\n")
    with pytest.raises(ScriptError, match="`upgrade` must take exactly one argument, the operations"):
        read_script(path).load()


@pytest.mark.parametrize("name", ["upgrade", "downgrade"])
@pytest.mark.parametrize("written", ["async def {}(op): pass", "def {}(op): yield"])
def test_a_function_whose_call_would_run_nothing_of_it_is_refused(write, name, written):
    other = "downgrade" if name == "upgrade" else "upgrade"
    path = write(HEADER + f"{written.format(name)}\ndef {other}(op): pass\n")
    with pytest.raises(ScriptError) as caught:
        read_script(path).load()
    assert str(caught.value) == (
        f"{path}: `{name}` is async or has a yield: a call would record nothing.\n"
        f"Write `def {name}(op: Operations) -> None:`, and no yield in it."
    )


def test_a_script_that_changed_after_it_was_read_is_not_run(tmp_path):
    path = write_script_file(tmp_path, "a1")
    script = read_script(path)
    write_script_file(tmp_path, "a1", message="edited meanwhile")
    with pytest.raises(ScriptError, match="has changed while it was in use"):
        script.load()


def test_duplicate_ids_are_refused_naming_both_files(tmp_path):
    one, two = (read_script(write_script_file(tmp_path / folder, "a1")) for folder in ("one", "two"))
    with pytest.raises(DuplicateRevision) as caught:
        by_revision([one, two])
    assert str(caught.value) == (
        f"{one.path} and {two.path} both carry the revision id a1.\n"
        "Give one of them another id, or delete it if it is a copy."
    )
