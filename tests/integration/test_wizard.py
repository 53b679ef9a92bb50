"""`wizard`: its answers come to the script that the same change by hand gives, or to one error."""

from __future__ import annotations

import contextlib
import io
import re
import textwrap
from pathlib import Path

import pytest
import yaml
from fuzzed_inputs import mutated_file, mutations, rendered
from fuzzing import Campaign, files_below, mutations_wanted, run_in_process

from redismigrate.commands import Project, wizard

PRODUCTS = """
    index: {name: products, prefix: product}
    fields:
      - {name: title, type: text}
      - {name: brand, type: tag}
      - {name: price, type: numeric}
      - {name: embedding, type: vector, attrs: {algorithm: flat, dims: 2, datatype: float32}}
"""
CREATE = f"op.create_index({yaml.safe_load(PRODUCTS)!r})"
ANSWERS = [
    {"change": "embedding", "algorithm": "hnsw", "m": 32, "datatype": "float16"},
    {"add": "stock", "type": "numeric", "sortable": True},
    {"remove": "brand"},
    {"rename": "title", "to": "name"},
    {"prefix": "shop"},
    {"rename_index": "goods"},
]
TYPED = """\
2
embedding
algorithm
2
m=32
datatype
float16

add
stock
numeric
sortable
y

3
brand
4
1
name
6
shop
rename-index
goods
8
what the shop needs
"""
PATCH = """
    version: 1
    changes:
      add_fields: [{name: stock, type: numeric, attrs: {sortable: true}}]
      remove_fields: [brand]
      update_fields: [{name: embedding, attrs: {algorithm: hnsw, m: 32, datatype: float16}}]
      rename_fields: [{old_name: title, new_name: name}]
      index: {name: goods, prefix: shop}
"""
WANTED = """
    index: {name: goods, prefix: shop}
    fields:
      - {name: name, type: text}
      - {name: price, type: numeric}
      - {name: embedding, type: vector, attrs: {algorithm: hnsw, m: 32, dims: 2, datatype: float16}}
      - {name: stock, type: numeric, attrs: {sortable: true}}
"""


@pytest.fixture
def products(shop):
    """One index, applied, with a document."""
    shop.write(CREATE, 'op.drop_index("products")')
    assert shop.run("upgrade").code == 0
    shop.add_documents(1, "product:", title="shoe", brand="acme", price=3, embedding=bytes(8))
    return shop


def write(shop, name, content):
    text = textwrap.dedent(content) if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    (shop.folder / name).write_text(text)
    return name


def typing(monkeypatch, text):
    data = text if isinstance(text, bytes) else text.encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


def script_of(result):
    """What a script does, and nothing of when and by which id."""
    assert result.code == 0, result.err
    written = Path(result.json["path"])
    source = written.read_text()
    written.unlink()
    return source.partition("def upgrade")[2]


def nothing_written(shop):
    return [path.name for path in shop.folder.rglob("*.py")] == ["000000000001.py"]


# --- the same change by hand --------------------------------------------------------------------------------


def test_answers_and_the_same_change_by_hand_give_the_same_script(products, monkeypatch):
    shop = products
    write(shop, "answers.yaml", ANSWERS)
    by_file = script_of(shop.run("wizard", "products", "--answers", "answers.yaml", "--json"))
    typing(monkeypatch, TYPED)
    typed = script_of(shop.run("wizard", "products", "--json"))
    write(shop, "patch.yaml", PATCH)
    arguments = ("--schema-patch", "patch.yaml", "--index", "products")
    by_patch = script_of(shop.run("revision", "-m", "x", *arguments, "--json"))
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text() + 'schemas = ["wanted.yaml"]\n')
    write(shop, "wanted.yaml", WANTED)
    said = ("--rename", "title:name", "--rename", "products:goods")
    declared = script_of(shop.run("revision", "-m", "x", "--autogenerate", *said, "--json"))
    assert by_file == typed == by_patch == declared
    assert 'index.alter_field("embedding", algorithm="hnsw", datatype="float16", m=32)' in by_file


def test_the_script_is_carried_out_and_goes_back(products, client):
    shop = products
    write(shop, "answers.yaml", {"index": "products", "message": "what the shop needs", "answers": ANSWERS})
    result = shop.run("wizard", "--answers", "answers.yaml")
    assert result.code == 0, result.err
    assert re.match(
        r"Wrote migrations/versions/\w{12}_what_the_shop_needs\.py\n  change index products: ", result.out
    )
    assert "As things are, the plan is blocked: " in result.out
    assert "needs --exclusive" in result.out
    assert shop.run("upgrade", "--exclusive").code == 0
    assert client.execute_command("FT.SEARCH", "goods", "@name:shoe", "NOCONTENT") == [1, b"shop:0"]
    assert client.hget("shop:0", "name") == b"shoe"
    assert shop.run("downgrade", "-1", "--exclusive").code == 0
    assert client.hget("product:0", "title") == b"shoe"


def test_an_index_that_no_revision_made_is_changed_as_it_is(shop, client):
    client.execute_command(
        "FT.CREATE", "cats", "PREFIX", 1, "cat:", "SCHEMA", "name", "TEXT", "age", "NUMERIC"
    )
    write(shop, "answers.yaml", [{"change": "age", "sortable": True}])
    by_file = script_of(shop.run("wizard", "cats", "--answers", "answers.yaml", "--json"))
    write(shop, "patch.yaml", "changes: {update_fields: [{name: age, attrs: {sortable: true}}]}")
    arguments = ("--schema-patch", "patch.yaml", "--index", "cats")
    assert by_file == script_of(shop.run("revision", "-m", "x", *arguments, "--json"))
    assert shop.run("wizard", "cats", "--answers", "answers.yaml").code == 0
    assert shop.run("upgrade").code == 0


def test_the_plan_of_an_index_that_no_revision_made_knows_its_aliases_as_an_upgrade_does(shop, client):
    client.execute_command(
        "FT.CREATE", "cats", "PREFIX", 1, "cat:", "SCHEMA", "name", "TEXT", "age", "NUMERIC"
    )
    client.execute_command("FT.ALIASADD", "felines", "cats")
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text() + 'known_aliases = ["felines"]\n')
    write(shop, "answers.yaml", [{"remove": "age"}, {"preview": "plan"}])
    result = shop.run("wizard", "cats", "--answers", "answers.yaml")
    planned = shop.run("plan")
    notes = [line.strip() for line in planned.out.splitlines() if line.strip().startswith("note: ")]
    assert notes
    for note in notes:
        assert note.replace("note: ", "Note: ") in result.out


def test_an_index_that_a_revision_has_adopted_is_changed_as_it_is_recorded(shop, client):
    client.execute_command(
        "FT.CREATE", "cats", "PREFIX", 1, "cat:", "SCHEMA", "name", "TEXT", "age", "NUMERIC"
    )
    shop.write(
        "with op.index('cats') as index:\n    index.add_field({'name': 'color', 'type': 'tag'})",
        "with op.index('cats') as index:\n    index.drop_field('color')",
    )
    write(shop, "answers.yaml", [{"rename": "color", "to": "colour"}])
    for _ in ("to come", "applied"):
        assert "rename_field" in script_of(shop.run("wizard", "cats", "--answers", "answers.yaml", "--json"))
        assert shop.run("upgrade").code == 0


def test_the_patch_that_is_written_gives_the_same_script(products):
    shop = products
    write(shop, "answers.yaml", ANSWERS)
    files = ("--patch-out", "patch.yaml", "--target-schema-out", "target.yaml")
    by_file = script_of(shop.run("wizard", "products", "--answers", "answers.yaml", *files, "--json"))
    assert yaml.safe_load((shop.folder / "patch.yaml").read_text())["changes"] == {
        **yaml.safe_load(textwrap.dedent(PATCH))["changes"]
    }
    arguments = ("--schema-patch", "patch.yaml", "--index", "products")
    assert by_file == script_of(shop.run("revision", "-m", "x", *arguments, "--json"))
    write(shop, "none.yaml", [])
    begun = shop.run("wizard", "products", "--answers", "none.yaml", "--patch", "patch.yaml", "--json")
    assert by_file == script_of(begun)
    target = yaml.safe_load((shop.folder / "target.yaml").read_text())
    assert target["index"]["name"] == "goods"
    assert [field["name"] for field in target["fields"]] == ["name", "price", "embedding", "stock"]


def test_a_notebook_gives_the_same_answers_to_a_function(products):
    with contextlib.chdir(products.folder):
        project = Project.load()
        told = []
        content = wizard(
            project, ["change", "embedding", "datatype", "float16", ""], "products", on_told=told.append
        )
        assert content.operations == ("change index products: alter field embedding: datatype=FLOAT16",)
        assert any("must send FLOAT16 vectors afterwards" in note for note in told)
        assert content == wizard(project, [{"change": "embedding", "datatype": "float16"}], "products")
        assert wizard(project, [{"remove": "brand"}, "quit"], "products").operations == ()


# --- where it is asked --------------------------------------------------------------------------------------


def test_what_standard_input_says_is_taken_line_by_line(products, monkeypatch):
    typing(monkeypatch, "products\nremove\nbrand\nfinish\nno brands\n")
    result = products.run("wizard")
    assert result.code == 0, result.err
    assert "_no_brands.py\n  change index products: drop field brand\n" in result.out
    typing(monkeypatch, "remove\nprice\n8\n")
    assert "drop_field_price" in products.run("wizard", "products").out.replace(" ", "_")


def test_a_file_of_answers_may_be_standard_input(products, monkeypatch):
    typing(monkeypatch, "{index: products, answers: [{remove: brand}]}")
    result = products.run("wizard", "--answers", "-", "-m", "no brands")
    assert "_no_brands.py" in result.out
    typing(monkeypatch, "[{remove: ")
    result = products.run("wizard", "products", "--answers", "-")
    assert (result.code, result.err.partition(" at ")[0]) == (8, "Error: standard input: is no YAML")


def test_a_preview_is_shown_as_script_patch_schema_and_plan(products):
    write(
        products,
        "answers.yaml",
        [{"remove": "brand"}, *({"preview": v} for v in ("script", "patch", "schema", "plan")), "quit"],
    )
    result = products.run("wizard", "products", "--answers", "answers.yaml")
    assert result.code == 0, result.err
    script, _, rest = result.out.partition("version: 1\n")
    assert script.startswith(
        'def upgrade(op: Operations) -> None:\n    with op.index("products") as index:\n'
    )
    patch, _, rest = rest.partition("version: 0.1.0\n")
    assert "remove_fields:\n  - brand\n" in patch
    schema, _, plan = rest.partition("Upgrade to heads: 1 revision, project shop\n")
    assert "name: title" in schema
    assert "name: brand" not in schema
    assert "beside index products: drop" in plan
    assert max(map(len, plan.splitlines())) <= 100
    assert plan.endswith("Nothing was written.\n")
    assert nothing_written(products)


def test_what_changes_nothing_writes_nothing(products, monkeypatch):
    write(
        products,
        "answers.yaml",
        [{"change": "price", "sortable": False}, {"rename": "title", "to": "a"}, "undo"],
    )
    result = products.run(
        "wizard", "products", "--answers", "answers.yaml", "--patch-out", "patch.yaml", "--json"
    )
    assert result.json == {"path": None, "revision": None, "operations": [], "notes": []}
    assert nothing_written(products)
    assert not (products.folder / "patch.yaml").exists()


def test_without_the_server_an_index_of_the_history_is_changed(products):
    configuration = products.folder / "redismigrate.toml"
    text = re.sub(r"(?m)^url = .*$", 'url = "redis://127.0.0.1:1"', configuration.read_text())
    configuration.write_text(text)
    write(products, "answers.yaml", [{"remove": "brand"}])
    result = products.run("wizard", "products", "--answers", "answers.yaml")
    assert result.code == 0, result.err
    assert "Note: There is no plan now, so answers are checked against the schemas alone: " in result.out
    products.refuses(
        "wizard",
        "other",
        "--answers",
        "answers.yaml",
        code=1,
        says=("Can't reach Redis at redis://127.0.0.1:1",),
    )


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "code", "says"),
    [
        (
            [{"change": "embedding", "dims": 4}],
            6,
            "field embedding of index products changes from 2 to 4 dimensions",
        ),
        pytest.param(
            [{"change": "embedding", "algorithm": "svs-vamana"}],
            6,
            "SVS-VAMANA needs Redis Search 8.2 or newer",
            marks=pytest.mark.lacks("svs-vamana"),
        ),
        ([{"rename": "title", "to": "brand"}], 8, "Index 'products' already has a field 'brand'."),
        ([{"rename_index": "products"}], 8, "Index products has that name already."),
        ([{"remove": "color"}], 2, "'color' is none of the answers."),
        (["remove"], 2, "there is no answer to “Field to remove”."),
        ({"answers": "x"}, 8, "answers is no list"),
    ],
)
def test_what_can_not_be_is_refused_at_once_and_nothing_is_written(products, answers, code, says):
    write(products, "answers.yaml", answers)
    before = files_below(products.folder)
    result = products.run("wizard", "products", "--answers", "answers.yaml", "--patch-out", "p.yaml")
    assert (result.code, result.out) == (code, "")
    assert says in result.err
    assert files_below(products.folder) == before


def test_a_taken_name_on_the_server_is_refused_with_the_reason_of_the_planner(products, client):
    client.execute_command("FT.CREATE", "goods", "PREFIX", 1, "good:", "SCHEMA", "name", "TEXT")
    write(products, "answers.yaml", [{"rename_index": "goods"}])
    result = products.run("wizard", "products", "--answers", "answers.yaml")
    assert result.code == 6
    assert result.err.startswith("Error: answers[0]: ")
    assert "goods" in result.err
    assert nothing_written(products)


def test_a_temporary_index_is_not_changed_but_by_fields_that_come(shop):
    temporary = yaml.safe_load(PRODUCTS)
    temporary["index"]["temporary_seconds"] = 3_600
    shop.write(f"op.create_index({temporary!r})")
    assert shop.run("upgrade").code == 0
    write(shop, "answers.yaml", [{"add": "stock", "type": "numeric"}, {"remove": "brand"}])
    result = shop.run("wizard", "products", "--answers", "answers.yaml")
    assert result.code == 6
    assert result.err.startswith(
        "Error: answers[1]: index products is TEMPORARY: dropping it would delete its"
    )
    write(shop, "answers.yaml", [{"add": "stock", "type": "numeric"}])
    assert shop.run("wizard", "products", "--answers", "answers.yaml").code == 0


def test_a_change_that_no_patch_can_say_is_refused_where_one_is_wanted(products):
    write(products, "answers.yaml", [{"remove": "title"}, {"rename": "brand", "to": "title"}])
    arguments = ("wizard", "products", "--answers", "answers.yaml")
    products.refuses(
        *arguments,
        "--patch-out",
        "p.yaml",
        code=8,
        says=("answers[2]: A schema patch can't say this of index",),
    )
    assert nothing_written(products)
    assert products.run(*arguments).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("-1",), 2, "There is no index -1, neither"),
        (("other",), 2, "There is no index other, neither in the history nor on the server."),
        (("products", "--rev-id", "000000000001"), 2, "Revision 000000000001 exists already."),
        (
            ("products", "--head", "base"),
            2,
            "This would change or drop index products as revision 000000000001",
        ),
        (("products", "--patch", "dims.yaml"), 6, "changes from 2 to 4 dimensions"),
        (("products", "--patch", "none.yaml"), 8, "none.yaml: can't be read"),
        (("products", "--patch-out", "none/p.yaml"), 8, "Can't write none/p.yaml"),
    ],
)
def test_a_call_that_can_not_be_is_one_error(products, arguments, code, says):
    write(products, "answers.yaml", [{"remove": "brand"}])
    write(products, "dims.yaml", "changes: {update_fields: [{name: embedding, attrs: {dims: 4}}]}")
    result = products.run("wizard", *arguments, "--answers", "answers.yaml")
    assert result.code == code, result.err
    assert says in result.err


def test_an_index_of_another_project_is_refused(products):
    configuration = products.folder / "redismigrate.toml"
    other = configuration.read_text().replace('project = "shop"', 'project = "other"')
    configuration.write_text(other)
    products.script("000000000001").unlink()
    write(products, "answers.yaml", [{"remove": "brand"}])
    result = products.run("wizard", "products", "--answers", "answers.yaml")
    assert (result.code, result.err.splitlines()[0]) == (6, "Error: Index products belongs to project shop.")


@pytest.mark.parametrize(
    "typed", ["", "remove\n", "remove\nbrand\n", "remove\nbrand\nfinish now\n", "rename\ntitle\n"]
)
def test_input_that_ends_early_leaves_nothing_written(products, monkeypatch, typed):
    typing(monkeypatch, typed)
    before = files_below(products.folder)
    result = products.run("wizard", "products", "--patch-out", "p.yaml")
    assert (result.code, result.out) == (2, "")
    assert files_below(products.folder) == before


def test_bytes_that_are_no_utf_8_are_names_as_in_redis(products, monkeypatch, client):
    typing(monkeypatch, b"rename\ntitle\n\xff\x1b[2J\nfinish\n\n")
    result = products.run("wizard", "products")
    assert result.code == 0, result.err
    assert "\x1b" not in result.out
    assert r"rename field title to \xff\x1b[2J" in result.out
    assert products.run("plan", "--exclusive").code == 0


# --- anything -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [15, pytest.param(200, marks=pytest.mark.slow)])
def test_random_answer_files_end_in_a_revision_or_in_one_error(products, count):
    """The unit tests give 200 others to the wizard alone."""
    file = products.folder / "answers.yaml"
    with Campaign("answers of the wizard") as campaign:
        for number, rng in mutations("answers of the wizard", mutations_wanted(count)):
            content = {"index": "products", "answers": rng.sample(ANSWERS, rng.randrange(1, len(ANSWERS)))}
            is_mutated = rng.random() < 0.7
            file.write_bytes(mutated_file(content, rng, "yaml") if is_mutated else rendered(content, "yaml"))
            outcome = run_in_process(["wizard", "--answers", "answers.yaml"], products.folder)
            campaign.judge(number, outcome, file.read_bytes())
            for path in products.folder.rglob("*.py"):
                if path.name != "000000000001.py":
                    assert outcome.code == 0
                    path.unlink()
