"""Members of JSON documents that stand under two names, while two releases of an application write them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from mirrored_documents import FENCE
from twin_documents import Mirrored

from redismigrate.documents.twins import Twin
from redismigrate.redis_server.connection import Server, connect

TITLE = Twin("$.title", "$.headline")
NESTED = Twin("$.about.author", "$.about.writer")
ODD = '{"z":[1.0,-0.0,1e-7,123456789012345678901234567890],"é\\u2028":{"b":null,"a":"\\ud83d\\ude00"}}'


@pytest.fixture
def server(redis_url: str, client: redis.Redis) -> Iterator[Server]:
    client.set(FENCE.key, FENCE.token)
    with connect(redis_url) as server:
        yield server


def put(client: redis.Redis, key: str, text: str, path: str = "$") -> None:
    client.execute_command("JSON.SET", key, path, text)


def text(client: redis.Redis, key: str) -> str:
    return client.execute_command("JSON.GET", key).decode()


@pytest.fixture
def pages(server: Server, client: redis.Redis) -> Mirrored:
    for number in range(4):
        document: dict[str, Any] = {"title": f"t{number}", "n": number, "about": {"author": "a", "x": 1}}
        put(client, f"p:{number}", json.dumps(document))
    put(client, "p:none", '{"about":[{"author":"in an array"}],"title":null}')
    client.hset("p:hash", "title", "no document of this index")
    mirrored = Mirrored(server, TITLE, NESTED, kind="json")
    mirrored.look(is_first=True)
    return mirrored


def test_members_get_their_second_name_beside_the_first(client: redis.Redis, pages: Mirrored):
    assert text(client, "p:1") == (
        '{"title":"t1","n":1,"about":{"author":"a","x":1,"writer":"a"},"headline":"t1"}'
    )
    assert text(client, "p:none") == ('{"about":[{"author":"in an array"}],"title":null,"headline":null}')
    assert client.hgetall("p:hash") == {b"title": b"no document of this index"}
    assert pages.look().changed == 0


def test_each_release_writes_a_member_and_the_other_one_reads_it(client: redis.Redis, pages: Mirrored):
    put(client, "p:1", '"of the old"', "$.title")
    put(client, "p:2", '"of the new"', "$.headline")
    put(client, "p:3", '["of", {"the": "new"}]', "$.about.writer")
    done = pages.look()
    assert json.loads(text(client, "p:1"))["headline"] == "of the old"
    assert json.loads(text(client, "p:2"))["title"] == "of the new"
    assert json.loads(text(client, "p:3"))["about"]["author"] == ["of", {"the": "new"}]
    assert (done.conflicts.count, done.made_again) == (0, 0)


def test_a_document_written_as_a_whole_by_a_release_that_knows_one_name_gets_the_other_one_again(
    client: redis.Redis, pages: Mirrored
):
    put(client, "p:1", '{"title":"t1","about":{"author":"of the old"}}')
    put(client, "p:2", '{"headline":"t2","about":{"writer":"of the new"}}')
    done = pages.look()
    assert json.loads(text(client, "p:1")) == {
        "title": "t1",
        "headline": "t1",
        "about": {"author": "of the old", "writer": "of the old"},
    }
    assert json.loads(text(client, "p:2")) == {
        "title": "t2",
        "headline": "t2",
        "about": {"author": "of the new", "writer": "of the new"},
    }
    assert done.made_again == 2
    assert pages.kept == []


def test_a_member_that_is_gone_under_both_names_stays_gone(client: redis.Redis, pages: Mirrored):
    put(client, "p:1", '{"n":1}')
    pages.look()
    assert text(client, "p:1") == '{"n":1}'


def test_no_other_byte_of_a_document_changes(server: Server, client: redis.Redis):
    whole = '{"a":%s,"title":%s,"about":{"author":%s,"x":%s},"n":0.1}' % ((ODD,) * 4)
    put(client, "p:1", whole)
    before = text(client, "p:1")
    pages = Mirrored(server, TITLE, NESTED, kind="json")
    pages.look(is_first=True)
    odd = before[before.index('"title":') + 8 : before.index(',"about"')]
    beside = before.replace(',"n":0.1}', f',"n":0.1,"headline":{odd}}}').replace(
        '},"n"', f',"writer":{odd}}},"n"'
    )
    assert text(client, "p:1") == beside
    pages.look("new_removed")
    assert text(client, "p:1") == before
    again = Mirrored(server, TITLE, NESTED, kind="json", way="again")
    again.look(is_first=True)
    again.look("old_removed")
    after = json.loads(text(client, "p:1"))
    assert "title" not in after
    assert json.dumps(after["headline"]) == json.dumps(json.loads(odd))
    reverse = (Twin("$.headline", "$.title"), Twin("$.about.writer", "$.about.author"))
    back = Mirrored(server, *reverse, kind="json", way="back")
    back.look(is_first=True)
    back.look("old_removed")
    assert text(client, "p:1") == before


def test_old_members_go_and_late_writes_of_them_go_on(client: redis.Redis, pages: Mirrored):
    put(client, "p:3", '"old"', "$.title")
    put(client, "p:3", '"new"', "$.headline")
    pages.look("serving")
    pages.look("old_removed")
    put(client, "p:1", '{"title":"written as a whole","n":5}')
    pages.look("old_removed")
    assert text(client, "p:0") == '{"headline":"t0","n":0,"about":{"writer":"a","x":1}}'
    assert text(client, "p:1") == '{"headline":"written as a whole","n":5}'
    assert json.loads(text(client, "p:3"))["headline"] == "new"
    assert pages.losses() == [(b"p:3", {b"$.title": b'"old"'})]


def test_what_the_server_would_not_take_is_named_and_left(server: Server, client: redis.Redis):
    put(client, "p:1", '{"title":0}')
    put(client, "p:1", "[" * 100 + "]" * 100, "$.title")
    put(client, "p:1", "[" * 100 + "]" * 100, "$.title" + "[0]" * 99)
    put(client, "p:2", '{"title":"t"}')
    before = text(client, "p:1")
    done = Mirrored(server, TITLE, kind="json").look(is_first=True)
    assert [each.key for each in done.failures.listed] == [b"p:1"]
    assert text(client, "p:1") == before
    assert text(client, "p:2") == '{"title":"t","headline":"t"}'
