"""Vectors in JSON documents: texts of arrays are counted, cut off and made longer, batch by batch."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from redismigrate.documents.array_texts import (
    as_written,
    count_components,
    first_components,
)
from redismigrate.documents.batch import Batch
from redismigrate.documents.conversion import transform_of
from redismigrate.documents.json_numbers import printed
from redismigrate.documents.resized_arrays import components_of, texts_of
from redismigrate.documents.rewrite import Recoding, Rewrite

CUT = Recoding("$.v", 4, "COSINE", "FLOAT32", "FLOAT32", dims_changed=2, is_json=True)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (b"[]", 0),
        (b"[1]", 1),
        (b"[1,-2.5,1e-7]", 3),
        (b'["1",2]', None),
        (b"[[1,2],[3,4]]", None),
        (b"[null,1]", None),
        (b"12", None),
        (b"{}", None),
        (b'"a"', None),
        (b"null", None),
    ],
)
def test_components_are_counted_in_arrays_of_numbers_only(text: bytes, count: int | None):
    assert count_components(text) == count


def test_what_is_cut_off_keeps_its_own_words():
    assert first_components(b"[1,2.50e-7,3]", 2) == b"[1,2.50e-7]"
    assert first_components(b"[1,2]", 2) == b"[1,2]"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1, "0.1"),
        (1.0, "1.0"),
        (1e-5, "0.00001"),
        (-1.25e-5, "-0.0000125"),
        (1e-6, "1e-6"),
        (-2.5e-300, "-2.5e-300"),
        (1e16, "1e16"),
        (1.5e22, "1.5e22"),
        (123456789012345.0, "123456789012345.0"),
    ],
)
def test_numbers_are_spelled_as_the_server_prints_them(number: float, text: str):
    assert printed(number) == text


def test_singles_come_back_from_their_texts():
    numbers = np.random.default_rng(1).normal(size=(50, 16)).astype(np.float32) * np.float32(1e-4)
    again = components_of(texts_of(numbers, is_double=False), 16).astype(np.float32)
    assert np.array_equal(again, numbers)


def test_doubles_come_back_from_their_texts():
    numbers = np.random.default_rng(2).normal(size=(50, 16)) * 1e-5
    again = components_of(texts_of(numbers, is_double=True), 16)
    assert np.abs(again - numbers).max() <= np.spacing(np.abs(numbers).max())
    assert np.mean(again == numbers) > 0.5  # a server that rounds twice knows a neighbour of the others


def test_other_words_are_those_of_the_same_numbers():
    (text,) = texts_of(np.random.default_rng(3).normal(size=(1, 2000)) * 1e-7, is_double=True)
    numbers = json.loads(text)
    written = as_written(text)
    assert written is not None
    assert written != text
    assert np.allclose(json.loads(written), numbers, rtol=1e-15, atol=0)
    assert as_written(b"[0.5,2]") == b"[0.5,2]"


def test_cut_arrays_get_length_one_or_stay_as_they_are():
    batch = Batch([b"1", b"2", b"3"], {"$.v": [b"[3,4,9,9]", None, b"[0,0,1,1]"]})
    made = transform_of((CUT,), {})(batch)
    assert made.columns == {"$.v": [b"[0.6,0.8]", None, b"[0.0,0.0]"]}
    plain = transform_of((replace(CUT, renormalize=False),), {})(batch)
    assert plain.columns == {"$.v": [b"[3,4]", None, b"[0,0]"]}


def test_huge_components_have_a_length_too():
    batch = Batch([b"1"], {"$.v": [b"[3e300,4e300,0,0]"]})
    assert transform_of((CUT,), {})(batch).columns == {"$.v": [b"[0.6,0.8]"]}


def test_arrays_of_another_length_and_other_values_are_left_out_with_the_reason():
    batch = Batch([b"1", b"2"], {"$.v": [b"[1,2,3]", b'"text"']})
    made = transform_of((CUT,), {})(batch)
    assert made.columns == {"$.v": [None, None]}
    assert [reason for _, reason in made.failures] == [
        "$.v: 3 components, expected 4",
        "$.v: it is no array of numbers, expected one of 4",
    ]


def test_the_way_back_puts_zeros_behind_what_is_left():
    back = transform_of((CUT,), {}).back
    assert back is not None
    assert back(Batch([b"1"], {"$.v": [b"[0.6,0.8]"]})).columns == {"$.v": [b"[0.6,0.8,0,0]"]}


def test_forms_are_told_by_the_number_of_components():
    assert CUT.is_old_form(b"[1,2,3,4]")
    assert not CUT.is_old_form(b"[1,2]")
    assert CUT.is_new_form(b"[1,2]")
    hashed = Recoding("v", 4, "COSINE", "FLOAT32", "FLOAT16")
    assert (hashed.is_old_form(bytes(16)), hashed.is_new_form(bytes(8))) == (True, True)


def test_what_a_plan_of_hashes_holds_gains_no_key():
    from redismigrate.backup.contents import REWRITES

    stored = REWRITES.dump_python(Rewrite("hash", (Recoding("v", 4, "COSINE", "FLOAT32", "FLOAT16"),)))
    assert "is_json" not in stored["recodings"][0]
    again = REWRITES.dump_python(Rewrite("json", (CUT,)))
    assert REWRITES.validate_python(again) == Rewrite("json", (CUT,))
