"""Reads an uncompressed npz without copying: its arrays are views of the file's bytes.

`numpy.load` copies every array three times on the way through `zipfile`, which takes longer than converting.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.lib.format import MAGIC_PREFIX, read_array_header_1_0
from numpy.typing import NDArray

# Of a member's local header, which stands right before its name; the latter's length and that of more are
# its last words. They may differ from what the directory says.
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_LOCAL_SIGNATURE = b"PK\3\4"
_HEADER_LENGTH = struct.Struct("<H")
# Version 1.0 is what numpy writes for arrays without named parts.
_PREFIX = MAGIC_PREFIX + b"\1\0"


class MalformedNpz(Exception):
    """The bytes are no npz of that kind; the text says why, as the end of a sentence about the file."""


def read_npz(data: bytes) -> dict[str, NDArray[Any] | memoryview]:
    """Read an archive that `numpy.savez` could have written.

    Args:
        data: All of the file. Bytes from elsewhere can make this raise, but run no code and take no more
            memory than a small multiple of their length.

    Returns:
        The arrays by name, and members that are none as they are.

    Raises:
        MalformedNpz: It is not uncompressed, a CRC does not fit, or an array holds objects.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
        # Compressed or overlapping entries could unpack to far more than the file.
        is_inflated = sum(entry.file_size for entry in entries) > len(data)
        is_stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        if is_inflated or not is_stored:
            entries = []
        members = {entry.filename.removesuffix(".npy"): _array(_content(data, entry)) for entry in entries}
    except Exception as error:  # noqa: BLE001 - crafted bytes raise a dozen kinds here
        raise MalformedNpz(f"is no npz of arrays: {error}") from None
    if not members:
        raise MalformedNpz("is no uncompressed npz")
    return members


def _content(data: bytes, entry: zipfile.ZipInfo) -> memoryview:
    signature, name_length, extra_length = _LOCAL_HEADER.unpack_from(data, entry.header_offset)
    start = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    content = memoryview(data)[start : start + entry.file_size]
    if signature != _LOCAL_SIGNATURE or len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise ValueError(f"bad CRC-32 for {entry.filename!r}")
    return content


def _array(content: memoryview) -> NDArray[Any] | memoryview:
    if content[: len(_PREFIX)] != _PREFIX:
        return content
    (length,) = _HEADER_LENGTH.unpack_from(content, len(_PREFIX))
    start = len(_PREFIX) + _HEADER_LENGTH.size + length
    shape, _, dtype = read_array_header_1_0(io.BytesIO(content[len(_PREFIX) : start]))
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    if len(content) - start != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise ValueError(f"an array of the shape {shape} has {len(content) - start:,} bytes")
    return np.frombuffer(content[start:], dtype).reshape(shape)
