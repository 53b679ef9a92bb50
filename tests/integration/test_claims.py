"""What the documentation says is possible, or is not: each sentence is there, and the server agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from doc_pages import ROOT, rows_of, sections_of
from vector_documents import CHANGE, add_products, applied, creation

if TYPE_CHECKING:
    from conftest import Shop

OPERATIONS = ROOT / "docs" / "reference" / "operations.md"
REDISVL = ROOT / "docs" / "coming-from-redisvl.md"
README = ROOT / "README.md"
MANY_INDEXES = ROOT / "docs" / "how-to" / "change-many-indexes.md"
TEMPLATE = ROOT / "migrations_template" / "guided" / "script.py.j2"
SECTION = "Operations"
BLOCKED = "blocked"
VECTOR = {
    "name": "v",
    "type": "vector",
    "attrs": {"algorithm": "flat", "dims": 2, "distance_metric": "l2"},
}
# Change of an index in the table of operations -> an example -> what carries it out.
CARRIED_OUT: dict[str, dict[str, str]] = {
    "add_field": {"index.add_field({'name': 'brand', 'type': 'tag'})": "alter"},
    "drop_field": {"index.drop_field('title')": "shadow"},
    "alter_field": {
        "index.alter_field('embedding', algorithm='hnsw')": "shadow",
        "index.alter_field('embedding', datatype='float16')": "shadow_field",
    },
    "truncate": {"index.truncate('embedding', dims=4)": "shadow_field"},
    "set_options": {"index.set_options(stopwords=[])": "shadow"},
    "rename_field": {
        "index.rename_field('title', 'name')": "shadow_field",
        "index.rename_field('title', 'name', path='title')": "shadow",
    },
    "change_prefix": {
        "index.change_prefix('p:', 'q:')": "shadow_copy",
        "index.change_prefix('p:', 'p:v2:')": "rebuild",
    },
    "change_storage": {"index.change_storage('json', prefix=('p:', 'j:'))": "shadow_copy"},
    "rename_to": {"index.rename_to('goods')": "shadow"},
}
# What leaves the index as it is.
OF_VALUES = {"`index(…).drop_values`", "`index(…).restore_values`"}
NEEDS_PAUSE = {"index.change_prefix('p:', 'p:v2:')"}
# A page, what it says, an example of it, and what becomes of that.
CLAIMS = [
    (
        README,
        "Other dimensions of vectors are blocked, unless",
        "index.alter_field('embedding', dims=4)",
        BLOCKED,
    ),
    (README, "where keys stay, writers have to be paused.", "index.change_storage('json')", BLOCKED),
    (
        README,
        "Re-encoding alone, and [renaming alone]",
        "index.alter_field('embedding', datatype='float16')",
        "shadow_field",
    ),
    (
        README,
        "Re-encoding alone, and [renaming alone]",
        "index.rename_field('title', 'name')",
        "shadow_field",
    ),
    (
        README,
        "To do both to documents that applications write, take two revisions, or pause them",
        "index.rename_field('title', 'name')\n    index.alter_field('embedding', datatype='float16')",
        BLOCKED,
    ),
    (
        OPERATIONS,
        "Blocked, because documents would need new\nembeddings: another `dims`.",
        "index.alter_field('embedding', dims=4)",
        BLOCKED,
    ),
    (
        OPERATIONS,
        "by `shadow_field` with search up, or by `rebuild`",
        "index.alter_field('embedding', datatype='float16')",
        "shadow_field",
    ),
    (
        OPERATIONS,
        "Blocked, because it says nothing of the\ndocuments: another `storage_type`",
        "index.set_options(storage_type='json')",
        BLOCKED,
    ),
    (
        REDISVL,
        "more: not yet, the plan is blocked",
        "index.alter_field('embedding', dims=4)",
        BLOCKED,
    ),
    (
        REDISVL,
        "| a new storage type | [`change_storage`](how-to/from-hashes-to-json.md) with search up, to another",
        "index.change_storage('json', prefix=('p:', 'j:'))",
        "shadow_copy",
    ),
    (
        REDISVL,
        "| another type of a field | changed;",
        "index.drop_field('title')\n    index.add_field({'name': 'title', 'type': 'tag'})",
        "shadow",
    ),
    (
        REDISVL,
        "| another path of a field | changed;",
        "index.alter_field('title', path='headline')",
        "shadow",
    ),
    (
        REDISVL,
        "| a new vector field | added;",
        f"index.add_field({VECTOR})",
        "alter",
    ),
    (
        REDISVL,
        "several others cover other keys (`set_options`) and move none",
        "index.set_options(prefixes=['a:', 'b:'])",
        "shadow",
    ),
    (
        REDISVL,
        "`index.rename_field` | JSON documents are renamed, too, and search stays up",
        "index.rename_field('title', 'name')",
        "shadow_field",
    ),
    (
        REDISVL,
        "unless the index has no documents, or all keys move to another prefix as well",
        "index.rename_field('title', 'name')\n    index.change_prefix('p:', 'q:')",
        "shadow_copy",
    ),
    (
        TEMPLATE,
        'index.rename_field("desc", "description")               with search and writers up',
        "index.rename_field('title', 'name')",
        "shadow_field",
    ),
    (
        TEMPLATE,
        'index.change_prefix("product:", "shop:product:")        with search and writers up',
        "index.change_prefix('p:', 'shop:p:')",
        "shadow_copy",
    ),
]


def outcome(shop: Shop, change: str, *options: str) -> str:
    """What carries a change out, or that it is blocked."""
    shop.write(CHANGE + change)
    plan: dict[str, Any] = shop.run("plan", "--json", *options).json
    if plan["blocked"]:
        return BLOCKED
    (strategy,) = {step["strategy"] for step in plan["revisions"][0]["steps"]} - {None}
    return str(strategy)


@pytest.fixture
def products(shop: Shop) -> Shop:
    """An index of some documents, which an application may be writing."""
    add_products(shop, 5)
    shop.write(creation())
    applied(shop)
    return shop


@pytest.mark.parametrize(
    ("name", "change", "strategy"),
    [(name, change, how) for name, examples in CARRIED_OUT.items() for change, how in examples.items()],
)
def test_the_table_of_operations_says_what_carries_a_change_out(
    products: Shop, name: str, change: str, strategy: str
):
    rows = {row[0]: row[2] for row in rows_of(sections_of(OPERATIONS)[SECTION])}
    assert f"`{strategy}`" in rows[f"`index(…).{name}`"]
    if change in NEEDS_PAUSE:
        assert "writers have to be paused" in rows[f"`index(…).{name}`"]
        assert outcome(products, change) == BLOCKED
        products.script("000000000002").unlink()
        products.write(CHANGE + change, down_revision="000000000001")
        assert products.run("plan", "--exclusive").code == 0
    else:
        assert outcome(products, change) == strategy


def test_every_change_of_an_index_in_the_table_has_an_example():
    rows = [row[0] for row in rows_of(sections_of(OPERATIONS)[SECTION])]
    assert [row for row in rows if row.startswith("`index(") and row not in OF_VALUES] == [
        f"`index(…).{name}`" for name in CARRIED_OUT
    ]


@pytest.mark.parametrize(("page", "says", "change", "becomes"), CLAIMS)
def test_what_a_page_says_is_so(products: Shop, page: Any, says: str, change: str, becomes: str):
    assert says in page.read_text(encoding="utf-8")
    assert outcome(products, change) == becomes


def test_an_index_that_no_revision_made_is_not_found_by_a_pattern(shop: Shop):
    says = "Where none but those matches, the upgrade is refused and says so."
    assert says in MANY_INDEXES.read_text(encoding="utf-8")
    shop.client.execute_command("FT.CREATE", "products", "PREFIX", 1, "p:", "SCHEMA", "title", "TEXT")
    field = "{'name': 'brand', 'type': 'tag'}"
    script = shop.script(shop.write("op.indexes('prod*')"))
    assert shop.run("upgrade").code == 8
    script.unlink()
    shop.write(f"with op.index('products') as index:\n    index.add_field({field})", down_revision=None)
    applied(shop)
    shop.write("assert op.indexes('prod*') == ('products',)")
    applied(shop)
