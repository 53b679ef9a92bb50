"""What is written in the old form after the backup, and before it gets the new one, can be brought back."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from vector_documents import DIMS, TO_FLOAT16, TO_FLOAT32, applied, documents, migrate, stock, vector

from redismigrate.errors import RunInterrupted

if TYPE_CHECKING:
    from conftest import Shop

    from redismigrate.planning.step_life import StepKind

PRODUCTS = 50
CHANGED, NEW = "p:3", "p:new"


@pytest.fixture
def expanded(shop: Shop) -> dict[bytes, dict[bytes, bytes]]:
    """Products that are expanded to float16, of which old pods write two; all as they were after that."""
    shop.strategy = "shadow_field"
    stock(shop, PRODUCTS)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    before = documents(shop)
    applied(shop, "--phase", "expand")
    shop.client.hset(CHANGED, "embedding", vector(33))
    shop.client.hset(NEW, mapping={"title": "boot", "embedding": vector(44)})
    before[CHANGED.encode()][b"embedding"] = vector(33)
    return before | {NEW.encode(): {b"title": b"boot", b"embedding": vector(44)}}


def backups(shop: Shop) -> list[dict[str, Any]]:
    assert shop.run("backup", "verify").code == 0
    found: list[dict[str, Any]] = shop.run("backup", "list", "--json").json["backups"]
    return found


def rolled_back(shop: Shop) -> dict[str, Any]:
    """Undo the last run; the counts of documents that it tells."""
    last = shop.state("last_run")
    assert last is not None
    return applied(shop, "--run", last["run"], verb="rollback")


def test_a_rollback_brings_it_back(shop: Shop, expanded: dict[bytes, dict[bytes, bytes]]) -> None:
    applied(shop, "--phase", "contract")
    assert shop.client.hget(CHANGED, "embedding") == vector(33, "float16")
    (backup,) = backups(shop)
    assert (backup["complete"], backup["documents"]) == (True, PRODUCTS + 2)

    counts = rolled_back(shop)

    assert documents(shop) == expanded
    assert counts["failed"] == []


def test_a_downgrade_brings_it_back(shop: Shop, expanded: dict[bytes, dict[bytes, bytes]]) -> None:
    applied(shop, "--phase", "contract")
    applied(shop, "-1", verb="downgrade")
    assert documents(shop) == expanded


def test_it_is_brought_back_after_a_contraction_that_was_interrupted(
    shop: Shop, expanded: dict[bytes, dict[bytes, bytes]]
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    # Promoted it is by then, and the second fields are still there.
    with pytest.raises(RunInterrupted):
        migrate(shop, {"remove_documents": stop}, phase="contract")
    assert shop.client.hget(NEW, "embedding") == vector(44, "float16")
    shop.client.hset(CHANGED, "embedding", vector(55))
    expanded[CHANGED.encode()][b"embedding"] = vector(55)

    applied(shop)

    assert shop.client.hget(CHANGED, "embedding") == vector(55, "float16")
    assert shop.hits("products") == PRODUCTS + 1
    (backup,) = backups(shop)
    assert backup["complete"]
    rolled_back(shop)
    assert documents(shop) == expanded


def test_without_the_backup_nothing_is_contracted(
    shop: Shop, expanded: dict[bytes, dict[bytes, bytes]]
) -> None:
    folder, elsewhere = shop.folder / "redismigrate-backups", shop.folder / "elsewhere"
    shutil.move(folder, elsewhere)
    before = documents(shop)

    refused = shop.run("upgrade", "--phase", "contract")

    assert refused.code == 1, refused
    assert "The backup that this needs is not on this machine" in refused.err
    assert documents(shop) == before
    assert shop.run("current", "--json").json["expanded"] == "000000000002"
    applied(shop, "--phase", "contract", "--backup-dir", str(elsewhere))
    applied(shop, "-1", "--backup-dir", str(elsewhere), verb="downgrade")
    assert documents(shop) == expanded


@pytest.mark.parametrize("kind", ["create_index", "drop_index"])
def test_what_is_written_late_and_can_not_be_converted_is_told(shop: Shop, kind: StepKind) -> None:
    stock(shop, PRODUCTS)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    too_large = np.full(DIMS, 1e30, np.float32).tobytes()

    result = migrate(
        shop,
        {kind: lambda: shop.client.hset(CHANGED, "embedding", too_large)},
        strategy="shadow_field",
    )

    assert (shop.hits("products"), shop.client.hget(CHANGED, "embedding")) == (PRODUCTS - 1, too_large)
    ((key, reason),) = result.documents.failed
    assert (key, result.documents.failed_count) == (CHANGED, 1)
    assert "FLOAT16 ends at 65504" in reason
