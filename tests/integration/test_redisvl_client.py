"""RedisVL as the client: an index that it made is baselined, migrated and queried with unchanged code.

RedisVL is no dependency. The tests run where REDISVL_PYTHON names a Python that can import it (0.28 was
used).
"""

from __future__ import annotations

import json
import os
import subprocess
import textwrap

import pytest

PYTHON = os.environ.get("REDISVL_PYTHON")
pytestmark = pytest.mark.skipif(not PYTHON, reason="REDISVL_PYTHON names no Python with RedisVL")

SCHEMA = {
    "index": {"name": "products", "prefix": "product", "storage_type": "hash"},
    "fields": [
        {"name": "title", "type": "text"},
        {"name": "brand", "type": "tag"},
        {
            "name": "embedding",
            "type": "vector",
            "attrs": {"algorithm": "flat", "dims": 8, "distance_metric": "cosine", "datatype": "float32"},
        },
    ],
}
BEGINNING = """
    import json, sys
    import numpy as np
    import redis
    from redisvl.index import SearchIndex
    from redisvl.query import VectorQuery

    client = redis.Redis.from_url(sys.argv[1])
    schema = json.loads(sys.argv[2])
    vectors = np.random.default_rng(7).normal(size=(200, 8)).astype(np.float32)
"""
FILL = """
    index = SearchIndex.from_dict(schema, redis_client=client)
    index.create()
    index.load(
        [
            {"id": str(n), "title": f"product {n}", "brand": "acme", "embedding": vector.tobytes()}
            for n, vector in enumerate(vectors)
        ],
        id_field="id",
    )
    print(json.dumps(index.exists()))
"""
# What an application has: the index by its schema, and a query.
QUERY = """
    index = SearchIndex.from_dict(schema, redis_client=client)
    query = VectorQuery(
        vector=vectors[17], vector_field_name="embedding", return_fields=["title"], num_results=3
    )
    print(json.dumps([found["title"] for found in index.query(query)]))
"""
DECLARE = """
    from redisvl.schema import IndexSchema

    SCHEMAS = [IndexSchema.from_dict(json.loads(sys.argv[2]))]
    print(json.dumps(SCHEMAS[0].to_dict()))
"""


@pytest.fixture
def redisvl(shop):
    """Run a program with RedisVL; what it prints is JSON."""

    def run(program, schema=SCHEMA):
        source = textwrap.dedent(BEGINNING) + textwrap.dedent(program)
        # Its own environment: not the modules that these tests find.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [PYTHON, "-W", "ignore", "-c", source, shop.url, json.dumps(schema)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def declared(shop, layout):
    """What an application declares with RedisVL's `IndexSchema.to_dict`."""
    configuration = shop.folder / "redismigrate.toml"
    if "schemas" not in configuration.read_text():
        configuration.write_text(configuration.read_text() + 'schemas = ["schema.yaml"]\n')
    (shop.folder / "schema.yaml").write_text(json.dumps(layout))  # JSON is YAML


def succeed(shop, *arguments):
    result = shop.run(*arguments)
    assert result.code == 0, result.out + result.err
    return result.out


def test_an_index_of_redisvl_is_baselined_migrated_and_queried_with_unchanged_code(shop, redisvl, client):
    assert redisvl(FILL) is True
    nearest = redisvl(QUERY)
    assert nearest[0] == "product 17"

    succeed(shop, "revision", "-m", "as RedisVL made it", "--from-live", "products")
    succeed(shop, "stamp", "head")
    declared(shop, redisvl(DECLARE))
    succeed(shop, "check")
    assert "no script was written" in succeed(shop, "revision", "-m", "x", "--autogenerate")

    wanted = json.loads(json.dumps(SCHEMA))
    wanted["fields"][2]["attrs"] |= {"algorithm": "hnsw", "m": 24}
    wanted["fields"].append({"name": "price", "type": "numeric", "attrs": {"sortable": True}})
    declared(shop, redisvl(DECLARE, wanted))
    assert "alter field embedding: algorithm=HNSW" in succeed(
        shop, "revision", "-m", "hnsw", "--autogenerate"
    )
    succeed(shop, "upgrade")
    succeed(shop, "check")
    assert redisvl(QUERY) == nearest
    assert int(client.execute_command("FT.SEARCH", "products", "*", "LIMIT", 0, 0)[0]) == 200

    succeed(shop, "downgrade", "-1")
    assert redisvl(QUERY) == nearest
    assert shop.run("check").code == 4


def test_redisvl_does_not_see_that_an_alias_exists_and_check_finds_what_its_create_has_done(shop, redisvl):
    redisvl(FILL)
    succeed(shop, "revision", "-m", "as RedisVL made it", "--from-live", "products")
    succeed(shop, "stamp", "head")
    wanted = json.loads(json.dumps(SCHEMA))
    wanted["fields"][2]["attrs"]["algorithm"] = "hnsw"
    declared(shop, wanted)
    succeed(shop, "revision", "-m", "hnsw", "--autogenerate")
    succeed(shop, "upgrade")

    exists = "print(json.dumps(SearchIndex.from_dict(schema, redis_client=client).exists()))"
    assert redisvl(exists) is False
    redisvl("SearchIndex.from_dict(schema, redis_client=client).create(overwrite=False)\nprint(1)")
    hidden = shop.run("check", "--json")
    assert hidden.code == 3
    assert [difference["kind"] for difference in hidden.json["differences"]] == ["alias_hidden"]
    succeed(shop, "repair")
    succeed(shop, "check")
    assert redisvl(QUERY)[0] == "product 17"


def test_a_schema_patch_of_redisvl_becomes_a_revision_and_documents_follow(shop, redisvl, client):
    redisvl(FILL)
    succeed(shop, "revision", "-m", "as RedisVL made it", "--from-live", "products")
    succeed(shop, "stamp", "head")
    (shop.folder / "patch.yaml").write_text(
        textwrap.dedent(
            """
            version: 1
            changes:
              update_fields:
                - {name: embedding, attrs: {datatype: float16}}
              rename_fields:
                - {old_name: brand, new_name: maker}
            """
        )
    )
    succeed(shop, "revision", "-m", "smaller", "--schema-patch", "patch.yaml", "--index", "products")
    succeed(shop, "upgrade", "--exclusive")
    document = client.hgetall("product:17")
    assert (document[b"maker"], len(document[b"embedding"])) == (b"acme", 16)
    smaller = QUERY.replace("num_results=3", 'num_results=3, dtype="float16"')
    assert redisvl(smaller)[0] == "product 17"
