"""Values that stand at two paths of the same documents, while two releases of an application write them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from mirrored_documents import FENCE
from patience import wait_until
from twin_documents import TWIN_MARKS, Mirrored

from redismigrate.documents.twins import Twin
from redismigrate.redis_server.connection import Server, connect

MARKS = f"{TWIN_MARKS}there:"
TITLE = Twin("title", "headline")
FAR_AWAY = 4_102_444_800_000


@pytest.fixture
def server(redis_url: str, client: redis.Redis) -> Iterator[Server]:
    client.set(FENCE.key, FENCE.token)
    with connect(redis_url) as server:
        yield server


@pytest.fixture
def titles(server: Server, client: redis.Redis) -> Mirrored:
    for number in range(5):
        client.hset(f"p:{number}", mapping={"title": f"t{number}", "price": number})
    mirrored = Mirrored(server, TITLE)
    mirrored.look(is_first=True)
    return mirrored


def fields(client: redis.Redis, key: str) -> tuple[bytes | None, bytes | None]:
    title, headline = client.hmget(key, "title", "headline")
    return title, headline


def test_every_document_gets_the_new_field_and_a_mark(server: Server, client: redis.Redis, titles: Mirrored):
    assert [fields(client, f"p:{number}") for number in range(5)] == [
        (b"t%d" % n, b"t%d" % n) for n in range(5)
    ]
    assert len(client.keys(TWIN_MARKS + "*")) == 5
    again = titles.look()
    assert (again.documents, again.written, again.changed, again.failures.count) == (5, 0, 0, 0)


def test_each_release_writes_and_the_other_one_reads_it(client: redis.Redis, titles: Mirrored):
    client.hset("p:1", "title", "of the old")
    client.hset("p:2", "headline", "of the new")
    client.hset("p:9", "headline", "born")
    done = titles.look()
    assert fields(client, "p:1") == (b"of the old",) * 2
    assert fields(client, "p:2") == (b"of the new",) * 2
    assert fields(client, "p:9") == (b"born",) * 2
    assert (done.written, done.turned_back, done.changed) == (1, 2, 3)
    assert titles.kept == []


def test_where_both_have_written_the_new_one_stands(client: redis.Redis, titles: Mirrored):
    client.hset("p:1", mapping={"title": "old", "headline": "new"})
    client.hset("p:2", mapping={"title": "alike", "headline": "alike"})
    done = titles.look()
    assert fields(client, "p:1") == (b"new", b"new")
    assert fields(client, "p:2") == (b"alike", b"alike")
    assert [each.key for each in done.conflicts.listed] == [b"p:1"]
    assert titles.losses() == [(b"p:1", {b"title": b"old"})]


def test_a_deletion_is_carried_and_what_goes_is_on_disk(client: redis.Redis, titles: Mirrored):
    client.hdel("p:1", "title")
    client.hdel("p:2", "headline")
    titles.look()
    assert fields(client, "p:1") == fields(client, "p:2") == (None, None)
    assert client.hget("p:1", "price") == b"1"
    assert titles.losses() == [(b"p:1", {b"headline": b"t1"}), (b"p:2", {b"title": b"t2"})]
    assert len(client.keys(TWIN_MARKS + "*")) == 3


def test_a_document_that_was_written_as_a_whole_gets_the_other_value_again(
    client: redis.Redis, titles: Mirrored
):
    client.delete("p:1", "p:2")
    client.hset("p:1", "title", "whole, old")
    client.hset("p:2", "headline", "whole, new")
    titles.look()
    assert fields(client, "p:1") == (b"whole, old",) * 2
    assert fields(client, "p:2") == (b"whole, new",) * 2
    assert titles.kept == []


def expiry(client: redis.Redis, key: str, field: str) -> int:
    (moment,) = client.execute_command("HPEXPIRETIME", key, "FIELDS", 1, field)
    return int(moment)


def test_a_lifetime_is_carried_like_a_value(client: redis.Redis, titles: Mirrored):
    client.execute_command("HPEXPIREAT", "p:1", FAR_AWAY, "FIELDS", 1, "title")
    client.execute_command("HPEXPIREAT", "p:2", FAR_AWAY, "FIELDS", 1, "headline")
    client.hset("p:3", "title", "both")
    client.execute_command("HPEXPIREAT", "p:3", FAR_AWAY, "FIELDS", 1, "title")
    titles.look()
    for number in (1, 2, 3):
        assert expiry(client, f"p:{number}", "title") == expiry(client, f"p:{number}", "headline") == FAR_AWAY
    client.execute_command("HPERSIST", "p:1", "FIELDS", 1, "headline")
    client.hset("p:2", "title", "written, and so without a lifetime")
    titles.look()
    assert expiry(client, "p:1", "title") == expiry(client, "p:2", "headline") == -1
    assert titles.look().changed == 0
    assert titles.kept == []


def test_a_field_whose_lifetime_is_over_takes_the_other_one_along(client: redis.Redis, titles: Mirrored):
    client.execute_command("HPEXPIRE", "p:1", 1, "FIELDS", 1, "title")
    wait_until(lambda: not client.hexists("p:1", "title"))
    titles.look()
    assert fields(client, "p:1") == (None, None)


def test_what_was_at_the_new_path_before_stays_as_it_is(server: Server, client: redis.Redis):
    client.hset("p:1", mapping={"title": "old", "headline": "another"})
    client.hset("p:2", mapping={"title": "same", "headline": "same"})
    client.hset("p:3", "headline", "alone")
    client.hset("p:4", "title", "usual")
    titles = Mirrored(server, TITLE)
    done = titles.look(is_first=True)
    assert [(each.key, each.reason) for each in done.failures.listed] == [
        (b"p:1", "it has a field headline already, beside title")
    ]
    client.hset("p:1", "title", "newer")
    assert titles.look().failures.count == 1
    before = {key: client.hgetall(key) for key in ("p:1", "p:2", "p:3")}
    titles.look("new_removed")
    assert {key: client.hgetall(key) for key in before} == before
    assert fields(client, "p:4") == (b"usual", None)
    client.hset("p:1", "title", "another")
    assert titles.look().failures.count == 0
    assert titles.kept == []


def test_once_it_serves_the_new_one_stays_and_the_old_one_still_counts(client: redis.Redis, titles: Mirrored):
    client.hset("p:1", "title", "of the old")
    client.hset("p:2", "headline", "of the new")
    client.hset("p:3", mapping={"title": "old", "headline": "new"})
    client.hdel("p:4", "headline")
    client.hdel("p:0", "title")
    done = titles.look("serving")
    assert fields(client, "p:1") == (b"of the old",) * 2
    assert fields(client, "p:2") == (b"t2", b"of the new")
    assert fields(client, "p:3") == (b"old", b"new")
    assert fields(client, "p:4") == (b"t4", None)
    assert fields(client, "p:0") == (None, None)
    assert (done.only_new, done.only_new_deleted, done.conflicts.count) == (2, 1, 1)
    again = titles.look("serving")
    assert (again.changed, again.conflicts.count) == (0, 0)
    assert titles.losses() == [(b"p:0", {b"headline": b"t0"}), (b"p:3", {b"title": b"old"})]


def test_old_values_go_where_there_are_new_ones(client: redis.Redis, titles: Mirrored):
    client.hset("p:2", "headline", "of the new")
    client.hset("p:3", mapping={"title": "old", "headline": "new"})
    client.hdel("p:4", "headline")
    client.hset("p:9", "title", "late")
    done = titles.look("old_removed")
    assert [fields(client, f"p:{number}") for number in (0, 1, 2, 3, 4, 9)] == [
        (None, b"t0"),
        (None, b"t1"),
        (None, b"of the new"),
        (None, b"new"),
        (None, None),
        (None, b"late"),
    ]
    assert done.removed == 6
    assert titles.losses() == [(b"p:3", {b"title": b"old"}), (b"p:4", {b"title": b"t4"})]
    # Of a release that has not stopped.
    client.hset("p:0", "title", "later")
    client.hset("p:1", mapping={"title": "later", "headline": "newest"})
    titles.look("old_removed")
    assert fields(client, "p:0") == (None, b"later")
    assert fields(client, "p:1") == (None, b"newest")
    assert titles.losses()[2:] == [(b"p:1", {b"title": b"later"})]


def test_new_values_go_once_they_are_carried_back(client: redis.Redis, titles: Mirrored):
    client.hset("p:1", "title", "of the old")
    client.hset("p:2", "headline", "of the new")
    client.hset("p:3", mapping={"title": "old", "headline": "new"})
    client.hset("p:9", "headline", "born")
    titles.look("new_removed")
    assert [fields(client, f"p:{number}") for number in (0, 1, 2, 3, 9)] == [
        (b"t0", None),
        (b"of the old", None),
        (b"of the new", None),
        (b"new", None),
        (b"born", None),
    ]
    assert titles.losses() == [(b"p:3", {b"title": b"old"})]
    assert titles.look("new_removed").changed == 0


def test_a_removal_that_is_taken_back_half_way_brings_the_old_values_again(
    client: redis.Redis, titles: Mirrored
):
    titles.look("old_removed")
    client.hset("p:1", "headline", "of the new")
    titles.look("new_removed")
    assert fields(client, "p:0") == (b"t0", None)
    assert fields(client, "p:1") == (b"of the new", None)
    assert titles.kept == []


def test_a_pass_that_never_ended_is_taken_back_where_it_came_to(server: Server, client: redis.Redis):
    client.hset("p:1", "title", "reached")
    titles = Mirrored(server, TITLE)
    titles.look(is_first=True)
    client.hset("p:2", "headline", "never reached")
    client.hset("p:3", "title", "never reached")
    titles.look("new_removed", is_first=True)
    assert client.hgetall("p:1") == {b"title": b"reached"}
    assert client.hgetall("p:2") == {b"headline": b"never reached"}
    assert client.hgetall("p:3") == {b"title": b"never reached"}


def test_several_values_of_a_document_go_in_one_pass(server: Server, client: redis.Redis):
    for number in range(3):
        client.hset(f"p:{number}", mapping={"title": f"t{number}", "text": f"x{number}"})
    both = Mirrored(server, TITLE, Twin("text", "body"))
    both.look(is_first=True)
    client.hset("p:0", mapping={"title": "old", "body": "new"})
    # A release that knows the old names alone writes the document as a whole, with one value as it was.
    client.delete("p:1")
    client.hset("p:1", mapping={"title": "t1", "text": "x1 written again"})
    both.look()
    assert client.hgetall("p:0") == {b"title": b"old", b"headline": b"old", b"text": b"new", b"body": b"new"}
    assert client.hmget("p:1", "title", "headline", "text", "body") == [b"t1"] * 2 + [b"x1 written again"] * 2
    assert both.kept == []


def test_a_document_whose_mark_is_refused_is_left_without_half_of_it(
    server: Server, client: redis.Redis, redis_url: str
):
    for number in range(3):
        client.hset(f"p:{number}", "title", f"t{number}")
        client.execute_command("HPEXPIREAT", f"p:{number}", FAR_AWAY, "FIELDS", 1, "title")
    rules = ("~{redismigrate:shop}:fence", f"%R~{MARKS}*", f"~{MARKS}p:0", f"~{MARKS}p:1", "~p:*")
    client.acl_setuser("twins", enabled=True, nopass=True, reset=True)
    client.execute_command("ACL", "SETUSER", "twins", "allcommands", *rules)
    try:
        with connect(redis_url.replace("unix://", "unix://twins:x@")) as weak:
            done = Mirrored(weak, TITLE).look(is_first=True)
    finally:
        client.acl_deluser("twins")
    assert [each.key for each in done.failures.listed] == [b"p:2"]
    assert done.written == 2
    assert [fields(client, f"p:{number}") for number in range(3)] == [
        (b"t0", b"t0"),
        (b"t1", b"t1"),
        (b"t2", None),
    ]
