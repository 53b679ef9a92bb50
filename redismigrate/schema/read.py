"""FT.INFO read back: the schema and the statistics of a live index, under either protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from redismigrate.schema.index_schema import IndexSchema
from redismigrate.schema.vector_field import DEFAULT_BLOCK_SIZE, DEFAULT_EPSILON
from redismigrate.schema.words import word_as_meant

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPTIONS = {
    "MAXTEXTFIELDS": "max_text_fields",
    "NOOFFSETS": "no_offsets",
    "NOHL": "no_highlight",
    "NOFIELDS": "no_fields",
    "NOFREQS": "no_freqs",
}
_DEFINITION = {
    "filter": "filter",
    "default_language": "language",
    "language_field": "language_field",
    "score_field": "score_field",
    "payload_field": "payload_field",
}
# Under RESP2 an attribute is one flat list: these words are followed by a value, all others are flags.
_ATTRIBUTE_VALUES = {
    "identifier": "path",
    "attribute": "name",
    "type": "type",
    "WEIGHT": "weight",
    "SEPARATOR": "separator",
    "coord_system": "coord_system",
    "algorithm": "algorithm",
    "data_type": "datatype",
    "dim": "dims",
    "distance_metric": "distance_metric",
    "M": "m",
    "ef_construction": "ef_construction",
    "ef_runtime": "ef_runtime",
    "graph_max_degree": "graph_max_degree",
    "construction_window_size": "construction_window_size",
    "compression": "compression",
    "training_threshold": "training_threshold",
    "reduced_dim": "reduce",
}
_ATTRIBUTE_FLAGS = {
    "SORTABLE": "sortable",
    "UNF": "unf",
    "NOINDEX": "no_index",
    "NOSTEM": "no_stem",
    "CASESENSITIVE": "case_sensitive",
    "WITHSUFFIXTRIE": "withsuffixtrie",
    "INDEXEMPTY": "index_empty",
    "INDEXMISSING": "index_missing",
}
# Without Intel's library the server quantizes to 8 bits instead of LVQ and LeanVec. It says so by a word that
# FT.CREATE does not take; LVQ8 is what makes it again.
_COMPRESSIONS = {"NO_COMPRESSION": None, "GlobalSQ8": "LVQ8"}
# FT.INFO replies with simple strings, in which the server writes a line break as a backslash and a letter. A
# JSON tag without separator is reported with an empty one.
_SEPARATORS = {"": None, "\\n": "\n", "\\r": "\r"}
# Outside of quotes a filter has no backslash of its own.
_QUOTED_OR_LINE_BREAK = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|\\[nr]""")
# SVS-VAMANA tells its own default, 0.01, in single precision, and what was asked for as it was.
_SINGLE_PRECISION_EPSILON = 0.009999999776482582
_VECTOR_DETAILS = {
    "FLAT": {"BLOCK_SIZE": "block_size"},
    "HNSW": {"EF_RUNTIME": "ef_runtime", "EPSILON": "epsilon"},
    "SVS-VAMANA": {"SEARCH_WINDOW_SIZE": "search_window_size", "EPSILON": "epsilon"},
}
# `total_index_memory_sz_mb` leaves the vectors out on some versions, so the parts are summed instead.
_SIZES_MB = (
    "inverted_sz_mb",
    "vector_index_sz_mb",
    "offset_vectors_sz_mb",
    "doc_table_size_mb",
    "sortable_values_size_mb",
    "key_table_size_mb",
    "tag_overhead_sz_mb",
    "text_overhead_sz_mb",
    "geoshapes_sz_mb",
)


@dataclass(frozen=True)
class IndexStatistics:
    """What FT.INFO counts.

    Attributes:
        num_docs: Documents in the index.
        max_doc_id: Grows by one with every document that is indexed, also when it is indexed again.
        is_indexing: A scan is running or queued.
        percent_indexed: Progress of the scan, 0 to 1; it counts all keys of the database.
        indexing_failures: Documents that could not be indexed since it was made, or were gone when it came to
            them; repairs don't lower it.
        last_failure_key: The last of them; None: there was none.
        last_failure_error: What was wrong with it.
        size_bytes: Memory of the index.
        is_incomplete: A scan was given up because the server was at maxmemory, as 2.10.20 and 8.0 do. Such an
            index lacks any number of documents, and takes none that is written later.
        vector_bytes: What of its memory vectors take.
        words: Different words of its texts, stems among them.
    """

    num_docs: int
    max_doc_id: int
    is_indexing: bool
    percent_indexed: float
    indexing_failures: int
    last_failure_key: str | None
    last_failure_error: str | None
    size_bytes: int
    is_incomplete: bool = False
    vector_bytes: int = 0
    words: int = 0


def index_name_from_info(info: Any) -> str:
    """The name of the index; where FT.INFO was asked about an alias, that of the index it points to.

    Args:
        info: The reply of FT.INFO, as RESP2 or RESP3 gives it, decoded or not.
    """
    return _text(_pairs(info)["index_name"])


def schema_from_info(info: Any, vector_details: Mapping[str, Any] = MappingProxyType({})) -> IndexSchema:
    """The schema of a live index, as far as the server tells.

    It tells the defaults that it filled in, too. PHONETIC, INITIAL_CAP, SKIPINITIALSCAN and TEMPORARY it
    doesn't tell here.

    Args:
        info: The reply of FT.INFO, as RESP2 or RESP3 gives it, decoded or not.
        vector_details: Field name -> the reply of FT.DEBUG VECSIM_INFO; adds what FT.INFO leaves out.

    Raises:
        SchemaError: The index has a field of a type that isn't known.
    """
    reply = _pairs(info)
    definition = _pairs(reply["index_definition"])
    options = {_text(option) for option in reply["index_options"]}
    prefixes = tuple(map(_text, definition.get("prefixes", ())))
    storage_type = _text(definition["key_type"]).lower()
    values: dict[str, Any] = {
        "name": _text(reply["index_name"]),
        "storage_type": storage_type,
        # An index without PREFIX is reported with one empty prefix.
        "prefixes": () if prefixes == ("",) else prefixes,
        # The server leaves a score of 0 out, not the default of 1.
        "score": float(definition.get("default_score", 0)),
        "index_all": _text(definition.get("indexes_all", "false")) == "true",
        "fields": [_field_values(told, storage_type, vector_details) for told in reply["attributes"]],
    }
    values |= {name: _text(definition[key]) for key, name in _DEFINITION.items() if key in definition}
    values |= {name: keyword in options for keyword, name in _OPTIONS.items()}
    if "filter" in values:
        values["filter"] = _QUOTED_OR_LINE_BREAK.sub(_without_line_break, values["filter"])
    if "stopwords_list" in reply:
        values["stopwords"] = tuple(map(word_as_meant, reply["stopwords_list"]))
    return IndexSchema(**values)


def statistics_from_info(info: Any) -> IndexStatistics:
    """The statistics of a live index.

    Args:
        info: The reply of FT.INFO, as RESP2 or RESP3 gives it, decoded or not.
    """
    reply = _pairs(info)
    errors = _pairs(reply.get("Index Errors", {}))
    has_failed = _text(errors.get("last indexing error key", "N/A")) != "N/A"
    return IndexStatistics(
        num_docs=_integer(reply["num_docs"]),
        max_doc_id=_integer(reply.get("max_doc_id", 0)),
        is_indexing=_integer(reply.get("indexing", 0)) != 0,
        percent_indexed=float(reply.get("percent_indexed", 1)),
        indexing_failures=_integer(reply.get("hash_indexing_failures", 0)),
        last_failure_key=_text(errors["last indexing error key"]) if has_failed else None,
        last_failure_error=_text(errors["last indexing error"]) if has_failed else None,
        size_bytes=round(sum(float(reply.get(size, 0)) for size in _SIZES_MB) * 2**20),
        is_incomplete=_text(errors.get("background indexing status", "OK")) == "OOM failure",
        vector_bytes=round(float(reply.get("vector_index_sz_mb", 0)) * 2**20),
        words=_integer(reply.get("num_terms", 0)),
    )


def is_surely_not_temporary(info: Any) -> bool:
    """Whether FT.INFO shows that an index is not TEMPORARY; if it does not, the index may be either.

    The server collects no garbage of a TEMPORARY index, and of none where it was told NOGC. The coordinator
    of a cluster, which leaves the indexing time out, shows the numbers of its garbage collection always.

    Args:
        info: The reply of FT.INFO, as RESP2 or RESP3 gives it, decoded or not.
    """
    reply = _pairs(info)
    return "gc_stats" in reply and "total_indexing_time" in reply


def label_count_from_details(details: Any) -> int:
    """How many vectors a vector index holds.

    Args:
        details: The reply of FT.DEBUG VECSIM_INFO.
    """
    return _integer(_pairs(details)["INDEX_LABEL_COUNT"])


def _field_values(attribute: Any, storage_type: str, vector_details: Mapping[str, Any]) -> dict[str, Any]:
    told, flags = _told(attribute)
    values = {name: told[key] for key, name in _ATTRIBUTE_VALUES.items() if key in told}
    values |= {name: True for flag, name in _ATTRIBUTE_FLAGS.items() if flag in flags}
    name, path = _text(values["name"]), _text(values["path"])
    values |= {
        "name": name,
        "path": None if path == (name if storage_type == "hash" else f"$.{name}") else path,
        "type": _text(values["type"]).lower(),
    }
    if "separator" in values:
        separator = _text(values["separator"])
        values["separator"] = _SEPARATORS.get(separator, separator)
    for word in ("algorithm", "datatype", "distance_metric", "coord_system", "compression"):
        if word in values:
            values[word] = _text(values[word])
    if "compression" in values:
        values["compression"] = _COMPRESSIONS.get(values["compression"], values["compression"])
    if values["type"] == "vector" and name in vector_details:
        values |= _detail_values(values["algorithm"], vector_details[name])
    return values


def _without_line_break(found: re.Match[str]) -> str:
    return " " if found[0].startswith("\\") else found[0]


def _told(attribute: Any) -> tuple[dict[str, Any], set[str]]:
    if isinstance(attribute, dict):
        told = _pairs(attribute)
        return told, set(map(_text, told.pop("flags", ())))
    told, flags = {}, set()
    words = iter(attribute)
    for word in words:
        key = _text(word)
        if key in _ATTRIBUTE_VALUES:
            told[key] = next(words)
        else:
            flags.add(key)
    return told, flags


def _detail_values(algorithm: str, details: Any) -> dict[str, Any]:
    told = _pairs(details)
    # HNSW and SVS-VAMANA keep new vectors in a flat buffer in front of the graph.
    told = _pairs(told.get("BACKEND_INDEX", told))
    values = {name: told[key] for key, name in _VECTOR_DETAILS[algorithm].items() if key in told}
    if algorithm == "SVS-VAMANA" and float(values.get("epsilon", 0)) == _SINGLE_PRECISION_EPSILON:
        values["epsilon"] = DEFAULT_EPSILON
    if values.get("block_size") == DEFAULT_BLOCK_SIZE:
        # Asked for, it can be refused where the default is lowered in silence: see `compare.observable`.
        del values["block_size"]
    return values


def _pairs(reply: Any) -> dict[str, Any]:
    items = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {_text(key): value for key, value in items}


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _integer(value: bytes | str | float) -> int:
    return int(float(value))
