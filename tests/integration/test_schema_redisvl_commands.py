"""A schema in RedisVL's layout makes the index that RedisVL makes.

Each case holds a schema and the FT.CREATE that RedisVL 0.28 sent for it, recorded.
"""

from __future__ import annotations

import pytest
import yaml

from redismigrate.redis_server.inspection import read_index
from redismigrate.schema.compare import diff
from redismigrate.schema.create import create_arguments
from redismigrate.schema.redisvl import schema_from_redisvl, schema_to_redisvl

TEXT_FIELD = "fields: [{name: t, type: text}]"
CASES = {
    "defaults on hashes": (
        """
        index: {name: i}
        fields:
          - {name: t, type: text}
          - {name: g, type: tag}
          - {name: n, type: numeric}
          - {name: p, type: geo}
          - {name: v, type: vector, attrs: {dims: 4, algorithm: flat}}
        """,
        (
            "PREFIX 1 rvl SCORE 1.0 SCHEMA t TEXT WEIGHT 1 g TAG SEPARATOR , n NUMERIC p GEO "
            "v VECTOR FLAT 6 TYPE FLOAT32 DIM 4 DISTANCE_METRIC COSINE"
        ),
    ),
    "defaults on JSON": (
        """
        version: '0.1.0'
        index: {name: i, prefix: doc, storage_type: json}
        fields:
          - {name: t, type: text}
          - {name: g, type: tag}
          - {name: n, type: numeric}
          - {name: p, type: geo, path: $.where.point}
          - {name: v, type: vector, attrs: {dims: 4, algorithm: hnsw}}
        """,
        (
            "PREFIX 1 doc SCORE 1.0 SCHEMA $.t AS t TEXT WEIGHT 1 $.g AS g TAG SEPARATOR , $.n AS n NUMERIC "
            "$.where.point AS p GEO $.v AS v VECTOR HNSW 14 TYPE FLOAT32 DIM 4 DISTANCE_METRIC COSINE "
            "M 16 EF_CONSTRUCTION 200 EF_RUNTIME 10 EPSILON 0.01"
        ),
    ),
    "attributes of text": (
        """
        index: {name: i, prefix: 'doc:'}
        fields:
          - name: t
            type: text
            attrs: {weight: 2.5, no_stem: true, phonetic_matcher: 'dm:en', withsuffixtrie: true,
                    index_empty: true, index_missing: true, sortable: true, unf: true}
          - {name: u, type: text, attrs: {unf: true, weight: 3}}
          - {name: w, type: text, attrs: {sortable: true, no_index: true}}
        """,
        (
            "PREFIX 1 doc: SCORE 1.0 SCHEMA t TEXT WEIGHT 2.5 NOSTEM PHONETIC dm:en WITHSUFFIXTRIE "
            "INDEXEMPTY INDEXMISSING SORTABLE UNF u TEXT WEIGHT 3.0 w TEXT WEIGHT 1 SORTABLE NOINDEX"
        ),
    ),
    "attributes of tags": (
        """
        index: {name: i, prefix: 'doc:'}
        fields:
          - name: t
            type: tag
            attrs: {separator: ';', case_sensitive: true, withsuffixtrie: true, index_empty: true,
                    index_missing: true, sortable: true}
          - {name: w, type: tag, attrs: {sortable: true, no_index: true}}
        """,
        (
            "PREFIX 1 doc: SCORE 1.0 SCHEMA t TAG SEPARATOR ; CASESENSITIVE WITHSUFFIXTRIE INDEXEMPTY "
            "INDEXMISSING SORTABLE w TAG SEPARATOR , SORTABLE NOINDEX"
        ),
    ),
    "attributes of numbers and points": (
        """
        index: {name: i, prefix: 'doc:'}
        fields:
          - {name: n, type: numeric, attrs: {sortable: true, unf: true, index_missing: true}}
          - {name: m, type: numeric, attrs: {sortable: true, no_index: true}}
          - {name: g, type: geo, attrs: {sortable: true, index_missing: true}}
          - {name: h, type: geo, attrs: {sortable: true, no_index: true}}
        """,
        (
            "PREFIX 1 doc: SCORE 1.0 SCHEMA n NUMERIC INDEXMISSING SORTABLE UNF m NUMERIC SORTABLE NOINDEX "
            "g GEO INDEXMISSING SORTABLE h GEO SORTABLE NOINDEX"
        ),
    ),
    "attributes of FLAT": (
        """
        index: {name: i, prefix: 'doc:'}
        fields:
          - name: v
            type: vector
            attrs: {dims: 4, algorithm: FLAT, datatype: float64, distance_metric: l2, initial_cap: 100,
                    block_size: 512}
        """,
        (
            "PREFIX 1 doc: SCORE 1.0 SCHEMA v VECTOR FLAT 10 TYPE FLOAT64 DIM 4 DISTANCE_METRIC L2 "
            "INITIAL_CAP 100 BLOCK_SIZE 512"
        ),
    ),
    "attributes of HNSW": (
        """
        index: {name: i, prefix: 'doc:'}
        fields:
          - name: v
            type: vector
            attrs: {dims: 4, algorithm: hnsw, datatype: bfloat16, distance_metric: ip, initial_cap: 100, m: 8,
                    ef_construction: 100, ef_runtime: 20, epsilon: 0.2}
        """,
        (
            "PREFIX 1 doc: SCORE 1.0 SCHEMA v VECTOR HNSW 16 TYPE BFLOAT16 DIM 4 DISTANCE_METRIC IP "
            "INITIAL_CAP 100 M 8 EF_CONSTRUCTION 100 EF_RUNTIME 20 EPSILON 0.2"
        ),
    ),
    "several prefixes, and the separator of keys not in them": (
        f"""
        index: {{name: i, prefix: [b, a], key_separator: _}}
        {TEXT_FIELD}
        """,
        "PREFIX 2 b a SCORE 1.0 SCHEMA t TEXT WEIGHT 1",
    ),
    "a list of no prefixes": (
        f"""
        index: {{name: i, prefix: []}}
        {TEXT_FIELD}
        """,
        "SCORE 1.0 SCHEMA t TEXT WEIGHT 1",
    ),
    "no stopwords": (
        f"""
        index: {{name: i, stopwords: []}}
        {TEXT_FIELD}
        """,
        "PREFIX 1 rvl SCORE 1.0 STOPWORDS 0 SCHEMA t TEXT WEIGHT 1",
    ),
    "own stopwords": (
        f"""
        index: {{name: i, stopwords: [the, a]}}
        {TEXT_FIELD}
        """,
        "PREFIX 1 rvl SCORE 1.0 STOPWORDS 2 the a SCHEMA t TEXT WEIGHT 1",
    ),
    "a JSON path on hashes is ignored": (
        """
        index: {name: i}
        fields: [{name: t, type: text, path: $.x}]
        """,
        "PREFIX 1 rvl SCORE 1.0 SCHEMA t TEXT WEIGHT 1",
    ),
    "fields by name": (
        """
        index: {name: i}
        fields: {t: {name: t, type: text}}
        """,
        "PREFIX 1 rvl SCORE 1.0 SCHEMA t TEXT WEIGHT 1",
    ),
}


@pytest.mark.parametrize(("layout", "options"), CASES.values(), ids=CASES.keys())
def test_a_schema_makes_the_index_that_redisvl_makes(client, layout, options):
    schema = schema_from_redisvl(yaml.safe_load(layout))
    storage_type = schema.storage_type.upper()
    client.execute_command("FT.CREATE", "i", "ON", storage_type, *options.split())
    theirs = read_index(client.execute_command, "i")
    client.execute_command("FT.DROPINDEX", "i")
    client.execute_command(*create_arguments(schema))
    ours = read_index(client.execute_command, "i")

    assert ours.schema == theirs.schema


@pytest.mark.parametrize(("layout", "options"), CASES.values(), ids=CASES.keys())
def test_a_live_index_of_redisvl_can_be_written_in_its_layout(client, layout, options):
    storage_type = schema_from_redisvl(yaml.safe_load(layout)).storage_type.upper()
    client.execute_command("FT.CREATE", "i", "ON", storage_type, *options.split())
    schema = read_index(client.execute_command, "i").schema

    assert diff(schema, schema_from_redisvl(schema_to_redisvl(schema))) == ()
