"""FT.INFO replies read back, those of servers that can't be run here included."""

from __future__ import annotations

import pytest

from redismigrate.errors import SchemaError
from redismigrate.schema import IndexSchema, TagField, TextField, VectorField
from redismigrate.schema.read import (
    IndexStatistics,
    index_name_from_info,
    is_surely_not_temporary,
    label_count_from_details,
    schema_from_info,
    statistics_from_info,
)

# Of a server 8.2 under RESP3.
INFO = {
    "index_name": "products",
    "index_options": ["NOFREQS"],
    "index_definition": {
        "key_type": "HASH",
        "prefixes": ["product:"],
        "default_score": 1.0,
        "indexes_all": "true",
    },
    "attributes": [
        {"identifier": "title", "attribute": "title", "type": "TEXT", "WEIGHT": 2.5, "flags": ["SORTABLE"]},
        {
            "identifier": "k",
            "attribute": "kind",
            "type": "TAG",
            "SEPARATOR": ";",
            "flags": ["CASESENSITIVE", "INDEXMISSING"],
        },
        {
            "identifier": "embedding",
            "attribute": "embedding",
            "type": "VECTOR",
            "algorithm": "HNSW",
            "data_type": "INT8",
            "dim": 8,
            "distance_metric": "COSINE",
            "M": 16,
            "ef_construction": 200,
            "flags": [],
        },
    ],
    "num_docs": 10,
    "max_doc_id": 12,
    "inverted_sz_mb": 1.5,
    "vector_index_sz_mb": 2.0,
    "total_index_memory_sz_mb": 99.0,
    "offset_vectors_sz_mb": 0.0,
    "hash_indexing_failures": 2,
    "total_indexing_time": 3.5,
    "indexing": 1,
    "percent_indexed": 0.25,
    "gc_stats": {"bytes_collected": 0, "total_ms_run": 0, "average_cycle_time_ms": 0.5},
    "Index Errors": {
        "indexing failures": 2,
        "last indexing error": "Invalid geo string",
        "last indexing error key": "product:7",
        "background indexing status": "OK",
    },
}
SCHEMA = IndexSchema(
    name="products",
    prefixes=("product:",),
    no_freqs=True,
    index_all=True,
    fields=(
        TextField(name="title", weight=2.5, sortable=True),
        TagField(name="kind", path="k", separator=";", case_sensitive=True, index_missing=True),
        VectorField(name="embedding", algorithm="HNSW", dims=8, datatype="INT8", m=16, ef_construction=200),
    ),
)
SVS = {
    "identifier": "v",
    "attribute": "v",
    "type": "VECTOR",
    "algorithm": "SVS-VAMANA",
    "data_type": "FLOAT16",
    "dim": 8,
    "distance_metric": "IP",
    "graph_max_degree": 40,
    "construction_window_size": 250,
    "compression": "NO_COMPRESSION",
    "flags": [],
}
SVS_DETAILS = [
    *("ALGORITHM", "TIERED", "INDEX_LABEL_COUNT", 5),
    *("FRONTEND_INDEX", ["ALGORITHM", "FLAT", "BLOCK_SIZE", 1024]),
    *("BACKEND_INDEX", ["ALGORITHM", "SVS", "BLOCK_SIZE", 1024, "SEARCH_WINDOW_SIZE", 20, "EPSILON", "0.02"]),
]


def as_resp2(value, key=None):
    """The reply as RESP2 gives it: maps are flat lists, numbers with a fraction are text."""
    if key == "attributes":
        return [
            [*as_resp2({name: item for name, item in told.items() if name != "flags"}), *told["flags"]]
            for told in value
        ]
    if isinstance(value, dict):
        return [word for name, item in value.items() for word in (name, as_resp2(item, name))]
    return repr(value) if isinstance(value, float) else value


def as_bytes(value):
    if isinstance(value, dict):
        return {as_bytes(key): as_bytes(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_bytes(item) for item in value]
    return value.encode() if isinstance(value, str) else value


REPLIES = {
    "RESP3, decoded": INFO,
    "RESP3": as_bytes(INFO),
    "RESP2, decoded": as_resp2(INFO),
    "RESP2": as_bytes(as_resp2(INFO)),
}
every_reply = pytest.mark.parametrize("info", REPLIES.values(), ids=REPLIES.keys())


def schema_with(attribute, details=None):
    info = {**INFO, "attributes": [attribute]}
    return schema_from_info(info, {} if details is None else {"v": details}).fields[0]


@every_reply
def test_a_schema_is_read_from_every_form_of_reply(info):
    assert schema_from_info(info) == SCHEMA


@every_reply
def test_statistics_are_read_from_every_form_of_reply(info):
    assert statistics_from_info(info) == IndexStatistics(
        num_docs=10,
        max_doc_id=12,
        is_indexing=True,
        percent_indexed=0.25,
        indexing_failures=2,
        last_failure_key="product:7",
        last_failure_error="Invalid geo string",
        size_bytes=3_670_016,
        vector_bytes=2_097_152,
    )


GIVEN_UP = {
    **INFO,
    "hash_indexing_failures": 1,
    "Index Errors": {
        "indexing failures": 1,
        "last indexing error": "Used memory is more than 100 percent of max memory, cancelling the scan",
        "last indexing error key": "product:3",
        "background indexing status": "OOM failure",
    },
}


@pytest.mark.parametrize(
    "info", [GIVEN_UP, as_bytes(GIVEN_UP), as_resp2(GIVEN_UP), as_bytes(as_resp2(GIVEN_UP))]
)
def test_an_index_whose_scan_was_given_up_for_memory_is_incomplete(info):
    assert statistics_from_info(info).is_incomplete


@pytest.mark.parametrize(
    ("missing", "is_sure"), [("num_docs", True), ("gc_stats", False), ("total_indexing_time", False)]
)
def test_an_index_whose_garbage_is_collected_is_not_temporary(missing, is_sure):
    info = {key: value for key, value in INFO.items() if key != missing}

    assert is_surely_not_temporary(as_bytes(info)) is is_sure
    assert is_surely_not_temporary(as_bytes(as_resp2(info))) is is_sure


@every_reply
def test_the_name_is_read_from_every_form_of_reply(info):
    assert index_name_from_info(info) == "products"


def test_without_failures_there_is_no_last_one():
    errors = {"indexing failures": 0, "last indexing error": "N/A", "last indexing error key": "N/A"}

    statistics = statistics_from_info({**INFO, "hash_indexing_failures": 0, "Index Errors": errors})

    assert (statistics.last_failure_key, statistics.last_failure_error) == (None, None)


def test_a_cluster_leaves_statistics_out():
    statistics = statistics_from_info({"index_name": "i", "num_docs": "3"})

    assert (statistics.num_docs, statistics.max_doc_id, statistics.is_indexing) == (3, 0, False)


def test_an_uncompressed_svs_index_is_read():
    assert schema_with(SVS) == VectorField(
        name="v",
        algorithm="SVS-VAMANA",
        dims=8,
        datatype="FLOAT16",
        distance_metric="IP",
        graph_max_degree=40,
        construction_window_size=250,
    )


def test_a_compressed_svs_index_is_read():
    field = schema_with({**SVS, "compression": "LeanVec4x8", "training_threshold": 10240, "reduced_dim": 4})

    assert (field.compression, field.training_threshold, field.reduce) == ("LeanVec4x8", 10240, 4)


def test_the_server_s_own_compression_is_read_as_what_makes_it_again():
    field = schema_with({**SVS, "compression": "GlobalSQ8", "training_threshold": 10240})

    assert field.compression == "LVQ8"


def test_details_of_an_svs_index_are_read():
    field = schema_with(SVS, SVS_DETAILS)

    assert (field.search_window_size, field.epsilon, field.block_size) == (20, 0.02, None)


def test_vectors_are_counted():
    assert label_count_from_details(SVS_DETAILS) == 5
    assert label_count_from_details(as_bytes(SVS_DETAILS)) == 5


@pytest.mark.parametrize(("block_size", "read"), [(1024, None), (426, 426), (2048, 2048)])
def test_the_usual_block_size_is_not_read_for_it_may_be_refused_when_asked_for(block_size, read):
    flat = {
        "identifier": "v",
        "attribute": "v",
        "type": "VECTOR",
        "algorithm": "FLAT",
        "flags": [],
        "data_type": "FLOAT32",
        "dim": 8,
        "distance_metric": "IP",
    }

    assert schema_with(flat, ["ALGORITHM", "FLAT", "BLOCK_SIZE", block_size]).block_size == read


def test_ef_runtime_is_read_where_ft_info_tells_it():
    hnsw = {**INFO["attributes"][2], "ef_runtime": 50}

    assert schema_with(hnsw).ef_runtime == 50


def test_flags_that_are_not_known_are_no_attributes():
    title = {**INFO["attributes"][0], "flags": ["SORTABLE", "NEW"], "new_key": "new value"}

    assert schema_with(title) == schema_with(INFO["attributes"][0])
    assert schema_from_info(as_resp2({**INFO, "attributes": [title]})).fields == (schema_with(title),)


def test_a_field_called_like_a_flag_is_read_as_a_field():
    attribute = {**INFO["attributes"][0], "identifier": "SORTABLE", "attribute": "UNF", "flags": []}

    schema = schema_from_info(as_resp2({**INFO, "attributes": [attribute]}))

    assert schema.fields == (TextField(name="UNF", path="SORTABLE", weight=2.5),)


def test_a_field_of_a_type_that_is_not_known_is_refused():
    with pytest.raises(
        SchemaError, match=r"index 'products': fields\.0: input tag 'sound' found using 'type'"
    ):
        schema_with({"identifier": "s", "attribute": "s", "type": "SOUND", "flags": []})


def test_line_breaks_of_a_filter_are_read_as_spaces_but_not_in_quotes():
    definition = {**INFO["index_definition"], "filter": r"""@a == '\n' \r\n&& @b == "\n"\n"""}

    schema = schema_from_info({**INFO, "index_definition": definition})

    assert schema.filter == r"""@a == '\n'   && @b == "\n" """.strip()
