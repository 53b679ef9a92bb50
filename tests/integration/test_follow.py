"""Old and new stay in step while a revision is expanded, whatever an application writes."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from conftest import ENTRY_POINT
from documents_written import begin, compare, require_in_index
from doomed_process import StrikingProxy
from patience import wait_until
from vector_documents import (
    TO_FLOAT16,
    TO_FLOAT32,
    TO_NEW_PREFIX,
    TO_OLD_PREFIX,
    applied,
    documents,
    stock,
    vector,
)

from redismigrate import commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Shop

PRODUCTS = 3000
PATIENCE_SECONDS = 60


@contextmanager
def following(shop: Shop, end: signal.Signals = signal.SIGTERM) -> Iterator[subprocess.Popen[str]]:
    """`redismigrate follow` as a process of its own, once it has looked at all documents."""
    arguments = [str(ENTRY_POINT), "--url", shop.url, "--json", "follow"]
    with subprocess.Popen(
        arguments, cwd=shop.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until(
                lambda: process.poll() is not None or (follower(shop) or {}).get("pid") == process.pid,
                PATIENCE_SECONDS,
            )
            yield process
        finally:
            process.send_signal(end)


def follower(shop: Shop) -> dict[str, object] | None:
    text = shop.client.get("{redismigrate:shop}:follower")
    return json.loads(text) if text else None


def test_every_write_before_contraction_arrives_though_the_follower_is_killed_and_started_again(
    shop: Shop,
) -> None:
    writer = begin(shop, "float32", "float16", PRODUCTS, dims=16, per_second=1000)
    with writer.at_work():
        assert shop.run("upgrade", "--phase", "expand").code == 0
        with following(shop, signal.SIGKILL):
            time.sleep(0.5)
        time.sleep(0.5)
        with following(shop):
            time.sleep(0.5)
    result = shop.run("upgrade", "--phase", "contract", "--json")
    assert result.code == 0, result.out + result.err
    found = compare(shop, writer, "float16")
    assert found.wrong == []
    assert found.old == {}
    assert found.new
    require_in_index(shop, found.new)
    assert not any(b"__" in field for key in shop.client.scan_iter("p:*") for field in shop.client.hkeys(key))


def test_no_write_is_lost_while_a_revision_is_applied_in_one_go(shop: Shop) -> None:
    writer = begin(shop, "float32", "float16", PRODUCTS, dims=16, per_second=1000)
    with writer.at_work():
        result = shop.run("upgrade", "--json")
    assert result.code == 0, result.out + result.err
    found = compare(shop, writer, "float16")
    assert found.wrong == []
    # What the application wrote in the old form after the run is as it wrote it: if it was fast, all.
    assert found.new or found.old


def test_what_a_new_client_writes_is_found_by_the_old_one_too(shop: Shop) -> None:
    stock(shop, 50)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    assert shop.run("upgrade", "--phase", "expand").code == 0
    physical = shop.run("current", "--json").json["indexes"]["products"]["expanded"]["physical"]
    with following(shop):
        shop.client.hset("p:new", mapping={"title": "a new shoe", "embedding": vector(60, "float16")})
        shop.client.hset("p:old", mapping={"title": "an old shoe", "embedding": vector(61)})
        shop.client.delete("p:0")

        def both_find_all() -> bool:
            return (
                neighbours(shop, "products", vector(1))
                == neighbours(shop, physical, vector(1, "float16"))
                == 51
            )

        wait_until(both_find_all, PATIENCE_SECONDS)
    assert shop.run("upgrade", "--phase", "contract").code == 0
    assert shop.client.hget("p:new", "embedding") == vector(60, "float16")
    assert neighbours(shop, "products", vector(1, "float16")) == 51


def neighbours(shop: Shop, index: str, query_vector: bytes) -> int:
    """How many documents have a vector in an index."""
    words = ("PARAMS", "2", "vector", query_vector, "DIALECT", "2", "LIMIT", "0", "0")
    query = "*=>[KNN 1000 @embedding $vector]"
    return int(shop.client.execute_command("FT.SEARCH", index, query, *words)[0])


def test_copies_follow_their_originals(shop: Shop) -> None:
    stock(shop, 50)
    shop.write(TO_NEW_PREFIX, TO_OLD_PREFIX)
    assert shop.run("upgrade", "--phase", "expand").code == 0
    with following(shop):
        shop.client.hset("p:1", "title", "another shoe")
        shop.client.delete("p:2")
        shop.client.expire("p:3", 1000)
        wait_until(lambda: shop.client.hget("q:1", "title") == b"another shoe", PATIENCE_SECONDS)
        wait_until(lambda: not shop.client.exists("q:2"), PATIENCE_SECONDS)
        wait_until(lambda: shop.client.ttl("q:3") > 900, PATIENCE_SECONDS)


@pytest.mark.parametrize(("change", "back"), [(TO_FLOAT16, TO_FLOAT32), (TO_NEW_PREFIX, TO_OLD_PREFIX)])
def test_what_is_written_while_nobody_follows_is_brought_along_by_the_contraction(
    shop: Shop, change: str, back: str
) -> None:
    stock(shop, 50)
    shop.write(change, back)
    assert shop.run("upgrade", "--phase", "expand").code == 0
    assert "Nobody follows what is written" in shop.run("status").out
    for number in range(50, 80):
        shop.client.hset(f"p:{number}", mapping={"title": "a late shoe", "embedding": vector(number)})
    shop.client.delete("p:1")
    result = shop.run("upgrade", "--phase", "contract", "--json")
    assert result.code == 0, result.err
    prefix, datatype = ("p:", "float16") if change == TO_FLOAT16 else ("q:", "float32")
    assert shop.client.hget(f"{prefix}79", "embedding") == vector(79, datatype)
    assert not shop.client.exists(f"{prefix}1")
    assert neighbours(shop, "products", vector(1, datatype)) == shop.hits("products") == 79


def test_following_ends_when_the_revision_is_contracted(shop: Shop) -> None:
    stock(shop, 50)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    assert shop.run("upgrade", "--phase", "expand").code == 0
    with following(shop) as process:
        assert shop.run("upgrade", "--phase", "contract").code == 0
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0
        assert json.loads(out)["why"] == "revision 000000000002 is expanded no more"
    assert follower(shop) is None


def test_following_ends_with_a_signal_and_says_what_it_did(shop: Shop) -> None:
    stock(shop, 50)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    assert shop.run("upgrade", "--phase", "expand").code == 0
    with following(shop) as process:
        pass
    assert process.returncode == 0
    assert follower(shop) is None


def test_without_an_expanded_revision_there_is_nothing_to_follow(shop: Shop) -> None:
    stock(shop, 5)
    result = shop.run("follow", "--json")
    assert (result.code, result.json) == (
        0,
        {"result": "nothing", "why": "no revision is expanded", "follower": None},
    )


def test_an_index_beside_the_old_one_over_the_same_documents_needs_nobody_to_follow(shop: Shop) -> None:
    stock(shop, 5)
    shop.write("with op.index('products') as index:\n    index.alter_field('embedding', algorithm='hnsw')")
    assert shop.run("upgrade", "--phase", "expand").code == 0
    result = shop.run("follow")
    assert result.code == 0
    assert "follow by themselves" in result.out
    status = shop.run("status").out
    assert "--phase contract" in status
    assert "redismigrate follow" not in status


@pytest.mark.parametrize("command", [b":head", b":fence"])
def test_what_is_contracted_while_following_begins_is_left_as_it_is(shop: Shop, command: bytes) -> None:
    stock(shop, 20)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    applied(shop, "--phase", "expand")

    with StrikingProxy(shop.url, (1, (command,))) as proxy, ThreadPoolExecutor(1) as thread:
        project = commands.Project.load(shop.folder / "redismigrate.toml", {"url": proxy.url})
        followed = thread.submit(commands.follow, project, lambda _: False)
        assert proxy.has_struck.wait(PATIENCE_SECONDS)
        applied(shop, "--phase", "contract")
        proxy.release()
        assert "expanded" in followed.result(PATIENCE_SECONDS).why

    assert all(set(fields) == {b"title", b"embedding"} for fields in documents(shop).values())
    assert {len(fields[b"embedding"]) for fields in documents(shop).values()} == {len(vector(0, "float16"))}
    assert shop.hits("products") == 20
