"""Vectors as 8-bit integers: their formulas, their calibration and what each metric forbids."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from redismigrate.documents.integer_vectors import (
    Calibration,
    dequantize,
    needs_calibration,
    quantize,
    uint8_problem,
)
from redismigrate.documents.vectors import VectorEncoding, calibrate
from redismigrate.errors import PlanBlocked
from redismigrate.schema.quantization import Quantization


def calibrated(numbers, datatype, metric, percentile=100.0):
    calibration = Calibration(percentile)
    calibration.add(np.asarray(numbers, np.float32))
    return calibration.quantization(datatype, metric)


def matrices(min_value=None, width=32):
    number = st.floats(min_value, allow_nan=False, allow_infinity=False, width=width)
    dtype = {32: np.float32, 64: np.float64}[width]
    return (
        st.integers(1, 6)
        .flatmap(
            lambda dims: st.lists(st.lists(number, min_size=dims, max_size=dims), min_size=1, max_size=5)
        )
        .map(lambda rows: np.array(rows, dtype))
    )


def cut_off(numbers, quantization):
    """How many numbers come back from their codes more than half a step away."""
    back = dequantize(quantize(numbers, quantization), quantization)
    return np.count_nonzero(np.abs(back - numbers) > quantization.scale * 0.501)


@given(matrices())
def test_int8_per_vector_takes_the_largest_component_of_each_to_127(numbers):
    codes = quantize(numbers, Quantization("int8_per_vector"))
    assert codes.dtype == np.int8
    peaks = np.abs(numbers).max(axis=1)
    assert np.abs(codes.astype(int)).max(axis=1).tolist() == [127 if peak else 0 for peak in peaks]
    exact = numbers.astype(np.float64) / np.where(peaks, peaks, 1)[:, None] * 127
    assert np.abs(codes - exact).max() <= 0.5001


@given(matrices(min_value=0.0))
def test_uint8_per_vector_takes_the_largest_component_of_each_to_255(numbers):
    codes = quantize(numbers, Quantization("uint8_per_vector"))
    assert codes.dtype == np.uint8
    assert codes.max(axis=1).tolist() == [255 if peak else 0 for peak in numbers.max(axis=1)]


@given(matrices(), st.sampled_from([("INT8", "L2"), ("INT8", "IP"), ("UINT8", "L2")]))
def test_one_scale_for_all_brings_every_number_back_within_half_a_step(numbers, target):
    quantization = calibrated(numbers, *target)
    codes = quantize(numbers, quantization)
    # A float32 of the size of the range is exact to 2**-24 of it, thousands of times less than a step.
    assert np.abs(dequantize(codes, quantization) - numbers).max() <= quantization.scale * 0.501


@given(matrices(min_value=0.0), st.sampled_from(["L2", "IP"]))
def test_uint8_needs_no_offset_for_numbers_that_are_never_negative(numbers, metric):
    quantization = calibrated(numbers, "UINT8", metric)
    assert quantization.offset == 0
    codes = quantize(numbers, quantization)
    assert np.abs(dequantize(codes, quantization) - numbers).max() <= quantization.scale * 0.501


@given(matrices(width=64), st.sampled_from([("INT8", "L2"), ("UINT8", "L2"), ("INT8", "COSINE")]))
def test_numbers_of_any_size_give_codes_without_a_warning(numbers, target):
    calibration = Calibration()
    calibration.add(numbers)
    codes = quantize(numbers, calibration.quantization(*target))
    assert codes.shape == numbers.shape


@given(matrices(), st.sampled_from([("INT8", "COSINE"), ("INT8", "L2"), ("UINT8", "L2")]))
def test_a_vector_of_zeros_comes_back_as_one(numbers, target):
    zeros = np.zeros((2, numbers.shape[1]), np.float32)
    quantization = calibrated(np.vstack([numbers, zeros]), *target)
    codes = quantize(zeros, quantization)
    assert not dequantize(codes, quantization).any()


def test_a_vector_of_zeros_has_code_zero_unless_there_is_an_offset():
    for quantization in (
        Quantization("int8_per_vector"),
        Quantization("uint8_per_vector"),
        Quantization("int8_per_index", scale=0.1),
        Quantization("uint8_per_index", scale=0.1),
    ):
        assert not quantize(np.zeros((2, 3), np.float32), quantization).any()


def test_halves_are_rounded_to_even():
    codes = quantize(np.array([[0.5, 1.5, -2.5]], np.float32), Quantization("int8_per_index", scale=1.0))
    assert codes.tolist() == [[0, 2, -2]]


def test_numbers_beyond_the_range_are_cut_off():
    numbers = np.array([[127.4, 128.0, -500.0], [1.0, 2.0, 3.0]], np.float32)
    codes = quantize(numbers, Quantization("int8_per_index", scale=1.0))
    assert codes.tolist() == [[127, 127, -127], [1, 2, 3]]


def test_uint8_cuts_off_on_both_sides():
    numbers = np.array([[-11.0, 300.0, 0.0]], np.float32)
    codes = quantize(numbers, Quantization("uint8_per_index", scale=1.0, offset=-10.0))
    assert codes.tolist() == [[0, 255, 10]]


def test_decoding_vectors_with_scales_of_their_own_gives_their_direction_and_length_1():
    numbers = np.array([[3.0, -4.0], [300.0, -400.0], [0.0, 0.0]], np.float32)
    quantization = Quantization("int8_per_vector")
    back = dequantize(quantize(numbers, quantization), quantization)
    assert np.allclose(back, [[0.6, -0.8], [0.6, -0.8], [0, 0]], atol=0.005)
    assert np.allclose(np.linalg.norm(back, axis=1), [1, 1, 0])


def test_a_calibration_sees_batches_and_passes_over_what_has_no_code():
    calibration = Calibration()
    encoding = VectorEncoding("FLOAT32", 2)
    for batch in ([[1.0, -2.0], [np.nan, 9.0]], [[4.0, 0.5]], [[np.inf, 1.0]]):
        calibrate(calibration, [np.array(row, np.float32).tobytes() for row in batch], encoding)
    calibrate(calibration, [None, b"short"], encoding)
    assert (calibration.vectors, calibration.smallest, calibration.largest) == (2, -2.0, 4.0)
    assert calibration.quantization("INT8", "L2") == Quantization("int8_per_index", 4.0 / 127)


def test_a_percentile_leaves_outliers_outside_of_the_range():
    numbers = np.random.default_rng(1).standard_normal((500, 200)).astype(np.float32)
    numbers[0, 0] = 1000.0
    quantization = calibrated(numbers, "INT8", "L2", percentile=99.0)
    clipped = cut_off(numbers, quantization)
    assert 127 * quantization.scale == pytest.approx(2.576, rel=0.02)  # the normal distribution's 99 %
    assert clipped / numbers.size == pytest.approx(0.01, rel=0.15)


def test_a_percentile_bounds_the_range_of_uint8_on_both_sides():
    numbers = np.random.default_rng(1).standard_normal((500, 200)).astype(np.float32)
    quantization = calibrated(numbers, "UINT8", "L2", percentile=99.0)
    clipped = cut_off(numbers, quantization)
    assert quantization.offset == pytest.approx(-2.576, rel=0.02)
    assert clipped / numbers.size == pytest.approx(0.01, rel=0.25)


def test_a_percentile_that_falls_on_the_largest_numbers_of_all_holds_them():
    assert (
        calibrated([[3.4e38, 3.4e38]], "INT8", "L2", percentile=99.0).scale == float(np.float32(3.4e38)) / 127
    )


@given(matrices(), st.floats(51, 100))
def test_a_percentile_never_widens_the_range(numbers, percentile):
    assert calibrated(numbers, "INT8", "L2", percentile).scale <= calibrated(numbers, "INT8", "L2").scale


@pytest.mark.parametrize("percentile", [0, 50, 100.1, math.nan])
def test_a_percentile_that_is_none_is_refused(percentile):
    with pytest.raises(ValueError, match="percentile"):
        Calibration(percentile)


def test_cosine_in_int8_needs_no_calibration():
    assert not needs_calibration("INT8", "COSINE")
    assert Calibration().quantization("INT8", "COSINE") == Quantization("int8_per_vector")


@pytest.mark.parametrize(
    ("datatype", "metric"),
    [("INT8", "L2"), ("INT8", "IP"), ("UINT8", "COSINE"), ("UINT8", "L2"), ("UINT8", "IP")],
)
def test_without_vectors_there_is_no_scale(datatype, metric):
    assert needs_calibration(datatype, metric)
    with pytest.raises(PlanBlocked, match=f"no vector to find the scale of {datatype} from") as error:
        Calibration().quantization(datatype, metric)
    assert "FLOAT16" in error.value.hint


@pytest.mark.parametrize(
    ("metric", "effect"), [("COSINE", "changes angles"), ("IP", "changes inner products")]
)
def test_uint8_is_blocked_where_negative_numbers_would_need_an_offset(metric, effect):
    reason = (
        f"UINT8 with {metric} needs vectors that are never negative (the smallest component is -0.25): "
        f"an offset {effect}, and with them the order of the neighbours"
    )
    assert uint8_problem(metric, -0.25) == reason
    with pytest.raises(PlanBlocked) as error:
        calibrated([[1.0, -0.25]], "UINT8", metric)
    assert str(error.value) == f"{reason}.\nUse INT8."
    assert error.value.reasons == (reason,)


def test_uint8_is_not_blocked_for_l2_nor_for_numbers_that_are_never_negative():
    assert uint8_problem("L2", -0.25) is None
    assert uint8_problem("COSINE", 0.0) is None
    assert calibrated([[1.0, 0.0]], "UINT8", "COSINE") == Quantization("uint8_per_vector")


@pytest.mark.parametrize(
    "quantization",
    [Quantization("int8_per_vector"), Quantization("uint8_per_index", scale=0.1, offset=-3 * 0.1)],
)
def test_a_quantization_survives_json(quantization):
    values = dataclasses.asdict(quantization)
    assert Quantization(**json.loads(json.dumps(values))) == quantization
    assert TypeAdapter(Quantization).validate_json(json.dumps(values)) == quantization


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (("int8_per_vector", 0.5), "int8_per_vector with scale 0.5"),
        (("int8_per_index", None), "int8_per_index with scale None"),
        (("int8_per_index", 0.0), "0.0 is no scale"),
        (("int8_per_index", math.nan), "nan is no scale"),
        (("int8_per_index", math.inf), "inf is no scale"),
        (("int8_per_index", 1.0, -1.0), "int8_per_index with offset -1.0"),
        (("uint8_per_index", 1.0, math.inf), "uint8_per_index with offset inf"),
    ],
)
def test_a_quantization_that_makes_no_sense_is_refused(values, problem):
    with pytest.raises(ValueError, match=problem):
        Quantization(*values)
