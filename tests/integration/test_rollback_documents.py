"""A rollback of a finished run brings the original bytes of documents back, revision by revision."""

from __future__ import annotations

import shutil
import struct
from typing import TYPE_CHECKING

import pytest
from long_chain import outcome, run
from signalled_process import KILLED, kill_at

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.usefixtures("rebuilding")

PRODUCTS = """op.create_index({
    "index": {"name": "products", "prefix": "p:"},
    "fields": [
        {"name": "title", "type": "text"},
        {"name": "embedding", "type": "vector",
         "attrs": {"algorithm": "flat", "dims": 4, "distance_metric": "cosine", "datatype": "float32"}},
    ],
})"""
TO = 'with op.index("products") as index: index.alter_field("embedding", datatype="{}")'
DOCUMENTS = 30
# Not to be told in 16 bits, so that nothing but the backup can bring it back.
VECTOR = struct.pack("<4f", 0.1, 0.2, 0.3, 0.4)


@pytest.fixture
def before(shop: Shop) -> dict[str, object]:
    """Two revisions that re-encode wait to be applied to documents; what the server is like."""
    shop.add_documents(DOCUMENTS, title="a lamp {n}", embedding=VECTOR)
    shop.write(PRODUCTS, 'op.drop_index("products")')
    run(shop, "upgrade", "head")
    shop.write(TO.format("float16"), TO.format("float32"))
    shop.write(TO.format("bfloat16"), TO.format("float16"))
    return outcome(shop)


def _upgrade(shop: Shop) -> str:
    result = shop.run("--json", "upgrade", "head")
    assert result.code == 0, result.err
    return str(result.json["run"])


def test_vectors_are_what_they_were_bit_by_bit(shop: Shop, before: dict[str, object]):
    run_id = _upgrade(shop)
    assert shop.client.hget("p:0", "embedding") != VECTOR
    result = shop.run("--json", "rollback", "--run", run_id)
    assert result.code == 0, result.err
    assert outcome(shop) == before
    assert result.json["documents"]["rewritten"] == 2 * DOCUMENTS
    assert result.json["backup"] is not None


def test_a_document_written_since_is_left_and_told(shop: Shop, before: dict[str, object]):
    run_id = _upgrade(shop)
    shop.client.hset("p:7", "embedding", struct.pack("<4H", 1, 2, 3, 4))
    result = shop.run("--json", "rollback", "--run", run_id)
    assert result.code == 0, result.err
    assert [failed["key"] for failed in result.json["documents"]["failed"]] == ["p:7"]
    assert shop.client.hget("p:6", "embedding") == VECTOR


def test_a_finished_downgrade_is_undone_with_its_documents(shop: Shop, before: dict[str, object]):
    _upgrade(shop)
    after = outcome(shop)
    result = shop.run("--json", "downgrade", "-2")
    assert result.code == 0, result.err
    run(shop, "rollback", "--run", result.json["run"])
    assert outcome(shop) == after


@pytest.mark.parametrize("moment", [3, 8, 15])
def test_an_interrupted_run_is_undone_with_the_documents_of_its_recorded_revisions(
    shop: Shop, before: dict[str, object], moment: int
):
    assert kill_at(shop, "upgrade", "head", at=moment) == KILLED
    run(shop, "rollback")
    assert outcome(shop) == before


def test_a_run_whose_backup_is_elsewhere_is_not_begun_to_be_undone(shop: Shop, before: dict[str, object]):
    run_id = _upgrade(shop)
    backups, elsewhere = shop.folder / "redismigrate-backups", shop.folder / "elsewhere"
    shutil.move(backups, elsewhere)
    shop.refuses(
        "rollback",
        "--run",
        run_id,
        code=1,
        says=("The backup that this needs is not on this machine", "name their folder with --backup-dir."),
    )
    run(shop, "rollback", "--run", run_id, "--backup-dir", str(elsewhere))
    assert outcome(shop) == before
