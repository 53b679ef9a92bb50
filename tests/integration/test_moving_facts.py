"""What the server does that renames of fields rely on; a test fails when it changes."""

from __future__ import annotations

import json
import string
import time

import pytest
import redis

from redismigrate.schema.json_paths import JsonPath

NAMES = ["plain", "a b", "a-b", "é", "1", "a.b", "it's", 'q"q', "a]b", "*", "@x", "a:b", "trailing ", "$"]


def hits(client, *arguments):
    client.execute_command("FT.CREATE", "i", *arguments)
    while True:
        reply = client.execute_command("FT.INFO", "i")
        info = dict(zip(reply[::2], reply[1::2], strict=True))
        if not int(info[b"indexing"]):
            return int(info[b"num_docs"])
        time.sleep(0.01)


@pytest.mark.parametrize("name", NAMES)
def test_a_member_is_written_read_and_indexed_by_the_path_that_its_name_makes(client, name):
    path = str(JsonPath(("object", "a")).sibling(name))
    client.execute_command("JSON.SET", "j:1", "$", '{"object": {}}')

    client.execute_command("JSON.SET", "j:1", path, '"shoe"')

    assert json.loads(client.execute_command("JSON.GET", "j:1")) == {"object": {name: "shoe"}}
    assert json.loads(client.execute_command("JSON.GET", "j:1", path)) == ["shoe"]
    assert hits(client, "ON", "JSON", "PREFIX", 1, "j:", "SCHEMA", path, "AS", "t", "TEXT") == 1
    assert client.execute_command("FT.SEARCH", "i", "@t:shoe", "NOCONTENT") == [1, b"j:1"]


def test_the_names_that_need_no_quotes_are_those_that_the_server_takes_bare(client):
    client.execute_command("JSON.SET", "j:1", "$", "{}")
    for character in string.printable.strip().replace(".", ""):
        try:
            client.execute_command("JSON.GET", "j:1", f"$.a{character}b")
            is_taken = True
        except redis.ResponseError:
            is_taken = False
        assert JsonPath.parse(f"$.a{character}b").is_plain is is_taken, character


@pytest.mark.parametrize(("path", "member"), [(r'$["a\"b"]', r"a\"b"), ('$[" a"]', "a")])
def test_json_set_gives_a_member_another_name_than_json_get_reads(client, path, member):
    client.execute_command("JSON.SET", "j:1", "$", "{}")

    client.execute_command("JSON.SET", "j:1", path, "1")

    assert list(json.loads(client.execute_command("JSON.GET", "j:1"))) == [member]
    assert not JsonPath.parse(path).is_plain


@pytest.mark.parametrize(("name", "found"), [("title", 1), ("desc", 0), ("other", 1), ("missing", 0)])
def test_a_filter_on_hashes_knows_attributes_and_fields_that_are_not_indexed(client, name, found):
    client.hset("h:1", mapping={"desc": "shoe", "other": "x"})
    arguments = ("PREFIX", 1, "h:", "FILTER", f"exists(@{name})", "SCHEMA", "desc", "AS", "title", "TEXT")
    assert hits(client, *arguments) == found


@pytest.mark.parametrize(("name", "found"), [("title", 1), ("desc", 0), ("other", 0)])
def test_a_filter_on_json_knows_attributes_only(client, name, found):
    client.execute_command("JSON.SET", "j:1", "$", '{"desc": "shoe", "other": "x"}')
    arguments = ("FILTER", f"exists(@{name})", "SCHEMA", "$.desc", "AS", "title", "TEXT")
    assert hits(client, "ON", "JSON", "PREFIX", 1, "j:", *arguments) == found


@pytest.mark.parametrize(("path", "score"), [("$.s", b"0.25"), ("s", b"1"), (".s", b"1")])
def test_a_score_field_of_json_is_a_path_from_the_root(client, path, score):
    hits(client, "ON", "JSON", "PREFIX", 1, "j:", "SCORE_FIELD", path, "SCHEMA", "$.t", "AS", "t", "TEXT")
    client.execute_command("JSON.SET", "j:1", "$", '{"t": "shoe", "s": 0.25}')
    assert client.execute_command("FT.SEARCH", "i", "*", "NOCONTENT", "WITHSCORES") == [1, b"j:1", score]
