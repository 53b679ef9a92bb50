"""Writers of the old form who do not stop while second fields of vectors are made, moved and removed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from document_writer import REWRITES, Writer, vector_of, written
from vector_documents import (
    CHANGE,
    DIMS,
    TO_FLOAT16,
    TO_FLOAT32,
    applied,
    creation,
    documents,
    kill_before,
    migrate,
    stock,
    vector,
)

from redismigrate.execution.documents.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Shop

SECOND = "embedding__000000000002"
BACKWARDS = "the application has written it in the new form; left as it is"


@pytest.fixture
def products(shop: Shop) -> Shop:
    """A few products in float32, and a revision that takes them to float16 with search up."""
    shop.strategy = "shadow_field"
    stock(shop, 6)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    return shop


def near(number: float, offset: float) -> bytes:
    """A float32 vector that float16 can't tell from the one without the offset."""
    return np.full(DIMS, number + offset, np.float32).tobytes()


def before_writes(
    monkeypatch: pytest.MonkeyPatch, step: Callable[[], str], actions: dict[str, list[Any]]
) -> None:
    """Let an application act before a command is sent in a step: one action each time, so between any two."""
    send = Wire.send

    def act_and_send(wire: Wire, *parts: Any) -> None:
        waiting = actions.get(step(), [])
        if waiting:
            waiting.pop(0)()
        send(wire, *parts)

    monkeypatch.setattr(Wire, "send", act_and_send)


@pytest.mark.parametrize(
    ("count", "per_second"), [(1500, 1500), pytest.param(8000, 2000, marks=pytest.mark.slow)]
)
def test_all_that_was_written_until_the_end_comes_back_as_it_was(
    shop: Shop, tmp_path: Path, count: int, per_second: int
) -> None:
    log = tmp_path / "writer.log"
    application = Writer(shop.url, str(log), DIMS, "float32", count, per_second, REWRITES)
    application.fill()
    shop.write(creation(), "op.drop_index('products')")
    applied(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32)

    with application.at_work():
        result = shop.run("upgrade", "--strategy", "shadow_field", "--json")

    assert result.code == 0, result.err
    assert "writers of products have not stopped writing FLOAT32" in result.err
    assert "until they are written in FLOAT16" in result.err
    expected = {
        key: vector_of(document.vector or 0, DIMS, "float32") for key, document in written(log).items()
    }
    left = sum(len(fields[b"embedding"]) == 4 * DIMS for fields in documents(shop).values())
    # They went on until after it was told.
    assert result.json["documents"]["left_in_old_type"] <= left
    assert shop.run("rollback", "--run", result.json["run"]).code == 0
    assert {key: fields[b"embedding"] for key, fields in documents(shop).items()} == expected
