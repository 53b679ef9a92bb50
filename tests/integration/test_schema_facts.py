"""What the server does that reading, creating and comparing schemas rely on; a test fails when it changes.

What can't be recovered from a live index, so that a record has to keep it:

- PHONETIC of a text field,
- INITIAL_CAP of a vector field,
- SKIPINITIALSCAN,
- line breaks in names and prefixes, which FT.INFO does not tell from a backslash and a letter,
- the order and the case of stopwords,
- whether a default was asked for or filled in.

TEMPORARY is recoverable, by FT.DEBUG TTL just after FT.INFO.
"""

from __future__ import annotations

import time

import pytest
import redis
from servers import debug_command, debug_search, server_has

from redismigrate.redis_server.embedded import EmbeddedServer

HAS_DETAILS = pytest.mark.needs("search debugging")
VECTOR = ("TYPE", "FLOAT32", "DIM", "4", "DISTANCE_METRIC", "L2")


def pairs(reply):
    return dict(zip(reply[::2], reply[1::2], strict=True))


def create(client, *arguments, name="i"):
    client.execute_command("FT.CREATE", name, *arguments)
    return pairs(client.execute_command("FT.INFO", name))


def vector_details(client, name="i"):
    details = pairs(debug_search(client, "VECSIM_INFO", name, "v"))
    if b"BACKEND_INDEX" in details:
        details = pairs(details[b"BACKEND_INDEX"])
    del details[b"MEMORY"]
    return details


def definition(info):
    return (
        info[b"index_options"],
        info[b"index_definition"],
        info[b"attributes"],
        info.get(b"stopwords_list"),
    )


def flags(info):
    return {word for word in info[b"attributes"][0] if word in (b"SORTABLE", b"UNF")}


# What can't be recovered


def test_phonetic_can_not_be_read(client):
    phonetic = create(client, "SCHEMA", "t", "TEXT", "PHONETIC", "dm:en", name="a")
    plain = create(client, "SCHEMA", "t", "TEXT", name="b")

    assert definition(phonetic) == definition(plain)


@HAS_DETAILS
@pytest.mark.parametrize("algorithm", ["FLAT", "HNSW"])
def test_initial_cap_can_not_be_read(client, algorithm):
    reserved = create(client, "SCHEMA", "v", "VECTOR", algorithm, 8, *VECTOR, "INITIAL_CAP", "10", name="a")
    plain = create(client, "SCHEMA", "v", "VECTOR", algorithm, 6, *VECTOR, name="b")

    assert definition(reserved) == definition(plain)
    assert vector_details(client, "a") == vector_details(client, "b")


def test_skipinitialscan_can_not_be_read(client):
    skipping = create(client, "SKIPINITIALSCAN", "SCHEMA", "t", "TEXT", name="a")
    plain = create(client, "SCHEMA", "t", "TEXT", name="b")

    assert definition(skipping) == definition(plain)


@pytest.mark.parametrize(("line_break", "letters"), [("\n", r"\n"), ("\r", r"\r")])
def test_a_line_break_can_not_be_told_from_a_backslash_and_a_letter(client, line_break, letters):
    one = create(client, "PREFIX", 1, f"a{line_break}", "SCHEMA", f"t{line_break}", "TEXT", name="a")
    other = create(client, "PREFIX", 1, f"a{letters}", "SCHEMA", f"t{letters}", "TEXT", name="b")

    assert definition(one) == definition(other)


def test_order_and_case_of_stopwords_can_not_be_read(client):
    one = create(client, "STOPWORDS", 2, "The", "a", "SCHEMA", "t", "TEXT", name="a")
    other = create(client, "STOPWORDS", 2, "a", "the", "SCHEMA", "t", "TEXT", name="b")

    assert definition(one) == definition(other)


@HAS_DETAILS
def test_defaults_that_were_asked_for_can_not_be_told_from_those_filled_in(client):
    asked = create(
        client,
        *("PREFIX", 1, "", "LANGUAGE", "english", "SCORE", "1"),
        *("SCHEMA", "t", "TEXT", "WEIGHT", "1", "v", "VECTOR", "HNSW", 14, *VECTOR),
        *("M", "16", "EF_CONSTRUCTION", "200", "EF_RUNTIME", "10", "EPSILON", "0.01"),
        name="a",
    )
    filled_in = create(client, "SCHEMA", "t", "TEXT", "v", "VECTOR", "HNSW", 6, *VECTOR, name="b")

    assert definition(asked) == definition(filled_in)
    assert vector_details(client, "a") == vector_details(client, "b")


# What FT.INFO says in its own way


@HAS_DETAILS
def test_temporary_is_one_more_than_the_ttl_just_after_ft_info(client):
    create(client, "TEMPORARY", "1000", "SCHEMA", "t", "TEXT")
    time.sleep(1.1)

    assert debug_search(client, "TTL", "i") <= 998
    with client.pipeline() as together:  # nothing comes between the two
        together.execute_command("FT.INFO", "i")
        together.execute_command(debug_command(), "TTL", "i")
        assert together.execute()[1] == 999


def test_a_score_of_0_is_left_out(client):
    assert b"default_score" not in pairs(
        create(client, "SCORE", "0", "SCHEMA", "t", "TEXT")[b"index_definition"]
    )


def test_a_score_of_1_is_told(client):
    assert pairs(create(client, "SCHEMA", "t", "TEXT")[b"index_definition"])[b"default_score"] == b"1"


def test_english_is_left_out(client):
    info = create(client, "LANGUAGE", "English", "SCHEMA", "t", "TEXT")

    assert b"default_language" not in pairs(info[b"index_definition"])


def test_a_json_tag_has_no_separator_where_a_hash_has_a_comma(client):
    json = create(client, "ON", "JSON", "SCHEMA", "$.t", "AS", "t", "TAG", name="a")
    hash_ = create(client, "ON", "HASH", "SCHEMA", "t", "TAG", name="b")

    assert json[b"attributes"][0][-2:] == [b"SEPARATOR", b""]
    assert hash_[b"attributes"][0][-2:] == [b"SEPARATOR", b","]


def test_an_empty_separator_is_refused(client):
    with pytest.raises(redis.ResponseError, match="Tag separator must be a single character"):
        create(client, "ON", "JSON", "SCHEMA", "$.t", "AS", "t", "TAG", "SEPARATOR", "")


def test_an_index_without_prefix_is_told_with_an_empty_one(client):
    info = create(client, "SCHEMA", "t", "TEXT")

    assert pairs(info[b"index_definition"])[b"prefixes"] == [b""]


def test_a_prefix_of_a_star_is_no_wildcard(client):
    create(client, "PREFIX", 1, "*", "SCHEMA", "t", "TEXT")
    client.hset("a", "t", "x")
    client.hset("*a", "t", "x")

    assert client.execute_command("FT.SEARCH", "i", "x", "NOCONTENT") == [1, b"*a"]


def test_a_nul_byte_cuts_text(client):
    info = create(client, "PREFIX", 1, b"a\0b", "SCHEMA", b"t\0u", "TEXT")

    assert pairs(info[b"index_definition"])[b"prefixes"] == [b"a"]
    assert pairs(info[b"attributes"][0][:4])[b"attribute"] == b"t"


# What implies what


@pytest.mark.parametrize(
    ("storage_type", "field", "has_unf"),
    [
        ("HASH", ("TEXT",), False),
        ("HASH", ("TAG",), False),
        ("HASH", ("TAG", "CASESENSITIVE"), True),
        ("HASH", ("NUMERIC",), True),
        ("HASH", ("GEO",), False),
        ("HASH", ("GEOSHAPE",), False),
        ("JSON", ("TEXT",), True),
        ("JSON", ("TAG",), True),
        ("JSON", ("NUMERIC",), True),
        ("JSON", ("GEO",), True),
        ("JSON", ("GEOSHAPE",), True),
    ],
)
def test_sortable_implies_unf_for_json_numbers_and_case_sensitive_tags(client, storage_type, field, has_unf):
    info = create(client, "ON", storage_type, "SCHEMA", "$.t", "AS", "t", *field, "SORTABLE")

    assert flags(info) == ({b"SORTABLE", b"UNF"} if has_unf else {b"SORTABLE"})


def test_nooffsets_implies_nohl(client):
    assert create(client, "NOOFFSETS", "SCHEMA", "t", "TEXT")[b"index_options"] == [b"NOOFFSETS", b"NOHL"]


@pytest.mark.parametrize(("text_fields", "options"), [(32, []), (33, [b"MAXTEXTFIELDS"])])
def test_more_than_32_text_fields_imply_maxtextfields(client, text_fields, options):
    names = [word for number in range(text_fields) for word in (f"t{number}", "TEXT")]

    assert create(client, "SCHEMA", *names)[b"index_options"] == options


@HAS_DETAILS
def test_an_epsilon_of_0_is_the_default(client):
    create(client, "SCHEMA", "v", "VECTOR", "HNSW", 8, *VECTOR, "EPSILON", "0")

    assert vector_details(client)[b"EPSILON"] == b"0.01"


@HAS_DETAILS
def test_fewer_candidates_than_edges_are_told_as_asked_for(client):
    info = create(client, "SCHEMA", "v", "VECTOR", "HNSW", 8, *VECTOR, "M", "512")

    assert pairs(info[b"attributes"][0])[b"ef_construction"] == 200
    assert vector_details(client)[b"EF_CONSTRUCTION"] == 512


# What the parser makes of the order of words


def test_options_after_sortable_are_read_as_the_next_field(client):
    with pytest.raises(redis.ResponseError, match="Field `INDEXEMPTY` does not have a type"):
        create(client, "SCHEMA", "t", "TEXT", "SORTABLE", "INDEXEMPTY")


def test_unf_without_sortable_is_read_as_the_next_field(client):
    with pytest.raises(redis.ResponseError, match="Field `UNF` does not have a type"):
        create(client, "SCHEMA", "t", "TEXT", "UNF")


def test_a_field_called_like_an_option_is_read_as_that_option(client):
    with pytest.raises(redis.ResponseError, match="weight"):
        create(client, "SCHEMA", "t", "TEXT", "weight", "NUMERIC")


def test_noindex_and_indexmissing_exclude_each_other(client):
    with pytest.raises(redis.ResponseError, match="both `NOINDEX` and `INDEXMISSING`"):
        create(client, "SCHEMA", "t", "TEXT", "INDEXMISSING", "NOINDEX")


def test_a_line_break_in_a_filter_is_white_space_and_an_escaped_one_a_mistake(client):
    create(client, "FILTER", "@t == 'x'\n&& @u > 1\n", "SCHEMA", "t", "TEXT")

    with pytest.raises(redis.ResponseError, match="Syntax error"):
        create(client, "FILTER", r"@t == 'x'\n&& @u > 1\n", "SCHEMA", "t", "TEXT", name="j")


# What harms a server


def test_an_index_that_is_temporary_for_0_seconds_is_gone_at_once(client):
    with pytest.raises(redis.ResponseError, match=r"(?i)unknown index name|no such index"):
        create(client, "TEMPORARY", "0", "SCHEMA", "t", "TEXT")


@pytest.mark.needs("crash at one edge")
@pytest.mark.parametrize("edges", [1, 32768])
def test_edges_out_of_bounds_stop_the_server(edges):
    with (
        EmbeddedServer() as server,
        redis.Redis.from_url(server.url, protocol=2) as client,
        pytest.raises(redis.ConnectionError),
    ):
        create(client, "SCHEMA", "v", "VECTOR", "HNSW", 8, *VECTOR, "M", edges)


@pytest.mark.needs("crash on details of a tag")
def test_vector_details_of_a_tag_stop_the_server():
    with EmbeddedServer() as server, redis.Redis.from_url(server.url, protocol=2) as client:
        create(client, "SCHEMA", "t", "TAG")
        with pytest.raises(redis.ConnectionError):
            debug_search(client, "VECSIM_INFO", "i", "t")


@HAS_DETAILS
def test_the_block_size_shrinks_with_maxmemory_and_a_larger_one_is_not_to_be_had():
    large = ("TYPE", "FLOAT32", "DIM", "3072", "DISTANCE_METRIC", "L2")
    with EmbeddedServer() as server, redis.Redis.from_url(server.url, protocol=2) as client:
        client.config_set("maxmemory", "50mb")
        create(client, "SCHEMA", "v", "VECTOR", "FLAT", 6, *large)

        assert vector_details(client)[b"BLOCK_SIZE"] < 1024
        asked = ("SCHEMA", "v", "VECTOR", "FLAT", 8, *large, "BLOCK_SIZE", "1024")
        if server_has("refusal of large blocks"):
            with pytest.raises(redis.ResponseError, match="exceeded server limit"):
                create(client, *asked, name="j")
        else:
            create(client, *asked, name="j")
            assert vector_details(client, "j")[b"BLOCK_SIZE"] < 1024
