"""The bytes of a chunk: whatever documents hold comes back, and crafted bytes are refused."""

import io
import pickle
import struct
import sys
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from backup_samples import chunk_bytes
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.backup.chunk_file import Chunk, MalformedChunk, parse_chunk
from redismigrate.documents.batch import Batch
from redismigrate.documents.columns import FixedWidth

SAMPLE = Chunk(
    Batch([b"a", b"\xff\x00"], {"vector": [b"\x00\x01", None], "$.né": [b"", b"text"]}),
    {"ttl_ms": [-1, 2**63 - 1]},
)


@st.composite
def chunks(draw):
    """Keys, fields and values with any bytes, empty ones too."""
    count = draw(st.integers(0, 6))
    rows = {"min_size": count, "max_size": count}
    names = st.binary(max_size=8).map(lambda name: name.decode("utf-8", "surrogateescape"))
    columns = st.dictionaries(names, st.lists(st.none() | st.binary(max_size=40), **rows), max_size=3)
    numbers = st.dictionaries(names, st.lists(st.integers(-(2**63), 2**63 - 1), **rows), max_size=2)
    return Chunk(Batch(draw(st.lists(st.binary(max_size=20), **rows)), draw(columns)), draw(numbers))


@given(chunks())
def test_what_was_encoded_is_decoded(chunk):
    decoded = parse_chunk(chunk_bytes(chunk))
    assert decoded == chunk
    assert list(decoded.documents.columns) == list(chunk.documents.columns)


@given(st.lists(chunks(), min_size=1, max_size=4))
def test_a_chunk_in_parts_is_the_same_file_as_in_one(parts):
    columns, numbers = list(parts[0].documents.columns), list(parts[0].numbers)
    parts = [
        Chunk(
            Batch(part.documents.keys, {name: list(part.documents.keys) for name in columns}),
            {name: list(range(len(part.documents.keys))) for name in numbers},
        )
        for part in parts
    ]
    keys = [key for part in parts for key in part.documents.keys]
    rows = [row for part in parts for row in range(len(part.documents.keys))]
    whole = Chunk(Batch(keys, dict.fromkeys(columns, keys)), dict.fromkeys(numbers, rows))
    assert chunk_bytes(*parts) == chunk_bytes(whole)


def test_arrays_that_are_views_of_larger_ones_are_joined():
    rows = np.arange(60_000, dtype=np.uint8).reshape(100, 600)
    parts = [
        Chunk(Batch([b"%d" % row for row in range(100)], {"v": FixedWidth(rows[:, start : start + 64])}))
        for start in (0, 5)
    ]
    decoded = parse_chunk(chunk_bytes(*parts)).documents
    assert decoded.columns["v"] == [*parts[0].documents.columns["v"], *parts[1].documents.columns["v"]]


def test_a_chunk_is_an_npz_that_numpy_reads_without_pickle():
    with np.load(io.BytesIO(chunk_bytes(SAMPLE)), allow_pickle=False) as archive:
        assert archive["keys_bytes"].tobytes() == b"a\xff\x00"
        assert archive["keys_offsets"].tolist() == [0, 1, 3]
        assert archive["column_0_present"].tolist() == [True, False]
        assert archive["numbers_0"].dtype == np.int64


@given(st.binary(max_size=200))
def test_bytes_that_are_no_chunk_are_refused(data):
    with pytest.raises(MalformedChunk):
        parse_chunk(data)


@given(position=st.integers(0, len(chunk_bytes(SAMPLE)) - 1), byte=st.integers(0, 255))
def test_a_changed_byte_gives_a_chunk_or_a_refusal_but_no_other_error(position, byte):
    data = bytearray(chunk_bytes(SAMPLE))
    data[position] = byte
    with suppress(MalformedChunk):
        parse_chunk(bytes(data))


@given(length=st.integers(0, len(chunk_bytes(SAMPLE)) - 1))
def test_a_chunk_that_is_cut_off_is_refused(length):
    with pytest.raises(MalformedChunk, match="is no npz of arrays"):
        parse_chunk(chunk_bytes(SAMPLE)[:length])


def arrays_of_sample():
    with np.load(io.BytesIO(chunk_bytes(SAMPLE))) as archive:
        return dict(archive)


def saved(arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "array", "problem"),
    [
        ("keys_offsets", [0, 1, 2], "holds offsets of keys that don't match the bytes"),
        ("keys_offsets", [1, 1, 3], "holds offsets of keys that don't match the bytes"),
        ("keys_offsets", [0, 3], "holds offsets of keys that don't match the bytes"),
        ("keys_offsets", [0, 2**62, 3], "holds offsets of keys that run backwards"),
        ("keys_offsets", [0, -(2**63), 3], "holds offsets of keys that run backwards"),
        ("keys_offsets", np.array([0, 1, 3], np.int32), "has no array 'keys_offsets' of the right kind"),
        ("keys_offsets", [[0, 1, 3]], "has no array 'keys_offsets' of the right kind"),
        ("keys_offsets", np.array([], np.int64), "holds offsets of keys that don't match the bytes"),
        ("keys_present", [True, False], "bytes of an absent value"),
        ("keys_bytes", None, "has no array 'keys_bytes' of the right kind"),
        ("numbers_0", [1, 2, 3], "3 numbers 'ttl_ms' for 2 keys"),
        ("numbers_0", [1.0, 2.0], "has no array 'numbers_0' of the right kind"),
        ("surplus", [1], "holds 'surplus', which belongs to no chunk"),
    ],
)
def test_arrays_that_contradict_each_other_are_refused(name, array, problem):
    arrays = arrays_of_sample() | ({} if array is None else {name: np.asarray(array)})
    if array is None:
        del arrays[name]
    with pytest.raises(MalformedChunk, match=problem):
        parse_chunk(saved(arrays))


@pytest.mark.parametrize(
    "names",
    [
        b"{}",
        b"[" * 100_000,
        b'{"columns": [1], "numbers": []}',
        b'{"columns": ["a", "a"], "numbers": []}',
        b'{"columns": "ab", "numbers": []}',
    ],
)
def test_columns_without_names_are_refused(names):
    with pytest.raises(MalformedChunk, match="does not name its columns"):
        parse_chunk(saved(arrays_of_sample() | {"names": np.frombuffer(names, np.uint8)}))


def test_an_absent_key_is_refused():
    absent = {"keys_offsets": np.array([0, 3, 3]), "keys_present": np.array([True, False])}
    arrays = arrays_of_sample() | absent
    with pytest.raises(MalformedChunk, match="lacks a key"):
        parse_chunk(saved(arrays))


def test_pickles_are_not_loaded():
    class Evil:
        def __reduce__(self):
            return sys.exit, ("code of a backup was run",)

    objects = np.array([Evil()], dtype=object)
    with pytest.raises(MalformedChunk, match="Object arrays cannot be loaded"):
        parse_chunk(saved(arrays_of_sample() | {"keys_bytes": objects}))
    with pytest.raises(MalformedChunk, match="is no npz of arrays"):
        parse_chunk(pickle.dumps(Evil()))


def test_compressed_arrays_are_refused_before_they_are_unpacked():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, keys_bytes=np.zeros(10**8, np.uint8))
    assert len(buffer.getvalue()) < 200_000
    with pytest.raises(MalformedChunk, match="is no uncompressed npz"):
        parse_chunk(buffer.getvalue())


def test_a_member_that_is_no_array_is_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("names", b'{"columns": [], "numbers": []}')
    with pytest.raises(MalformedChunk, match="has no array 'names' of the right kind"):
        parse_chunk(buffer.getvalue())


def test_an_array_that_claims_more_than_the_file_holds_is_refused():
    header = str({"descr": "|u1", "fortran_order": False, "shape": (10**15,)}).encode().ljust(117) + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("keys_bytes.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(MalformedChunk, match="is no npz of arrays"):
        parse_chunk(buffer.getvalue())


def test_a_chunk_refuses_numbers_for_more_or_fewer_documents():
    with pytest.raises(ValueError, match="1 numbers 'ttl_ms' for 2 keys"):
        Chunk(Batch([b"a", b"b"], {}), {"ttl_ms": [1]})


def test_a_number_beyond_64_bits_is_refused():
    with pytest.raises(OverflowError):
        chunk_bytes(Chunk(Batch([b"a"], {}), {"ttl_ms": [2**63]}))
