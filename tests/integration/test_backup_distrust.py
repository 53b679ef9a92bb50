"""`backup restore` and what somebody has put into the folder of backups, who knows how they are sealed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from backup_samples import forge_manifest
from conftest import Shop
from long_chain import run
from vector_documents import (
    TO_BFLOAT16,
    TO_FLOAT16,
    TO_FLOAT32,
    documents,
    stock,
    vector,
)

from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.contents import REWRITES
from redismigrate.backup.manifest import Manifest
from redismigrate.documents.batch import Batch
from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.schema.moves import PathRename, PrefixChange
from redismigrate.schema.redisvl import schema_from_redisvl

pytestmark = pytest.mark.usefixtures("rebuilding")

RUN, REVISION = "f00d00000000", "000000000002"
VECTORS = {"embedding": [vector(1)]}
KEPT = {"kept": [0]}
TO_INTEGERS = Recoding("embedding", 8, "L2", "FLOAT32", "INT8")
HALVES = Recoding("embedding", 8, "L2", "FLOAT32", "FLOAT16")


@pytest.fixture
def products(shop: Shop) -> Shop:
    """The shop with products of float32 vectors that no index reads any more: none forbids anything."""
    stock(shop, 3)
    shop.client.execute_command("FT.DROPINDEX", "products")
    return shop


def forged(
    shop: Shop, rewrite: Rewrite, columns: dict[str, Any], key: bytes = b"p:1", **options: Any
) -> Path:
    """Write a backup that no run has made; its folder."""
    numbers = options.pop("numbers", KEPT)
    schema = schema_from_redisvl(
        {
            "index": {"name": "products", "prefix": "p:"},
            "fields": [
                {"name": "title", "type": "text"},
                {
                    "name": "embedding",
                    "type": "vector",
                    "attrs": {"algorithm": "flat", "dims": 8, "distance_metric": "l2"},
                },
            ],
        }
    )
    manifest = Manifest(
        project="shop",
        run=RUN,
        revision=REVISION,
        index="products",
        phase="upgrade",
        fields=tuple(columns),
        schema_before=schema.model_dump(),
        options={"rewrite": REWRITES.dump_python(rewrite), **options},
    )
    with BackupWriter.create(shop.folder / "redismigrate-backups", manifest) as writer:
        writer.add(Chunk(Batch([key], columns), numbers))
        writer.finish()
    return writer.folder


def refused(shop: Shop, *says: str, options: tuple[str, ...] = ()) -> None:
    shop.refuses("backup", "restore", "--run", RUN, *options, code=1, says=says)


def test_a_backup_of_a_run_that_redis_does_not_know_is_not_restored(products: Shop):
    forged(products, Rewrite("hash", (HALVES,)), VECTORS)
    refused(
        products,
        f"Redis at {products.url} knows of no run {RUN} of project shop.",
        "--force restores a backup whose run was forgotten, if you know where it is from.",
    )


def test_force_restores_a_backup_whose_run_was_forgotten(products: Shop):
    products.write(TO_FLOAT16)
    products.client.execute_command(
        "FT.CREATE", "products", "PREFIX", 1, "p:", "SCHEMA", "title", "TEXT", "embedding", "VECTOR",
        "FLAT", 6, "TYPE", "FLOAT32", "DIM", 8, "DISTANCE_METRIC", "L2",
    )  # fmt: skip
    before = documents(products)
    run_id = str(products.run("upgrade", "--json").json["run"])
    products.client.delete(*products.client.keys("{redismigrate*"))
    assert products.run("backup", "restore", "--run", run_id).code == 1

    run(products, "backup", "restore", "--run", run_id, "--force")

    assert documents(products) == before


def test_to_have_been_restored_by_force_makes_no_run_known(products: Shop):
    forged(products, Rewrite("hash", (HALVES,)), VECTORS)
    run(products, "backup", "restore", "--run", RUN, "--force")
    refused(products, f"Redis at {products.url} knows of no run {RUN} of project shop.")


@pytest.mark.parametrize("options", [(), ("--force",)])
def test_keys_that_the_index_never_had_are_not_moved(products: Shop, options: tuple[str, ...]):
    products.client.hset("session:admin", mapping={"token": "secret"})
    rewrite = Rewrite("hash", prefixes=(PrefixChange("stolen:", "session:"),))
    folder = forged(products, rewrite, {}, b"stolen:admin")
    refused(
        products,
        f"The backup in {folder} is damaged: chunk-000001.npz holds the key stolen:admin, which the index "
        "never had.",
        options=options,
    )


@pytest.mark.parametrize(
    ("rewrite", "columns", "more", "problem"),
    [
        (
            Rewrite("hash", renames=(PathRename("role", "title"),)),
            {},
            {},
            "manifest.json renames role, which the index never read",
        ),
        (
            Rewrite("hash", (Recoding("embedding", 0, "L2", "FLOAT32", "FLOAT16"),)),
            {"embedding": [b""]},
            {},
            "manifest.json re-encodes embedding from FLOAT32 to FLOAT16, which the index never read so",
        ),
        (
            Rewrite("hash", (Recoding("role", 8, "L2", "FLOAT32", "FLOAT16"),)),
            {"role": [vector(1)]},
            {},
            "manifest.json re-encodes role from FLOAT32 to FLOAT16, which the index never read so",
        ),
        (
            Rewrite("hash", (TO_INTEGERS,)),
            VECTORS,
            {},
            "manifest.json does not say how to convert: 8 x FLOAT32 to 8 x INT8 needs a quantization",
        ),
        (
            Rewrite("hash", (HALVES,)),
            {"other": [vector(1)]},
            {},
            "manifest.json lists the fields ['other'], not those that were rewritten",
        ),
        (
            Rewrite("hash", prefixes=(PrefixChange("p:", "q:"),)),
            {},
            {"numbers": {}},
            "chunk-000001.npz does not say what its documents were called",
        ),
        (
            Rewrite("json", renames=(PathRename("$.title", "$.name"),)),
            {"$": [b"{}"]},
            {},
            "manifest.json is of json documents in an index of hash documents",
        ),
        (
            Rewrite("hash", (HALVES,)),
            VECTORS,
            {"restores_from": 3},
            "manifest.json does not say where older backups are",
        ),
    ],
    ids=[
        "renames a field of others",
        "no dimensions",
        "re-encodes a field of others",
        "no quantization",
        "other fields",
        "no numbers",
        "other documents",
        "older backups",
    ],
)
def test_a_manifest_that_does_not_fit_its_rewrite_is_damaged(
    products: Shop, rewrite: Rewrite, columns: dict[str, Any], more: dict[str, Any], problem: str
):
    folder = forged(products, rewrite, columns, **more)
    refused(products, f"The backup in {folder} is damaged: {problem}.", "Nothing was restored.")


@pytest.mark.parametrize("ids", [("00000000000a", "00000000000b"), ("00000000000b", "00000000000a")])
def test_the_revisions_of_one_second_are_restored_the_last_first(shop: Shop, ids: tuple[str, str]):
    stock(shop, 3)
    before = documents(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32, revision=ids[0])
    shop.write(TO_BFLOAT16, TO_FLOAT16, revision=ids[1])
    run_id = str(shop.run("upgrade", "--json").json["run"])

    listed = shop.run("backup", "list", "--json").json["backups"]
    result = shop.run("backup", "restore", "--run", run_id, "--force", "--json")

    assert [backup["revision"] for backup in listed] == [*ids]
    assert [backup["revision"] for backup in result.json["backups"]] == [*reversed(ids)]
    assert documents(shop) == before


def test_a_rollback_does_not_take_from_a_manifest_that_does_not_fit(shop: Shop):
    stock(shop, 3)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    run_id = str(shop.run("upgrade", "--json").json["run"])
    (manifest,) = (shop.folder / "redismigrate-backups").rglob("manifest.json")
    forge_manifest(manifest.parent, options={})
    says = (f"The backup in {manifest.parent} is damaged: manifest.json does not say what was rewritten.",)
    shop.refuses("rollback", "--run", run_id, code=1, says=says)
