"""Vectors from one encoding to another: how numbers are rounded, and what is left out and why."""

import pickle
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.documents.batch import Batch, Failure
from redismigrate.documents.integer_vectors import Calibration
from redismigrate.documents.vectors import (
    DTYPES,
    ReEncodeVectors,
    VectorColumn,
    VectorConversion,
    VectorEncoding,
    calibrate,
)
from redismigrate.schema.quantization import Quantization

FLOATS = ("FLOAT64", "FLOAT32", "FLOAT16", "BFLOAT16")
PER_VECTOR = Quantization("int8_per_vector")


def conversion(source, target, dims=2, quantization=None):
    return VectorConversion(
        VectorEncoding(source, dims), VectorEncoding(target, dims), target_quantization=quantization
    )


def raw(datatype, *numbers):
    return np.array(numbers, DTYPES[datatype]).tobytes()


def numbers_of(datatype, value):
    return np.frombuffer(value, DTYPES[datatype]).astype(np.float64).tolist()


@st.composite
def columns_of_any_bits(draw):
    """A column whose vectors have any bit pattern, with rows that are absent or of a wrong length."""
    encoding = VectorEncoding(draw(st.sampled_from(FLOATS)), draw(st.integers(1, 5)))
    size = encoding.size_bytes
    vector = st.binary(min_size=size, max_size=size)
    return encoding, draw(st.lists(st.one_of(vector, vector, st.none(), st.binary(max_size=2 * size))))


@given(column=columns_of_any_bits(), target=st.sampled_from(FLOATS))
def test_each_row_is_what_numpy_makes_of_it_or_absent_or_reported(column, target):
    source, values = column
    wanted = VectorEncoding(target, source.dims)
    converted = VectorConversion(source, wanted).convert(values)
    failed = dict(converted.failures)
    assert list(failed) == sorted(failed)
    for row, (before, after) in enumerate(zip(values, converted.values, strict=True)):
        if before is None:
            assert after is None
            assert row not in failed
        elif len(before) != source.size_bytes:
            assert after is None
            assert failed[row] == f"{len(before)} bytes, expected {source.size_bytes} ({source})"
        else:
            numbers = np.frombuffer(before, source.dtype)
            with np.errstate(all="ignore"):
                expected = numbers.astype(wanted.dtype)
                has_overflowed = (np.isinf(expected) & np.isfinite(numbers)).any()
            if has_overflowed:
                assert after is None
                assert f"{target} ends at" in failed[row]
            else:
                found = np.frombuffer(after, wanted.dtype)
                with np.errstate(invalid="ignore"):  # a signalling NaN
                    is_nan = np.isnan(found)
                    assert np.array_equal(is_nan, np.isnan(numbers))
                assert found[~is_nan].tobytes() == expected[~is_nan].tobytes()
                assert row not in failed


@given(
    column=columns_of_any_bits(),
    kind=st.sampled_from(["int8_per_vector", "int8_per_index", "uint8_per_index"]),
)
def test_each_row_of_any_bits_becomes_integers_or_is_absent_or_reported(column, kind):
    source, values = column
    offset = -100.0 if kind == "uint8_per_index" else 0.0
    quantization = Quantization(kind, None if kind.endswith("vector") else 0.5, offset)
    calibration = Calibration()
    calibrate(calibration, values, source)
    wanted = VectorEncoding(quantization.datatype, source.dims)
    converted = VectorConversion(source, wanted, target_quantization=quantization).convert(values)
    assert calibration.vectors == sum(value is not None for value in converted.values)
    for row, (before, after) in enumerate(zip(values, converted.values, strict=True)):
        if after is None:
            assert before is None or row in dict(converted.failures)
        else:
            assert len(after) == source.dims


@pytest.mark.parametrize(
    ("target", "numbers", "rounded"),
    [
        ("FLOAT16", (1 + 2**-11, 1 + 3 * 2**-11), [1.0, 1 + 2**-9]),
        ("FLOAT16", (65519.0, 2**-25), [65504.0, 0.0]),
        ("BFLOAT16", (1 + 2**-8, 1 + 3 * 2**-8), [1.0, 1 + 2**-6]),
    ],
)
def test_numbers_are_rounded_to_nearest_and_halves_to_even(target, numbers, rounded):
    converted = conversion("FLOAT32", target).convert([raw("FLOAT32", *numbers)])
    assert numbers_of(target, converted.values[0]) == rounded


@pytest.mark.parametrize("narrow", ["FLOAT16", "BFLOAT16", "FLOAT32"])
@given(data=st.data())
def test_widening_and_narrowing_again_gives_the_same_bytes(narrow, data):
    bits = data.draw(st.lists(st.floats(width=16, allow_nan=False), min_size=3, max_size=3))
    with np.errstate(over="ignore"):
        before = np.array(bits).astype(DTYPES[narrow]).tobytes()
    wide = conversion(narrow, "FLOAT64", dims=3).convert([before]).values
    assert conversion("FLOAT64", narrow, dims=3).convert(wide).values == [before]


@pytest.mark.parametrize(
    ("source", "target", "number", "reason"),
    [
        ("FLOAT32", "FLOAT16", 65520.0, "component 1 is 65520, FLOAT16 ends at 65504"),
        ("FLOAT32", "FLOAT16", -70000.0, "component 1 is -70000, FLOAT16 ends at 65504"),
        ("BFLOAT16", "FLOAT16", 2.0**20, "component 1 is 1.04858e+06, FLOAT16 ends at 65504"),
        ("FLOAT64", "FLOAT32", 1e39, "component 1 is 1e+39, FLOAT32 ends at 3.40282e+38"),
        ("FLOAT32", "BFLOAT16", 3.4e38, "component 1 is 3.4e+38, BFLOAT16 ends at 3.38953e+38"),
    ],
)
def test_a_number_beyond_the_target_is_reported_and_does_not_become_infinity(source, target, number, reason):
    good, bad = raw(source, 1, 2), raw(source, 0, number)
    converted = conversion(source, target).convert([good, bad, good])
    assert converted.values == [raw(target, 1, 2), None, raw(target, 1, 2)]
    assert converted.failures == [Failure(1, reason)]


def test_the_largest_number_of_the_target_is_none_that_overflows():
    converted = conversion("FLOAT32", "FLOAT16").convert([raw("FLOAT32", 65504, -65504)])
    assert numbers_of("FLOAT16", converted.values[0]) == [65504, -65504]


@pytest.mark.parametrize("target", ["FLOAT64", "FLOAT16", "BFLOAT16"])
def test_infinity_and_nan_are_carried_over_between_floats(target):
    converted = conversion("FLOAT32", target, dims=3).convert([raw("FLOAT32", np.inf, -np.inf, np.nan)])
    assert np.array_equal(numbers_of(target, converted.values[0]), [np.inf, -np.inf, np.nan], equal_nan=True)
    assert converted.failures == []


@pytest.mark.parametrize(("number", "text"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_integers_refuse_nan_and_infinity(number, text):
    values = [raw("FLOAT32", 1, -1), raw("FLOAT32", 3, number)]
    converted = conversion("FLOAT32", "INT8", quantization=PER_VECTOR).convert(values)
    assert converted.values == [raw("INT8", 127, -127), None]
    assert converted.failures == [Failure(1, f"component 1 is {text}, INT8 can't express it")]


def test_uint8_without_an_offset_refuses_negative_numbers():
    values = [raw("FLOAT32", 4, -0.5), raw("FLOAT32", 4, 2)]
    quantization = Quantization("uint8_per_index", scale=2)
    converted = conversion("FLOAT32", "UINT8", quantization=quantization).convert(values)
    assert converted.values == [None, raw("UINT8", 2, 1)]
    assert converted.failures == [Failure(0, "component 1 is -0.5, UINT8 without an offset can't express it")]


def test_a_vector_of_the_wrong_length_is_reported_with_both_lengths():
    converted = conversion("FLOAT32", "FLOAT16", dims=768).convert([b"short", bytes(3072)])
    assert converted.values == [None, bytes(1536)]
    assert converted.failures == [Failure(0, "5 bytes, expected 3072 (768 x FLOAT32)")]


def test_a_vector_with_fewer_dimensions_is_not_converted_in_silence():
    converted = conversion("FLOAT32", "FLOAT16", dims=8).convert([bytes(16)])
    assert converted.failures == [Failure(0, "16 bytes, expected 32 (8 x FLOAT32)")]


def test_a_document_without_a_vector_is_no_failure():
    converted = conversion("FLOAT32", "FLOAT16").convert([None, raw("FLOAT32", 1, 2), None])
    assert converted.values == [None, raw("FLOAT16", 1, 2), None]
    assert converted.failures == []


@pytest.mark.parametrize("values", [[], [None], [b"x"]])
@pytest.mark.parametrize(
    ("target", "quantization"),
    [("FLOAT16", None), ("INT8", PER_VECTOR), ("UINT8", Quantization("uint8_per_index", 0.1, -1.0))],
)
def test_a_column_without_any_good_vector_is_converted_too(values, target, quantization):
    converted = conversion("FLOAT32", target, quantization=quantization).convert(values)
    assert converted.values == [None] * len(values)


def test_the_same_encoding_leaves_the_bytes_alone_but_checks_their_length():
    nan = b"\x01\x00\xa0\x7f"  # a signalling NaN with a payload
    converted = conversion("FLOAT32", "FLOAT32", dims=1).convert([nan, b"x", None])
    assert converted.values == [nan, None, None]
    assert converted.failures == [Failure(1, "1 bytes, expected 4 (1 x FLOAT32)")]


def test_integers_without_a_quantization_are_the_numbers_they_are():
    converted = conversion("INT8", "FLOAT32").convert([raw("INT8", -128, 127)])
    assert numbers_of("FLOAT32", converted.values[0]) == [-128, 127]


def test_quantized_vectors_come_back_as_floats():
    back = VectorConversion(
        VectorEncoding("INT8", 2), VectorEncoding("FLOAT32", 2), Quantization("int8_per_index", scale=0.5)
    )
    assert numbers_of("FLOAT32", back.convert([raw("INT8", -127, 2)]).values[0]) == [-63.5, 1.0]


def test_one_integer_quantization_becomes_another():
    between = VectorConversion(
        VectorEncoding("INT8", 2),
        VectorEncoding("UINT8", 2),
        Quantization("int8_per_index", scale=0.5),
        Quantization("uint8_per_index", scale=0.25, offset=-25.0),
    )
    assert numbers_of("UINT8", between.convert([raw("INT8", -50, 2)]).values[0]) == [0, 104]


def test_a_truncated_vector_is_its_first_components():
    cut = VectorConversion(VectorEncoding("FLOAT32", 4), VectorEncoding("FLOAT32", 2))
    assert numbers_of("FLOAT32", cut.convert([raw("FLOAT32", 3, 4, 5, 6), None]).values[0]) == [3, 4]
    unit = replace(cut, renormalize=True)
    values = unit.convert([raw("FLOAT32", 3, 4, 5, 6), raw("FLOAT32", 0, 0, 1, 1)]).values
    assert numbers_of("FLOAT32", values[0]) == pytest.approx([0.6, 0.8])
    assert numbers_of("FLOAT32", values[1]) == [0, 0]
    with_type = replace(unit, target=VectorEncoding("FLOAT16", 2))
    assert numbers_of("FLOAT16", with_type.convert([raw("FLOAT32", 3, 4, 5, 6)]).values[0]) == pytest.approx(
        [0.6, 0.8], abs=1e-3
    )


def test_the_way_back_from_a_truncated_vector_has_zeros_at_the_end():
    cut = VectorConversion(VectorEncoding("FLOAT32", 4), VectorEncoding("FLOAT32", 2), renormalize=True)
    assert cut.back is not None
    assert numbers_of("FLOAT32", cut.back.convert([raw("FLOAT32", 0.5, 0.25)]).values[0]) == [0.5, 0.25, 0, 0]
    assert cut.back.check([raw("FLOAT32", 1)])[0].reason == "4 bytes, expected 8 (2 x FLOAT32)"


def test_integers_need_a_quantization_for_their_datatype():
    with pytest.raises(ValueError, match="2 x FLOAT32 to 2 x INT8 needs a quantization"):
        conversion("FLOAT32", "INT8")
    with pytest.raises(ValueError, match="int8_per_vector is no quantization for 2 x UINT8"):
        conversion("FLOAT32", "UINT8", quantization=PER_VECTOR)


@pytest.mark.parametrize("datatype", DTYPES)
def test_the_size_of_a_vector_follows_from_its_datatype(datatype):
    size = {"FLOAT64": 8, "FLOAT32": 4, "FLOAT16": 2, "BFLOAT16": 2, "INT8": 1, "UINT8": 1}[datatype]
    assert VectorEncoding(datatype, 768).size_bytes == 768 * size


def test_float64_reaches_bfloat16_by_way_of_float32():
    # The day this fails, ml_dtypes rounds once, and the docstring of VectorConversion is wrong.
    just_above_half = np.array([1 + 2**-8 + 2**-40])
    assert just_above_half.astype(ml_dtypes.bfloat16)[0] == 1.0


def two_fields():
    return ReEncodeVectors(
        (
            VectorColumn("title_vector", conversion("FLOAT32", "FLOAT16")),
            VectorColumn("image", conversion("FLOAT32", "INT8", quantization=PER_VECTOR)),
        )
    )


def test_a_transform_converts_every_field_of_a_batch():
    vectors = [raw("FLOAT32", 1, 2), raw("FLOAT32", 3, -6)]
    transformed = two_fields()(Batch([b"a", b"b"], {"title_vector": vectors, "image": vectors}))
    assert transformed.columns == {
        "title_vector": [raw("FLOAT16", 1, 2), raw("FLOAT16", 3, -6)],
        "image": [raw("INT8", 64, 127), raw("INT8", 64, -127)],
    }
    assert transformed.failures == []


def test_a_document_is_converted_whole_or_not_at_all_and_reported_once():
    good, bad = raw("FLOAT32", 1, 2), b"bad"
    batch = Batch([b"a", b"b", b"c"], {"title_vector": [good, good, bad], "image": [good, bad, bad]})
    transformed = two_fields()(batch)
    assert transformed.columns["title_vector"] == [raw("FLOAT16", 1, 2), None, None]
    assert transformed.columns["image"] == [raw("INT8", 64, 127), None, None]
    wrong = "3 bytes, expected 8 (2 x FLOAT32)"
    assert transformed.failures == [
        Failure(1, f"image: {wrong}"),
        Failure(2, f"title_vector: {wrong}; image: {wrong}"),
    ]


def test_a_document_that_has_one_of_two_fields_is_converted():
    vector = raw("FLOAT32", 1, 2)
    transformed = two_fields()(Batch([b"a"], {"title_vector": [vector], "image": [None]}))
    assert transformed.columns == {"title_vector": [raw("FLOAT16", 1, 2)], "image": [None]}


def test_a_transform_can_be_sent_to_another_process():
    batch = Batch([b"a"], {"title_vector": [raw("FLOAT32", 1, 2)], "image": [None]})
    sent = pickle.loads(pickle.dumps(two_fields()))  # noqa: S301 - our own bytes
    assert sent(batch) == two_fields()(batch)


def test_a_batch_refuses_a_column_of_another_length():
    with pytest.raises(ValueError, match="column 'vector' has 1 values for 2 keys"):
        Batch([b"a", b"b"], {"vector": [None]})
