"""Declared schemas: where they may be, in which forms, and what is said about those that are wrong."""

from __future__ import annotations

import sys
import textwrap

import pytest

from redismigrate.commands.authoring.declared import declared_schemas
from redismigrate.commands.project import Project
from redismigrate.errors import ConfigurationError, RedisMigrateError
from redismigrate.schema import IndexSchema

YAML = """
index: {name: NAME, prefix: "p:"}
fields: [{name: title, type: text}]
"""
ONE_SCHEMA = 'SCHEMAS = {"index": {"name": "orders"}, "fields": [{"name": "title", "type": "text"}]}'


@pytest.fixture
def declared(tmp_path):
    """Read the schemas of a project with these entries and files."""
    imported = set(sys.modules)

    def read(*entries, env=None, **files):
        listed = ", ".join(f"'{entry}'" for entry in entries)
        (tmp_path / "redismigrate.toml").write_text(f'script_location = "migrations"\nschemas = [{listed}]\n')
        (tmp_path / "migrations" / "versions").mkdir(parents=True, exist_ok=True)
        if env is not None:
            (tmp_path / "migrations" / "env.py").write_text(textwrap.dedent(env))
        for name, text in files.items():
            file = tmp_path / name.replace("__", "/").replace("_yaml", ".yaml").replace("_py", ".py")
            file.parent.mkdir(exist_ok=True)
            file.write_text(textwrap.dedent(text))
        return declared_schemas(Project.load(tmp_path / "redismigrate.toml"))

    yield read
    for name in set(sys.modules) - imported:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def refusal(declared, *entries, **files):
    with pytest.raises(RedisMigrateError) as caught:
        declared(*entries, **files)
    assert caught.value.exit_code == 8
    return str(caught.value)


def test_a_glob_of_yaml_files_counts_from_the_configuration_file(declared):
    found = declared(
        "schemas/*.yaml",
        schemas__b_yaml=YAML.replace("NAME", "products"),
        schemas__a_yaml=YAML.replace("NAME", "shops"),
    )
    assert list(found) == ["shops", "products"]
    assert found["products"].prefixes == ("p:",)


@pytest.mark.parametrize(
    "value",
    [
        "IndexSchema(name='products', prefixes=('p:',), fields=(TextField(name='title'),))",
        "LAYOUT",
        "[LAYOUT]",
        "(LAYOUT,)",
        "{'anything': LAYOUT}",
        "RedisVLs()",
        "[RedisVLs()]",
    ],
)
def test_an_attribute_of_a_module_may_be_a_schema_in_any_form(declared, value):
    found = declared(
        "shop_search:SCHEMAS",
        shop_search_py=f"""
            from redismigrate.schema import IndexSchema, TextField
            LAYOUT = {{
                "index": {{"name": "products", "prefix": "p:"}},
                "fields": [{{"name": "title", "type": "text"}}],
            }}
            class RedisVLs:
                def to_dict(self):
                    return LAYOUT
            SCHEMAS = {value}
        """,
    )
    (schema,) = found.values()
    assert isinstance(schema, IndexSchema)
    assert (schema.name, schema.prefixes, [field.name for field in schema.fields]) == (
        "products",
        ("p:",),
        ["title"],
    )


def test_an_attribute_may_be_of_an_object_and_a_module_may_import_others_beside_it(declared):
    found = declared(
        "shop_settings:Settings.schema",
        shop_settings_py="""
            from shop_parts import LAYOUT
            class Settings:
                schema = LAYOUT
        """,
        shop_parts_py="""
            LAYOUT = {"index": {"name": "products"}, "fields": [{"name": "title", "type": "text"}]}
        """,
    )
    assert list(found) == ["products"]


def test_the_folder_is_on_the_import_path_only_meanwhile(declared, tmp_path):
    declared("shop_one:SCHEMAS", shop_one_py=ONE_SCHEMA)
    assert str(tmp_path) not in sys.path


def test_env_py_adds_schemas_and_leaves_some_out(declared):
    found = declared(
        "*.yaml",
        one_yaml=YAML.replace("NAME", "products"),
        env="""
            def schemas(x):
                return [
                    {"index": {"name": name}, "fields": [{"name": "title", "type": "text"}]}
                    for name in ("shops", "other")
                ]

            def include(kind, name):
                return name != "other"
        """,
    )
    assert list(found) == ["products", "shops"]


def test_an_index_that_is_declared_twice_is_refused(declared, tmp_path):
    text = YAML.replace("NAME", "products")
    assert refusal(declared, "*.yaml", a_yaml=text, b_yaml=text) == (
        f"Index products is declared twice: by {tmp_path}/a.yaml and by {tmp_path}/b.yaml.\n"
        "Take one of them out, or correct the setting schemas."
    )


def test_a_file_that_two_globs_match_is_read_once(declared):
    files = {"schemas__a_yaml": YAML.replace("NAME", "a"), "schemas__b_yaml": YAML.replace("NAME", "b")}
    assert declared("schemas/a.yaml", "schemas/*.yaml", "./schemas/*", **files).keys() == {"a", "b"}


def test_a_glob_that_matches_nothing_is_refused(declared, tmp_path):
    assert refusal(declared, "schemas/*.yaml") == (
        "schemas: no file matches 'schemas/*.yaml'.\n"
        f"Correct the setting schemas; its globs are relative to {tmp_path}."
    )


@pytest.mark.parametrize("entry", ["shop_search", "shop_search:", ":SCHEMAS"])
def test_what_is_neither_file_nor_attribute_is_refused(declared, entry):
    assert refusal(declared, entry) == (
        f"schemas: {entry!r} is neither a YAML file nor module:attribute.\n"
        'Write "schemas/*.yaml" or "myapp.search:SCHEMAS".'
    )


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("SCHEMAS = 1 / 0", "can't be imported (ZeroDivisionError: division by zero)"),
        ("raise SystemExit('no')", "can't be imported (SystemExit: no)"),
        ("SCHEMA = []", "can't be read, there is no 'SCHEMAS'"),
    ],
)
def test_a_module_that_fails_is_told_with_its_entry(declared, source, problem):
    message = refusal(declared, "shop_broken:SCHEMAS", shop_broken_py=source)
    assert message.startswith(f"schemas: 'shop_broken:SCHEMAS' {problem}")


def test_a_module_that_does_not_exist_is_told_with_the_folder(declared, tmp_path):
    assert refusal(declared, "shop_nowhere:SCHEMAS") == (
        "schemas: 'shop_nowhere:SCHEMAS' can't be imported (ModuleNotFoundError: No module named "
        "'shop_nowhere').\nCorrect the setting schemas or the module; modules are looked for in "
        f"{tmp_path} first."
    )


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("[3]", "shop_wrong:SCHEMAS[0] is no schema but int.\nGive an IndexSchema of ours or RedisVL's"),
        ("{'a': None}", "shop_wrong:SCHEMAS['a'] is no schema but NoneType."),
        ("{'index': {'name': 'a'}}", "shop_wrong:SCHEMAS: the schema has no 'fields'."),
        (
            "[{'index': {'name': 'a'}, 'fields': [{'name': 'b', 'type': 'txt'}]}]",
            "shop_wrong:SCHEMAS[0]: fields[0]: field 'b': there is no type 'txt' (did you mean 'text'?).",
        ),
    ],
)
def test_what_is_no_schema_is_told_with_its_place(declared, value, says):
    assert refusal(declared, "shop_wrong:SCHEMAS", shop_wrong_py=f"SCHEMAS = {value}").startswith(says)


@pytest.mark.parametrize("value", ["[]", "()", "{}", "[[], {}]", "{'shop': []}"])
def test_an_attribute_that_holds_no_schema_is_refused(declared, value):
    message = refusal(
        declared,
        "*.yaml",
        "shop_none:SCHEMAS",
        a_yaml=YAML.replace("NAME", "a"),
        shop_none_py=f"SCHEMAS = {value}",
    )
    assert message.startswith("schemas: 'shop_none:SCHEMAS' holds no schema: the indexes that were declared")


@pytest.mark.parametrize("value", ["[]", "()", "{}", "[[], {}]"])
def test_an_env_py_that_returns_nothing_where_nothing_else_is_declared_is_refused(declared, value):
    message = refusal(declared, env=f"def schemas(x): return {value}")
    assert message.startswith("env.py: schemas() returns no schema: the indexes that were declared there")


def test_an_env_py_may_return_nothing_beside_the_setting(declared):
    found = declared("*.yaml", env="def schemas(x): return []", a_yaml=YAML.replace("NAME", "a"))
    assert list(found) == ["a"]


def test_a_file_that_is_wrong_is_told_with_its_path(declared, tmp_path):
    message = refusal(declared, "*.yaml", a_yaml="index: {name: a}\nfield: []\n")
    assert message.startswith(f"{tmp_path}/a.yaml: the schema has an unknown key 'field'")


def test_the_environment_variable_separates_entries_with_commas(declared, tmp_path, monkeypatch):
    declared("*.yaml", a_yaml=YAML.replace("NAME", "products"), shop_list_py=ONE_SCHEMA)
    monkeypatch.setenv("REDISMIGRATE_SCHEMAS", "shop_list:SCHEMAS,a.yaml")
    project = Project.load(tmp_path / "redismigrate.toml")
    assert project.settings.schemas == ("shop_list:SCHEMAS", "a.yaml")
    assert list(declared_schemas(project)) == ["orders", "products"]


def test_a_class_of_redisvl_is_no_schema(declared):
    with pytest.raises(ConfigurationError, match="is no schema but type"):
        declared(
            "shop_class:SCHEMAS",
            shop_class_py="""
                class SCHEMAS:
                    def to_dict(self): return {}
            """,
        )
