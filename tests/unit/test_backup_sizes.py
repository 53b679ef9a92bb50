"""Sizes for people: three significant places at most before the point, and never a unit too small."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.cli.backup_commands import scaled_size_text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_940, "999.9 kB"),
        (999_960, "1.0 MB"),
        (35_000_000, "35.0 MB"),
        (3_072_000_000, "3.1 GB"),
        (2_500_000_000_000_000, "2,500.0 TB"),
    ],
)
def test_a_size_is_shown_in_the_unit_that_fits(size_bytes: int, text: str):
    assert scaled_size_text(size_bytes) == text


@given(st.integers(0, 10**15))
def test_a_shown_size_is_right_to_the_place_that_is_shown(size_bytes: int):
    number, unit = scaled_size_text(size_bytes).split()
    factor = 1000 ** ["B", "kB", "MB", "GB", "TB"].index(unit)
    assert abs(float(number.replace(",", "")) * factor - size_bytes) <= 0.0501 * factor
    assert unit == "TB" or float(number) < 1000
