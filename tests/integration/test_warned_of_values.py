"""Plans warn where documents lack what a revision counts on, or have what it would write over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from vector_documents import CHANGE, add_products, applied, creation

if TYPE_CHECKING:
    from conftest import Shop

COUNT = 60
NOTHING = "pass"


@pytest.fixture
def products(shop: Shop) -> Shop:
    """Products with a title and vectors."""
    add_products(shop, COUNT)
    shop.write(creation(), "op.drop_index('products')")
    applied(shop)
    return shop


def warnings(shop: Shop, *options: str) -> str:
    revisions = shop.run("plan", "--json", *options).json["revisions"]
    return "\n".join(text for each in revisions for text in each["warnings"])


def give(shop: Shop, field: str, value: str | bytes, count: int = COUNT) -> None:
    for number in range(count):
        shop.client.hset(f"p:{number}", field, value)


@pytest.mark.parametrize(
    ("field", "ends"), [("embedding", "another datatype= as well"), ("title", "by title")]
)
def test_a_path_where_no_document_has_anything(products: Shop, field: str, ends: str):
    products.write(CHANGE + f"index.alter_field('{field}', path='{field}_2')", NOTHING)
    (told,) = (line for line in warnings(products).splitlines() if f"{field}_2" in line)
    assert told.startswith(f"no document of products has {field}_2 (60 of 60 sampled have {field}): searches")
    assert told.endswith(ends)
    products.client.hset("p:1", f"{field}_2", "there")
    assert "no document of products has" not in warnings(products)


def test_of_a_path_that_a_function_fills_nothing_is_said(products: Shop):
    products.write("op.run(lambda redis: None)", NOTHING)
    products.write(CHANGE + "index.alter_field('title', path='title_2')", NOTHING)
    assert "no document" not in warnings(products)


def test_values_to_drop_that_no_document_has(products: Shop):
    products.write(CHANGE + "index.drop_values('embeding')", NOTHING)
    told = warnings(products)
    assert "no document of products has embeding (did you mean 'embedding'?): nothing is removed" in told
    assert "go to the backup" not in told
    give(products, "embedingg", "of no index", 1)
    assert "(did you mean 'embedingg'?)" in warnings(products)
    give(products, "embeding", "there", 1)
    assert "no document" not in warnings(products)
    assert "documents of index products go to the backup, " in warnings(products)


def test_values_to_drop_of_an_index_without_documents(shop: Shop):
    shop.write(creation(), "op.drop_index('products')")
    applied(shop)
    shop.write(CHANGE + "index.drop_values('note')", NOTHING)
    assert "the values at note of documents of index products go to the backup; a release" in warnings(shop)


def test_a_change_of_storage_names_what_is_nowhere(products: Shop):
    products.write(
        CHANGE + "index.change_storage('json', prefix=('p:', 'j:'), paths={'titel': '$.meta.title'})", NOTHING
    )
    told = warnings(products)
    assert (
        "paths= of change_storage names titel, which is no field of index products, and no document of "
        "products has it (did you mean 'title'?): nothing goes to $.meta.title"
    ) in told
    give(products, "titel", "there", 1)
    assert "paths= of change_storage" not in warnings(products)


def test_a_new_name_that_documents_have_already(products: Shop):
    products.write(
        CHANGE + "index.rename_field('title', 'note')", CHANGE + "index.rename_field('note', 'title')"
    )
    assert "already" not in warnings(products)
    give(products, "note", "taken")
    begins = "60 of 60 sampled documents of products have a field note already, beside title: "
    assert (
        f"{begins}where the two differ, a document keeps both as they are and counts as a failure; choose "
        "another name"
    ) in warnings(products)
    assert (f"{begins}they keep both as they are and count as failures; choose another name") in warnings(
        products, "--exclusive"
    )
    ended = products.run("upgrade", "head")
    assert ended.code == 1
    assert "has a field note already, beside title" in ended.err
    assert "Correct them, choose another name, or leave them as they are with --max-failures 60." in ended.err


def test_a_path_for_a_new_form_that_documents_have_already(products: Shop):
    products.write(
        CHANGE + "index.alter_field('embedding', datatype='float16', path='title_16')",
        CHANGE + "index.alter_field('title_16', datatype='float32', path='embedding', attribute='embedding')",
    )
    give(products, "title_16", np.zeros(3, np.float16).tobytes(), 2)
    assert (
        "2 of 60 sampled documents of products have a field title_16 already, beside embedding: where that "
        "is not its new form of embedding, a document keeps both"
    ) in warnings(products)
    applied(products, "head", "--max-failures", "2")
    assert "already" not in warnings(products, "--down", "-1")


def test_members_of_json_documents_that_none_has(shop: Shop):
    for number in range(3):
        shop.client.execute_command("JSON.SET", f"p:{number}", "$", '{"title": "shoe", "color": "red"}')
    schema = {
        "index": {"name": "products", "prefix": "p:", "storage_type": "json"},
        "fields": [{"name": "title", "type": "text", "path": "$.title"}],
    }
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    applied(shop)
    shop.write(CHANGE + "index.drop_values('$.colour')", NOTHING)
    assert "no document of products has $.colour (did you mean '$.color'?): nothing is removed" in warnings(
        shop
    )
