"""Declared schemas, `check` and vectors with a path of their own: what is offered, and what agrees after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from vector_documents import CHANGE, applied, stock

if TYPE_CHECKING:
    from conftest import Shop

BEFORE = {"algorithm": "flat", "dims": 8, "distance_metric": "l2", "datatype": "float32"}


def declare(shop: Shop, name: str, path: str | None = None, **attrs: object) -> None:
    """Declare the products with a vector field."""
    configuration = shop.folder / "redismigrate.toml"
    if "schemas =" not in configuration.read_text():
        configuration.write_text(configuration.read_text() + 'schemas = ["schemas/*.yaml"]\n')
    field = {"name": name, "type": "vector", "attrs": {**BEFORE, **attrs}} | ({"path": path} if path else {})
    schema = {
        "index": {"name": "products", "prefix": "p:"},
        "fields": [{"name": "title", "type": "text"}, field],
    }
    folder = shop.folder / "schemas"
    folder.mkdir(exist_ok=True)
    (folder / "products.yaml").write_text(json.dumps(schema))


def generated(shop: Shop) -> str:
    """The upgrade of a generated revision, its comments as one line."""
    result = shop.run("revision", "-m", "generated", "--autogenerate", "--json")
    assert result.code == 0, result.err
    body = Path(result.json["path"]).read_text().partition("def upgrade(op: Operations) -> None:\n")[2]
    return " ".join(body.partition("def downgrade")[0].replace("#", " ").split())


@pytest.mark.parametrize(
    ("name", "path", "attrs", "call"),
    [
        ("short", None, {"datatype": "float16"}, "datatype='float16', path='short'"),
        (
            "embedding",
            "short",
            {"datatype": "float16"},
            "datatype='float16', path='short', attribute='embedding'",
        ),
        ("other", "short", {"datatype": "float16"}, "datatype='float16', path='short', attribute='other'"),
    ],
)
def test_what_was_declared_is_what_the_call_leads_to(shop: Shop, name, path, attrs, call):
    stock(shop, 5)
    declare(shop, name, path, **attrs)
    written = generated(shop)
    offered = call.replace("'", '"')
    assert f'made of those of "embedding", write index.alter_field("embedding", {offered}) instead' in written
    for script in (shop.folder / "migrations" / "versions").glob("*generated*"):
        script.unlink()
    shop.write(CHANGE + f"index.alter_field('embedding', {call})")
    applied(shop)
    assert shop.run("check").code == 0
    assert shop.run("revision", "-m", "again", "--autogenerate", "--json").json["path"] is None


def test_fewer_dimensions_are_offered_as_a_truncation(shop: Shop):
    stock(shop, 5)
    declare(shop, "short", dims=4)
    assert 'write index.truncate("embedding", dims=4, path="short") instead' in generated(shop)


def test_other_embeddings_are_no_other_form(shop: Shop):
    stock(shop, 5)
    declare(shop, "short", dims=16)
    assert "are to be made of" not in generated(shop)


def test_a_name_that_is_no_path_is_told_to_be_none_for_clients(shop: Shop):
    stock(shop, 5)
    shop.write(
        CHANGE + "index.alter_field('embedding', datatype='float16', path='short', attribute='embedding')"
    )
    assert "(client_paths)" in shop.run("plan").out


def test_longer_vectors_can_not_be_made(shop: Shop):
    stock(shop, 5)
    shop.write(CHANGE + "index.alter_field('embedding', dims=16, path='long', attribute='long')")
    shop.refuses("upgrade", code=6, says=("The plan is blocked: ", "can't be made longer for long"))
