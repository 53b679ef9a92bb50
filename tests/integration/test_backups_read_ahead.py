"""`downgrade` reads all backups that it restores from before it changes anything, by every strategy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Shop
from vector_documents import (
    CHANGE,
    DIMS,
    TO_FLOAT16,
    TO_FLOAT32,
    applied,
    converted,
    creation,
    documents,
    kill_before,
    stock,
)

from redismigrate.backup.backup import Backup
from redismigrate.execution.documents.in_place import joined_chunks

PRODUCTS = 60
WAYS_OUT = ("Put an intact copy of the folder in its place", "--backup-dir", "--allow-lossy")
TO_FLOAT64 = CHANGE + "index.alter_field('embedding', datatype='float64')"


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined_chunks, "CHUNK_BYTES", 200)


def two_conversions(shop: Shop, strategy: str) -> tuple[Path, Path]:
    """Products that were made float32, then float16, in two revisions; the folder of each one's backup."""
    shop.strategy = strategy  # type: ignore[assignment] - what pytest gives is any string
    shop.write(creation(datatype="float64"), "op.drop_index('products')")
    applied(shop)
    for number in range(PRODUCTS):
        shop.client.hset(f"p:{number}", mapping={"title": "shoe", "embedding": original(number)})
    shop.wait_until_indexed()
    for change, back in ((TO_FLOAT32, TO_FLOAT64), (TO_FLOAT16, TO_FLOAT32)):
        shop.write(change, back)
        applied(shop, "--batch-size", "10")
    first, second = (folder_of(shop, revision) for revision in ("000000000002", "000000000003"))
    return first, second


def original(number: int) -> bytes:
    """The vector of a product, which float32 can't hold."""
    return (np.arange(DIMS) / 7 + number + 1).tobytes()


def folder_of(shop: Shop, revision: str) -> Path:
    """Of the backup that a revision has made."""
    (folder,) = (shop.folder / "redismigrate-backups" / "shop").glob(f"*/{revision}/products")
    return folder


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


@pytest.mark.slow_beyond(3)
@pytest.mark.parametrize("strategy", ["rebuild", "shadow_field"])
@pytest.mark.parametrize("which", [0, 1], ids=["the older one", "the newer one"])
def test_a_flipped_byte_in_any_file_of_any_backup_is_found_before_anything_changes(
    shop: Shop, strategy: str, which: int
):
    folder = two_conversions(shop, strategy)[which]
    position = 100
    files = sorted(path for path in folder.iterdir() if path.is_file())
    assert [file.name for file in files[:2]] == ["chunk-000001.npz", "chunk-000002.npz"]
    assert [file.name for file in files[-2:]] == ["manifest.json", "written.log"]
    for file in (files[0], *files[-3:]):
        flip(file, position)
        says = (f"The backup in {folder} is damaged: {file.name}", *WAYS_OUT)
        shop.refuses("downgrade", "000000000001", code=1, says=says, aliases=("products",))
        planned = shop.run("plan", "--down", "000000000001", "--json")
        assert planned.code == 6
        assert any(file.name in reason for reason in planned.json["blocked"])
        assert shop.run("downgrade", "000000000001", "--dry-run").code == 6
        flip(file, position)
    assert shop.run("downgrade", "000000000001").code == 0
    assert documents(shop)[b"p:7"][b"embedding"] == original(7)


@pytest.mark.parametrize("strategy", ["rebuild", "shadow_field"])
@pytest.mark.parametrize("missing", ["chunk-000003.npz", "manifest.json", "written.log", "."])
def test_a_missing_file_is_found_before_anything_changes_too(shop: Shop, strategy: str, missing: str):
    older, _ = two_conversions(shop, strategy)
    (older / missing).rename(shop.folder / "moved")

    code, begins = (6, "The plan is blocked: ") if missing == "." else (1, "The backup in ")
    shop.refuses("downgrade", "000000000001", code=code, says=(begins, str(older), "--allow-lossy"))


def test_a_stray_file_is_named_with_what_to_do(shop: Shop):
    _, newer = two_conversions(shop, "rebuild")
    (newer / "notes.txt").write_text("mine")

    says = (
        f"The backup in {newer} is damaged: notes.txt does not belong",
        "Move notes.txt out of the folder",
    )
    shop.refuses("downgrade", "-1", code=1, says=says)


def test_the_list_of_a_backup_that_has_grown_is_read_too(shop: Shop):
    _, newer = two_conversions(shop, "rebuild")
    (newer / "chunks.jsonl").write_text("{}\n")

    assert shop.run("downgrade", "-1").code == 0  # the manifest lists all: nobody reads that file


def test_what_the_way_back_does_not_need_may_be_damaged(shop: Shop):
    shop.strategy = "rebuild"
    stock(shop, PRODUCTS)
    change = "with op.index('products') as index:\n    index.rename_field({}, {})"
    shop.write(change.format("'title'", "'name'"), change.format("'name'", "'title'"))
    applied(shop, "--exclusive")
    flip(folder_of(shop, "000000000002") / "manifest.json", 100)

    assert shop.run("downgrade", "-1", "--exclusive").code == 0


@pytest.mark.parametrize("strategy", ["rebuild", "shadow_field"])
def test_what_is_left_of_a_damaged_backup_is_restored_where_something_may_be_lost(shop: Shop, strategy: str):
    older, _ = two_conversions(shop, strategy)
    lost = set(list(Backup.open(older).chunks())[1].documents.keys)
    flip(older / "chunk-000002.npz", 100)
    assert len(lost) < PRODUCTS

    result = shop.run("downgrade", "000000000001", "--allow-lossy")

    assert result.code == 0, result.err
    assert f"chunks of the backup in {older} are damaged" in " ".join(result.out.split())
    for number in range(PRODUCTS):
        key = f"p:{number}".encode()
        exact = original(number)
        rounded = converted(exact, "float64", "float32")
        rounded = np.frombuffer(rounded, "<f4").astype("<f8").tobytes()
        assert documents(shop)[key][b"embedding"] == (rounded if key in lost else exact)


@pytest.mark.parametrize("strategy", ["rebuild", "shadow_field"])
def test_one_that_was_expanded_or_interrupted_reads_them_again(shop: Shop, strategy: str):
    older, newer = two_conversions(shop, strategy)
    arguments: tuple[str, ...] = ("downgrade", "-1")
    if strategy == "rebuild":
        kill_before(shop, "rewrite_documents", "downgrade", "-1")
    else:
        assert shop.run(*arguments, "--phase", "expand").code == 0
        arguments = (*arguments, "--phase", "contract")
    flip(newer / "chunk-000002.npz", 100)

    says = (f"The backup in {newer} is damaged: chunk-000002.npz", "redismigrate rollback --allow-lossy")
    shop.refuses(*arguments, code=1, says=says)

    flip(newer / "chunk-000002.npz", 100)
    assert shop.run(*arguments).code == 0
    shutil.rmtree(older)


def test_how_far_the_backups_are_read_is_shown(shop: Shop):
    older, newer = two_conversions(shop, "rebuild")

    shown = " ".join(shop.run("downgrade", "000000000001").out.replace("\n", "").split())

    for folder in (older, newer):
        assert f"read the backup in {folder}".replace(" ", "") in shown.replace(" ", "")
