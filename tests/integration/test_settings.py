"""Settings that commands follow: named environments, the names and dates of scripts, values for `env.py`."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

STAGING = """
[environments.staging]
project = "staging"
"""


def configure(shop, text):
    with (shop.folder / "redismigrate.toml").open("a") as file:
        file.write(text)


@pytest.mark.parametrize("arguments", [("--env", "staging", "current"), ("current", "--env", "staging")])
def test_a_named_environment_is_chosen_before_or_behind_the_command(shop, arguments):
    configure(shop, STAGING)
    assert shop.run(*arguments, "--json").json["project"] == "staging"
    assert shop.run("current", "--json").json["project"] == "shop"


@pytest.mark.slow
def test_a_variable_chooses_the_environment_unless_the_command_line_does(shop):
    configure(shop, STAGING + '[environments.other]\nproject = "other"\n')
    chosen = shop.run_process("current", "--json", REDISMIGRATE_ENV="staging")
    assert chosen.json["project"] == "staging"
    chosen = shop.run_process("current", "--json", "--env", "other", REDISMIGRATE_ENV="staging")
    assert chosen.json["project"] == "other"


def test_an_unknown_environment_is_refused(shop):
    configure(shop, STAGING)
    shop.refuses(
        "upgrade",
        "--env",
        "prod",
        code=8,
        says=("The configuration ", "no environment 'prod'", "It has: staging."),
    )


def test_values_of_x_stand_before_and_behind_the_command(shop):
    env = shop.folder / "migrations" / "env.py"
    env.write_text(
        "import redis\n"
        "def client(settings, x):\n"
        "    print(sorted(x.items()))\n"
        "    return redis.Redis.from_url(settings.url)\n"
    )
    result = shop.run("-x", "a=1", "-x", "b=2", "current", "-x", "b=x=y", "-x", "c=")
    assert result.code == 0
    assert "[('a', '1'), ('b', 'x=y'), ('c', '')]" in result.out


def test_a_url_on_the_command_line_wins_over_the_client_of_env_py(shop):
    env = shop.folder / "migrations" / "env.py"
    env.write_text("def client(settings, x):\n    raise RuntimeError('production')\n")
    assert shop.run("current", "--url", shop.url).code == 0
    result = shop.run("current")
    assert (result.code, "RuntimeError: production" in result.err) == (8, True)


@pytest.mark.parametrize("value", ["a", "=1", ""])
def test_a_value_without_a_name_is_refused(shop, value):
    shop.refuses(
        "current", "-x", value, code=2, says=(f"Invalid value for '-x': {value!r} is not name=value.",)
    )


def test_a_value_that_nothing_reads_is_refused(shop):
    shop.refuses("upgrade", "-x", "a=1", code=2, says=("-x is for ", "env.py, which does not exist."))


def test_env_py_that_fails_is_told_with_its_line(shop):
    env = shop.folder / "migrations" / "env.py"
    env.write_text("def client(settings, x):\n    return x['host']\n")
    shop.refuses(
        "upgrade", code=8, says=(f"{env}, line 2: client() fails (KeyError: 'host').", "Correct env.py.")
    )
    env.write_text("def client(settings, x):\n    return 5\n")
    shop.refuses(
        "upgrade", code=8, says=(f"{env}: what client() returns is a builtins.int, not a redis.Redis.",)
    )
    env.write_text("raise RuntimeError('not today')\n")
    shop.refuses("upgrade", code=8, says=(f"{env}, line 1: ", "RuntimeError: not today"))
    assert shop.run("history").code == 0


@pytest.mark.parametrize("command", [("revision", "-m", "add a brand"), ("merge", "-m", "add a brand")])
def test_new_scripts_are_named_and_dated_as_the_settings_say(shop, command):
    configure(
        shop,
        'file_template = "%(year)d%(month).2d%(day).2d_%(slug)s_%(rev)s"\ntruncate_slug_length = 6\n'
        'timezone = "Asia/Kathmandu"\n',
    )
    if command[0] == "merge":
        shop.write(down_revision=None)
        shop.write(down_revision=None)
    written = shop.run(*command, "--json").json

    (script,) = (script for script in shop.run("heads", "--json").json)
    assert script["revision"] == written["revision"]
    moment = datetime.fromisoformat(script["create_date"])
    assert moment.utcoffset() == timedelta(hours=5, minutes=45)
    assert Path(written["path"]).name == f"{moment:%Y%m%d}_add_a_{script['revision']}.py"
