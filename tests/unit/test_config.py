"""Where settings come from, which wins, and what of a URL is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.config import DEFAULT_URL, default_project_name, load_settings, redacted
from redismigrate.configuration_file import find_configuration
from redismigrate.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "app"
    folder.mkdir()
    return folder


def write(folder, text, name="redismigrate.toml"):
    file = folder / name
    file.write_text(text)
    return file


def load(folder, environment=None, **overrides):
    return load_settings(overrides=overrides, environment=environment or {}, start=folder)


# --- which wins ---------------------------------------------------------------------------------------------


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(folder):
    write(
        folder, 'script_location = "migrations"\nurl = "redis://file"\nproject = "file"\nlock_timeout = 1\n'
    )
    environment = {"REDISMIGRATE_URL": "redis://environment", "REDISMIGRATE_PROJECT": "environment"}

    settings = load(folder, environment, url="redis://option")

    assert (settings.url, settings.project, settings.lock_timeout) == ("redis://option", "environment", 1)


def test_an_option_that_was_not_given_wins_over_nothing(folder):
    write(folder, 'script_location = "migrations"\nurl = "redis://file"\n')
    assert load(folder, url=None).url == "redis://file"


def test_what_nobody_says_has_a_default(folder):
    write(folder, 'script_location = "migrations"\n')

    settings = load(folder)

    assert settings.url == DEFAULT_URL
    assert settings.lock_timeout == 60
    assert settings.allow_evictable_state is False
    assert settings.version_locations == (folder / "migrations" / "versions",)


def test_the_environment_may_say_everything_but_where_the_file_is(folder):
    file = write(folder, "")
    settings = load(
        folder,
        {
            "REDISMIGRATE_SCRIPT_LOCATION": "elsewhere",
            "REDISMIGRATE_VERSION_LOCATIONS": "one:/two",
            "REDISMIGRATE_LOCK_TIMEOUT": "2.5",
            "REDISMIGRATE_ALLOW_EVICTABLE_STATE": "1",
            "REDISMIGRATE_FILE": "/nowhere",
        },
    )

    assert settings.script_location == folder / "elsewhere"
    assert settings.version_locations == (folder / "one", Path("/two"))
    assert settings.lock_timeout == 2.5
    assert settings.allow_evictable_state is True
    assert settings.file == file


def test_variables_of_others_are_left_alone(folder):
    write(folder, 'script_location = "migrations"\n')
    assert (
        load(folder, {"REDISMIGRATE_SERVER": "/bin/redis-server", "URL": "redis://other"}).url == DEFAULT_URL
    )


def test_a_wrong_value_is_told_with_where_it_comes_from(folder):
    file = write(folder, 'script_location = "migrations"\nurl = "ftp://a"\n')
    with pytest.raises(ConfigurationError, match=f"^The configuration {file} is not valid: url: must start"):
        load(folder)
    with pytest.raises(
        ConfigurationError, match=r"^The environment variable REDISMIGRATE_URL is not valid: url: "
    ):
        load(folder, {"REDISMIGRATE_URL": "ftp://b"})
    with pytest.raises(
        ConfigurationError, match=r"^The given url is not valid: url: must start with redis://"
    ):
        load(folder, {"REDISMIGRATE_URL": "ftp://b"}, url="ftp://c")


# --- where the file is --------------------------------------------------------------------------------------


def test_the_nearest_configuration_above_is_found(folder):
    outer = write(folder.parent, 'script_location = "outer"\n')
    deep = folder / "a" / "b"
    deep.mkdir(parents=True)
    assert find_configuration(deep) == outer
    inner = write(folder, 'script_location = "inner"\n')
    assert find_configuration(deep) == inner
    assert load(deep).script_location == folder / "inner"


def test_redismigrate_toml_goes_before_pyproject_toml_of_the_same_folder(folder):
    pyproject = write(folder, '[tool.redismigrate]\nscript_location = "a"\n', "pyproject.toml")
    assert find_configuration(folder) == pyproject
    own = write(folder, 'script_location = "b"\n')
    assert find_configuration(folder) == own


def test_a_pyproject_toml_without_our_section_is_passed_over(folder):
    outer = write(folder.parent, '[tool.redismigrate]\nscript_location = "a"\n', "pyproject.toml")
    write(folder, '[project]\nname = "inner"\n', "pyproject.toml")
    assert find_configuration(folder) == outer


def test_without_a_configuration_it_is_said_how_to_make_one(folder, monkeypatch):
    monkeypatch.setattr("redismigrate.config.find_configuration", lambda _: None)
    with pytest.raises(ConfigurationError, match="Run `redismigrate init migrations` first"):
        load(folder)


def test_paths_are_relative_to_the_file_and_not_to_the_working_directory(folder, monkeypatch):
    file = write(folder, 'script_location = "migrations"\nversion_locations = ["v1", "v2"]\n')
    monkeypatch.chdir(folder.parent)

    settings = load_settings(Path("app") / file.name, environment={})

    assert settings.script_location == folder / "migrations"
    assert settings.version_locations == (folder / "v1", folder / "v2")


def test_backups_stand_beside_the_file_unless_it_says_where(folder):
    write(folder, 'script_location = "migrations"\n')
    assert load(folder).backup_dir == folder / "redismigrate-backups"
    write(folder, 'script_location = "migrations"\nbackup_dir = "var/backups"\n')
    assert load(folder).backup_dir == folder / "var" / "backups"
    assert load(folder, {"REDISMIGRATE_BACKUP_DIR": "/backups"}).backup_dir == Path("/backups")
    assert load(folder, {"REDISMIGRATE_BACKUP_DIR": "/a"}, backup_dir="/b").backup_dir == Path("/b")


def test_a_folder_for_backups_without_a_name_is_refused(folder):
    write(folder, 'script_location = "migrations"\n')
    with pytest.raises(
        ConfigurationError,
        match=r"^The environment variable REDISMIGRATE_BACKUP_DIR is not valid: backup_dir: must not be",
    ):
        load(folder, {"REDISMIGRATE_BACKUP_DIR": ""})


# --- the project's name -------------------------------------------------------------------------------------


def test_the_project_is_called_as_the_configuration_says(folder):
    write(folder, 'script_location = "migrations"\nproject = "shop"\n')
    assert load(folder).project == "shop"


def test_the_project_is_called_as_pyproject_toml_says(folder):
    text = '[project]\nname = "web-shop"\n[tool.redismigrate]\nscript_location = "migrations"\n'
    write(folder, text, "pyproject.toml")
    assert load(folder).project == "web-shop"
    write(folder, text + 'project = "shop"\n', "pyproject.toml")
    assert load(folder).project == "shop"


@pytest.mark.parametrize("project", ["", '[project]\nversion = "1"\n'])
def test_the_project_is_else_called_as_the_folder_above_the_scripts(folder, project):
    write(folder, f'{project}[tool.redismigrate]\nscript_location = "db/migrations"\n', "pyproject.toml")
    assert load(folder).project == "db"


def test_the_name_of_a_folder_is_made_fit_for_a_key():
    assert default_project_name(Path("/srv/my {web} shop/migrations")) == "my-web-shop"
    assert default_project_name(Path("/migrations")) == "default"


# --- what is shown of a URL ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://user@localhost:6379/0", "redis://user@localhost:6379/0"),
        ("redis://user:secret@localhost:6379/0", "redis://user:***@localhost:6379/0"),
        ("rediss://:secret@localhost/0?ssl_cert_reqs=none", "rediss://:***@localhost/0?ssl_cert_reqs=none"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("unix://user:secret@/run/redis.sock?db=0", "unix://user:***@/run/redis.sock?db=0"),
        ("unix:///run/redis.sock?password=secret&db=0", "unix:///run/redis.sock?password=***&db=0"),
        ("redis://localhost/0?db=0&password=sec#ret", "redis://localhost/0?db=0&password=***"),
        ("redis://localhost/0?password=sec@ret", "redis://localhost/0?password=***"),
        ("redis://user:sec/ret@localhost/0", "redis://user:***@localhost/0"),
        ("redis://user:sec@ret@localhost/0", "redis://user:***@localhost/0"),
        ("redis://user:sec?ret#@localhost/0", "redis://user:***@localhost/0"),
        ("embedded://", "embedded://"),
        ("embedded:///srv/data", "embedded:///srv/data"),
        ("no url at all", "no url at all"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert redacted(url) == shown


@given(
    st.sampled_from(["redis://{user}:{password}@host:1/0", "unix://{user}:{password}@/run/s?db=0"]),
    st.text(st.characters(codec="utf-8", exclude_characters="%:@/?#"), max_size=5),
    st.text(st.characters(codec="utf-8")).map(lambda text: f"<{text}>"),
)
def test_no_password_whatever_is_shown_of_a_url(template, user, password):
    assert redacted(template.format(user=user, password=password)) == template.format(
        user=user, password="***"
    )
