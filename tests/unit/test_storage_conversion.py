"""Hashes as JSON documents and back: nothing is lost, and what can't be is said."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from redismigrate.documents.json_documents import Unconvertible
from redismigrate.documents.json_members import normalised
from redismigrate.documents.json_numbers import number_of, spelled
from redismigrate.documents.json_vectors import numbers_text, vector_of
from redismigrate.documents.storage_change import StoredValue
from redismigrate.documents.storage_conversion import (
    FROM_HASH,
    FROM_JSON,
    StorageConversion,
)
from redismigrate.documents.vectors import VectorEncoding

VALUES = (
    StoredValue("title", "$.title"),
    StoredValue("price", "$.price", "number"),
    StoredValue("stock", "$.shop.stock", "number"),
    StoredValue("tags", "$.tags", "tags", separator=";", is_tag=True),
    StoredValue("kind", "$.shop.kind", separator=",", is_tag=True),
    StoredValue("embedding", "$.embedding", "vector", datatype="FLOAT32", dims=3),
)
CONVERSION = StorageConversion(VALUES)

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12).map(str.encode)
number_texts = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
    st.from_regex(r"[+-]?[0-9]{1,30}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
    st.sampled_from(("007", "1e3", "1.50", "-0", "+5", ".5", "5.", "0x10", "0x1.8p3", "-0.0")),
).filter(lambda text: text.isascii())
vectors = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3).map(
    lambda numbers: struct.pack("<3f", *numbers)
)
hashes = st.fixed_dictionaries(
    {},
    optional={
        b"title": texts,
        b"price": number_texts.map(str.encode),
        b"stock": number_texts.map(str.encode),
        b"tags": texts,
        b"kind": texts,
        b"embedding": vectors,
    },
)
others = st.dictionaries(
    st.one_of(texts, st.sampled_from([b"shop", b"a.b", b'"', b"", b"note", b"$"])), texts, max_size=3
)
MEMORIES = {FROM_HASH.encode(), FROM_JSON.encode()}

words = st.text(st.characters(exclude_categories=("Cs",)), max_size=5)
integers = st.integers(-(2**63), 2**64 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
narrow_floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | integers | floats | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
shops = st.fixed_dictionaries(
    {},
    optional={
        "stock": st.integers(0, 9),
        "kind": st.sampled_from([["x", "y"], "x,y", None, False]),
        "open": json_values,
    },
)
json_documents = st.builds(
    lambda other, own: {**other, **own},
    st.dictionaries(
        st.sampled_from(["note", "x", "", "a.b", "deep", "kind", "stock"]), json_values, max_size=4
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "title": st.none() | words,
            "price": st.none() | integers | floats,
            "tags": st.none() | st.sampled_from(["a", "", ["a", "b"], [], ["a"], True, [None, "b"]]),
            "shop": st.none() | shops,
            "embedding": st.lists(narrow_floats, min_size=3, max_size=3),
        },
    ),
)


def _tried(convert: Callable[..., Any], *what: object) -> tuple[Any, str]:
    """What a conversion makes; else None, and why it makes nothing."""
    try:
        return convert(*what), ""
    except (Unconvertible, ValueError) as error:
        return None, str(error)


@given(hashes, others)
@example({b"price": b"1.50", b"stock": b"007"}, {b"shop": b"a string where an object goes"})
def test_a_hash_comes_back_byte_for_byte(stored: dict[bytes, bytes], other: dict[bytes, bytes]) -> None:
    fields = {**other, **stored}
    assume(fields and not MEMORIES & fields.keys())
    text, reason = _tried(CONVERSION.to_json, fields)
    if text is None:
        # Only numbers that no float holds, or that are not read as what they are.
        assert "number" in reason
        return
    assert CONVERSION.to_hash(text) == fields
    # A server that prints it in another order and spelling changes nothing.
    assert CONVERSION.to_hash(json.dumps(json.loads(text), indent=1).encode()) == fields


@given(json_documents)
def test_a_json_document_comes_back_as_it_was(document: dict[str, object]) -> None:
    fields, reason = _tried(CONVERSION.to_hash, json.dumps(document).encode())
    back, why_not_back = (None, reason) if fields is None else _tried(CONVERSION.to_json, fields)
    if fields is None or back is None:
        assert any(word in why_not_back for word in ("separator", "no member", "misread", "not read"))
        return
    expected = dict(document)
    if "embedding" in document:  # each number has as many digits as tell it from its neighbours
        packed = [struct.pack("<3f", *each["embedding"]) for each in (document, json.loads(back))]
        assert packed[0] == packed[1]
        expected["embedding"] = json.loads(back)["embedding"]
    assert normalised(back) == normalised(json.dumps(expected).encode())
    assert CONVERSION.to_hash(back) == fields


@given(hashes, hashes)
def test_what_is_remembered_counts_for_the_value_alone_that_it_was_remembered_for(
    before: dict[bytes, bytes], after: dict[bytes, bytes]
) -> None:
    assume(before and after)
    try:
        document = json.loads(CONVERSION.to_json(before))
        new = json.loads(CONVERSION.to_json(after))
    except Unconvertible:
        return
    # A release that knows JSON alone writes members, and leaves what it does not know.
    changed = {**new, **({FROM_HASH: document[FROM_HASH]} if FROM_HASH in document else {})}
    fields = CONVERSION.to_hash(json.dumps(changed).encode())
    assert fields.keys() == after.keys()
    for name, value in fields.items():
        if name in (b"title", b"tags", b"kind", b"embedding"):
            assert value == after[name]
        else:
            assert number_of(value.decode()) == number_of(after[name].decode())


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_spelled_so_that_it_is_read_as_itself(number: float) -> None:
    text = spelled(number)
    if text is not None:
        assert float(text) == number
        assert json.loads(f"[{text}]")[0] == number


@pytest.mark.parametrize("datatype", ["FLOAT16", "BFLOAT16", "FLOAT32", "FLOAT64"])
@given(data=st.data())
def test_vectors_come_back_in_the_same_bytes(datatype: str, data: st.DataObject) -> None:
    encoding = VectorEncoding(datatype, 4)  # type: ignore[arg-type]
    vector = data.draw(st.binary(min_size=encoding.size_bytes, max_size=encoding.size_bytes))
    with np.errstate(invalid="ignore"):  # signalling NaN
        components = np.frombuffer(vector, encoding.dtype).astype(np.float64)
    text, reason = _tried(numbers_text, vector, encoding)
    if text is None:
        assert "misread" in reason or not np.isfinite(components).all()
        return
    assert vector_of(json.loads(text), encoding) == vector


def test_vectors_have_as_few_digits_as_they_need() -> None:
    vector = struct.pack("<4f", 0.1, -2.5, 1e-5, 0.0)
    assert numbers_text(vector, VectorEncoding("FLOAT32", 4)) == "[0.1,-2.5,0.00001,0.0]"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({b"title": b"\xff"}, "title: bytes that are no UTF-8"),
        ({b"note": b"\xff"}, "note: bytes that are no UTF-8"),
        ({b"\xff": b"a"}, "bytes that are no UTF-8"),
        ({b"price": b"nan"}, "price: nan is no number that JSON has"),
        ({b"price": b" 5"}, "is no number that JSON has"),
        ({b"price": b"inf"}, "price: inf is no number that JSON has"),
        ({b"embedding": b"abc"}, "embedding: 3 bytes, expected 12 (3 x FLOAT32)"),
        ({b"embedding": struct.pack("<3f", 1, float("nan"), 0)}, "component 1 is nan"),
        ({FROM_HASH.encode(): b"a"}, "remembers in a member of that name"),
        ({FROM_JSON.encode(): b"no JSON"}, "is none that redismigrate has made"),
    ],
)
def test_what_has_no_form_in_json_is_said(fields: dict[bytes, bytes], reason: str) -> None:
    with pytest.raises(Unconvertible) as refused:
        CONVERSION.to_json(fields)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('["a"]', "it is an array, and only an object can be a hash"),
        ("{}", "it has no member"),
        ('{"tags": ["a;b"]}', "tag a;b holds the separator ';' of the hash"),
        ('{"tags": [5]}', "a number where the index reads tags"),
        ('{"title": {"en": "a"}}', "an object where a hash has a string"),
        ('{"price": "5"}', "a string where the index reads a number"),
        ('{"embedding": [1, 2]}', "2 numbers, expected 3"),
        ('{"embedding": [1, "2", 3]}', "component 1 is no number"),
        ('{"embedding": [1, 2, 1e300]}', "too large for FLOAT32"),
        ('{"__from_json": "a"}', "remembers in a field"),
        ('{"__from_hash": 5}', "none that redismigrate has made"),
    ],
)
def test_what_has_no_form_in_a_hash_is_said(text: str, reason: str) -> None:
    with pytest.raises(Unconvertible) as refused:
        CONVERSION.to_hash(text.encode())
    assert reason in str(refused.value)


def test_what_a_hash_has_no_form_for_is_remembered_in_one_field() -> None:
    text = b'{"meta":{"a":[1,2.50]},"note":"n","tags":["a","b"],"title":"t","seen":null}'
    fields = CONVERSION.to_hash(text)
    assert fields == {
        b"title": b"t",
        b"tags": b"a;b",
        b"note": b"n",
        FROM_JSON.encode(): b'{"meta":{"a":[1,2.5]},"seen":null}',
    }


def test_a_hash_that_lost_a_field_takes_it_from_the_document() -> None:
    fields = CONVERSION.to_hash(b'{"shop":{"kind":["x","y"],"open":true},"title":"t"}')
    del fields[b"kind"]
    assert json.loads(CONVERSION.to_json(fields)) == {"shop": {"open": True}, "title": "t"}


def test_only_numbers_that_json_says_otherwise_are_remembered() -> None:
    assert json.loads(CONVERSION.to_json({b"price": b"1.5", b"stock": b"7"})) == {
        "price": 1.5,
        "shop": {"stock": 7},
    }
    assert json.loads(CONVERSION.to_json({b"price": b"1.50"})) == {"price": 1.5, FROM_HASH: {"price": "1.50"}}


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1e-5, "0.00001"),
        (1.25e-5, "0.0000125"),
        (1e-6, "1e-6"),
        (-1.5e-7, "-1.5e-7"),
        (1e15, "1000000000000000.0"),
        (1e16, "1e16"),
        (1.5e20, "1.5e20"),
        (-0.0, "-0.0"),
        (5, "5"),
    ],
)
def test_numbers_are_spelled_as_the_server_prints_them(number: float, text: str) -> None:
    assert spelled(number) == text
