"""Files and documents of the state that no parser, and no path, can be: one error each, which names them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fuzzed_inputs import DIGITS, LEVELS
from fuzzing import run_in_process
from signalled_process import KILLED, kill_at
from vector_documents import TO_FLOAT16, TO_FLOAT32, stock

from redismigrate.commands.migration_options import MigrationOptions

if TYPE_CHECKING:
    from conftest import Shop

KEY = "{redismigrate:shop}:"
DEEP = "[" * LEVELS + "]" * LEVELS
NUMBER = "1" * DIGITS
HOSTILE = (DEEP, NUMBER, "NaN", "1e999")
TAGS = (
    ('!!int ""', "'' is no int"),
    ("!!timestamp 99999-01-01", "'99999-01-01' is no timestamp"),
    ("!!binary x", "failed to decode base64 data"),
    ("!!bool perhaps", "'perhaps' is no bool"),
    ("!!python/object/apply:os.system [id]", "could not determine a constructor for the tag"),
    (DEEP, "is nested too deeply"),
    (NUMBER, "has a number of more than 300 digits"),
)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"schemas = {DEEP}", "redismigrate.toml is nested too deeply."),
        (f"lock_timeout = {NUMBER}", "it has a number of more than 300 digits."),
        (f"lock_timeout = 0x{'f' * DIGITS}", "has a number of more than 300 digits."),
        ('backup_dir = "a\\u0000b"', "backup_dir: holds a NUL byte."),
        (f'backup_dir = "{"a" * 300}"', "backup_dir: has a name of 300 bytes, where 255 are the most."),
        (f'version_locations = ["{"a/" * 3_000}"]', "version_locations: is longer than 4,000 bytes."),
        ('ssl_ca_certs = "a\\u0000b"', "ssl_ca_certs: holds a NUL byte."),
        ('schemas = ["a\\u0000/*.yaml"]', "schemas: 'a\\x00/*.yaml' holds a NUL byte."),
    ],
)
def test_a_broken_configuration_is_one_error(shop: Shop, line: str, says: str):
    file = shop.folder / "redismigrate.toml"
    file.write_text(f"{line}\n{file.read_text()}")
    shop.refuses("check", code=8, says=("", says))


@pytest.mark.parametrize("value", ["a\\u0000b", "a" * 300])
def test_scripts_at_a_path_that_none_can_be(shop: Shop, value: str):
    (shop.folder / "redismigrate.toml").write_text(f'script_location = "{value}"\n')
    shop.refuses("current", code=8, says=("The configuration ", "script_location: h"))


def test_a_pyproject_toml_is_no_better(shop: Shop):
    (shop.folder / "redismigrate.toml").unlink()
    (shop.folder / "pyproject.toml").write_text(f"[tool.redismigrate]\nproject = {DEEP}\n")
    shop.refuses("current", code=8, says=("The configuration ", "pyproject.toml is nested too deeply."))


@pytest.mark.parametrize(("value", "says"), TAGS)
def test_broken_yaml_is_one_error_wherever_it_stands(shop: Shop, value: str, says: str):
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(f'schemas = ["schema.yaml"]\n{configuration.read_text()}')
    shop.write('op.create_index({"index": {"name": "products"}, "fields": [{"name": "a", "type": "tag"}]})')
    assert shop.run("upgrade").code == 0
    (shop.folder / "schema.yaml").write_text(f"index: {{name: {value}}}\nfields: []\n")
    shop.refuses("revision", "-m", "a", "--autogenerate", code=8, says=("", "schema.yaml: ", says))
    (shop.folder / "patch.yaml").write_text(f"version: 1\nchanges: {value}\n")
    patch = ("revision", "-m", "a", "--schema-patch", "patch.yaml", "--index", "products")
    shop.refuses(*patch, code=8, says=("patch.yaml: ", says))
    (shop.folder / "plan.yaml").write_text(f"digest: {value}\n")
    shop.write()
    plan = ("upgrade", "--plan", "plan.yaml")
    shop.refuses(*plan, code=8, says=("plan.yaml is no plan of redismigrate. It ", says))


def texts_of(document: dict[str, Any]) -> list[str]:
    """A document of the state with each of its values of another type, and with hostile ones."""
    changed = [
        json.dumps({**document, name: other})
        for name, value in document.items()
        for other in ([], {}, "text", 7.5, None, -1, True)
        if type(other) is not type(value)
    ]
    return [
        *changed,
        *(json.dumps({key: each for key, each in document.items() if key != name}) for name in document),
        *(f'{json.dumps(document)[:-1]}, "later": {hostile}}}' for hostile in HOSTILE),
        json.dumps(document)[:-1] + ', "\\ud800": "\\ud800"}',
        json.dumps(dict(reversed(document.items()))),
        "[]", "7", "null", '"text"', "", "{", "\\x00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "every", [pytest.param(9, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", ["head", "last_run", "run", "progress", "follower", "control", "lock"])
def test_documents_of_the_state_with_values_of_other_types_are_no_raw_errors(
    shop: Shop, name: str, every: int
):
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(f"lock_timeout = 0\n{configuration.read_text()}")
    stock(shop, 5)
    document = shop.state(name)
    if document is None:
        shop.write(TO_FLOAT16, TO_FLOAT32)
        options = MigrationOptions(strategy="rebuild")
        assert kill_at(shop, "upgrade", "head", at=4, options=options) == KILLED
        document = shop.state(name) or {}
        shop.client.delete(f"{KEY}lock")
    document.pop("sha256", None)  # as earlier versions wrote it: what stands there is all that tells
    saved = shop.client.get(KEY + name)
    for text in texts_of(document)[::every]:
        shop.client.set(KEY + name, text)
        for command in (("status",), ("status", "--json"), ("current",), ("check",)):
            outcome = run_in_process(command, shop.folder)
            assert "unexpected" not in outcome.out, (text, outcome.out)
            assert "Run it with -v" not in outcome.err, (text, outcome.err)
        assert outcome.code in {0, 1, 3, 4, 7, 8}, outcome
    shop.client.delete(KEY + name) if saved is None else shop.client.set(KEY + name, saved)


@pytest.mark.parametrize("token", [b"2=-1", b"9" * DIGITS, b"1\n2", b"", b"\xff", b"-5"])
def test_a_fencing_token_that_somebody_wrote_begins_anew(shop: Shop, token: bytes):
    shop.write('op.create_index({"index": {"name": "products"}, "fields": [{"name": "a", "type": "tag"}]})')
    shop.client.set(f"{KEY}fence", token)
    for command in (("plan",), ("upgrade", "--script"), ("upgrade",), ("check",), ("unlock",)):
        result = shop.run(*command)
        assert result.code == 0, (command, result.err)
    assert shop.client.get(f"{KEY}fence").partition(b"-")[0].isdigit()


def test_events_that_somebody_added_are_shown(shop: Shop):
    shop.write('op.create_index({"index": {"name": "products"}, "fields": [{"name": "a", "type": "tag"}]})')
    assert shop.run("upgrade").code == 0
    journal = f"{KEY}journal"
    shop.client.xadd(journal, {b"\xed\xb3\xbf": b"\xff", b"at": b"x"})
    shop.client.xadd(journal, {b"event": b"\x1b[2J"}, id="18446744073709551615-1")
    result = shop.run("status")
    assert (result.code, "18446744073709551615-1 \\x1b[2J" in result.out) == (0, True), result


@pytest.mark.parametrize("name", ["!!binary aGFsbG8=", "7", "''", "[a]"])
def test_a_patch_gives_an_index_a_name_that_is_text(shop: Shop, name: str):
    shop.write('op.create_index({"index": {"name": "products"}, "fields": [{"name": "a", "type": "tag"}]})')
    assert shop.run("upgrade").code == 0
    (shop.folder / "patch.yaml").write_text(f"changes: {{index: {{name: {name}}}}}\n")
    patch = ("revision", "-m", "a", "--schema-patch", "patch.yaml", "--index", "products")
    shop.refuses(*patch, code=8, says=("patch.yaml: ", "is no name of an index."))


@pytest.mark.parametrize("name", ["run", "progress"])
def test_what_a_run_goes_on_by_is_sealed(shop: Shop, name: str):
    stock(shop, 5)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    options = MigrationOptions(strategy="rebuild")
    assert kill_at(shop, "upgrade", "head", at=4, options=options) == KILLED
    shop.client.delete(f"{KEY}lock")
    text = shop.client.get(KEY + name)
    edited = text.replace(b'"position": ', b'"position": 1').replace(b"FLOAT16", b"FLOAT64")
    assert edited != text
    shop.client.set(KEY + name, edited)
    for command in ("upgrade", "rollback", "status"):
        shop.refuses(command, code=1, says=(f"The key {KEY}{name} is damaged", "redis-cli DEL"))
    shop.client.set(KEY + name, text)
    assert shop.run("upgrade").code == 0


def test_what_a_rollback_goes_by_is_sealed(shop: Shop):
    stock(shop, 5)
    key = f"{KEY}undo:000000000001"
    run = shop.state("last_run")["run"]
    text = shop.client.get(key)
    shop.client.set(key, text.replace(b"products", b"stock"))
    shop.refuses("rollback", "--run", run, code=1, says=(f"The key {key} is damaged",))
    shop.client.set(key, text)
    assert shop.run("rollback", "--run", run).code == 0
