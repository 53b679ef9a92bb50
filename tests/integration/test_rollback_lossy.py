"""A rollback whose backup is damaged or gone: refused as it is, and what `--allow-lossy` makes of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Shop
from long_chain import run
from vector_documents import (
    TO_BFLOAT16,
    TO_FLOAT16,
    TO_FLOAT32,
    converted,
    documents,
    kill_before,
    stock,
    vector,
)

from redismigrate.backup.backup import Backup
from redismigrate.backup.written import LOG
from redismigrate.execution.documents.in_place import joined_chunks

pytestmark = pytest.mark.usefixtures("rebuilding")

PRODUCTS = 60
WAY_OUT = "`redismigrate rollback --allow-lossy` undoes the run with what is left of the backup."


@pytest.fixture
def products(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop with 60 products in an index of float32 vectors, and a revision to float16 that waits.

    A backup of them has several chunks.
    """
    monkeypatch.setattr(joined_chunks, "CHUNK_BYTES", 200)
    stock(shop, PRODUCTS)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    return shop


def finished(shop: Shop, verb: str = "upgrade", target: str = "head") -> str:
    """Migrate in batches of ten; the id of the run."""
    result = shop.run("--json", verb, target, "--batch-size", "10")
    assert result.code == 0, result.err
    return str(result.json["run"])


def folder_of(shop: Shop, run_id: str) -> Path:
    """Of the only backup of a run."""
    (manifest,) = (shop.folder / "redismigrate-backups" / "shop" / run_id).rglob("manifest.json")
    return manifest.parent


def damage(folder: Path, number: int = 2) -> set[bytes]:
    """Flip a bit of a chunk; the keys whose originals are lost by that."""
    chunk = list(Backup.open(folder).chunks())[number - 1]
    file = folder / f"chunk-{number:06d}.npz"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    return set(chunk.documents.keys)


def embeddings(shop: Shop) -> dict[bytes, bytes]:
    return {key: fields[b"embedding"] for key, fields in documents(shop).items()}


def float16_at_best(number: int) -> bytes:
    """The float32 vector of a product that has been float16."""
    return converted(vector(number, "float16"), "float16", "float32")


def numbered(key: bytes) -> int:
    return int(key.removeprefix(b"p:"))


def test_a_damaged_backup_stops_the_rollback_before_anything_is_changed_and_names_the_way_out(products: Shop):
    run_id = finished(products)
    folder = folder_of(products, run_id)
    damage(folder)
    products.refuses(
        "rollback",
        "--run",
        run_id,
        code=1,
        says=(
            f"The backup in {folder} is damaged: chunk-000002.npz was changed after it was written",
            "Put an intact copy of the folder in its place.",
            f"`redismigrate rollback --run {run_id} --allow-lossy` undoes the run with what is left of the ",
        ),
    )


def test_what_is_intact_is_restored_and_the_rest_is_converted_back(products: Shop):
    run_id = finished(products)
    folder = folder_of(products, run_id)
    lost = damage(folder)
    assert 0 < len(lost) < PRODUCTS

    result = products.run("rollback", "--run", run_id, "--allow-lossy")

    assert result.code == 0, result.err
    assert (
        f"1 of {PRODUCTS // 10} chunks of the backup in {folder} are damaged, and with them the originals of "
        f"{len(lost)} documents of products: vectors that still have the new form are converted back"
    ) in result.out
    assert embeddings(products) == {
        key: float16_at_best(numbered(key)) if key in lost else vector(numbered(key))
        for key in documents(products)
    }
    products.wait_until_indexed()
    assert products.hits("products") == PRODUCTS


@pytest.mark.parametrize("kind", ["create_index", "validate_index"])
def test_an_interrupted_run_has_the_same_way_out(products: Shop, kind: Any):
    kill_before(products, kind, "upgrade", "head", batch_size=10)
    folder = folder_of(products, str((products.state("run") or {})["id"]))
    damage(folder, 1)
    products.refuses("rollback", code=1, says=(f"The backup in {folder} is damaged", WAY_OUT))

    run(products, "rollback", "--allow-lossy")

    products.wait_until_indexed()
    assert products.hits("products") == PRODUCTS
    assert {len(value) for value in embeddings(products).values()} == {len(vector(1))}
    assert products.state("run") is None


def test_a_run_that_stops_at_a_damaged_backup_names_the_way_out(products: Shop):
    kill_before(products, "rewrite_documents", "upgrade", "head", batch_size=10)
    damage(folder_of(products, str((products.state("run") or {})["id"])), 1)
    result = products.run("upgrade", "head")
    assert result.code == 7
    assert WAY_OUT in result.err
    run(products, "rollback", "--allow-lossy")
    assert embeddings(products) == {key: vector(numbered(key)) for key in documents(products)}


@pytest.mark.parametrize("file", ["manifest.json", None], ids=["manifest", "folder"])
def test_without_any_of_the_backup_all_is_converted_back(products: Shop, file: str | None):
    run_id = finished(products)
    folder = folder_of(products, run_id)
    if file is None:
        shutil.rmtree(folder)
    else:
        (folder / file).write_text("{")
    refused = products.run("rollback", "--run", run_id)
    assert refused.code == 1
    assert f"`redismigrate rollback --run {run_id} --allow-lossy`" in refused.err

    result = products.run("rollback", "--run", run_id, "--allow-lossy")

    assert result.code == 0, result.err
    assert "All originals of products in it are lost" in result.out
    assert embeddings(products) == {key: float16_at_best(numbered(key)) for key in documents(products)}
    assert products.hits("products") == PRODUCTS


def test_vectors_whose_length_does_not_tell_their_type_are_left_and_told(shop: Shop):
    stock(shop, PRODUCTS, datatype="float16")
    shop.write(TO_BFLOAT16, TO_FLOAT16)
    run_id = finished(shop)
    before = embeddings(shop)
    shutil.rmtree(folder_of(shop, run_id))

    result = shop.run("--json", "rollback", "--run", run_id, "--allow-lossy")

    assert result.code == 0, result.err
    assert result.json["documents"]["failed_count"] == PRODUCTS
    assert embeddings(shop) == before


def test_a_downgrade_whose_older_backup_is_gone_is_undone_by_converting(products: Shop):
    used = folder_of(products, finished(products))
    run_id = finished(products, "downgrade", "-1")
    after = {key: vector(numbered(key), "float16") for key in documents(products)}
    shutil.rmtree(used)
    assert products.run("rollback", "--run", run_id).code == 1

    run(products, "rollback", "--run", run_id, "--allow-lossy")

    assert embeddings(products) == after
    products.wait_until_indexed()
    assert products.hits("products") == PRODUCTS


def test_with_an_intact_backup_nothing_is_lost_and_nothing_is_told(products: Shop):
    before = documents(products)
    run_id = finished(products)
    result = products.run("rollback", "--run", run_id, "--allow-lossy")
    assert result.code == 0
    assert "lost" not in result.out
    assert "damaged" not in result.out
    assert documents(products) == before


def test_what_the_application_has_written_in_the_new_form_stays_while_the_backup_is_intact(products: Shop):
    run_id = finished(products)
    products.client.hset("p:new", "embedding", vector(3, "float16"))
    run(products, "rollback", "--run", run_id, "--allow-lossy")
    assert products.client.hget("p:new", "embedding") == vector(3, "float16")


def test_a_backup_whose_digests_are_damaged_is_refused_and_is_enough_with_allow_lossy(products: Shop):
    before = documents(products)
    run_id = finished(products)
    log = folder_of(products, run_id) / LOG
    content = bytearray(log.read_bytes())
    content[50] ^= 1
    log.write_bytes(content)
    products.refuses(
        "rollback",
        "--run",
        run_id,
        code=1,
        says=(f"The backup in {log.parent} is damaged: {LOG} was", f"--run {run_id} --allow-lossy`"),
    )

    result = products.run("--json", "rollback", "--run", run_id, "--allow-lossy")

    assert result.code == 0, result.err
    assert f"{LOG} of the backup in {log.parent} is damaged" in result.err
    assert "chunks of the backup" not in result.err
    assert documents(products) == before
    assert result.json["documents"]["failed"] == []
