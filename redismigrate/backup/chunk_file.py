"""The bytes of a chunk: keys and original values of some documents, as an uncompressed npz.

Every list of byte strings is three arrays: `_bytes` (uint8) joins them, `_offsets` (int64, one more than
strings) says where each starts and the last one ends, `_present` (bool) tells an empty one from none. The
array `names` is JSON: what the columns and the numbers are called, since a field's name may hold any bytes.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0
from numpy.typing import NDArray

from redismigrate.backup.npz import MalformedNpz, read_npz
from redismigrate.documents.batch import Batch
from redismigrate.documents.columns import Column, FixedWidth, size_bytes
from redismigrate.documents.digests import Digest64, bound_to_keys
from redismigrate.foreign_documents import UnreadableDocument, parse_json

# Small enough for a processor's cache; every piece is hashed, summed and written by calls of its own.
BYTES_AT_ONCE = 1 << 18


WrittenDigests = dict[str, Digest64]
"""Field -> the digest of what was written into it, document by document; 0 where it was left alone."""


class MalformedChunk(Exception):
    """The bytes are no chunk; the text says why, as the end of a sentence about the file."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Documents as they were before anything changed.

    Attributes:
        documents: Keys and original values.
        numbers: Name -> one int64 per document, for example `ttl_ms`.
        number: Which one it is of its backup, from 1; 0 before it is read from one.
        written: What may have been written in the place of the original values, one item for each attempt;
            None where nobody knows, as of a backup of an older version.

    Raises:
        ValueError: There are more or fewer numbers than documents.
    """

    documents: Batch
    numbers: dict[str, list[int]] = field(default_factory=dict)
    number: int = field(default=0, compare=False)
    written: tuple[WrittenDigests, ...] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name, values in self.numbers.items():
            if len(values) != len(self.documents.keys):
                raise ValueError(f"{len(values)} numbers {name!r} for {len(self.documents.keys)} keys")

    def digests_written(self, path: str) -> Iterator[Digest64]:
        """Digests of what may have been written into a field, with the keys, for each attempt that wrote it.

        Args:
            path: The field, as it is called in the backup.
        """
        for written in self.written or ():
            if path in written:
                yield bound_to_keys(path, self.documents.keys, written[path])


def write_chunk(file: BinaryIO | io.RawIOBase, *parts: Chunk) -> None:
    """Write the content of a chunk's file.

    Args:
        file: Open for writing; can do without seeking.
        parts: The documents, at least one part; all have the columns and numbers of the first. They are
            joined on their way to the file, never in memory.

    Raises:
        OverflowError: A number does not fit 64 bits.
    """
    first = parts[0]
    names = {"columns": list(first.documents.columns), "numbers": list(first.numbers)}
    with zipfile.ZipFile(file, "w") as archive:
        _write_array(archive, "names", np.frombuffer(json.dumps(names).encode(), np.uint8))
        _write_strings(archive, "keys", [part.documents.keys for part in parts])
        for position, name in enumerate(first.documents.columns):
            _write_strings(archive, f"column_{position}", [part.documents.columns[name] for part in parts])
        for position, name in enumerate(first.numbers):
            numbers = [number for part in parts for number in part.numbers[name]]
            _write_array(archive, f"numbers_{position}", np.array(numbers, np.int64))


def parse_chunk(data: bytes) -> Chunk:
    """Read the content of a chunk's file.

    Args:
        data: What `write_chunk` wrote, see `read_npz` for other bytes. Columns of values of one length are
            views of it.

    Raises:
        MalformedChunk: It did not.
    """
    try:
        arrays = read_npz(data)
        column_names, number_names = _names(arrays)
        keys = _unpack("keys", arrays)
        columns = {name: _unpack(f"column_{at}", arrays) for at, name in enumerate(column_names)}
        numbers = {name: _take(f"numbers_{at}", arrays, np.int64) for at, name in enumerate(number_names)}
        if arrays:
            raise MalformedChunk(f"holds {min(arrays)!r}, which belongs to no chunk")
        if None in keys:
            raise MalformedChunk("lacks a key")
        batch = Batch([key for key in keys if key is not None], columns)
        return Chunk(batch, {name: values.tolist() for name, values in numbers.items()})
    except MalformedNpz as error:
        raise MalformedChunk(str(error)) from None
    except ValueError as error:  # columns of different lengths
        raise MalformedChunk(f"is no chunk: {error}") from None


def _write_strings(archive: zipfile.ZipFile, name: str, columns: Sequence[Column]) -> None:
    """The values of the columns, one column after the other, as one list of strings."""
    lengths = np.concatenate([_lengths(column) for column in columns])
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(np.maximum(lengths, 0), out=offsets[1:])
    pieces = chain.from_iterable(map(_pieces, columns))
    _write_member(archive, f"{name}_bytes", np.dtype(np.uint8), int(offsets[-1]), pieces)
    _write_array(archive, f"{name}_offsets", offsets)
    _write_array(archive, f"{name}_present", lengths >= 0)


def _lengths(column: Column) -> NDArray[np.int64]:
    """Of the values; -1 for none."""
    if isinstance(column, FixedWidth):
        return np.full(len(column), column.width, np.int64)
    return np.array([-1 if value is None else len(value) for value in column], np.int64)


def _pieces(values: Column) -> Iterator[bytes]:
    """The values one after the other, in pieces of about `BYTES_AT_ONCE`."""
    present: Column = values
    if not isinstance(values, FixedWidth):
        present = [value for value in values if value is not None]
    at_once = max(1, len(present) * BYTES_AT_ONCE // max(size_bytes(present), 1))
    for start in range(0, len(present), at_once):
        piece = present[start : start + at_once]
        # mypy can't know that None was left out.
        yield piece.rows.tobytes() if isinstance(piece, FixedWidth) else b"".join(piece)  # type: ignore[arg-type]


def _write_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    _write_member(archive, name, array.dtype, len(array), [array.tobytes()])


def _write_member(
    archive: zipfile.ZipFile,
    name: str,
    dtype: np.dtype[Any],
    length: int,
    pieces: Iterable[bytes],
) -> None:
    """Write a one-dimensional array as `numpy.savez` would, which needs all of it in memory, and twice."""
    header = {"descr": dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        write_array_header_1_0(member, header)
        for piece in pieces:
            member.write(piece)


def _unpack(name: str, arrays: dict[str, NDArray[Any] | memoryview]) -> Column:
    joined = _take(f"{name}_bytes", arrays, np.uint8)
    offsets = _take(f"{name}_offsets", arrays, np.int64)
    present = _take(f"{name}_present", arrays, np.bool_)
    if len(offsets) != len(present) + 1 or offsets[0] != 0 or offsets[-1] != len(joined):
        raise MalformedChunk(f"holds offsets of {name} that don't match the bytes")
    if (offsets[1:] < offsets[:-1]).any() or (offsets[1:] != offsets[:-1])[~present].any():
        raise MalformedChunk(f"holds offsets of {name} that run backwards, or bytes of an absent value")
    lengths = np.diff(offsets)
    if joined.size and present.all() and (lengths == lengths[0]).all():
        return FixedWidth(joined.reshape(-1, int(lengths[0])))
    bounds, values = offsets.tolist(), joined.tobytes()
    return [
        values[start:end] if is_present else None
        for start, end, is_present in zip(bounds, bounds[1:], present.tolist(), strict=False)
    ]


def _take(name: str, arrays: dict[str, NDArray[Any] | memoryview], dtype: type[np.generic]) -> NDArray[Any]:
    array = arrays.pop(name, None)
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
        raise MalformedChunk(f"has no array {name!r} of the right kind")
    return array


def _names(arrays: dict[str, NDArray[Any] | memoryview]) -> tuple[list[str], list[str]]:
    """The names of the columns and of the numbers."""
    try:
        names = parse_json(_take("names", arrays, np.uint8).tobytes())
        columns, numbers = names["columns"], names["numbers"]
    except (UnreadableDocument, TypeError, KeyError):
        raise MalformedChunk("does not name its columns") from None
    for group in (columns, numbers):
        is_list_of_text = isinstance(group, list) and all(isinstance(name, str) for name in group)
        if not is_list_of_text or len(set(group)) != len(group):
            raise MalformedChunk("does not name its columns")
    return columns, numbers
