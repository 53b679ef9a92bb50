"""Mistakes of users, and surprises in the Redis: what is said, which exit code, and that nothing changes."""

from __future__ import annotations

import hashlib
import json

import pytest
import yaml

from redismigrate.errors import ConfigurationError, PlanBlocked
from redismigrate.planning.plan_file import read_plan

PRODUCTS = """
op.create_index({
    "index": {"name": "products", "prefix": "p:"},
    "fields": [{"name": "title", "type": "text"}, {"name": "brand", "type": "tag"}],
})
"""
GERMAN = """
with op.index("products") as index:
    index.set_options(language="german")
"""
EXISTS = "FT.CREATE", "other", "PREFIX", "1", "o:", "SCHEMA", "title", "TEXT"


def configure(shop, *lines):
    (shop.folder / "redismigrate.toml").write_text("\n".join(lines))


def applied(shop, upgrade=PRODUCTS):
    """Write a first revision and apply it."""
    revision = shop.write(upgrade)
    result = shop.run("upgrade")
    assert result.code == 0, result.err
    return revision


# --- configuration ------------------------------------------------------------------------------------------


def test_a_configuration_that_is_no_toml_is_told_with_its_line(shop):
    configure(shop, 'project = "shop"', "script_location = migrations")

    shop.refuses(
        "upgrade",
        code=8,
        says=("The configuration ", "redismigrate.toml is not valid TOML: ", "(at line 2, column 19)"),
    )


def test_a_configuration_that_is_not_utf8_is_refused(shop):
    (shop.folder / "redismigrate.toml").write_bytes(b'project = "sh\xf6p"')

    shop.refuses("upgrade", code=8, says=("Can't read the configuration ", "it is not UTF-8"))


def test_a_configuration_file_that_does_not_exist_is_named(shop):
    shop.refuses(
        "upgrade",
        "--config",
        "nowhere.toml",
        code=8,
        says=("Can't read the configuration nowhere.toml: No such file or directory.",),
    )


def test_a_folder_without_configuration_says_how_to_make_one(shop):
    (shop.folder / "redismigrate.toml").unlink()

    shop.refuses(
        "upgrade",
        code=8,
        says=("No redismigrate.toml and no [tool.redismigrate] in a pyproject.toml", "redismigrate init"),
    )


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (['script_location = "migrations"', 'script_locatoin = "x"'], "unknown setting script_locatoin"),
        (['script_location = "migrations"', 'file = "x"'], "unknown setting: file"),
        (['script_location = "migrations"', "project = 5"], "project: input should be a valid string"),
        (['script_location = "migrations"', 'project = "a b"'], "project: "),
        (['script_location = "migrations"', 'project = ""'], "project: "),
        (['script_location = "migrations"', "lock_timeout = 'soon'"], "lock_timeout: "),
        (['script_location = "migrations"', "lock_timeout = -1"], "lock_timeout: "),
        (['script_location = "migrations"', "url = 5"], "url: input should be a valid string"),
        (['script_location = "migrations"', 'url = "http://localhost"'], "url: must start with redis://"),
        (['script_location = "migrations"', 'allow_evictable_state = "perhaps"'], "allow_evictable_state: "),
        (['script_location = "migrations"', 'version_locations = "versions"'], "version_locations: "),
        (['script_location = "migrations"', 'schemas = "a.yaml"'], "schemas: input should be a list."),
        (['script_location = "migrations"', "version_locations = [5]"], "version_locations"),
        (["script_location = 5"], "script_location: "),
        (['project = "shop"'], "does not say where the migration scripts are."),
    ],
)
def test_a_wrong_setting_is_named(shop, lines, says):
    configure(shop, *lines)

    shop.refuses("upgrade", code=8, says=("", "redismigrate.toml", says))


def test_a_wrong_setting_of_pyproject_toml_is_named(shop):
    (shop.folder / "redismigrate.toml").unlink()
    (shop.folder / "pyproject.toml").write_text("[tool]\nredismigrate = 5\n")

    shop.refuses("upgrade", code=8, says=("", "pyproject.toml is not valid: redismigrate is no table."))


def test_init_in_a_folder_with_an_odd_name_makes_a_configuration_that_works(shop, monkeypatch):
    monkeypatch.setattr(shop, "folder", shop.folder / "my {web} shop")
    shop.folder.mkdir()

    assert shop.run("init", "migrations", "--url", shop.url).code == 0

    assert shop.run("current", "--json").json["project"] == "my-web-shop"


def test_a_wrong_setting_of_the_environment_is_named_as_such(shop, monkeypatch):
    monkeypatch.setenv("REDISMIGRATE_LOCK_TIMEOUT", "soon")

    shop.refuses("upgrade", code=8, says=("", "lock_timeout: ", "REDISMIGRATE_LOCK_TIMEOUT"))


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "", "redis:/localhost"])
def test_a_url_of_another_kind_is_refused(shop, url):
    shop.write(PRODUCTS)

    shop.refuses(
        "upgrade",
        "--url",
        url,
        code=8,
        says=("", "must start with redis://, rediss://, unix://, sentinel:// or embedded://"),
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        # May be a password whose host is missing.
        ("redis://localhost:port", "redis://localhost:***"),
        ("redis://localhost:99999", "redis://localhost:99999"),
        ("redis://localhost/0?db=x", "redis://localhost/0?db=x"),
    ],
)
def test_a_url_that_cannot_be_understood_is_refused(shop, url, shown):
    shop.write(PRODUCTS)

    shop.refuses(
        "upgrade", "--url", url, code=8, says=(f"The URL {shown} can't be understood.", "percent-encoded")
    )


def test_a_folder_of_scripts_that_does_not_exist_is_named(shop):
    configure(shop, 'project = "shop"', 'script_location = "elsewhere"', f'url = "{shop.url}"')

    shop.refuses("upgrade", code=8, says=("", "elsewhere/versions"))


# --- scripts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preamble", "upgrade", "says"),
    [
        ("import no_such_module", "pass", "No module named 'no_such_module'"),
        ("1 / 0", "pass", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "pass", "SystemExit: 3"),
        ("def broken(:", "pass", "is not valid Python (SyntaxError"),
        ("", "1 / 0", "ZeroDivisionError: division by zero"),
        ("", "raise SystemExit(3)", "SystemExit: 3"),
        ("", "op.creat_index({})", "did you mean 'create_index'?"),
        ("", "op.index('products').add_feild({})", "There is no index products at this revision."),
        (
            "",
            "op.create_index({'index': {'name': 'a', 'prefx': 'b'}, 'fields': []})",
            "did you mean 'prefix'?",
        ),
        ("", "op.create_index('products')", "mapping"),
        ("", "op.create_index(None)", "mapping"),
        ("", "op.drop_index('products')", "There is no index products at this revision."),
        ("", "op.drop_alias('shop')", "No index of this project has the alias shop."),
        ("", "op.create_index()", "missing 1 required positional argument: 'schema'"),
        ("", "op.run('fill')", "op.run takes functions of one redis client."),
        ("", "op.run(print, lambda client: (yield))", "op.run takes no async functions and no generators"),
    ],
)
def test_a_mistake_in_a_script_is_told_with_file_and_line(shop, preamble, upgrade, says):
    revision = shop.write(upgrade, preamble=preamble)
    script = shop.script(revision)
    line = 1 + next(
        at for at, text in enumerate(script.read_text().splitlines()) if text.strip() == (preamble or upgrade)
    )

    shop.refuses("upgrade", code=8, says=("", str(script), str(line), says))
    shop.refuses("plan", code=8, says=("", str(script), str(line), says))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("index.add_feild({'name': 'x', 'type': 'tag'})", "did you mean 'add_field'?"),
        ("index.add_field({'name': 'x', 'type': 'tagg'})", "did you mean 'tag'?"),
        (
            "index.add_field({'name': 'x', 'type': 'tag', 'attrs': {'seperator': ';'}})",
            "did you mean 'separator'?",
        ),
        ("index.add_field({'name': 'title', 'type': 'tag'})", "already has a field 'title'"),
        ("index.drop_field('titel')", "did you mean 'title'?"),
        ("index.alter_field('brand', seperator=';')", "did you mean 'separator'?"),
        ("index.alter_field('brand')", "alter_field('brand') names no attribute."),
        ("index.alter_field('brand', separator=';;')", "separator: should be one byte"),
        ("index.set_options(langage='german')", "did you mean 'language'?"),
        ("index.set_options()", "set_options names no option."),
        ("index.set_options(name='goods')", "Use rename_to(name)."),
        ("index.rename_to('products')", "Index products has that name already."),
        ("index.rename_to('shop')", "shop is an alias of index products."),
        ("op.create_index({'index': {'name': 'products'}, 'fields': []})", "Index products exists already"),
        ("op.create_index({'index': {'name': 'shop'}, 'fields': []})", "shop is an alias of index products."),
        ("op.create_alias('products', 'products')", "products is an index, so it can't be an alias."),
        ("op.index('shop')", "shop is an alias of index products, not an index."),
        ("op.drop_index('shop')", "shop is an alias of index products, not an index."),
        ("op.set_synonyms('products', 'shoes', 'sneaker')", "Synonym terms are a list, not one string."),
    ],
)
def test_a_mistake_in_a_change_is_told_with_its_line_and_the_nearest_name(shop, change, says):
    applied(shop, PRODUCTS + "op.create_alias('shop', 'products')")
    revision = shop.write(f"with op.index('products') as index:\n    {change}\n")
    script = shop.script(revision)
    line = 1 + next(at for at, text in enumerate(script.read_text().splitlines()) if change in text)

    # The last name is taken when the block ends.
    place = f"{script}:{line}: " if "rename_to('shop')" not in change else f"{script}:"
    shop.refuses("upgrade", code=8, says=("", place, says), aliases=("shop",))


def test_a_mistake_in_a_downgrade_is_told_when_the_downgrade_is_asked_for(shop):
    revision = shop.write(PRODUCTS, "op.drop_indx('products')")
    assert shop.run("upgrade").code == 0

    shop.refuses(
        "downgrade", "base", code=8, says=(f"{shop.script(revision)}:", "did you mean 'drop_index'?")
    )


def test_a_script_without_downgrade_is_refused_before_it_is_applied(shop):
    script = shop.script(shop.write(PRODUCTS))
    script.write_text(script.read_text().replace("def downgrade", "def downgrad"))

    shop.refuses("upgrade", code=8, says=(f"{script} has no function `downgrade`.", "its body may be `pass`"))


@pytest.mark.parametrize("preamble", ["import no_such_module", ""])
def test_a_mistake_in_a_script_shows_a_traceback_only_with_verbose(shop, preamble):
    shop.write("1 / 0", preamble=preamble)

    assert "Traceback" not in shop.run("upgrade").err
    verbose = shop.run("-v", "upgrade")
    assert verbose.code == 8
    assert "Traceback (most recent call last)" in verbose.err
    assert "ModuleNotFoundError" in verbose.err if preamble else "ZeroDivisionError" in verbose.err
    as_json = shop.run("--json", "-v", "upgrade")
    assert "Traceback" in as_json.err
    assert list(as_json.json) == ["error"]


def test_two_scripts_of_one_revision_are_both_named(shop):
    script = shop.script(shop.write(PRODUCTS))
    copy = script.with_name("copy.py")
    copy.write_text(script.read_text())

    shop.refuses(
        "upgrade", code=8, says=("", str(script), str(copy), "both carry the revision id 000000000001")
    )


def test_a_script_whose_parent_is_missing_is_refused(shop):
    shop.write(PRODUCTS, down_revision="fedcba987654")

    shop.refuses("upgrade", code=8, says=("", "fedcba987654"))


# --- the record ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", ["head", "indexes", "run"])
@pytest.mark.parametrize("command", ["upgrade", "plan", "current", "status"])
def test_a_record_of_a_newer_version_is_refused(shop, document, command):
    applied(shop)
    shop.write(GERMAN)
    shop.client.set(f"{{redismigrate:shop}}:{document}", '{"version": 7, "layout": 2, "galaxies": []}')

    shop.refuses(
        command,
        code=1,
        says=(
            "The state of this project has layout 2; this version of redismigrate knows 1.",
            "Upgrade redismigrate.",
        ),
    )


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("head", "no JSON"),
        ("head", b"\xff\xfe"),
        ("head", "[]"),
        ("head", "{}"),
        ("head", '{"version": 1}'),
        ("head", '{"version": 1, "layout": 1, "revisions": 5}'),
        ("head", '{"version": 1, "layout": 1, "revisions": {"a": 5}}'),
        ("head", '{"version": 1, "layout": 1, "revisions": {"a": {}}}'),
        ("indexes", "no JSON"),
        ("indexes", '{"version": 1, "layout": 1, "indexes": 5}'),
        ("indexes", '{"version": 1, "layout": 1, "indexes": {"products": {}}}'),
        ("indexes", '{"version": 1, "layout": 1, "indexes": {"products": {"schema": {"name": 5}}}}'),
        ("run", "no JSON"),
        ("run", '{"version": 1, "layout": 1, "id": 5}'),
    ],
)
@pytest.mark.parametrize("command", ["upgrade", "status"])
def test_a_damaged_record_is_refused(shop, document, text, command):
    applied(shop)
    shop.write(GERMAN)
    shop.client.set(f"{{redismigrate:shop}}:{document}", text)

    shop.refuses(command, code=1, says=("The ", "redismigrate"))


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"products": 5}', b"\xff\xfe"])
def test_a_damaged_record_of_owners_is_refused(shop, text):
    shop.write(PRODUCTS)
    shop.client.set("{redismigrate}:owners", text)

    shop.refuses("upgrade", code=1, says=("The key {redismigrate}:owners is damaged",))


@pytest.mark.parametrize("is_alias", [False, True])
def test_a_missing_record_is_noticed_by_the_indexes_that_are_left(shop, is_alias):
    applied(shop)
    if is_alias:
        shop.write(GERMAN)
        assert shop.run("upgrade", "--strategy", "shadow").code == 0
        assert b"products" not in shop.client.execute_command("FT._LIST")
    shop.client.delete("{redismigrate:shop}:head", "{redismigrate:shop}:indexes")

    for command in (("upgrade",), ("plan",), ("downgrade", "base")):
        shop.refuses(
            *command,
            code=1,
            says=(
                "The record of project shop is missing, but indexes of it exist: products.",
                "Restore its keys from a dump, or say what is applied with `redismigrate stamp REV`.",
            ),
        )
    assert shop.run("stamp", "head").code == 0
    assert shop.run("upgrade", "--json").json["result"] == "nothing"


# --- indexes that were changed behind our back --------------------------------------------------------------


def test_an_index_that_somebody_altered_is_told_with_what_differs(shop):
    applied(shop)
    shop.client.execute_command("FT.ALTER", "products", "SCHEMA", "ADD", "price", "NUMERIC")
    shop.write(GERMAN)

    shop.refuses(
        "upgrade",
        code=3,
        says=(
            "The server differs from the record: products: numeric field 'price' is added; ",
            "redismigrate stamp",
        ),
    )


def test_an_index_that_somebody_created_anew_is_told_with_what_differs(shop):
    applied(shop)
    shop.client.execute_command("FT.DROPINDEX", "products")
    shop.client.execute_command(
        "FT.CREATE", "products", "SCHEMA", "title", "TEXT", "brand", "TAG", "SEPARATOR", ";"
    )
    shop.write(GERMAN)

    shop.refuses(
        "upgrade",
        code=3,
        says=(
            "",
            "option prefixes changes from 'p:' to none",
            "field 'brand': separator changes from ',' to ';'",
        ),
    )


def test_an_index_that_somebody_dropped_is_named(shop):
    applied(shop)
    shop.client.execute_command("FT.DROPINDEX", "products")
    shop.write(GERMAN)

    shop.refuses(
        "upgrade",
        code=3,
        says=("The server differs from the record: products: index products does not exist;",),
    )


def test_an_alias_that_somebody_moved_or_dropped_is_told(shop):
    applied(shop, PRODUCTS + "op.create_alias('shop', 'products')")
    shop.write(GERMAN)
    shop.client.execute_command(*EXISTS)
    shop.client.execute_command("FT.ALIASUPDATE", "shop", "other")
    shop.refuses("upgrade", code=3, says=("", "alias shop points to other"), aliases=("shop",))
    shop.client.execute_command("FT.ALIASDEL", "shop")
    shop.refuses("upgrade", code=3, says=("", "alias shop does not exist"), aliases=("shop",))


def test_an_index_made_over_an_alias_is_told_and_repaired(shop):
    applied(shop, PRODUCTS + "op.create_alias('shop', 'products')")
    shop.write(GERMAN)
    shop.client.execute_command("FT.CREATE", "shop", "PREFIX", "1", "o:", "SCHEMA", "title", "TEXT")
    shop.refuses("upgrade", code=3, says=("", "an index hides its alias shop", "`redismigrate repair`"))

    assert shop.run("repair").code == 0
    assert shop.run("upgrade").code == 0


def test_synonyms_that_somebody_added_are_told(shop):
    applied(shop, PRODUCTS + "op.set_synonyms('products', 'shoes', ['sneaker', 'trainer'])")
    shop.write(GERMAN)
    shop.client.execute_command("FT.SYNUPDATE", "products", "hats", "cap", "beret")

    shop.refuses("upgrade", code=3, says=("", "synonyms", "hats"))


# --- names that are taken -----------------------------------------------------------------------------------


def test_an_index_is_not_created_on_the_name_of_an_index_that_exists(shop):
    shop.client.execute_command(*EXISTS)
    shop.write(PRODUCTS.replace('"products"', '"other"'))

    shop.refuses(
        "upgrade", code=6, says=("The plan is blocked: ", "index other exists already on the server")
    )


def test_an_index_is_not_created_on_an_alias(shop):
    shop.client.execute_command(*EXISTS)
    shop.client.execute_command("FT.ALIASADD", "products", "other")
    shop.write(PRODUCTS)

    shop.refuses(
        "upgrade",
        code=6,
        says=("The plan is blocked: ", "products is an alias of index other on the server"),
        aliases=("products",),
    )


def test_an_index_is_not_renamed_to_an_alias_or_to_an_index_that_exists(shop):
    applied(shop)
    shop.client.execute_command(*EXISTS)
    shop.client.execute_command("FT.ALIASADD", "goods", "other")
    revision = shop.write("with op.index('products') as index:\n    index.rename_to('goods')")
    shop.refuses("upgrade", code=6, says=("", "goods is an alias of index other"), aliases=("goods",))
    script = shop.script(revision)
    script.write_text(script.read_text().replace("goods", "other"))
    shop.refuses("upgrade", code=6, says=("", "index other exists already on the server"))


def test_an_alias_is_not_created_on_the_name_of_an_index(shop):
    applied(shop)
    shop.client.execute_command(*EXISTS)
    shop.write("op.create_alias('other', 'products')")

    shop.refuses("upgrade", code=6, says=("", "other is an index on the server, so it can't be an alias"))


def test_an_alias_of_an_index_that_nobody_manages_is_not_taken_from_it(shop):
    applied(shop)
    shop.client.execute_command(*EXISTS)
    shop.client.execute_command("FT.ALIASADD", "shop", "other")
    shop.write("op.create_alias('shop', 'products')")

    shop.refuses(
        "upgrade",
        code=6,
        says=("", "alias shop points to index other, which this project does not manage"),
        aliases=("shop",),
    )


def test_an_index_is_not_changed_through_an_alias_that_no_revision_created(shop):
    applied(shop)
    shop.client.execute_command("FT.ALIASADD", "shop", "products")
    shop.write("with op.index('shop') as index:\n    index.drop_field('brand')")

    shop.refuses("upgrade", code=8, says=("", "shop is an alias of index products"), aliases=("shop",))


def test_an_index_that_another_project_owns_is_refused(shop):
    applied(shop)
    other = shop.folder / "other.toml"
    other.write_text(f'project = "other"\nscript_location = "migrations"\nurl = "{shop.url}"\n')

    shop.refuses(
        "upgrade",
        "--config",
        "other.toml",
        code=6,
        says=("The plan is blocked: ", "index products belongs to project shop"),
    )
    shop.refuses(
        "stamp", "head", "--config", "other.toml", code=6, says=("Index products belongs to project shop.",)
    )


def test_an_index_of_another_project_is_not_changed_through_an_alias(shop):
    applied(shop)
    shop.client.execute_command("FT.ALIASADD", "shop", "products")
    other = shop.folder / "other.toml"
    other.write_text(
        f'project = "other"\nscript_location = "migrations"\nversion_locations = ["v"]\nurl = "{shop.url}"\n'
    )
    script = shop.script(shop.write("with op.index('shop') as index:\n    index.drop_field('brand')"))
    (shop.folder / "v").mkdir()
    text = script.read_text().replace("down_revision = '000000000001'", "down_revision = None")
    (shop.folder / "v" / "first.py").write_text(text)

    shop.refuses(
        "upgrade",
        "--config",
        "other.toml",
        code=6,
        says=("", "shop is an alias of index products, which belongs to project shop"),
        aliases=("shop",),
    )


# --- the command line ---------------------------------------------------------------------------------------


def test_an_unknown_revision_is_told_with_the_nearest_one(shop):
    shop.write(PRODUCTS, revision="8f3a1c9b2d4e")

    shop.refuses("upgrade", "8f3a1c9b2d4f", code=2, says=("", "8f3a1c9b2d4f", "8f3a1c9b2d4e"))


def test_several_heads_are_named(shop):
    first = applied(shop)
    shop.write(GERMAN, down_revision=first)
    shop.write(GERMAN, down_revision=first)

    shop.refuses("upgrade", code=2, says=("", "000000000002", "000000000003", "heads"))


def test_a_prefix_that_fits_several_revisions_is_refused(shop):
    shop.write(PRODUCTS)
    shop.write(GERMAN)

    shop.refuses("upgrade", "0000", code=2, says=("", "0000", "000000000001", "000000000002"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("upgrade", "--fast"), "No such option"),
        (("upgrade", "head", "tail"), "Got unexpected extra argument (tail)"),
        (("upgrad",), "No such command 'upgrad'"),
        (("downgrade",), "Missing argument 'REV'."),
        (("plan", "--down"), "Missing argument 'REV'."),
        (("upgrade", "--strategy", "magic"), "'magic' is not one of"),
        (("upgrade", "--max-failures", "-1"), "-1 is not in the range"),
        (("upgrade", "--max-failures", str(2**63)), "max_failures is 9223372036854775808."),
        (("upgrade", "--max-removals", "9" * 30), "max_removals is 9"),
        (("upgrade", "--max-failures", "many"), "'many' is not a valid integer"),
        (("upgrade", "--lock-timeout", "-1"), "-1"),
        (("upgrade", "--plan", "nowhere.yaml"), "File 'nowhere.yaml' does not exist."),
        (("upgrade", "+7"), "+7"),
        (("downgrade", "-7"), "-7"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(shop, arguments, says):
    shop.write(PRODUCTS)

    shop.refuses(*arguments, code=2, says=("", says))


def test_a_strategy_that_cannot_do_it_blocks_the_plan(shop):
    applied(shop)
    shop.write(GERMAN)

    shop.refuses(
        "upgrade",
        "--strategy",
        "alter",
        code=6,
        says=(
            "The plan is blocked: 000000000002: strategy alter can't change index products: ",
            "FT.ALTER only adds fields (option language changes from 'english' to 'german')",
            "Nothing was changed.",
        ),
    )
    blocked = shop.run("plan", "--strategy", "alter", "--json")
    assert blocked.code == 6
    assert "FT.ALTER only adds fields" in blocked.json["blocked"][0]


def test_fields_that_the_server_would_read_as_options_block_the_plan(shop):
    shop.write("""
op.create_index({
    "index": {"name": "products", "prefix": "p:"},
    "fields": [{"name": "sortable", "type": "tag"}, {"name": "unf", "type": "tag"}],
})
""")

    shop.refuses(
        "upgrade",
        code=6,
        says=(
            "The plan is blocked: 000000000001: FT.CREATE of index products would read the name of field unf",
            " as an option of the field before it: call the field of the hash otherwise",
            "Nothing was changed.",
        ),
    )


def test_a_field_that_no_index_could_be_built_with_is_not_added(shop):
    applied(shop, PRODUCTS.replace('"title"', '"unf"'))
    shop.write("""
with op.index("products") as index:
    index.add_field({"name": "sortable", "type": "numeric"})
""")

    shop.refuses(
        "upgrade",
        code=6,
        says=(
            "The plan is blocked: ",
            "FT.CREATE of index products would read the name of field sortable as",
        ),
    )


def test_a_plan_that_no_longer_holds_is_refused(shop):
    applied(shop)
    revision = shop.write(GERMAN)
    assert shop.run("plan", "-o", "plan.yaml").code == 0
    script = shop.script(revision)
    script.write_text(script.read_text().replace("german", "french"))

    shop.refuses(
        "upgrade",
        "--plan",
        "plan.yaml",
        code=6,
        says=(
            "The plan in plan.yaml no longer holds: operations or indexes have changed since.",
            "plan -o FILE",
        ),
    )


def test_a_dry_run_refuses_a_plan_that_no_longer_holds(shop):
    revision = shop.write(PRODUCTS)
    assert shop.run("plan", "-o", "plan.yaml").code == 0
    assert shop.run("upgrade", "--dry-run", "--plan", "plan.yaml").code == 0
    script = shop.script(revision)
    script.write_text(script.read_text().replace("title", "name"))

    shop.refuses(
        "upgrade", "--dry-run", "--plan", "plan.yaml", code=6, says=("The plan in plan.yaml no longer holds",)
    )


def test_a_plan_that_was_edited_anywhere_is_refused(shop):
    applied(shop)
    shop.write(GERMAN)
    assert shop.run("plan", "-o", "plan.yaml").code == 0
    file = shop.folder / "plan.yaml"
    lines = file.read_text().splitlines()
    whole = yaml_or_none("\n".join(lines))
    # What was reviewed has more than a digest: no line may lack, come twice or say something else.
    for position, line in [*enumerate(lines)][::9]:
        edits = [[], [line, line]] if position else [[]]
        edits += [[f"{line}x"], [line.replace("0", "1").replace("german", "french").replace("null", "x")]]
        for edit in edits:
            text = "\n".join([*lines[:position], *edit, *lines[position + 1 :]])
            if yaml_or_none(text) == whole and edit != [line, line]:
                continue
            file.write_text(text)
            with pytest.raises((PlanBlocked, ConfigurationError)):
                read_plan(file)
    file.write_text("\n".join([*lines, "warnings: []"]))
    shop.refuses("upgrade", "--plan", "plan.yaml", code=8, says=("plan.yaml is no plan", "'warnings' twice"))
    file.write_text("\n".join(lines).replace("strategy: null", "strategy: alter", 1))
    shop.refuses("upgrade", "--plan", "plan.yaml", code=6, says=("The plan in plan.yaml was edited since",))
    (digest,) = (line for line in lines if line.startswith("digest:"))
    file.write_text(digest)
    shop.refuses("upgrade", "--plan", "plan.yaml", code=8, says=("plan.yaml is no plan of redismigrate.",))
    file.write_text("# looked at by ada\n" + "\n".join(lines))
    assert shop.run("upgrade", "--plan", "plan.yaml").code == 0


def test_a_plan_whose_own_digest_was_made_anew_is_compared_with_what_would_run(shop):
    applied(shop)
    shop.write(GERMAN)
    assert shop.run("plan", "-o", "plan.yaml").code == 0
    file = shop.folder / "plan.yaml"
    content = yaml.safe_load(file.read_text())
    del content["content_sha256"]
    content["revisions"][0]["steps"] = []
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    file.write_text(yaml.safe_dump(content | {"content_sha256": digest}))
    shop.refuses("upgrade", "--plan", "plan.yaml", code=6, says=("The plan in plan.yaml no longer holds",))


def yaml_or_none(text):
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


@pytest.mark.parametrize("text", ["", "[]", "digest", "a: [", "\x00", "{}", "digest: a", "a: 1\na: 2"])
def test_a_file_that_is_no_plan_is_refused(shop, text):
    shop.write(PRODUCTS)
    (shop.folder / "plan.yaml").write_text(text)

    shop.refuses(
        "upgrade", "--plan", "plan.yaml", code=8, says=("plan.yaml is no plan of redismigrate.", "plan -o")
    )


def test_a_binary_file_is_no_plan(shop):
    shop.write(PRODUCTS)
    (shop.folder / "plan.yaml").write_bytes(bytes(range(256)))

    shop.refuses("upgrade", "--plan", "plan.yaml", code=8, says=("plan.yaml is no plan of redismigrate.",))


def test_a_plan_that_cannot_be_written_is_told(shop):
    shop.write(PRODUCTS)

    shop.refuses(
        "plan", "-o", "no/such/folder.yaml", code=8, says=("Can't write the plan to no/such/folder.yaml: ",)
    )


# --- keys of ours -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("storage_type", ["hash", "json"])
def test_an_index_without_prefix_counts_no_key_of_ours_at_any_time(shop, storage_type, tmp_path):
    log = tmp_path / "counts.json"
    shop.write(
        f"""
        op.create_index({{
            "index": {{"name": "all", "prefix": "", "storage_type": "{storage_type}"}},
            "fields": [{{"name": "title", "type": "text"}}],
        }})
        """,
        "op.drop_index('all')",
    )
    shop.write(
        """
        op.run(count)
        with op.index("all") as index:
            index.add_field({"name": "brand", "type": "tag"})
        op.run(count)
        with op.index("all") as index:
            index.set_options(language="german")
        op.run(count)
        """,
        preamble=f"""
        def count(client):
            info = client.execute_command("FT.INFO", "all")
            with open({str(log)!r}, "a") as log:
                log.write(str(info[info.index(b"num_docs") + 1]) + "\\n")
        """,
    )

    assert shop.run("upgrade").code == 0

    shop.wait_until_indexed()
    assert json.loads(f"[{','.join(log.read_text().split())}]") == [0, 0, 0]
    assert shop.hits("all") == 0
    ((_, _, *counted),) = shop.content()["indexes"].values()
    assert counted == [0, 0]


def test_an_index_whose_name_begins_with_a_dash_can_be_given(shop):
    shop.client.execute_command("FT.CREATE", "-idx", "PREFIX", 1, "i:", "SCHEMA", "a", "TAG")
    result = shop.run("revision", "-m", "baseline", "--from-live=-idx")
    assert result.code == 0, result.err
    shop.refuses(
        "revision", "-m", "x", "--from-live=-m", code=2, says=("There is no index -m on the server.",)
    )
    assert shop.run("stamp", "head").code == 0
    (shop.folder / "patch.yaml").write_text("version: 1\nchanges: {add_fields: [{name: b, type: tag}]}\n")
    result = shop.run("revision", "-m", "patched", "--schema-patch", "patch.yaml", "--index", "-idx")
    assert result.code == 0, result.err
