"""Columns of values: an array where all are of one length behaves as the list would."""

import numpy as np
import pytest
from backup_samples import chunk_bytes
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.backup.chunk_file import Chunk, parse_chunk
from redismigrate.documents.batch import Batch
from redismigrate.documents.columns import FixedWidth, size_bytes, take

ROWS = np.frombuffer(b"abcdefghijkl", np.uint8).reshape(4, 3)
VALUES = [b"abc", b"def", b"ghi", b"jkl"]


@pytest.fixture(params=[1, 5], ids=["contiguous", "rows apart"])
def column(request):
    apart = np.zeros((4, 3 * request.param), np.uint8)
    apart[:, :3] = ROWS
    return FixedWidth(apart[:, :3])


def test_it_is_a_sequence_of_its_values(column):
    assert (list(column), len(column), column.width) == (VALUES, 4, 3)
    assert [column[1], column[-1]] == [b"def", b"jkl"]
    assert column[1:3] == [b"def", b"ghi"]
    assert b"ghi" in column
    assert b"xyz" not in column
    assert None not in column


def test_it_equals_the_list_of_its_values_and_nothing_else(column):
    assert column == VALUES
    assert column == FixedWidth(ROWS)
    assert column != [*VALUES[:3], None]
    assert column != VALUES[:3]
    assert column != FixedWidth(ROWS[:, :2])
    assert column != 3


def test_some_of_the_values_are_taken(column):
    assert take(column, [0, 3]) == take(VALUES, [0, 3]) == [b"abc", b"jkl"]


def test_absent_values_have_no_size(column):
    assert size_bytes(column) == size_bytes([*VALUES, None]) == 12


@given(
    st.integers(1, 9).flatmap(lambda width: st.lists(st.binary(min_size=width, max_size=width), min_size=1))
)
def test_a_chunk_gives_values_of_one_length_as_one_array(values):
    keys = [b"%d" % number for number in range(len(values))]
    data = chunk_bytes(Chunk(Batch(keys, {"vector": values})))
    column = parse_chunk(data).documents.columns["vector"]
    assert isinstance(column, FixedWidth)
    assert column == values
    assert chunk_bytes(Chunk(Batch(keys, {"vector": column}))) == data
