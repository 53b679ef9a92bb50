"""Commands of the configuration get every script that a command has written; a failing one leaves it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shop

# Notes what it got and where, and puts a line below the script.
NOTE = """
import os, pathlib, sys
name, file = sys.argv[1:]
print("noise")
path = pathlib.Path(file)
with open("hooks.log", "a", encoding="utf-8") as log:
    log.write(f"{name} {path.name} {path.is_absolute()} {pathlib.Path.cwd().name}\\n")
path.write_text(path.read_text(encoding="utf-8") + f"\\n# {name}\\n", encoding="utf-8")
"""
FAIL = "import sys; print('line 3 is ugly', file=sys.stderr); sys.exit(3)"
SCHEMA = "index: {name: products, prefix: 'p:'}\nfields: [{name: title, type: text}]\n"


def configure(shop: Shop, *lines: str) -> None:
    path = shop.folder / "redismigrate.toml"
    path.write_text("\n".join([path.read_text(encoding="utf-8"), *lines, ""]), encoding="utf-8")


def hook(program: str, *words: str) -> str:
    return json.dumps([sys.executable, "-c", program, *words, "{file}"])


def written(shop: Shop) -> list[Path]:
    return sorted((shop.folder / "migrations" / "versions").glob("*.py"))


def test_every_command_that_writes_a_script_gives_it_to_the_hooks(shop: Shop):
    configure(
        shop,
        'schemas = ["products.yaml"]',
        "[post_write_hooks]",
        f"first = {hook(NOTE, 'first')}",
        "[post_write_hooks.second]",
        f"command = {hook(NOTE, 'second')}",
        'cwd = "inner"',
    )
    (shop.folder / "inner").mkdir()
    (shop.folder / "products.yaml").write_text(SCHEMA, encoding="utf-8")
    answers = shop.folder / "answers.yaml"
    answers.write_text(
        "index: products\nmessage: brands\nanswers: [{add: brand, type: tag}]\n", encoding="utf-8"
    )
    for number, words in enumerate(
        [
            ("revision", "-m", "by hand"),
            ("revision", "--autogenerate", "-m", "as declared"),
            ("wizard", "--answers", "answers.yaml"),
            ("revision", "-m", "a branch", "--head", "base", "--branch-label", "other"),
            ("merge",),
        ],
        1,
    ):
        result = shop.run(*words, "--json")
        assert result.code == 0, result.err
        assert Path(result.json["path"]).read_text(encoding="utf-8").endswith("\n# first\n\n# second\n")
        assert len((shop.folder / "hooks.log").read_text(encoding="utf-8").splitlines()) == number
    log = (shop.folder / "hooks.log").read_text(encoding="utf-8").splitlines()
    assert {line.split()[0] + line[line.index(".py") :] for line in log} == {
        f"first.py True {shop.folder.name}"
    }
    log = (shop.folder / "inner" / "hooks.log").read_text(encoding="utf-8").splitlines()
    assert {line.rsplit(" ", 1)[1] for line in log} == {"inner"}


def test_a_squashed_script_is_given_to_the_hooks(shop: Shop):
    for revision in ("aaa", "bbb"):
        shop.write(revision=revision)
    configure(shop, "[post_write_hooks]", f"first = {hook(NOTE, 'first')}")
    result = shop.run("squash", "aaa:bbb", "--json")
    assert result.code == 0, result.err
    assert Path(result.json["path"]).read_text(encoding="utf-8").endswith("\n# first\n")
    assert shop.run("upgrade").code == 0


def test_a_hook_that_fails_is_an_error_that_leaves_the_script(shop: Shop):
    configure(
        shop,
        "[post_write_hooks]",
        f"fails = {hook(FAIL)}",
        f"never = {hook(NOTE, 'never')}",
    )
    result = shop.run("revision", "-m", "a change")
    assert result.code == 8
    (script,) = written(shop)
    assert f"{script} is written, but the post-write hook 'fails' ended with 3: line 3 is ugly" in result.err
    assert "The script stays as it is" in result.err
    assert "Traceback" not in result.err
    assert not (shop.folder / "hooks.log").exists()
    assert shop.run("heads").code == 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('a = ["no-such-program", "{file}"]', "can't be started: No such file or directory: no-such-program"),
        (
            'a = {command = ["true", "{file}"], cwd = "nowhere"}',
            "can't be started: No such file or directory",
        ),
    ],
)
def test_a_hook_that_can_t_be_started_leaves_the_script(shop: Shop, line: str, told: str):
    configure(shop, "[post_write_hooks]", line)
    result = shop.run("revision", "-m", "a change")
    assert result.code == 8
    assert told in result.err
    assert len(written(shop)) == 1


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('a = ["ruff", "format"]', 'must have "{file}" where the path of the script goes'),
        ('a = "ruff format {file}"', "should be a list"),
        ("a = []", "must name a program"),
        ('a = {comand = ["ruff", "{file}"]}', "post_write_hooks.a.command"),
        ("a = 5", "post_write_hooks.a"),
    ],
)
def test_a_hook_that_is_none_is_an_error_of_the_configuration(shop: Shop, line: str, told: str):
    configure(shop, "[post_write_hooks]", line)
    result = shop.run("revision", "-m", "a change")
    assert result.code == 8
    assert told in result.err
    assert written(shop) == []


def test_a_hook_that_destroys_the_script_is_told(shop: Shop):
    configure(
        shop,
        "[post_write_hooks]",
        f"""a = {hook("import sys; open(sys.argv[1], 'w').write('nonsense(')")}""",
    )
    result = shop.run("revision", "-m", "a change")
    assert result.code == 8
    assert "before the post-write hooks (a) ran" in result.err


def test_no_shell_reads_the_words(shop: Shop):
    configure(
        shop, "[post_write_hooks]", f"a = {hook('import sys; sys.exit(len(sys.argv) - 3)', '$HOME; *')}"
    )
    assert shop.run("revision", "-m", "a change").code == 0


def test_an_environment_variable_may_switch_them_off(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    configure(shop, "[post_write_hooks]", f"fails = {hook(FAIL)}")
    monkeypatch.setenv("REDISMIGRATE_POST_WRITE_HOOKS", "")
    assert shop.run("revision", "-m", "a change").code == 0
    monkeypatch.setenv("REDISMIGRATE_POST_WRITE_HOOKS", json.dumps({"a": json.loads(hook(FAIL))}))
    assert shop.run("revision", "-m", "another change").code == 8
    monkeypatch.setenv("REDISMIGRATE_POST_WRITE_HOOKS", "ruff")
    assert "REDISMIGRATE_POST_WRITE_HOOKS is not valid" in shop.run("heads").err


@pytest.mark.skipif(
    shutil.which("ruff", path=str(Path(sys.executable).parent)) is None, reason="ruff is not installed here"
)
def test_ruff_beside_the_python_that_runs_us_is_found(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    configure(
        shop, "[post_write_hooks]", 'format = ["ruff", "format", "--config", "line-length = 40", "{file}"]'
    )
    assert shop.run("revision", "-m", "a change").code == 0
    (script,) = written(shop)
    assert "branch_labels: tuple[str, ...] = ()" in script.read_text(encoding="utf-8")
