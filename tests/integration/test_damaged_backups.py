"""Where other tools restore a damaged, foreign or crafted backup, or delete one, ours refuses."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from backup_samples import forge_chunk
from vector_documents import (
    TO_BFLOAT16,
    TO_FLOAT16,
    TO_FLOAT32,
    applied,
    documents,
    kill_before,
    stock,
)

pytestmark = pytest.mark.usefixtures("rebuilding")

PRODUCTS = 60
POSITIONS = 25


@pytest.fixture
def products(shop):
    """The shop with 60 products in an index of float32 vectors, and a revision to make them float16."""
    stock(shop, PRODUCTS)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    return shop


@pytest.fixture(params=["downgrade -1", "rollback"])
def undoing(products, request):
    """The shop before a downgrade, or before the rollback of an upgrade that was killed; and the command."""
    if request.param == "rollback":
        kill_before(products, "create_index", "upgrade", "head")
    else:
        applied(products)
    return products, tuple(request.param.split())


def folder_of_backup(shop):
    """Of the one that is there."""
    (manifest,) = (shop.folder / "redismigrate-backups").rglob("manifest.json")
    return manifest.parent


def flipped(file, position):
    """Flip a bit of one byte; what the file held before."""
    intact = file.read_bytes()
    damaged = bytearray(intact)
    damaged[position] ^= 1 << position % 8
    file.write_bytes(damaged)
    return intact


def positions_of(file):
    """Of some bytes, the first and the last among them."""
    return sorted({round(at) for at in np.linspace(0, file.stat().st_size - 1, POSITIONS)})


def refuses_to_undo(shop, command, *says):
    """Check that the command refuses, names what is wrong, and changes neither documents nor indexes."""
    run, content = shop.state("run"), shop.content()
    result = shop.run(*command)
    assert result.code == 1, result.out + result.err
    assert "is damaged: " in result.err
    assert "Put an intact copy of the folder in its place" in result.err
    for text in says:
        assert text in result.err
    after = shop.content()
    of_documents = [
        {k: v for k, v in c["keys"].items() if not k.startswith(b"{redis")} for c in (content, after)
    ]
    assert of_documents[0] == of_documents[1]
    assert after["indexes"] == content["indexes"]
    assert shop.state("run") == run


@pytest.mark.parametrize("name", ["manifest.json", "chunk-000001.npz"])
def test_verify_names_the_file_in_which_any_byte_is_flipped(products, name):
    applied(products)
    file = folder_of_backup(products) / name
    for position in positions_of(file):
        intact = flipped(file, position)
        result = products.run("backup", "verify")
        file.write_bytes(intact)
        assert result.code == 1, position
        assert f"{file.parent} is damaged: {name} " in result.err
    assert products.run("backup", "verify").code == 0


@pytest.mark.parametrize("name", ["manifest.json", "chunk-000001.npz"])
def test_a_flipped_byte_stops_the_way_back_before_anything_is_changed(undoing, name):
    shop, command = undoing
    file = folder_of_backup(shop) / name
    for position in positions_of(file)[::6]:
        intact = flipped(file, position)
        refuses_to_undo(shop, command, name)
        file.write_bytes(intact)


def test_the_way_back_goes_on_once_an_intact_copy_is_in_place(undoing):
    shop, command = undoing
    file = folder_of_backup(shop) / "chunk-000001.npz"
    intact = flipped(file, 1000)
    assert shop.run(*command).code == 1

    file.write_bytes(intact)
    applied(shop, *command[1:], verb=command[0])

    assert all(len(product[b"embedding"]) == 32 for product in documents(shop).values())
    assert shop.hits("products") == PRODUCTS


def test_a_run_whose_backup_was_damaged_can_still_be_finished_once_all_documents_are_rewritten(products):
    kill_before(products, "create_index", "upgrade", "head", exclusive=True)
    flipped(folder_of_backup(products) / "chunk-000001.npz", 1000)
    assert products.run("rollback").code == 1

    applied(products)

    assert products.hits("products") == PRODUCTS


def test_a_missing_chunk_is_named_and_stops_the_way_back(undoing):
    shop, command = undoing
    (folder_of_backup(shop) / "chunk-000001.npz").unlink()

    refuses_to_undo(shop, command, "chunk-000001.npz is missing")


def test_a_damaged_chunk_stops_the_pass_that_reads_it_and_none_of_its_documents_is_written(products):
    before = documents(products)
    kill_before(products, "rewrite_documents", "upgrade", "head")
    file = folder_of_backup(products) / "chunk-000001.npz"
    intact = flipped(file, 1000)

    result = products.run("upgrade")

    assert result.code == 7
    assert "chunk-000001.npz was changed after it was written" in result.err
    assert documents(products) == before
    file.write_bytes(intact)
    applied(products)
    assert all(len(product[b"embedding"]) == 16 for product in documents(products).values())


def test_the_backup_of_another_run_is_never_taken_for_the_one_that_is_needed(products):
    applied(products)
    stale = folder_of_backup(products).rename(products.folder / "stale")
    applied(
        products, "-1", "--allow-lossy", "--backup-dir", str(products.folder / "elsewhere"), verb="downgrade"
    )
    applied(products)
    needed = folder_of_backup(products)
    shutil.rmtree(needed)
    shutil.copytree(stale, needed)

    refused = products.run("downgrade", "-1")

    assert refused.code == 1
    assert f"The backup in {needed} is damaged: manifest.json is of another backup" in refused.err
    assert all(len(product[b"embedding"]) == 16 for product in documents(products).values())


def test_a_backup_that_cannot_be_written_ends_the_run_before_anything_is_changed(products):
    before, content = documents(products), products.content()["indexes"]
    elsewhere = products.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "shop").touch()

    result = products.run("upgrade", "--backup-dir", str(elsewhere))

    assert result.code == 1
    assert f"{elsewhere}/shop" in result.err
    assert products.state("run") is None
    assert (documents(products), products.content()["indexes"]) == (before, content)
    applied(products)


def test_a_second_migration_leaves_the_first_backup_as_it_is(products):
    applied(products)
    first = {file: file.read_bytes() for file in folder_of_backup(products).iterdir()}
    products.write(TO_BFLOAT16)
    applied(products)

    assert {file: file.read_bytes() for file in first} == first
    assert "2 backups verified, all intact." in products.run("backup", "verify").out


class Bomb:
    """Its pickle makes a file when it is read."""

    def __init__(self, file):
        self._file = file

    def __reduce__(self):
        return Path.touch, (self._file,)


def test_a_pickle_in_a_chunk_is_never_executed(undoing, tmp_path):
    shop, command = undoing
    trace = tmp_path / "executed"
    data = io.BytesIO()
    np.savez(data, names=np.array([Bomb(trace)], object), allow_pickle=True)
    with pytest.raises(ValueError, match="pickle"):
        np.load(io.BytesIO(data.getvalue()))["names"]
    forge_chunk(folder_of_backup(shop), data.getvalue())

    assert shop.run("backup", "verify").code == 1
    refuses_to_undo(shop, command, "chunk-000001.npz")
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace)))  # noqa: S301 - shows that it would have told
    assert trace.exists()
