"""Vectors of real documents as 8-bit integers and back.

The document steps are called by themselves here, so that this runs on servers whose indexes take no integers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import redis
from numpy.typing import NDArray

from redismigrate.documents.rewrite import Rewrite
from redismigrate.errors import PlanBlocked
from redismigrate.execution.documents.traffic.node import Node
from redismigrate.execution.progress import Watcher
from redismigrate.execution.run import Run, begin
from redismigrate.execution.steps.document_work import DocumentWork
from redismigrate.execution.steps.in_place_steps import DocumentSteps
from redismigrate.execution.steps.refusals import DocumentsRefused
from redismigrate.execution.steps.restoring_steps import RestoringSteps
from redismigrate.operations.recorded import Direction, RecordedRevision
from redismigrate.planning.index_steps import RewriteCosts, rewrite_steps
from redismigrate.planning.plan import Estimate, RevisionPlan, Step
from redismigrate.planning.rewrites import recodings_of
from redismigrate.planning.step_life import StepKind
from redismigrate.redis_server.connection import Server, connect
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.quantization import Quantization
from redismigrate.schema.redisvl import schema_from_redisvl
from redismigrate.state.fence import Fence

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.usefixtures("rebuilding")

COUNT, DIMS = 60, 16
METRICS = ("l2", "ip", "cosine")
Numbers = NDArray[np.float32]


def definition(datatype: str, metric: str, quantization: Quantization | None = None) -> IndexDefinition:
    attributes = {"algorithm": "flat", "dims": DIMS, "distance_metric": metric, "datatype": datatype}
    schema = schema_from_redisvl(
        {
            "index": {"name": "products", "prefix": "p:"},
            "fields": [{"name": "v", "type": "vector", "attrs": attributes}],
        }
    )
    return IndexDefinition(
        schema, "products", quantization={} if quantization is None else {"v": quantization}
    )


class Change:
    """One revision that changes the datatype, step by step.

    Attributes:
        run: As the steps have left it.
    """

    def __init__(
        self, server: Server, backup_dir: Path, before: IndexDefinition, after: IndexDefinition,
        restores_from: tuple[str, ...] = (), **arguments: Any,
    ) -> None:  # fmt: skip
        direction: Direction = "downgrade" if restores_from else "upgrade"
        recodings = recodings_of(before.schema, after.schema, (), before.quantization)
        costs = RewriteCosts(Estimate(), Estimate(), Estimate(), Estimate(), restores_from=restores_from)
        steps = rewrite_steps(before, after, Rewrite("hash", recodings), costs, "")
        self._steps = {step.kind: step for step in steps}
        recorded = RecordedRevision("00000000000a", direction, "", (), (), "", ())
        defaults = {"backup_dir": str(backup_dir), "batch_size": 7, "workers": 2, "exclusive": False}
        plan = RevisionPlan(recorded=recorded, steps=tuple(steps))
        self.run: Run = begin(direction, "head", plan, "", (), defaults | arguments)
        server.client.set("fence", "1")
        work = DocumentWork(
            Node(server, Fence(b"fence", b"1")), "shop", Watcher(), lambda _done, _of: None, None
        )
        self._documents = DocumentSteps(work)
        self._restoring = RestoringSteps(work, allows_lossy=False)

    def do(self, kind: StepKind) -> Mapping[str, Any]:
        """Carry out one step."""
        steps: dict[str, Callable[[Step, Run], Mapping[str, Any]]] = {
            "back_up_documents": self._documents.back_up,
            "rewrite_documents": self._documents.rewrite,
            "catch_up_documents": self._documents.catch_up,
        }
        changes = steps[kind](self._steps[kind], self.run)
        self.run = self.run.with_changes(**changes)
        return changes

    def undo(self) -> None:
        """Restore what the rewrite has changed."""
        step = self._steps["rewrite_documents"].with_documents(backup=self.run.backups["products"])
        self._restoring.restore(step.model_copy(update={"kind": "restore_documents"}), self.run)

    @property
    def quantization(self) -> Quantization:
        return self.run.quantizations["products"]["v"]


@pytest.fixture
def server(redis_url: str) -> Iterator[Server]:
    with connect(redis_url) as server:
        yield server


@pytest.fixture
def change(server: Server, tmp_path: Path) -> Callable[..., Change]:
    """Makes a change of the datatype of the index."""

    def make(before: IndexDefinition, after: IndexDefinition, **arguments: Any) -> Change:
        return Change(server, tmp_path / "backups", before, after, **arguments)

    return make


def fill(client: redis.Redis, *, positive: bool = False) -> Numbers:
    numbers = np.random.default_rng(5).normal(size=(COUNT, DIMS)).astype(np.float32)
    numbers *= np.linspace(0.1, 3, COUNT, dtype=np.float32)[:, np.newaxis]
    numbers = np.abs(numbers) if positive else numbers
    for number, vector in enumerate(numbers):
        client.hset(f"p:{number}", "v", vector.tobytes())
    return numbers


def stored(client: redis.Redis, dtype: str, count: int = COUNT) -> NDArray[Any]:
    found = [client.hget(f"p:{number}", "v") for number in range(count)]
    return np.array([np.frombuffer(value or b"", dtype) for value in found])


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("before", ["float32", "float64", "float16"])
def test_int8_has_one_scale_for_the_index_that_all_documents_decide_on(
    client: redis.Redis, change: Callable[..., Change], metric: str, before: str
):
    numbers = fill(client).astype(np.dtype(before))
    for number, vector in enumerate(numbers):
        client.hset(f"p:{number}", "v", vector.tobytes())
    largest = float(np.abs(numbers).max())

    made = change(definition(before, metric), definition("int8", metric))
    made.do("back_up_documents")
    made.do("rewrite_documents")

    assert made.quantization == Quantization("int8_per_index", largest / 127)
    codes = stored(client, "i1")
    assert (int(np.abs(codes).max()), codes.shape) == (127, (COUNT, DIMS))
    assert np.abs(codes * (largest / 127) - numbers).max() <= largest / 127 * 0.5001
    assert (made.run.documents.read, made.run.documents.rewritten) == (COUNT, COUNT)


def test_int8_for_cosine_has_a_scale_for_each_vector(client: redis.Redis, change: Callable[..., Change]):
    numbers = fill(client)

    made = change(definition("float32", "cosine"), definition("int8", "cosine"))
    made.do("back_up_documents")
    made.do("rewrite_documents")

    assert made.quantization == Quantization("int8_per_vector")
    codes = stored(client, "i1").astype(np.float64)
    assert (np.abs(codes).max(axis=1) == 127).all()
    lengths = np.linalg.norm(codes, axis=1) * np.linalg.norm(numbers, axis=1)
    assert ((codes * numbers).sum(axis=1) / lengths).min() > 0.999


@pytest.mark.parametrize("metric", METRICS)
def test_uint8_has_no_offset_where_nothing_is_negative(
    client: redis.Redis, change: Callable[..., Change], metric: str
):
    numbers = fill(client, positive=True)

    made = change(definition("float32", metric), definition("uint8", metric))
    made.do("back_up_documents")
    made.do("rewrite_documents")

    expected = {
        "cosine": Quantization("uint8_per_vector"),
    }.get(metric, Quantization("uint8_per_index", float(numbers.max()) / 255))
    assert made.quantization == expected
    assert int(stored(client, "u1").max()) == 255


def test_uint8_for_l2_takes_negative_numbers_with_an_offset(
    client: redis.Redis, change: Callable[..., Change]
):
    numbers = fill(client)

    made = change(definition("float32", "l2"), definition("uint8", "l2"))
    made.do("back_up_documents")
    made.do("rewrite_documents")

    quantization = made.quantization
    assert quantization.kind == "uint8_per_index"
    assert quantization.offset < 0
    back = stored(client, "u1") * (quantization.scale or 0) + quantization.offset
    assert np.abs(back - numbers).max() <= (quantization.scale or 0) * 0.5001


@pytest.mark.parametrize("metric", ["ip", "cosine"])
def test_uint8_is_refused_for_negative_numbers_before_anything_is_changed(
    client: redis.Redis, change: Callable[..., Change], metric: str
):
    numbers = fill(client)
    made = change(definition("float32", metric), definition("uint8", metric))

    with pytest.raises(PlanBlocked) as refused:
        made.do("back_up_documents")

    assert str(refused.value).startswith(f"UINT8 with {metric.upper()} needs vectors that are never negative")
    assert refused.value.hint == "Use INT8."
    assert (stored(client, "<f4") == numbers).all()


def test_what_integers_cannot_express_is_found_before_anything_is_changed(
    client: redis.Redis, change: Callable[..., Change]
):
    numbers = fill(client)
    for key, value in ((3, np.nan), (4, np.inf)):
        numbers[key, 5] = value
        client.hset(f"p:{key}", "v", numbers[key].tobytes())
    arguments = (definition("float32", "l2"), definition("int8", "l2"))

    with pytest.raises(DocumentsRefused, match="2 of 60 documents of products can't be rewritten") as refused:
        change(*arguments).do("back_up_documents")

    assert "p:3: v: component 5 is nan, INT8 can't express it" in refused.value.message
    assert "p:4: v: component 5 is inf, INT8 can't express it" in refused.value.message
    made = change(*arguments, max_failures=2)
    made.do("back_up_documents")
    made.do("rewrite_documents")
    assert made.run.documents.rewritten == COUNT - 2
    assert client.hget("p:3", "v") == numbers[3].tobytes()
    finite = np.delete(numbers, [3, 4], axis=0)
    assert made.quantization.scale == float(np.abs(finite).max()) / 127


@pytest.mark.parametrize("datatype", ["int8", "uint8"])
@pytest.mark.parametrize("metric", METRICS)
def test_an_undone_rewrite_leaves_the_first_bytes(
    client: redis.Redis, change: Callable[..., Change], metric: str, datatype: str
):
    numbers = fill(client, positive=True)
    made = change(definition("float32", metric), definition(datatype, metric))
    made.do("back_up_documents")
    made.do("rewrite_documents")

    made.undo()

    assert (stored(client, "<f4") == numbers).all()


@pytest.mark.parametrize("datatype", ["int8", "uint8"])
@pytest.mark.parametrize("metric", METRICS)
def test_the_way_back_restores_from_the_backup_and_converts_what_is_newer(
    client: redis.Redis, change: Callable[..., Change], metric: str, datatype: str
):
    numbers = fill(client, positive=True)
    made = change(definition("float32", metric), definition(datatype, metric))
    made.do("back_up_documents")
    made.do("rewrite_documents")
    code = np.arange(1, DIMS + 1, dtype=datatype)
    client.hset(f"p:{COUNT}", "v", code.tobytes())

    back = change(
        definition(datatype, metric, made.quantization),
        definition("float32", metric),
        restores_from=(made.run.backups["products"],),
    )
    back.do("back_up_documents")
    back.do("rewrite_documents")
    back.do("catch_up_documents")

    found = stored(client, "<f4", COUNT + 1)
    assert (found[:COUNT] == numbers).all()
    # Where each vector had a scale of its own, its length is lost: it comes back with length 1.
    scale = made.quantization.scale or 1 / np.linalg.norm(code.astype(np.float64))
    assert found[COUNT] == pytest.approx(code * scale, rel=1e-6)


@pytest.mark.parametrize("datatype", ["int8", "uint8"])
def test_what_writers_wrote_as_floats_meanwhile_becomes_integers_by_the_same_scale(
    client: redis.Redis, change: Callable[..., Change], datatype: str
):
    numbers = fill(client, positive=True)
    made = change(definition("float32", "l2"), definition(datatype, "l2"))
    made.do("back_up_documents")
    client.hset("p:1", "v", numbers[2].tobytes())
    made.do("rewrite_documents")
    client.hset("p:3", "v", numbers[4].tobytes())
    client.hset(f"p:{COUNT}", "v", numbers[5].tobytes())
    made.do("catch_up_documents")

    codes = stored(client, "i1" if datatype == "int8" else "u1", COUNT + 1)

    assert (codes[[1, 3, COUNT]] == codes[[2, 4, 5]]).all()
    assert made.run.documents.left_in_old_type == 0


def test_integers_for_several_metrics_are_made_as_for_the_strictest():
    schemas = []
    for datatype in ("float32", "int8"):
        schema = definition(datatype, "l2").schema
        also = schema.field("v").altered(name="w", path="v", distance_metric="cosine")
        schemas.append(schema.with_field(also))

    (recoding,) = recodings_of(*schemas, (), {})

    assert (recoding.path, recoding.distance_metric) == ("v", "IP")


def test_documents_of_equal_numbers_only_have_a_scale_too(client: redis.Redis, change: Callable[..., Change]):
    for number in range(3):
        client.hset(f"p:{number}", "v", np.zeros(DIMS, "f4").tobytes())
    made = change(definition("float32", "l2"), definition("int8", "l2"))
    made.do("back_up_documents")
    made.do("rewrite_documents")

    assert made.quantization == Quantization("int8_per_index", 1.0)
    assert not stored(client, "i1", 3).any()


def test_the_record_shows_how_integers_were_made(shop: Shop):
    fields = "[{'name': 't', 'type': 'text'}]"
    shop.write(f"op.create_index({{'index': {{'name': 'products', 'prefix': 'p:'}}, 'fields': {fields}}})")
    assert shop.run("upgrade").code == 0
    recorded = shop.state("indexes") or {}
    made = {"kind": "uint8_per_index", "scale": 0.5, "offset": -3.5}
    recorded["indexes"]["products"]["quantization"] = {"v": made}
    shop.client.set("{redismigrate:shop}:indexes", json.dumps(recorded))

    shown = shop.run("current", "--json").json["indexes"]["products"]

    assert shown["quantization"] == {"v": made}
    assert "v as UINT8, one scale 0.5 for the index, offset -3.5" in shop.run("current").out


@pytest.mark.lacks("integer vectors")
@pytest.mark.parametrize("datatype", ["int8", "uint8"])
def test_a_server_without_integers_is_told_with_the_version_that_has_them(shop: Shop, datatype: str):
    attributes = {"algorithm": "flat", "dims": DIMS, "distance_metric": "l2", "datatype": datatype}
    vector = {"name": "v", "type": "vector", "attrs": attributes | {"datatype": "float32"}}
    index = {"name": "products", "prefix": "p:"}
    shop.write(f"op.create_index({ {'index': index, 'fields': [vector]}!r})")
    assert shop.run("upgrade").code == 0
    shop.write(f"with op.index('products') as index:\n    index.alter_field('v', datatype={datatype!r})")

    shop.refuses(
        "upgrade",
        code=6,
        says=(
            "The plan is blocked: ",
            f"field v of index products: {datatype.upper()} needs Redis Search 8.0 or newer",
        ),
    )
