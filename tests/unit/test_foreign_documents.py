"""What others wrote is read in one place: data comes out of it, or one error."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import redismigrate
from redismigrate.foreign_documents import (
    LONGEST_NAME,
    MOST_LEVELS,
    NotUtf8,
    UnreadableDocument,
    UnreadableFile,
    parse_json,
    parse_toml,
    parse_yaml,
    problem_with_path,
    read_text,
)

ROOT = Path(redismigrate.__file__).parent
PARSERS = {
    "json": {"load", "loads", "JSONDecoder"},
    "tomllib": {"load", "loads"},
    "yaml": {"load", "safe_load", "full_load", "unsafe_load", "load_all", "safe_load_all", "SafeLoader"},
    "np": {"load", "loadtxt", "genfromtxt"},
    "numpy": {"load"},
    "pickle": {"load", "loads"},
}
OF_MODELS = {"model_validate_json", "validate_json"}
# Who parses elsewhere, and why that is no document of ours.
ELSEWHERE = {
    "foreign_documents.py": "the one place",
    "documents/json_members.py": "documents of the application: any JSON is right, and stays",
    "testing/document_forms.py": "replies of a server that the tests started",
    "testing/snapshot.py": "replies of a server that the tests started",
}
DEEP = 1_000
DIGITS = 4_301


def parsers_in(tree: ast.Module) -> set[str]:
    return {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (
            node.attr in OF_MODELS
            or (isinstance(node.value, ast.Name) and node.attr in PARSERS.get(node.value.id, ()))
        )
    }


def test_nobody_else_parses():
    found = {
        str(file.relative_to(ROOT)): parsers
        for file in ROOT.rglob("*.py")
        if (parsers := parsers_in(ast.parse(file.read_text())))
    }
    assert found.keys() == ELSEWHERE.keys(), found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * DEEP + "]" * DEEP, "is nested too deeply"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"a":' * DEEP + "1" + "}" * DEEP, "is nested too deeply"),
        ("[" * (MOST_LEVELS + 1) + "]" * (MOST_LEVELS + 1), "is nested too deeply"),
        ("1" * DIGITS, "is no JSON: it has a number of more than 300 digits"),
        ("1" * 301, "has a number of more than 300 digits"),
        ("NaN", "holds nan, which is no number"),
        ("[-Infinity]", "holds -inf, which is no number"),
        ('{"a": 1e999}', "holds inf, which is no number"),
        ('{"\\ud800": 1}', "holds half of a character in '\\ud800'"),
        ("", "is no JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_what_no_json_of_ours_holds(text, problem):
    with pytest.raises(UnreadableDocument) as caught:
        parse_json(text)
    assert caught.value.problem == problem


def test_json_that_is_no_text():
    with pytest.raises(UnreadableDocument, match="is no JSON: "):
        parse_json(b"\xff\xfe\x00")


def test_json_as_we_write_it_comes_back():
    assert parse_json('{"a": [1, 2.5, null, true, "\\udcff"]}') == {"a": [1, 2.5, None, True, "\udcff"]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = " + "[" * DEEP + "]" * DEEP, "is nested too deeply"),
        ("a = " + "{a = " * DEEP + "1" + "}" * DEEP, "is nested too deeply"),
        ("a = " + "1" * DIGITS, "is not valid TOML: it has a number of more than 300 digits"),
        ("a = 0x" + "f" * DIGITS, "has a number of more than 300 digits"),
        ("a = 2026-13-45", "is not valid TOML: Expected newline or end of document after a statement"),
        ("a = migrations", "is not valid TOML: Invalid value"),
    ],
)
def test_what_no_toml_of_ours_holds(text, problem):
    with pytest.raises(UnreadableDocument) as caught:
        parse_toml(text)
    assert caught.value.problem.startswith(problem)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: " + "[" * DEEP + "]" * DEEP, "is nested too deeply"),
        ("{a: " * DEEP + "1" + "}" * DEEP, "is nested too deeply"),
        ("a: " + "1" * DIGITS, "is no YAML at line 1, column 4: it has a number of more than 300 digits"),
        ("a: 0x" + "f" * DIGITS, "has a number of more than 300 digits"),
        ('a: !!int ""', "is no YAML at line 1, column 4: '' is no int"),
        ("a: !!int x", "is no YAML at line 1, column 4: invalid literal for int() with base 10: 'x'"),
        ("a: !!bool perhaps", "is no YAML at line 1, column 4: 'perhaps' is no bool"),
        ("a: !!float ''", "is no YAML at line 1, column 4: '' is no float"),
        ("a: !!timestamp 99999-01-01", "is no YAML at line 1, column 4: '99999-01-01' is no timestamp"),
        ("a: !!timestamp x", "is no YAML at line 1, column 4: 'x' is no timestamp"),
        ("a: 2026-13-45", "is no YAML at line 1, column 4: month must be in 1..12"),
        ("a: !!binary x", "is no YAML at line 1, column 4: failed to decode base64 data: "),
        ("a: !!omap x", "is no YAML at line 1, column 4: expected a sequence, but found scalar"),
        (
            "a: !!python/object/apply:os.system ['id']",
            "is no YAML at line 1, column 4: could not determine a",
        ),
        ("a: !!python/name:os.system", "is no YAML at line 1, column 4: could not determine a"),
        ("? [a]\n: b", "is no YAML at line 1, column 3: found unhashable key"),
        ("a: *nowhere", "is no YAML at line 1, column 4: found undefined alias 'nowhere'"),
        ("a: &a [*a]", "contains itself at line 1, column 4"),
        ('a: "\\ud800"', "holds half of a character in '\\ud800'"),
        ("a: 1\na: 2", "says 'a' twice, again at line 2, column 1"),
        ("a: 1\n---\nb: 1", "is no YAML at line 2, column 1: but found another document"),
    ],
)
def test_what_no_yaml_of_ours_holds(text, problem):
    with pytest.raises(UnreadableDocument) as caught:
        parse_yaml(text)
    assert caught.value.problem.startswith(problem)


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(UnreadableFile) as caught:
        read_text(tmp_path / "nowhere")
    assert caught.value.reason == "No such file or directory"
    with pytest.raises(UnreadableFile, match="the path holds a NUL byte"):
        read_text("a\0b")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(UnreadableFile, match="Too many levels of symbolic links"):
        read_text(loop)
    with pytest.raises(UnreadableFile, match="Is a directory"):
        read_text(tmp_path)
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(NotUtf8, match="is no UTF-8 at byte 0"):
        read_text(tmp_path / "latin")
    (tmp_path / "windows").write_bytes(b"\xef\xbb\xbfa\r\n")
    assert read_text(tmp_path / "windows") == "a\n"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("a\0", "holds a NUL byte"),
        ("a/" + "é" * 128, "has a name of 256 bytes, where 255 are the most"),
        ("a/" * 2_001, "is longer than 4,000 bytes"),
        ("\ud800", "is neither UTF-8 nor escaped bytes"),
        ("a/" + "b" * LONGEST_NAME, None),
        ("caf\udce9", None),
    ],
)
def test_a_path_that_no_file_can_have_is_told(path, problem):
    assert problem_with_path(path) == problem
