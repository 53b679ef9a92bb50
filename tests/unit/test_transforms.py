"""The contract of transforms: what each says of itself is so, and whoever runs it may be another process."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from redismigrate.documents.batch import Batch, Failure, Transformed
from redismigrate.documents.conversion import transform_of
from redismigrate.documents.fitting import Fit
from redismigrate.documents.results_ahead import ready_ahead, results_ahead
from redismigrate.documents.rewrite import Recoding, Rewrite
from redismigrate.documents.transform import Transform
from redismigrate.documents.whole_transform import Documents, RenameMembers, RewriteDocuments
from redismigrate.execution.documents.traffic.aside import Aside, NotMadeYet
from redismigrate.schema.moves import PathRename
from redismigrate.schema.quantization import Quantization

SCALE = Quantization("int8_per_index", 0.5)
KEYS = [b"a", b"b", b"c"]
VECTORS = [np.array([1, -2.5], "<f4").tobytes(), None, b"odd"]
TEXTS = [b'{"old":1,"other":2}', None, b'{"old":1,"new":2}']


def float16() -> Transform:
    return transform_of((Recoding("v", 2, "L2", "FLOAT32", "FLOAT16"),), {})


def int8() -> Transform:
    return transform_of((Recoding("v", 2, "L2", "FLOAT32", "INT8"),), {"v": SCALE})


TRANSFORMS = {
    "float16": (float16(), {"v": VECTORS}),
    "int8": (int8(), {"v": VECTORS}),
    "members": (RenameMembers((PathRename("$.old", "$.new"),)), {"$": TEXTS}),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_it_reads_and_writes_what_it_says_and_tells_what_it_leaves_out(name: str):
    transform, columns = TRANSFORMS[name]
    batch = Batch(KEYS, {**columns, "none of its business": [b"", b"", b""]})

    made = transform(batch)

    assert set(transform.reads) == set(columns)
    assert set(made.columns) == set(transform.writes)
    assert dict(made.failures) == transform.check(batch)
    assert [row for row, _ in made.failures] == [2]
    for column in made.columns.values():
        assert [value is None for value in column] == [False, True, True]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_it_can_be_sent_elsewhere_and_comes_to_the_same(name: str):
    transform, columns = TRANSFORMS[name]
    sent = pickle.loads(pickle.dumps(transform))  # noqa: S301 - our own bytes

    assert transform.is_deterministic
    assert not transform.is_slow
    assert pickle.loads(pickle.dumps(sent(Batch(KEYS, columns)))) == transform(Batch(KEYS, columns))  # noqa: S301


@pytest.mark.parametrize("name", TRANSFORMS)
def test_its_way_back_leads_back(name: str):
    transform, columns = TRANSFORMS[name]
    back = transform.back
    assert back is not None
    originals = {path: [*column[:2], None] for path, column in columns.items()}

    assert back(Batch(KEYS, dict(transform(Batch(KEYS, originals)).columns))).columns == originals


def test_there_is_no_way_back_to_integers_of_which_nobody_knows_how_they_were_made():
    transform = transform_of((Recoding("v", 2, "L2", "INT8", "FLOAT16"),), {})
    known = transform_of((Recoding("v", 2, "L2", "INT8", "FLOAT16", SCALE),), {})

    assert transform.back is None
    assert known.back is not None
    assert known.back.reads == ("v",)


def test_a_fit_tells_of_each_field_how_its_integers_are_made():
    """Beside fields that get none, which were once taken for such."""
    recodings = (
        Recoding("a", 2, "L2", "FLOAT32", "INT8"),
        Recoding("b", 2, "COSINE", "FLOAT32", "INT8"),
        Recoding("c", 2, "L2", "FLOAT32", "FLOAT16"),
    )
    fit = Fit(recodings, transform_of)
    for number in (2.0, -254.0):
        vector = np.array([number, 1], "<f4").tobytes()
        batch = Batch([b"k", b"odd"], {path: [vector, b"x"] for path in "abc"})
        assert list(fit.probe.check(batch)) == [1]
        fit.see(batch)

    assert fit.quantizations() == {
        "a": Quantization("int8_per_index", 2.0),
        "b": Quantization("int8_per_vector"),
    }


def test_whole_documents_get_new_values_and_names_and_stay_themselves():
    rewrite = Rewrite(
        "hash",
        recodings=(Recoding("v", 2, "L2", "FLOAT32", "FLOAT16"),),
        renames=(PathRename("v", "w"), PathRename("t", "u")),
    )
    new = np.array([1, -2.5], "<f2").tobytes()
    contents = [{b"v": VECTORS[0]}, {b"t": b"x"}, {b"v": b"odd"}, {b"v": new}, {b"t": b"x", b"u": b"y"}]
    kept = [dict(document) for document in contents]

    made = RewriteDocuments.of(rewrite, {})(Documents(list(contents), {0: {b"v": 7}}))

    assert made.contents == [{b"w": new}, {b"u": b"x"}, None, {b"w": new}, None]
    assert made.expiries == {0: {b"w": 7}}
    assert [row for row, _ in made.failures] == [2, 4]
    assert contents == kept


def test_results_come_in_order_although_they_are_made_at_the_same_time():
    together = threading.Barrier(3, timeout=60)

    def waiting(number: int) -> int:
        together.wait()  # nobody gets on before three are at work
        return number * number

    with ThreadPoolExecutor(3) as executor:
        found = list(results_ahead(executor, waiting, ((str(at), at) for at in range(9)), count=3))

    assert found == [(str(at), at * at) for at in range(9)]


def test_what_a_function_raises_is_raised_in_its_turn_and_the_rest_is_given_up():
    started = []

    def dividing(number: int) -> float:
        started.append(number)
        return 1 / number

    with ThreadPoolExecutor(1) as executor:
        results = results_ahead(executor, dividing, ((at, 2 - at) for at in range(100)), count=1)
        assert [next(results), next(results)] == [(0, 0.5), (1, 1.0)]
        with pytest.raises(ZeroDivisionError):
            next(results)

    assert len(started) < 6


def test_where_the_next_item_takes_long_that_is_told_once_before_it_is_waited_for():
    may_go_on = threading.Event()

    def items() -> Iterator[str]:
        yield "first"
        assert may_go_on.wait(60)
        yield "second"
        raise ValueError("third")

    found = ready_ahead(items(), patience_seconds=0.2)

    assert [next(found), next(found)] == ["first", None]
    may_go_on.set()
    assert next(found) == "second"
    with pytest.raises(ValueError, match="third"):
        next(item for item in found if item is not None)


def test_what_comes_in_time_is_not_told_to_be_late():
    assert list(ready_ahead(iter(range(9)), patience_seconds=60)) == list(range(9))


@dataclass
class Halving:
    """A slow transform of numbers.

    Attributes:
        asked: What it was asked for.
    """

    asked: list[list[bytes | None]] = field(default_factory=list)

    def __call__(self, batch: Batch) -> Transformed:
        column = list(batch.columns["v"])
        self.asked.append(column)
        odd = [row for row, value in enumerate(column) if value is not None and int(value) % 2]
        new = [
            None if row in odd or value is None else b"%d" % (int(value) // 2)
            for row, value in enumerate(column)
        ]
        return Transformed({"v": new}, [Failure(row, "it is odd") for row in odd])


def test_what_is_made_aside_is_made_once_and_never_while_keys_are_watched():
    aside, halving = Aside(), Halving()
    halved = aside.of_values(halving, "v")
    batch = Batch([b"a", b"b", b"c", b"d"], {"v": [b"4", None, b"3", b"4"]})

    made = halved(batch)
    aside.is_watched = True

    assert halved(batch) == made == Transformed({"v": [b"2", None, None, b"2"]}, [Failure(2, "it is odd")])
    assert halving.asked == [[b"4", b"3"]]
    changed = Batch([b"a", b"b"], {"v": [b"4", b"6"]})
    with pytest.raises(NotMadeYet) as missing:
        halved(changed)
    assert len(halving.asked) == 1
    missing.value.make()
    assert halved(changed).columns == {"v": [b"2", b"3"]}
    assert halving.asked[1:] == [[b"6"]]


def test_nothing_is_made_of_documents_without_a_value():
    halving = Halving()

    assert Aside().of_values(halving, "v")(Batch([b"a"], {"v": [None]})).columns == {"v": [None]}
    assert halving.asked == []


def test_nothing_more_is_begun_once_nobody_wants_it():
    begun, may_go_on = [], threading.Event()

    def items() -> Iterator[int]:
        for number in range(9):
            begun.append(number)
            assert number == 0 or may_go_on.wait(60)
            yield number

    found = ready_ahead(items(), patience_seconds=0)
    assert next(item for item in found if item is not None) == 0
    threading.Timer(0.1, may_go_on.set).start()
    found.close()  # type: ignore[attr-defined]  # it is a generator

    assert begun in ([0], [0, 1])
