"""Where settings come from, which wins, and what of a URL is shown."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.config import DEFAULT_URL, default_project_name, load_settings, zone_of
from redismigrate.configuration_file import find_configuration
from redismigrate.errors import ConfigurationError
from redismigrate.shown_url import shown_url


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


def test_a_file_that_an_editor_on_windows_has_saved_is_read(folder):
    (folder / "redismigrate.toml").write_bytes(
        b'\xef\xbb\xbfscript_location = "migrations"\r\nproject = "w"\r\n'
    )
    assert load(folder).project == "w"


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


# --- named environments -------------------------------------------------------------------------------------

ENVIRONMENTS = """
script_location = "migrations"
project = "file"
url = "redis://file"
lock_timeout = 1

[environments.production]
project = "production"
url = "redis://production"
ssl_ca_certs = "ca.crt"

[environments.staging]
url = "redis://staging"
"""


def load_env(folder, env=None, environment=None, **overrides):
    return load_settings(overrides=overrides, environment=environment or {}, start=folder, env=env)


def test_an_environment_wins_over_the_file_and_loses_to_variables_and_the_command_line(folder):
    write(folder, ENVIRONMENTS)

    settings = load_env(folder, "production")
    assert (settings.url, settings.project, settings.lock_timeout) == ("redis://production", "production", 1)
    assert settings.ssl_ca_certs == folder / "ca.crt"

    assert load_env(folder, "production", {"REDISMIGRATE_URL": "redis://variable"}).url == "redis://variable"
    assert load_env(folder, "production", url="redis://option").url == "redis://option"
    assert load_env(folder).url == "redis://file"


def test_the_environment_may_be_named_by_a_variable_which_the_command_line_overrides(folder):
    write(folder, ENVIRONMENTS)
    variable = {"REDISMIGRATE_ENV": "staging"}
    assert load_env(folder, environment=variable).url == "redis://staging"
    assert load_env(folder, "production", variable).url == "redis://production"


def test_pyproject_toml_has_environments_too(folder):
    text = """
[tool.redismigrate]
script_location = "migrations"
[tool.redismigrate.environments.production]
url = "redis://production"
"""
    write(folder, text, "pyproject.toml")
    assert load_env(folder, "production").url == "redis://production"


@pytest.mark.parametrize("env", ["prod", ""])
def test_an_environment_that_is_not_there_is_refused_with_those_that_are(folder, env):
    file = write(folder, ENVIRONMENTS)
    for way in ({"env": env}, {"environment": {"REDISMIGRATE_ENV": env}}):
        with pytest.raises(ConfigurationError) as caught:
            load_env(folder, **way)
        assert caught.value.exit_code == 8
        assert caught.value.message == f"The configuration {file} has no environment '{env}'."
        assert caught.value.hint == "It has: production, staging."


@pytest.mark.parametrize(
    ("name", "section", "hint"),
    [
        ("redismigrate.toml", "", "It has none; add [environments.production]."),
        (
            "pyproject.toml",
            "[tool.redismigrate]\n",
            "It has none; add [tool.redismigrate.environments.production].",
        ),
    ],
)
def test_without_environments_it_is_said_where_to_add_one(folder, name, section, hint):
    write(folder, f'{section}script_location = "migrations"\n', name)
    with pytest.raises(ConfigurationError) as caught:
        load_env(folder, "production")
    assert caught.value.hint == hint


def test_a_wrong_setting_of_an_environment_is_told_with_its_name(folder):
    file = write(folder, f'{ENVIRONMENTS}lock_timeout = "soon"\nurll = "x"\n')
    origin = f"^The environment staging of the configuration {file} is not valid: "
    with pytest.raises(ConfigurationError, match=f"{origin}lock_timeout: "):
        load_env(folder, "staging")
    with pytest.raises(ConfigurationError, match=f"{origin}unknown setting urll"):
        load_env(folder, "staging", {"REDISMIGRATE_LOCK_TIMEOUT": "1"})
    assert load_env(folder, "production").project == "production"


@pytest.mark.parametrize("value", ['"production"', '{production = "redis://x"}', "[]"])
def test_environments_that_are_no_tables_are_refused(folder, value):
    write(folder, f'script_location = "migrations"\nenvironments = {value}\n')
    with pytest.raises(ConfigurationError, match="is not valid: environments is no table of tables"):
        load(folder)


def test_an_environment_can_not_say_where_its_file_is(folder):
    write(folder, f'{ENVIRONMENTS}file = "x"\n')
    with pytest.raises(ConfigurationError, match="has an unknown setting: file"):
        load_env(folder, "staging")


# --- TLS ----------------------------------------------------------------------------------------------------


def test_settings_for_tls_are_options_of_the_connection(folder):
    write(
        folder,
        'script_location = "migrations"\nssl_ca_certs = "tls/ca.crt"\nssl_certfile = "/c.crt"\n'
        'ssl_check_hostname = false\nssl_cert_reqs = "optional"\n',
    )
    assert load(folder, {"REDISMIGRATE_SSL_KEYFILE": "c.key"}).tls == {
        "ssl_ca_certs": str(folder / "tls" / "ca.crt"),
        "ssl_certfile": "/c.crt",
        "ssl_keyfile": str(folder / "c.key"),
        "ssl_cert_reqs": "optional",
        "ssl_check_hostname": False,
    }


def test_without_settings_certificates_are_checked(folder):
    write(folder, 'script_location = "migrations"\n')
    assert load(folder).tls == {"ssl_cert_reqs": "required", "ssl_check_hostname": True}


# --- how scripts are named ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("%(rev)s_%(author)s", "has no part 'author'; there are rev, slug, epoch, year, month, day, hour"),
        ("%(rev)d", "is no %-format"),
        ("%(rev", "is no %-format"),
        ("%(year)d/%(rev)s", "must make a file name without folder"),
        (".%(rev)s", "must make a file name without folder"),
        ("__%(rev)s", 'does not start with "__"'),
    ],
)
def test_a_template_of_file_names_that_makes_none_is_refused(folder, template, says):
    write(folder, f'script_location = "migrations"\nfile_template = "{template}"\n')
    with pytest.raises(ConfigurationError) as caught:
        load(folder)
    assert "is not valid: file_template: " in caught.value.message
    assert says in caught.value.message


@pytest.mark.parametrize("timezone", ["Mars/Olympus", "Europe", "/etc/passwd", "", "../x"])
def test_a_time_zone_that_is_none_is_refused(folder, timezone):
    write(folder, f'script_location = "migrations"\ntimezone = "{timezone}"\n')
    with pytest.raises(
        ConfigurationError, match="timezone: is no time zone; write UTC or a name like Europe/Berlin"
    ):
        load(folder)


@pytest.mark.parametrize("timezone", ["utc", "UTC"])
def test_utc_is_known_in_any_spelling(timezone):
    assert zone_of(timezone) is UTC


def test_a_slug_has_a_character_at_least(folder):
    write(folder, 'script_location = "migrations"\ntruncate_slug_length = 0\n')
    with pytest.raises(ConfigurationError, match="truncate_slug_length: input should be greater than"):
        load(folder)


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
        ("redis://localhost/0?p%61ssword=secret&db=0", "redis://localhost/0?p%61ssword=***&db=0"),
        ("rediss://localhost/0?ssl_password=secret", "rediss://localhost/0?ssl_password=***"),
        (
            "sentinel://user:secret@a:1,b:2/shop?sentinel_password=secret&ssl=true",
            "sentinel://user:***@a:1,b:2/shop?sentinel_password=***&ssl=true",
        ),
        ("sentinel://a:1,b:2/shop/0", "sentinel://a:1,b:2/shop/0"),
        ("redis://user:sec/ret@localhost/0", "redis://user:***@localhost/0"),
        ("redis://user:sec@ret@localhost/0", "redis://user:***@localhost/0"),
        ("redis://user:sec?ret#@localhost/0", "redis://user:***@localhost/0"),
        ("embedded://", "embedded://"),
        ("embedded:///srv/data", "embedded:///srv/data"),
        ("no url at all", "no url at all"),
        ("redis://localhost/0?Password=secret", "redis://localhost/0?Password=***"),
        ("redis://localhost/0?PASSWORD=secret&db=0", "redis://localhost/0?PASSWORD=***&db=0"),
        ("redis://localhost/0?pwd=secret", "redis://localhost/0?pwd=***"),
        (
            "redis://localhost/0?auth%5Ftoken=secret&client_name=a",
            "redis://localhost/0?auth%5Ftoken=***&client_name=a",
        ),
        ("redis://localhost/0?secret", "redis://localhost/0?***"),
        ("redis://localhost/0?password=sec&ret=1&db=0", "redis://localhost/0?password=***&***&db=0"),
        ("redis://localhost/0?db=0#secret", "redis://localhost/0?db=0#***"),
        ("redis://localhost/0#secret", "redis://localhost/0#***"),
        ("redis://localhost:6379/0?Password=sec@ret", "redis://localhost:6379/0?Password=***"),
        ("redis://user:secret@localhost/0?Password=sec@ret", "redis://user:***@***"),
        ("redis://user:sec?re=t@localhost/0?db=0", "redis://user:***@localhost/0?db=0"),
        ("redis://user:secret", "redis://user:***"),
        ("redis://user:sec/ret/0", "redis://user:***"),
        ("redis://[::1]:6379/0?x=secret", "redis://[::1]:6379/0?x=***"),
        ("user:secret@localhost:6379", "user:***@localhost:6379"),
        ("redis:/user:secret@localhost:6379", "redis:***@localhost:6379"),
        ("sentinel://a:1,b:2/shop?Sentinel_Password=secret", "sentinel://a:1,b:2/shop?Sentinel_Password=***"),
        ("unix:///run/a:b.sock?Password=secret", "unix:///run/a:b.sock?Password=***"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert shown_url(url) == shown


@given(
    st.sampled_from(["redis://{user}:{password}@host:1/0", "unix://{user}:{password}@/run/s?db=0"]),
    st.text(st.characters(codec="utf-8", exclude_characters="%:@/?#"), max_size=5),
    st.text(st.characters(codec="utf-8")).map(lambda text: f"<{text}>"),
)
def test_no_password_whatever_is_shown_of_a_url(template, user, password):
    assert shown_url(template.format(user=user, password=password)) == template.format(
        user=user, password="***"
    )
