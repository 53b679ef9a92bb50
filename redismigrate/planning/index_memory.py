"""What an index takes of the server's memory, by a sample of its documents and by what the server tells.

The constants are measured like those of `redismigrate.planning.estimates`. Bytes for one of 20,000 hashes:

| index | bytes |
|---|---|
| one NUMERIC | 149 |
| FLAT, 128, 384, 768 FLOAT32 | 848, 2,028, 3,863 |
| FLAT, 384 FLOAT16 | 1,110 |
| FLAT, 384 FLOAT32 on JSON | 2,034 |
| HNSW, 128, 384, 768 FLOAT32 | 1,188, 2,368, 4,202 |
| HNSW, 384 FLOAT16 and FLOAT64 | 1,448, 4,201 |
| HNSW, 384 FLOAT32, M 32 | 2,539 |

Texts take by their words, not by their length: 12 corpora, from titles to books, from words that come again
to words that never do, took 0.9 to 18 bytes a byte. 194 bytes a document, 196 a different word, 5.8 each of
its letters, 9.2 each document of a word, 2.9 each further occurrence tell all of them within 8%.
"""

from __future__ import annotations

from collections.abc import Collection

from redismigrate.documents.rewrite import BYTES_PER_COMPONENT
from redismigrate.documents.word_counts import WordCounts
from redismigrate.planning.document_sample import DocumentSample, bytes_of, share_of
from redismigrate.redis_server.inspection import LiveIndex
from redismigrate.schema import Field, IndexSchema, TagField, TextField, VectorField
from redismigrate.schema.vector_field import DEFAULT_BLOCK_SIZE

BYTES_PER_DOCUMENT = 140
BYTES_PER_VECTOR = 70
BYTES_PER_FIELD = 11
BYTES_PER_SORTABLE = 85
GRAPH_BYTES_PER_VECTOR, GRAPH_BYTES_PER_M = 170, 10.7
HNSW_DEFAULT_M = 16
SMALLEST_SPACING = 16  # of the allocator's size classes

BYTES_PER_WORD, BYTES_PER_LETTER = 196, 5.8
BYTES_PER_ENTRY, BYTES_PER_FURTHER_OCCURRENCE = 9.2, 2.9
BYTES_PER_TAG, BYTES_PER_TAG_LETTER, BYTES_PER_TAG_ENTRY = 80, 2, 2.5
SHARE_OF_ENTRIES_WITHOUT_OFFSETS = 0.55
# Every ending of a word is a node of its own.
SUFFIX_BYTES_PER_LETTER = 65
# Fields of one index share their words, if these are the same.
SHARE_OF_OWN_WORDS = 0.5

# Where no words could be read: from 0.8 for each byte of a long text in everyday words to 5.5 where texts are
# short or words rare.
BYTES_PER_TEXT_BYTE, BYTES_PER_FURTHER_TEXT_BYTE, SHORT_TEXT_BYTES = 2.5, 1.6, 200
BYTES_PER_TAG_BYTE = 1.0
SHARE_WITH_SUFFIX_TRIE = 1.5
USUAL_TEXT_BYTES = 200.0
USUAL_TAG_BYTES = 30.0

# FT.INFO leaves out the dictionary in which words are looked up, and what the allocator rounds up.
USED_BYTES_PER_TOLD_BYTE, UNTOLD_BYTES_PER_WORD = 1.05, 125
# What is told is believed as far as it is not beyond these of what was expected.
LEAST_FACTOR, MOST_FACTOR = 0.25, 20.0
# An index that indexes a document again keeps the old entries until its garbage is collected.
GARBAGE_BYTES_PER_DOCUMENT, SHARE_OF_OLD_ENTRIES = 35, 0.8


def index_bytes(
    schema: IndexSchema, documents: int, sample: DocumentSample | None, live: LiveIndex | None = None
) -> int:
    """What an index takes.

    Args:
        schema: What it is.
        documents: How many it has.
        sample: Some of them, if any were looked at.
        live: The index on the server, or the one that it follows: knows what those of its fields take that
            stay. None where there is none.
    """
    factor, like = (1.0, schema) if live is None else (_factor(live, documents, sample), live.schema)
    stay = _of_both(like, schema)
    # Texts of which no words were read are taken for such as the index has.
    added = [
        field
        for field in schema.fields
        if (path := field.path_in(schema.storage_type)) not in stay
        and (words_of(sample, path) is not None or not isinstance(field, TextField))
    ]
    others = [field for field in schema.fields if field not in added]
    size_bytes = _vector_bytes(schema, documents, sample)
    size_bytes += factor * (documents * BYTES_PER_DOCUMENT + _field_bytes(others, schema, documents, sample))
    return round(size_bytes + _field_bytes(added, schema, documents, sample))


def garbage_bytes(
    schema: IndexSchema, documents: int, sample: DocumentSample | None, live: LiveIndex | None
) -> int:
    """What an index keeps of its documents as they were, when all of them are indexed again where it is.

    Args:
        schema: The index before.
        documents: How many it has.
        sample: Some of them, if any were looked at.
        live: The index on the server, if it is there.
    """
    entries = 0.0
    for field in schema.fields:
        if isinstance(field, TextField | TagField):
            path = field.path_in(schema.storage_type)
            counts = words_of(sample, path)
            if counts is None:
                entries += documents * _bytes_by_length(field, schema, sample)
            else:
                entries += _entry_bytes(field, counts, schema, documents * share_of(sample, path))
    share = SHARE_OF_OLD_ENTRIES * (1.0 if live is None else min(1.0, _factor(live, documents, sample)))
    return round(documents * GARBAGE_BYTES_PER_DOCUMENT + entries * share)


def words_of(sample: DocumentSample | None, path: str) -> WordCounts | None:
    """The words of a field, where they were looked at."""
    found = None if sample is None else sample.fields.get(path)
    return None if found is None else found.words


def allocated_bytes(size_bytes: int) -> int:
    """What an allocation takes: jemalloc has four size classes for every power of two.

    Args:
        size_bytes: What is asked for.
    """
    if size_bytes <= SMALLEST_SPACING * 8:
        return -(-size_bytes // SMALLEST_SPACING) * SMALLEST_SPACING
    spacing = 1 << ((size_bytes - 1).bit_length() - 3)
    return -(-size_bytes // spacing) * spacing


def _of_both(before: IndexSchema, after: IndexSchema) -> frozenset[str]:
    """Paths that both index alike."""
    old = {field.path_in(before.storage_type): field.type for field in before.fields}
    return frozenset(
        path for field in after.fields if old.get(path := field.path_in(after.storage_type)) == field.type
    )


def _factor(live: LiveIndex, documents: int, sample: DocumentSample | None) -> float:
    """How many times more a live index takes, its vectors aside, than is expected of it."""
    fields, statistics = live.schema.fields, live.statistics
    expected = documents * BYTES_PER_DOCUMENT + _field_bytes(fields, live.schema, documents, sample)
    if not statistics.size_bytes or not expected:
        return 1.0
    told = USED_BYTES_PER_TOLD_BYTE * (statistics.size_bytes - statistics.vector_bytes)
    if any(isinstance(field, TextField) for field in fields):
        told += UNTOLD_BYTES_PER_WORD * statistics.words
    if any(isinstance(field, TextField | TagField) and field.withsuffixtrie for field in fields):
        told = max(told, expected)  # of endings FT.INFO tells a third
    return min(max(told / expected, LEAST_FACTOR), MOST_FACTOR)


def _vector_bytes(schema: IndexSchema, documents: int, sample: DocumentSample | None) -> float:
    """Of all documents: vectors stand in blocks, of which the first vector allocates a whole one."""
    total = 0.0
    for field in schema.fields:
        if isinstance(field, VectorField):
            vectors = round(documents * share_of(sample, field.path_in(schema.storage_type)))
            block_size = field.block_size or DEFAULT_BLOCK_SIZE
            size_bytes = field.dims * BYTES_PER_COMPONENT[field.datatype]
            # A block is a little more than its vectors: 1,024 of 384 FLOAT32 don't fit 1.5 MB.
            blocks = -(-vectors // block_size)
            total += blocks * allocated_bytes(block_size * size_bytes + 1)
            total += vectors * BYTES_PER_VECTOR
            if field.algorithm != "FLAT":
                each = GRAPH_BYTES_PER_VECTOR + GRAPH_BYTES_PER_M * (field.m or HNSW_DEFAULT_M)
                total += blocks * block_size * each
    return total


def _field_bytes(
    fields: Collection[Field], schema: IndexSchema, documents: int, sample: DocumentSample | None
) -> float:
    """Of all documents, without vectors and without what every document takes."""
    total = 0.0
    dictionaries = []
    for field in fields:
        if isinstance(field, VectorField):
            continue
        total += documents * BYTES_PER_FIELD
        path = field.path_in(schema.storage_type)
        if isinstance(field, TextField | TagField):
            counts, having = words_of(sample, path), documents * share_of(sample, path)
            if counts is None:
                total += documents * _bytes_by_length(field, schema, sample)
            else:
                total += _entry_bytes(field, counts, schema, having)
                words = _word_bytes(field, counts, having)
                if isinstance(field, TextField):
                    dictionaries.append(words)
                else:
                    total += words
        if field.sortable:
            usual = {"text": USUAL_TEXT_BYTES, "tag": USUAL_TAG_BYTES}.get(field.type, 0.0)
            total += documents * (BYTES_PER_SORTABLE + (bytes_of(sample, path, usual) if usual else 0.0))
    # The fields of texts have one dictionary.
    largest = max(dictionaries, default=0.0)
    return total + largest + SHARE_OF_OWN_WORDS * (sum(dictionaries) - largest)


def _entry_bytes(
    field: TextField | TagField, counts: WordCounts, schema: IndexSchema, documents: float
) -> float:
    """Of the entries that say which documents have a word, and where."""
    if isinstance(field, TagField):
        return documents * counts.entries * BYTES_PER_TAG_ENTRY
    if schema.no_offsets:
        return documents * counts.entries * BYTES_PER_ENTRY * SHARE_OF_ENTRIES_WITHOUT_OFFSETS
    further = max(0.0, counts.words - counts.entries)
    return documents * (counts.entries * BYTES_PER_ENTRY + further * BYTES_PER_FURTHER_OCCURRENCE)


def _word_bytes(field: TextField | TagField, counts: WordCounts, documents: float) -> float:
    """Of the words themselves."""
    if isinstance(field, TagField):
        each = BYTES_PER_TAG + BYTES_PER_TAG_LETTER * counts.letters
    else:
        each = BYTES_PER_WORD + BYTES_PER_LETTER * counts.letters
    if field.withsuffixtrie:
        each += SUFFIX_BYTES_PER_LETTER * counts.letters
    return counts.distinct_among(documents) * each


def _bytes_by_length(
    field: TextField | TagField, schema: IndexSchema, sample: DocumentSample | None
) -> float:
    """Of one document whose words are not known."""
    path = field.path_in(schema.storage_type)
    if isinstance(field, TagField):
        return BYTES_PER_TAG_BYTE * bytes_of(sample, path, USUAL_TAG_BYTES)
    value_bytes = bytes_of(sample, path, USUAL_TEXT_BYTES)
    short = min(value_bytes, SHORT_TEXT_BYTES)
    share = SHARE_OF_ENTRIES_WITHOUT_OFFSETS if schema.no_offsets else 1.0
    share *= SHARE_WITH_SUFFIX_TRIE if field.withsuffixtrie else 1.0
    return share * (BYTES_PER_TEXT_BYTE * short + BYTES_PER_FURTHER_TEXT_BYTE * (value_bytes - short))
