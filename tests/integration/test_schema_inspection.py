"""Live indexes as `read_index` tells them, under both protocols."""

from __future__ import annotations

import itertools
import struct
import time

import pytest
import redis
from servers import debug_command, debug_search, server_has

from redismigrate.redis_server import inspection
from redismigrate.redis_server.inspection import list_indexes, read_index, resolve_alias
from redismigrate.schema import IndexSchema, TagField, TextField, VectorField
from redismigrate.schema.compare import diff, observable
from redismigrate.schema.create import create_arguments
from redismigrate.schema.strict import encode

SCHEMA = IndexSchema(
    name="products",
    prefixes=("product:",),
    fields=(
        TextField(name="title"),
        TagField(name="kind"),
        VectorField(name="embedding", algorithm="HNSW", dims=2, ef_runtime=50),
    ),
)


HAS_DETAILS = pytest.mark.needs("search debugging")


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(redis_url, request):
    with redis.Redis.from_url(redis_url, protocol=request.param) as client:
        yield client


@pytest.fixture
def products(client):
    client.execute_command(*create_arguments(SCHEMA))
    return client


@pytest.fixture
def user(products):
    """Makes a client of a user without the given commands."""
    connection = {**products.connection_pool.connection_kwargs, "username": "reader", "password": "secret"}
    pool = redis.ConnectionPool(connection_class=products.connection_pool.connection_class, **connection)

    def without(*commands):
        products.execute_command(
            "ACL",
            "SETUSER",
            "reader",
            "on",
            ">secret",
            "~*",
            "+@all",
            *(f"-{command}" for command in commands),
        )
        return redis.Redis(connection_pool=pool)

    yield without
    pool.disconnect()
    products.acl_deluser("reader")


def wait_until_indexed(client):
    while read_index(client.execute_command, "products").statistics.is_indexing:
        time.sleep(0.01)


def test_an_index_that_is_not_there_is_none(client):
    assert read_index(client.execute_command, "products") is None


def test_an_index_that_vanishes_meanwhile_is_none(products):
    def execute(*arguments):
        reply = products.execute_command(*arguments)
        if arguments[0] == "FT.INFO":
            products.execute_command("FT.DROPINDEX", "products")
        return reply

    assert read_index(execute, "products") is None


def test_errors_other_than_a_missing_index_come_through(user):
    with pytest.raises(redis.exceptions.NoPermissionError):
        read_index(user("ft.info").execute_command, "products")
    with pytest.raises(redis.exceptions.NoPermissionError):
        resolve_alias(user("ft.info").execute_command, "products")


def test_an_alias_is_read_as_the_index_it_points_to(products):
    products.execute_command("FT.ALIASADD", "shop", "products")

    live = read_index(products.execute_command, "shop")

    assert live.physical == "products"
    assert live.schema.name == "products"


def test_an_alias_is_resolved_to_its_index(products):
    products.execute_command("FT.ALIASADD", "shop", "products")

    assert resolve_alias(products.execute_command, "shop") == "products"


def test_an_index_and_a_missing_name_are_no_alias(products):
    assert resolve_alias(products.execute_command, "products") is None
    assert resolve_alias(products.execute_command, "shop") is None


def test_indexes_are_listed_without_aliases(products):
    products.execute_command(*create_arguments(SCHEMA.renamed(b"\xff articles")))
    products.execute_command("FT.ALIASADD", "shop", "products")

    assert list_indexes(products.execute_command) == ("products", "\udcff articles")


def test_synonyms_are_grouped_and_sorted(products):
    products.execute_command("FT.SYNUPDATE", "products", "sizes", "small", "little")
    word = "\udcff" if server_has("words of any bytes") else "😀"
    products.execute_command("FT.SYNUPDATE", "products", b"\xfe", "little", encode(word))

    assert read_index(products.execute_command, "products").synonyms == {
        "sizes": ("little", "small"),
        "\udcfe": ("little", word),
    }


def test_an_index_without_synonyms_has_none(products):
    assert read_index(products.execute_command, "products").synonyms == {}


@HAS_DETAILS
def test_vectors_are_counted_where_documents_lack_them(products):
    products.hset("product:1", mapping={"title": "lamp", "embedding": struct.pack("2f", 1, 2)})
    products.hset("product:2", mapping={"title": "chair"})
    wait_until_indexed(products)

    live = read_index(products.execute_command, "products")

    assert live.statistics.num_docs == 2
    assert live.statistics.max_doc_id == 2
    assert live.statistics.percent_indexed == 1
    assert live.statistics.size_bytes > 0
    assert live.vector_labels == {"embedding": 1}


def test_failures_are_counted_with_the_last_key_and_its_error(products):
    products.hset(b"product:\xff\n", "embedding", b"short")
    wait_until_indexed(products)

    statistics = read_index(products.execute_command, "products").statistics

    assert statistics.indexing_failures == 1
    assert statistics.last_failure_key == "product:\udcff\n"
    assert statistics.last_failure_error == "Could not add vector with blob size 5 (expected size 8)"


def test_an_index_without_failures_names_none(products):
    statistics = read_index(products.execute_command, "products").statistics

    assert statistics.indexing_failures == 0
    assert statistics.last_failure_key is None
    assert statistics.last_failure_error is None


@HAS_DETAILS
@pytest.mark.parametrize("subcommand", ["", "|vecsim_info"])
def test_without_the_right_to_debug_vector_details_are_missing_but_all_else_is_there(user, subcommand):
    live = read_index(user(debug_command() + subcommand).execute_command, "products")

    assert live.has_vector_details is False
    assert live.vector_labels == {}
    assert live.schema.field("embedding").ef_runtime is None
    assert live.is_temporary is False
    assert diff(*(observable(schema, has_vector_details=False) for schema in (SCHEMA, live.schema))) == ()


@HAS_DETAILS
def test_with_the_right_to_debug_vector_details_are_there(products):
    live = read_index(products.execute_command, "products")

    assert live.has_vector_details is True
    assert live.schema.field("embedding").ef_runtime == 50
    assert live.is_temporary is False


@HAS_DETAILS
def test_without_the_right_to_debug_it_can_not_be_told_that_an_index_is_temporary(products, user):
    products.execute_command("FT.DROPINDEX", "products")
    products.execute_command(*create_arguments(SCHEMA.with_options(temporary_seconds=100)))

    live = read_index(user(debug_command() + "|ttl").execute_command, "products")

    assert live.has_vector_details is False
    assert live.is_temporary is None


def like_redis_8(client, *, admits_debug):
    """Runs commands as Redis 8 does, which calls FT.DEBUG otherwise and refuses it by default."""

    def execute(*arguments):
        command = arguments[0]
        if command == "FT.DEBUG":
            raise redis.ResponseError("unknown command 'FT.DEBUG', with args beginning with: 'VECSIM_INFO' ")
        if command == "_FT.DEBUG" and not admits_debug:
            raise redis.ResponseError(
                "Debug commands are disabled, please follow the redis configuration guide to enable them"
            )
        if command == "_FT.DEBUG":
            return debug_search(client, *arguments[1:])
        return client.execute_command(*arguments)

    return execute


@HAS_DETAILS
def test_vector_details_are_asked_for_by_the_name_that_redis_8_gives_them(products):
    live = read_index(like_redis_8(products, admits_debug=True), "products")

    assert live.has_vector_details
    assert live.schema == read_index(products.execute_command, "products").schema


@HAS_DETAILS
def test_the_seconds_of_a_temporary_index_are_asked_for_by_that_name_too(client):
    client.execute_command(*create_arguments(SCHEMA.with_options(temporary_seconds=100)))

    assert read_index(like_redis_8(client, admits_debug=True), "products").schema.temporary_seconds == 100


def test_where_redis_8_admits_no_debugging_an_index_is_known_not_to_be_temporary(products):
    live = read_index(like_redis_8(products, admits_debug=False), "products")

    assert (live.has_vector_details, live.is_temporary) == (False, False)
    assert diff(*(observable(schema, has_vector_details=False) for schema in (SCHEMA, live.schema))) == ()


def test_where_redis_8_admits_no_debugging_a_temporary_index_may_be_one(client):
    client.execute_command(*create_arguments(SCHEMA.with_options(temporary_seconds=100)))

    assert read_index(like_redis_8(client, admits_debug=False), "products").is_temporary is None


def test_an_index_whose_scan_was_given_up_is_read_though_its_synonyms_are_refused(products):
    text = "Background scan for index products failed due to OOM."

    def execute(*arguments):
        if arguments[0] == "FT.SYNDUMP":
            raise redis.ResponseError(f"{text} Queries cannot be executed on an incomplete index.")
        reply = products.execute_command(*arguments)
        if arguments[0] == "FT.INFO" and is_given_up:
            is_map = isinstance(reply, dict)
            errors = reply[b"Index Errors"] if is_map else reply[reply.index(b"Index Errors") + 1]
            status = (b"background indexing status", b"OOM failure")
            errors.update([status]) if is_map else errors.extend(status)
        return reply

    is_given_up = False
    with pytest.raises(redis.ResponseError, match="incomplete index"):
        read_index(execute, "products")
    is_given_up = True
    live = read_index(execute, "products")

    assert live.statistics.is_incomplete
    assert (live.synonyms, live.has_synonyms) == ({}, False)


@HAS_DETAILS
def test_a_temporary_index_tells_its_seconds(client):
    client.execute_command(*create_arguments(SCHEMA.with_options(temporary_seconds=100)))

    live = read_index(client.execute_command, "products")

    assert live.is_temporary is True
    assert live.schema.temporary_seconds == 100


@pytest.fixture
def slow_server(monkeypatch):
    """Lets a command take three seconds by the clock of `read_index`, for a number of commands."""

    def for_commands(number):
        times = itertools.chain(range(0, 3 * number, 3), itertools.repeat(3 * number))
        monkeypatch.setattr(inspection, "monotonic", times.__next__)

    return for_commands


@HAS_DETAILS
def test_a_slow_answer_does_not_shorten_the_seconds_of_a_temporary_index(client, slow_server):
    client.execute_command(*create_arguments(SCHEMA.with_options(temporary_seconds=100)))
    slow_server(2)
    delayed = iter([1.1])

    def execute(*arguments):
        if arguments[:2] == (debug_command(), "TTL"):
            time.sleep(next(delayed, 0))
        return client.execute_command(*arguments)

    assert read_index(execute, "products").schema.temporary_seconds == 100


@HAS_DETAILS
def test_answers_that_stay_slow_leave_the_seconds_of_a_temporary_index_uncertain(client, slow_server):
    client.execute_command(*create_arguments(SCHEMA.with_options(temporary_seconds=100)))
    slow_server(20)

    live = read_index(client.execute_command, "products")

    assert live.has_vector_details is False
    assert live.is_temporary is True


@HAS_DETAILS
def test_looking_at_a_temporary_index_starts_its_time_anew(client):
    client.execute_command(*create_arguments(SCHEMA.with_options(temporary_seconds=100)))
    time.sleep(2.1)
    before = debug_search(client, "TTL", "products")
    assert before <= 97
    read_index(client.execute_command, "products")

    assert debug_search(client, "TTL", "products") > before


@HAS_DETAILS
def test_details_are_asked_of_vector_fields_only(products):
    asked = []

    def execute(*arguments):
        asked.append(arguments)
        return products.execute_command(*arguments)

    read_index(execute, "products")

    assert [words[-1] for words in asked if words[:2] == (debug_command(), "VECSIM_INFO")] == [b"embedding"]
