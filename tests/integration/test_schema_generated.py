"""Generated schemas against the real server: what is created can be read back and created again."""

from __future__ import annotations

import pytest
import redis
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from schema_strategies import redis_text, schemas
from servers import server_has

from redismigrate.errors import SchemaError
from redismigrate.redis_server.inspection import read_index
from redismigrate.schema.compare import canonical, diff, observable
from redismigrate.schema.create import create_arguments
from redismigrate.schema.strict import encode
from redismigrate.schema.words import not_utf8


def is_kept(word):
    return server_has("words of any bytes") or not not_utf8([word])


def _of_this_server():
    has_svs, has_integers = server_has("svs-vamana"), server_has("integer vectors")
    return schemas(
        algorithms=("FLAT", "HNSW", *(("SVS-VAMANA",) if has_svs else ())),
        datatypes=("BFLOAT16", "FLOAT16", "FLOAT32", "FLOAT64", *(("INT8", "UINT8") if has_integers else ())),
        can_index_all=server_has("indexall"),
        words=redis_text.filter(is_kept),
        can_be_wide_without_fields=server_has("maxtextfields with nofields"),
    )


# The server is asked when a test runs.
of_this_server = st.deferred(_of_this_server)


def create_and_read(client, schema):
    try:
        command = create_arguments(schema)
    except SchemaError:
        reject()  # Several fields are called like options.
    client.execute_command(*command)
    live = read_index(client.execute_command, schema.name)
    client.execute_command("FT.DROPINDEX", encode(schema.name))
    return live.schema


def observed(schema):
    return observable(schema, has_vector_details=server_has("search debugging"))


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client_of_protocol(redis_url, request):
    with redis.Redis.from_url(redis_url, protocol=request.param) as client:
        yield client


@given(schema=of_this_server)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_an_index_reads_back_as_it_was_created_and_again_when_made_from_that(client_of_protocol, schema):
    once = create_and_read(client_of_protocol, schema)
    twice = create_and_read(client_of_protocol, once)

    assert diff(observed(schema), observed(once)) == ()
    assert observed(once) == observed(schema)
    assert twice == once


@given(schema=of_this_server)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_canonical_schema_makes_the_same_index(client, schema):
    as_given = create_and_read(client, schema)
    as_canonical = create_and_read(client, canonical(schema))

    assert observed(as_canonical) == observed(as_given)
