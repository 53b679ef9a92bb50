"""New scripts: what is written for any message and parents, and what a broken template is told."""

import re
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.errors import ScriptError, UsageError
from redismigrate.history.folder import read_scripts
from redismigrate.history.script_writer import new_revision_id, slug, write_script
from redismigrate.history.templates import template_folder

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def write(tmp_path):
    """Write a script into a folder of its own, from the generic template unless told otherwise."""

    def write_one(
        folder=template_folder("generic"),  # noqa: B008  a constant
        revision="8f3a1c9b2d4e",
        message="store product embeddings as float16",
        down_revisions=("1b2c3d4e5f60",),
        **options,
    ):
        return write_script(
            folder,
            tmp_path / "versions",
            revision=revision,
            message=message,
            down_revisions=down_revisions,
            create_date=datetime(2026, 11, 20, 10, 7, tzinfo=UTC),
            **options,
        )

    return write_one


@pytest.fixture
def template(tmp_path):
    """A copy of the generic template, as a project has it; returns the path of its script.py.j2."""
    return Path(shutil.copytree(template_folder("generic"), tmp_path / "project")) / "script.py.j2"


def test_a_new_id_is_12_hexadecimal_digits_and_random():
    ids = {new_revision_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[0-9a-f]{12}", revision) for revision in ids)


def test_a_script_has_the_documented_form(write):
    path = write(
        upgrade_lines=[
            'with op.index("products") as index:',
            '    index.alter_field("embedding", datatype="float16")',
        ],
        downgrade_lines=['op.irreversible("""', "", 'no way back""")'],
    )
    assert path.name == "8f3a1c9b2d4e_store_product_embeddings_as_float16.py"
    assert (
        path.read_text()
        == '''"""store product embeddings as float16

Revision ID: 8f3a1c9b2d4e
Revises: 1b2c3d4e5f60
Create Date: 2026-11-20T10:07:00+00:00
"""

from redismigrate import Operations

revision = "8f3a1c9b2d4e"
down_revision = "1b2c3d4e5f60"
branch_labels: tuple[str, ...] = ()
depends_on: tuple[str, ...] = ()


def upgrade(op: Operations) -> None:
    with op.index("products") as index:
        index.alter_field("embedding", datatype="float16")


def downgrade(op: Operations) -> None:
    op.irreversible("""

    no way back""")
'''
    )


def test_without_lines_both_bodies_are_pass(write):
    source = write(down_revisions=()).read_text()
    assert "down_revision = None\n" in source
    assert "Revises: base\n" in source
    assert source.endswith(
        "def upgrade(op: Operations) -> None:\n    pass\n\n\n"
        "def downgrade(op: Operations) -> None:\n    pass\n"
    )


def test_a_merge_with_labels_dependencies_and_imports(write):
    path = write(
        down_revisions=("aa", "bb"),
        branch_labels=("shop",),
        depends_on=("cc", "net"),
        imports=["import json"],
    )
    source = path.read_text()
    assert 'down_revision = ("aa", "bb")\n' in source
    assert 'branch_labels: tuple[str, ...] = ("shop",)\n' in source
    assert 'depends_on: tuple[str, ...] = ("cc", "net")\n' in source
    assert "from redismigrate import Operations\nimport json\n\nrevision" in source
    assert "Revises: aa, bb\n" in source


@pytest.mark.parametrize("name", ["generic", "guided"])
def test_what_is_written_is_read_back(write, tmp_path, name):
    path = write(
        template_folder(name), down_revisions=("aa", "bb"), branch_labels=("shop",), depends_on=("cc",)
    )
    (script,) = read_scripts([tmp_path / "versions"])
    assert (script.path, script.revision) == (path, "8f3a1c9b2d4e")
    assert (script.down_revisions, script.branch_labels, script.depends_on) == (
        ("aa", "bb"),
        ("shop",),
        ("cc",),
    )
    assert script.message == "store product embeddings as float16"
    assert script.create_date == "2026-11-20T10:07:00+00:00"


@pytest.mark.parametrize(
    ("template", "message", "name"),
    [
        ("%(rev)s_%(slug)s", "Add a field", "8f3a1c9b2d4e_add_a_field.py"),
        ("%(rev)s_%(slug)s", "日本語", "8f3a1c9b2d4e.py"),
        ("%(slug)s-%(rev)s", "日本語", "8f3a1c9b2d4e.py"),
        ("%(year)d_%(month).2d_%(day).2d-%(rev)s", "x", "2026_11_20-8f3a1c9b2d4e.py"),
        ("%(hour).2d%(minute).2d-%(rev)s", "x", "1007-8f3a1c9b2d4e.py"),
        ("%(epoch)d_%(second)02d_100%%_%(slug)s", "x", "1795169220_00_100%_x.py"),
    ],
)
def test_a_file_is_named_as_its_template_says(write, template, message, name):
    assert write(message=message, file_template=template).name == name


def test_a_slug_is_cut_where_it_is_said(write):
    assert write(message="add a field of colours", slug_length=9).name == "8f3a1c9b2d4e_add_a.py"


def test_two_scripts_of_one_name_are_refused(write):
    write(file_template="%(slug)s")
    with pytest.raises(ScriptError, match="can't be written: File exists"):
        write(revision="9f3a1c9b2d4e", file_template="%(slug)s")


MESSAGES = st.one_of(
    st.text(st.characters(), min_size=1),
    st.text(st.sampled_from("\"'\\nN{}%# \n\r\t\x0b\x0c\x1c\x85\u2028\ud800é"), min_size=1),
)


@given(MESSAGES.filter(lambda text: text.strip()))
def test_every_message_comes_back_as_one_line(message):
    with tempfile.TemporaryDirectory() as folder:
        path = write_script(
            template_folder("generic"),
            Path(folder),
            revision="a1",
            message=message,
            down_revisions=(),
            create_date=NOON,
        )
        (script,) = read_scripts([Path(folder)])
    lines = [line.strip() for line in message.splitlines()]
    assert script.message == " ".join(line for line in lines if line)
    if len(lines) == 1:
        assert script.message == message.strip()
    assert (script.create_date, script.path) == ("2026-11-20T12:00:00+00:00", path)
    assert re.fullmatch("a1(_[a-z0-9_]{1,40})?[.]py", path.name)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Add a field!", "add_a_field"),
        ("größer & schöner", "grosser_schoner"),
        ("../../etc/passwd", "etc_passwd"),
        ("日本語", ""),
        ("a rather long message whose end does not fit", "a_rather_long_message_whose_end_does_not"),
        ("a rather long message whose last word is cut", "a_rather_long_message_whose_last_word_is"),
        ("x" * 50, "x" * 40),
    ],
)
def test_a_slug_is_short_ascii_words(message, expected):
    assert slug(message) == expected


def test_an_existing_script_is_not_overwritten(write):
    path = write()
    before = path.read_bytes()
    with pytest.raises(ScriptError) as caught:
        write(down_revisions=())
    assert str(caught.value) == (
        f"{path} can't be written: File exists.\n"
        "Choose another revision id or folder, or correct the folder's rights."
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize("message", ["", " \n\t "])
def test_an_empty_message_is_refused(write, message):
    with pytest.raises(UsageError, match="A revision needs a message"):
        write(message=message)


@pytest.mark.parametrize("options", [{"revision": "head"}, {"revision": "a-b"}, {"branch_labels": ("x@y",)}])
def test_a_name_that_identifiers_could_not_name_is_refused(write, tmp_path, options):
    with pytest.raises(UsageError, match="It can't be a revision id or branch label: "):
        write(**options)
    assert not (tmp_path / "versions").exists()


def refusal(write, template, tmp_path, **options):
    with pytest.raises(ScriptError) as caught:
        write(template.parent, **options)
    assert not (tmp_path / "versions").exists()
    return str(caught.value)


def test_a_missing_template_is_reported(write, template, tmp_path):
    template.unlink()
    assert refusal(write, template, tmp_path) == (
        f"{template} can't be rendered: there is no template script.py.j2.\n"
        "Copy it from the folder that `redismigrate init` makes."
    )


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("{% for x in %}", "TemplateSyntaxError: Expected an expression, got 'end of statement block'"),
        ("{{ authr }}", "UndefinedError: 'authr' is undefined"),
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero"),
        (
            "{{ message.__class__.__mro__ }}",
            "SecurityError: access to attribute '__class__' of 'str' object is unsafe.",
        ),
    ],
)
def test_a_broken_template_is_reported_with_its_line(write, template, tmp_path, broken, problem):
    template.write_text("{# first #}\n" + broken + "\n" + template.read_text())
    assert refusal(write, template, tmp_path) == (
        f"{template}, line 2: the template can't be rendered ({problem}).\nCorrect the template."
    )


def test_a_template_whose_result_is_no_python_is_reported(write, template, tmp_path):
    template.write_text(template.read_text() + "\ndef (:\n")
    assert refusal(write, template, tmp_path).startswith(
        f"{template} makes a script that can't be used. {template}, line 23: the script is not valid Python"
    )


def test_a_template_that_leaves_out_what_was_asked_for_is_reported(write, template, tmp_path):
    lines = template.read_text().splitlines(keepends=True)
    template.write_text("".join(line for line in lines if not line.startswith("branch_labels")))
    assert refusal(write, template, tmp_path, branch_labels=("shop",)) == (
        f'{template} makes a script whose branch_labels is () instead of ("shop",).\n'
        "Add `branch_labels = {{ branch_labels | python }}` to the template."
    )


def test_a_project_may_change_its_template(write, template):
    template.write_text(
        template.read_text().replace('"""{{ message }}', "'''[SHOP] {{ message }}", 1).replace('"""', "'''")
    )
    assert write(template.parent).read_text().startswith("'''[SHOP] store product embeddings as float16\n")


def test_a_folder_that_cannot_be_written_is_reported(write, tmp_path):
    (tmp_path / "versions").touch()
    with pytest.raises(ScriptError, match=r"versions can't be written: File exists"):
        write()
