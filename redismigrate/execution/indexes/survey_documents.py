"""Looks at a few documents of the indexes that revisions create or change, so that plans tell real costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import mean, median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import redis

from redismigrate.documents.rewrite import Recoding
from redismigrate.documents.word_counts import WordCounts, words_of_tags, words_of_texts
from redismigrate.errors import AuthenticationFailed
from redismigrate.execution.indexes.interests import Interest
from redismigrate.execution.indexes.live import KEY_TYPES, escape_pattern, scan_some
from redismigrate.planning.document_sample import DocumentSample, FieldSample
from redismigrate.redis_server.connection import Server
from redismigrate.schema import IndexSchema, TagField, TextField, VectorField
from redismigrate.schema.json_paths import WHOLE_DOCUMENT, JsonPath
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.strict import encode

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLED_DOCUMENTS = 500
SAMPLED_BYTES = 2_000_000
# Of texts and tags, whose words are counted.
SAMPLED_WORD_BYTES = 500_000
# One for each document and field; an index can have a thousand fields.
MOST_COMMANDS = 3000
BATCH_SIZE = 100
# About 70,000 keys, without which a server of many keys and few documents would be scanned to its end.
SCAN_SECONDS = 0.05
# A JSON text is longer than what RedisJSON makes of it; of numbers at most so many times.
TEXT_PER_MEMORY = 3
# With fewer documents than this from SCAN, the index itself is asked for some.
ENOUGH_DOCUMENTS = 50
# Enough to tell how clients make them.
KEPT_KEYS = 100
# Of a document whose names are asked for; a hash can have millions of fields.
_MOST_NAMES = 1000


def sample_documents(server: Server, interest: Interest, physical: str | None) -> DocumentSample | None:
    """What some documents of an index look like and how fast they are read; None when none were found.

    Takes some 20 ms, with long texts 150 ms. Values are only read where they are vectors, texts or tags.

    Args:
        server: The connection.
        interest: What to look at.
        physical: The index, if it exists: asked for documents where they are rare among the keys.
    """
    keys: list[bytes] = []
    # A plan does without a sample; whoever rewrites documents is told about rights that are missing then.
    with suppress(AuthenticationFailed):
        keys = _some_keys(server, interest.schema)
        if len(keys) < ENOUGH_DOCUMENTS and physical is not None:
            keys = _some_indexed_keys(server, physical) or keys
    if not keys:
        return None
    moved = {path for move in interest.moves for path in move}
    paths = dict.fromkeys((*interest.paths, *sorted(interest.places | moved)))
    keys = keys[: max(BATCH_SIZE, MOST_COMMANDS // max(1, len(paths)))]
    reader = _Reader(server)
    is_hash = interest.schema.storage_type == "hash"
    sizes = {path: reader.sizes(keys, path, is_hash=is_hash) for path in paths}
    if not is_hash:
        sizes[WHOLE_DOCUMENT] = reader.sizes(keys, WHOLE_DOCUMENT, is_hash=False)
    timings = reader.take_timings()
    is_missing = any(not any(size or 0 for size in sizes[path]) for path in interest.places)
    fields: dict[str, FieldSample] = {}
    for path, told in sizes.items():
        known = {key: size for key, size in zip(keys, told, strict=True) if size is not None}
        if not known:
            continue
        fields[path] = _field_sample(known)
        field = interest.paths.get(path)
        cut = interest.cuts.get(path)
        if not is_hash and isinstance(field, VectorField) and cut is not None:
            fields[path] = _with_arrays(fields[path], reader, known, path, cut)
        elif is_hash and isinstance(field, VectorField):
            fields[path] = _with_vectors(fields[path], reader, known, path, field, cut)
        elif path == WHOLE_DOCUMENT:
            fields[path] = _with_texts(fields[path], reader, known)
    timings = reader.take_timings() or timings
    for path, counts in _words(reader, interest, sizes, keys).items():
        fields[path] = replace(fields[path], words=counts)
    return DocumentSample(
        documents=len(keys),
        key_bytes=mean(map(len, keys)),
        read_seconds=median(timing.seconds for timing in timings) if timings else 0.0,
        read_bytes=mean(timing.size_bytes for timing in timings) if timings else 0.0,
        fields=fields,
        keys=tuple(keys[:KEPT_KEYS]),
        both={
            (old, new): sum(bool(one and other) for one, other in zip(sizes[old], sizes[new], strict=True))
            for old, new in interest.moves
        },
        names=reader.names(keys[:KEPT_KEYS], is_hash=is_hash) if is_missing and interest.asks_names else (),
    )


@dataclass(frozen=True)
class _Timing:
    """How long one document of a batch took.

    Attributes:
        seconds: Without the round trip.
        size_bytes: Of what was read of it.
    """

    seconds: float
    size_bytes: float


class _Reader:
    """Sends batches of commands that each name one key, and takes the time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._timings: list[_Timing] = []
        # The first one opens the connection.
        self._round_trip_seconds = min(self._timed([("PING",)])[1] for _ in range(3))

    def sizes(self, keys: Sequence[bytes], path: str, *, is_hash: bool) -> list[int | None]:
        """The bytes of a value in each document, 0 where it has none; None where the server does not tell."""
        command = ("HSTRLEN",) if is_hash else ("JSON.DEBUG", "MEMORY")
        replies = self._ask([(*command, key, encode(path)) for key in keys])
        return [_size(reply) for reply in replies]

    def names(self, keys: Sequence[bytes], *, is_hash: bool) -> tuple[str, ...]:
        """The fields of hashes, or the paths of the members of JSON documents, in the order of names."""
        count, names = (("HLEN",), ("HKEYS",)) if is_hash else (("JSON.OBJLEN",), ("JSON.OBJKEYS",))
        path = () if is_hash else (b"$",)
        lengths = [_size(reply) or 0 for reply in self._ask([(*count, key, *path) for key in keys])]
        few = [key for key, length in zip(keys, lengths, strict=True) if 0 < length <= _MOST_NAMES]
        found: set[bytes] = set()
        for reply in self._ask([(*names, key, *path) for key in few]):
            known = reply if is_hash or not isinstance(reply, list) else reply[0]
            found.update(known if isinstance(known, list) else ())
        texts = sorted(name.decode() for name in found if _is_text(name))
        return tuple(texts if is_hash else (str(JsonPath((text,))) for text in texts))

    def replies(self, command: str, keys: Sequence[bytes], *arguments: bytes) -> list[bytes]:
        """What a command answers for each key, nothing and errors left out."""
        replies = self._ask([(command, key, *arguments) for key in keys])
        return [reply for reply in replies if isinstance(reply, bytes)]

    def _ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies to commands, errors among them."""
        replies: list[Any] = []
        for start in range(0, len(commands), BATCH_SIZE):
            batch = commands[start : start + BATCH_SIZE]
            answered, seconds = self._timed(batch)
            replies += answered
            size_bytes = sum(len(reply) for reply in answered if isinstance(reply, bytes))
            seconds = max(0.0, seconds - self._round_trip_seconds)
            self._timings.append(_Timing(seconds / len(batch), size_bytes / len(batch)))
        return replies

    def take_timings(self) -> list[_Timing]:
        """The timings since the last time."""
        timings, self._timings = self._timings, []
        return timings

    def _timed(self, commands: Sequence[tuple[Any, ...]]) -> tuple[list[Any], float]:
        pipeline = self._server.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        with self._server.translated_errors():
            started = perf_counter()
            replies = pipeline.execute(raise_on_error=False)
            return replies, perf_counter() - started


def _size(reply: Any) -> int | None:
    # A JSON path that begins with $ answers with a list, an older one with a number or an error.
    if isinstance(reply, redis.ResponseError) and "does not exist" in str(reply):
        return 0
    if isinstance(reply, list):
        return sum(item for item in reply if isinstance(item, int))
    return reply if isinstance(reply, int) else None


def _is_text(name: bytes) -> bool:
    """Whether a name is UTF-8."""
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _field_sample(sizes: Mapping[bytes, int]) -> FieldSample:
    present = [size for size in sizes.values() if size]
    return FieldSample(len(present) / len(sizes), mean(present) if present else 0.0)


def _with_texts(sample: FieldSample, reader: _Reader, sizes: Mapping[bytes, int]) -> FieldSample:
    """The sample of whole JSON documents by their texts, which are longer than what they take in memory."""
    few = max(1, int(SAMPLED_BYTES // (TEXT_PER_MEMORY * max(1.0, sample.mean_bytes))))
    small = [key for key, size in sizes.items() if 0 < size <= SAMPLED_BYTES / TEXT_PER_MEMORY]
    texts = reader.replies("JSON.GET", small[:few])
    return replace(sample, mean_bytes=mean(map(len, texts))) if texts else sample


def _with_vectors(
    sample: FieldSample,
    reader: _Reader,
    sizes: Mapping[bytes, int],
    path: str,
    field: VectorField,
    cut: Recoding | None,
) -> FieldSample:
    """The sample of a field with what its vectors tell; those of another length can't be read as such."""
    import numpy as np  # takes longer than most commands, and most plans do without

    from redismigrate.documents.vectors import VectorEncoding

    encoding = VectorEncoding(field.datatype, field.dims)
    right = [key for key, size in sizes.items() if size == encoding.size_bytes]
    wrong_length = sum(1 for size in sizes.values() if size) - len(right)
    values = reader.replies("HGET", right[: SAMPLED_BYTES // encoding.size_bytes], encode(path))
    # Longer or shorter than a moment ago where a writer was faster.
    values = [value for value in values if len(value) == encoding.size_bytes]
    with np.errstate(invalid="ignore"):  # signalling NaN
        numbers = np.frombuffer(b"".join(values), encoding.dtype).astype(np.float64)
    vectors = numbers.reshape(-1, field.dims)
    numbers = numbers[np.isfinite(numbers)]
    return replace(
        sample,
        wrong_length=wrong_length,
        smallest=float(numbers.min()) if numbers.size else None,
        largest=float(numbers.max()) if numbers.size else None,
        **({} if cut is None else _overlap(vectors[np.isfinite(vectors).all(axis=1)], cut)),
    )


def _with_arrays(
    sample: FieldSample, reader: _Reader, sizes: Mapping[bytes, int], path: str, cut: Recoding
) -> FieldSample:
    """The sample of a JSON path with what its arrays of numbers tell of their neighbours."""
    from redismigrate.documents.array_texts import count_components
    from redismigrate.documents.resized_arrays import components_of

    having = [key for key, size in sizes.items() if size]
    few = having[: max(1, int(SAMPLED_BYTES // max(1, cut.bytes_before)))]
    texts = [text[1:-1] for text in reader.replies("JSON.GET", few, encode(path))]
    right = [text for text in texts if count_components(text) == cut.dims]
    return replace(sample, **_overlap(components_of(right, cut.dims), cut))


def _overlap(vectors: NDArray[Any], cut: Recoding) -> dict[str, Any]:
    """What truncating leaves of the neighbours of some vectors; nothing where they are too few."""
    from redismigrate.documents.neighbours import overlap_of_neighbours

    overlap = overlap_of_neighbours(vectors, cut.dims_after, cut.distance_metric, renormalize=cut.renormalize)
    return {} if overlap is None else {"overlaps": {cut.dims_after: overlap}, "vectors": len(vectors)}


def _words(
    reader: _Reader, interest: Interest, sizes: Mapping[str, Sequence[int | None]], keys: Sequence[bytes]
) -> dict[str, WordCounts]:
    """The words of the fields of texts and tags that any document has, by path."""
    wordy = {path: field for path, field in interest.paths.items() if isinstance(field, TextField | TagField)}
    found = {}
    for path, field in wordy.items():
        having = [(key, size) for key, size in zip(keys, sizes[path], strict=True) if size]
        few: list[bytes] = []
        left_bytes = SAMPLED_WORD_BYTES // len(wordy)
        for key, size in having[: max(BATCH_SIZE, MOST_COMMANDS // len(wordy))]:
            left_bytes -= size
            if left_bytes < 0 and few:
                break
            few.append(key)
        is_hash = interest.schema.storage_type == "hash"
        values = reader.replies("HGET" if is_hash else "JSON.GET", few, encode(path))
        texts = [value.decode("utf-8", "replace") for value in values]
        counts = (
            words_of_tags(texts, field.separator or ",")
            if isinstance(field, TagField)
            else words_of_texts(
                texts,
                has_stopwords=interest.schema.stopwords is None,
                has_stems=not field.no_stem and (interest.schema.language or "english") == "english",
            )
        )
        if counts is not None:
            found[path] = counts
    return found


def _some_keys(server: Server, schema: IndexSchema) -> list[bytes]:
    """Keys of documents in the order of SCAN, which is that of their hashes: picked by chance."""
    prefixes = KeyPrefixes.of(schema.prefixes)
    pattern = escape_pattern(prefixes.outermost[0]) + b"*" if len(prefixes.outermost) == 1 else b"*"
    found: dict[bytes, None] = {}
    cursor, deadline = 0, perf_counter() + SCAN_SECONDS
    while len(found) < _SAMPLED_DOCUMENTS:
        cursor, keys = scan_some(server, cursor, pattern, KEY_TYPES[schema.storage_type])
        found.update(dict.fromkeys(filter(prefixes.cover, keys)))
        if not cursor or perf_counter() > deadline:
            break
    return list(found)[:_SAMPLED_DOCUMENTS]


def _some_indexed_keys(server: Server, physical: str) -> list[bytes]:
    """Keys of documents in the order in which they were indexed.

    FT.AGGREGATE stops at LIMIT; FT.SEARCH would look at every document to count them.
    """
    query = ("*", "LOAD", "1", "@__key", "LIMIT", "0", str(_SAMPLED_DOCUMENTS))
    try:
        reply = server.execute("FT.AGGREGATE", encode(physical), *query)
    except redis.ResponseError:
        return []  # it is gone, or was made with options that admit no query; there is a sample without it
    rows = reply[1:] if isinstance(reply, list) else []
    return [row[1] for row in rows if isinstance(row, list) and len(row) > 1]
