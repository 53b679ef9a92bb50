"""Code of others runs in one place, and whatever it does becomes one error with one readable line."""

from __future__ import annotations

import ast
import os
import signal
import sys
from pathlib import Path

import pytest

import redismigrate
from redismigrate.errors import ConfigurationError, ScriptError
from redismigrate.foreign_modules import (
    LONGEST_TEXT,
    ForeignCode,
    describe,
    execute,
    function_name,
    is_source_file,
    read_source,
    shown_value,
    traceback_of,
)

ROOT = Path(redismigrate.__file__).parent
RUNS_CODE = {"exec", "eval", "compile", "__import__", "execfile"}
IMPORTS_CODE = {"import_module", "run_path", "run_module", "exec_module", "load_module", "reload"}


class Odd(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Own(BaseException):
    pass


def told(raise_it):
    with pytest.raises(ScriptError) as caught, ForeignCode(lambda failure: ScriptError(failure.reason)):
        raise_it()
    return caught.value.message


def raising(error):
    def raise_it():
        raise error

    return raise_it


def calls_in(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name):
                yield called.id, node
            elif isinstance(called, ast.Attribute) and called.attr in IMPORTS_CODE:
                yield called.attr, node


def test_nothing_else_imports_or_executes_code_of_others():
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        for name, call in calls_in(ast.parse(file.read_text())):
            # Modules of the package itself, which are imported when they are asked for.
            own = call.args and ast.unparse(call.args[0]).startswith(("f'{__name__}.", "f'redismigrate."))
            if name in RUNS_CODE | IMPORTS_CODE and not own:
                found.append(str(file.relative_to(ROOT)))
    assert set(found) == {"foreign_modules.py"}


def test_nobody_else_expects_that_code_of_others_exits():
    """`except SystemExit` beside a call is how each place used to do it by itself."""
    found = []
    for file in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ExceptHandler) and node.type is not None:
                caught = ast.unparse(node.type)
                if "SystemExit" in caught or (caught == "BaseException" and node.name is not None):
                    found.append(str(file.relative_to(ROOT)))
    assert set(found) == {"execution/held_run.py", "foreign_modules.py", "process_state.py"}


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("no"), "ValueError: no"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt("by itself"), "KeyboardInterrupt: by itself"),
        (GeneratorExit(), "GeneratorExit"),
        (StopIteration(1), "StopIteration: 1"),
        (Own("own"), "Own: own"),
        (Odd(), "Odd: its text can't be shown"),
        (SyntaxError(5), "SyntaxError: 5"),
        (ValueError("\x1b[2J\nError: forged"), "ValueError: \\x1b[2J"),
        (ValueError("\ud800\udcff"), "ValueError: \\ud800\\xff"),
        (ScriptError("a subclass may say anything"), "ScriptError: a subclass may say anything"),
    ],
)
def test_whatever_is_raised_is_one_readable_line(error, says):
    assert told(raising(error)) == says


def test_a_text_without_end_is_shortened():
    assert len(told(raising(ValueError("x" * 10_000_000)))) < 2 * LONGEST_TEXT


def test_texts_that_exit_fail_or_are_none_are_told():
    class Exits(Exception):
        def __str__(self):  # noqa: PLE0307 - it is odd
            sys.exit(5)

    class Says(Exception):
        def __str__(self):
            return 5  # noqa: PLE0307 - it is odd

    for error in (Exits(), Says(), Odd()):
        assert describe(error) == f"{type(error).__name__}: its text can't be shown"
        assert traceback_of(error)
    assert shown_value(Odd()) == "a Odd"
    assert shown_value(10**5000) == "a int"


def test_ctrl_c_stays_an_interruption_and_so_it_does_below_another_error():
    def interrupt():
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            pass

    def wrap():
        try:
            interrupt()
        except BaseException as error:
            raise ValueError("wrapped") from error

    for code in (interrupt, wrap):
        with pytest.raises(KeyboardInterrupt), ForeignCode(lambda failure: ScriptError(failure.reason)):
            code()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_errors_that_pass_are_ours_and_not_those_that_others_make_of_them():
    class Theirs(ConfigurationError):
        exit_code = 77

        def __init__(self):
            pass

    ours = ConfigurationError("ours")
    for error, passes in ((ours, True), (Theirs(), False)):
        with (
            pytest.raises((ConfigurationError, ScriptError)) as caught,
            ForeignCode(lambda failure: ScriptError(failure.reason), passes=(ConfigurationError,)),
        ):
            raise error
        assert (caught.value is error) is passes


def test_what_it_changes_in_the_process_is_brought_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inner = tmp_path / "inner"
    inner.mkdir()
    limit, path, handler = sys.getrecursionlimit(), sys.path, signal.getsignal(signal.SIGINT)
    entries = list(path)
    with ForeignCode(lambda failure: ScriptError(failure.reason)):
        os.chdir(inner)
        inner.rmdir()
        sys.setrecursionlimit(limit // 2)
        sys.path = None
        path.append(5)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert Path.cwd() == tmp_path
    assert sys.getrecursionlimit() == limit
    assert sys.path is path
    assert sys.path == entries
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("name", ["loop", "dangling", "pipe"])
def test_what_is_named_like_a_script_and_can_not_be_read_is_told(tmp_path, name):
    path = tmp_path / f"{name}.py"
    if name == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if name == "loop" else tmp_path / "nowhere")
    with pytest.raises(ScriptError, match="no regular file" if name == "pipe" else "leads nowhere"):
        is_source_file(path)


def test_a_pipe_and_a_file_without_end_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert read_source(tmp_path / "pipe") == b""
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ScriptError, match="larger than 8 MiB"):
        read_source(tmp_path / "huge")


def test_a_module_that_takes_itself_out_is_executed_all_the_same(tmp_path):
    names = execute(b"import sys\ndel sys.modules[__name__]\n__name__ = 5\nx = 1\n", tmp_path / "a.py")
    assert names["x"] == 1


def test_functions_without_a_usable_name_are_called_function():
    class Nameless:
        def __getattr__(self, name):
            raise Own(name)

    assert [function_name(each) for each in (Nameless(), 5, len)] == ["function", "function", "len"]
