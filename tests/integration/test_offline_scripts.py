"""`--script`: what redis-cli makes of the file is what `upgrade`, `downgrade` and `stamp` make."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis

from redismigrate.redis_server.capabilities import Capabilities
from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.redis_server.inspection import list_indexes, read_index, resolve_alias
from redismigrate.redis_server.server_binary import find_server_binary
from redismigrate.schema.create import create_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Shop

CREATE = """
op.create_index({
    "index": {"name": "products", "prefix": ["p:"]},
    "fields": [
        {"name": "title", "type": "text"},
        {"name": "brand", "type": "tag", "attrs": {"separator": ";"}},
        {"name": "embedding", "type": "vector", "attrs": {
            "algorithm": "flat", "dims": 2, "distance_metric": "cosine", "datatype": "float32"}},
    ],
})
op.create_alias("goods", "products")
op.set_synonyms("products", "shoes", ["boot", "sh\\u00f6e \\"x\\""])
"""
DROP = 'op.drop_alias("goods")\nop.drop_index("products")'
ADD = 'with op.index("products") as index:\n    index.add_field({"name": "price", "type": "numeric"})'
TAKE = 'with op.index("products") as index:\n    index.drop_field("price")'
HNSW = 'with op.index("products") as index:\n    index.alter_field("embedding", algorithm="hnsw")'
FLAT = 'with op.index("products") as index:\n    index.alter_field("embedding", algorithm="flat")'
OTHER = """
op.create_index({"index": {"name": "shops", "prefix": ["s:"]}, "fields": [{"name": "n", "type": "tag"}]})
"""


@pytest.fixture(scope="session")
def redis_cli() -> Path:
    beside = find_server_binary().executable.with_name("redis-cli")
    found = beside if beside.exists() else shutil.which("redis-cli")
    if found is None:
        pytest.skip("there is no redis-cli beside the server and none on PATH")
    return found


@pytest.fixture(scope="session")
def second_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server:
        yield server


class Cli:
    """Pipes text into redis-cli."""

    def __init__(self, path: Path, server: EmbeddedServer) -> None:
        self._command = [str(path), "-s", str(server.url.removeprefix("unix://").partition("?")[0])]
        self.url = server.url
        self.client = redis.Redis.from_url(server.url, protocol=2)
        self.client.flushall()

    def pipe(self, script: str) -> str:
        done = subprocess.run(
            self._command, input=script.encode(), capture_output=True, check=True, timeout=120
        )
        assert done.stderr == b""
        return done.stdout.decode(errors="backslashreplace")

    def complete(self, script: str) -> list[str]:
        """Errors of a script that is run again, as the guide says, while its index is still being built."""
        for _ in range(30):
            errors = errors_in(self.pipe(script))
            if not any("still being built" in error for error in errors):
                break
            self.wait()
        return errors

    def wait(self) -> None:
        execute = self.client.execute_command
        deadline = time.monotonic() + 90
        while any(read_index(execute, name).statistics.is_indexing for name in list_indexes(execute)):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def other(redis_cli: Path, second_server: EmbeddedServer) -> Cli:
    return Cli(redis_cli, second_server)


def outcome(client: Any) -> dict[str, Any]:
    """Indexes, aliases, synonyms, documents, head, record, owners: all but who, when and how long."""

    def document(name: str) -> Any:
        text = client.get(f"{{redismigrate:shop}}:{name}")
        if text is None:
            return None
        return {key: value for key, value in json.loads(text).items() if key != "version"}

    execute = client.execute_command
    indexes = {}
    for name in list_indexes(execute):
        live = read_index(execute, name)
        indexes[name] = (live.schema, live.synonyms, live.statistics.num_docs)
    head = document("head")
    for record in head["revisions"].values():
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", record.pop("applied_at"))
        del record["seconds"], record["by"], record["plan_digest"]
    return {
        "indexes": indexes,
        "aliases": {name: resolve_alias(execute, name) for name in ("goods", "products")},
        "head": head,
        "order": list(head["revisions"]),
        "recorded": document("indexes"),
        "owners": json.loads(client.get("{redismigrate}:owners") or b"{}"),
        "documents": sorted(client.scan_iter("p:*")),
        "runs": [client.exists(f"{{redismigrate:shop}}:{name}") for name in ("run", "lock", "progress")],
    }


def errors_in(output: str) -> list[str]:
    return [
        line for line in output.splitlines() if "REDISMIGRATE" in line or line.startswith(("ERR", "NOSCRIPT"))
    ]


def script(shop: Shop, url: str, *arguments: str) -> str:
    result = shop.run("--url", url, *arguments, "--script")
    assert result.code == 0, result.err
    return result.out


def add_documents(*clients: Any) -> None:
    for client in clients:
        for number in range(20):
            client.hset(
                f"p:{number}", mapping={"title": "boot", "brand": "a;b", "price": 1, "embedding": b"\0" * 8}
            )


def test_a_piped_script_leaves_what_an_upgrade_leaves(shop: Shop, other: Cli):
    shop.write(CREATE, DROP)
    shop.write(ADD, TAKE)
    shop.write(OTHER, 'op.drop_index("shops")')
    add_documents(shop.client, other.client)
    text = script(shop, other.url, "upgrade")
    assert other.client.dbsize() == 20
    assert shop.run("upgrade").code == 0
    output = other.pipe(text)
    assert errors_in(output) == []
    other.wait()
    assert outcome(other.client) == outcome(shop.client)
    current = shop.run("--url", other.url, "--json", "current").json
    assert current["heads"] == ["000000000003"]
    assert current["missing"] == []
    assert shop.run("--url", other.url, "upgrade").out == "Nothing to do.\n"


def test_an_index_built_beside_is_swapped_in_when_the_script_is_piped_again(shop: Shop, other: Cli):
    shop.write(CREATE, DROP)
    shop.write(HNSW, FLAT)
    shop.write(FLAT, HNSW)
    add_documents(shop.client, other.client)
    for url in (shop.url, other.url):
        assert shop.run("--url", url, "upgrade", "000000000001").code == 0
    text = script(shop, other.url, "upgrade")
    assert shop.run("upgrade").code == 0
    for _ in range(30):
        errors = errors_in(other.pipe(text))
        assert all("still being built" in error or "made for a Redis at" in error for error in errors)
        if not errors:
            break
        other.wait()
    assert errors == []
    found, expected = outcome(other.client), outcome(shop.client)
    # The physical name ends with the fencing token, which counts calls.
    name, wanted = found["aliases"]["products"], expected["aliases"]["products"]
    assert name.startswith("products__000000000003_")
    assert json.loads(json.dumps(found["recorded"]).replace(name, wanted)) == expected["recorded"]
    assert list(found["indexes"]) == [name]
    assert found["aliases"] == {"goods": name, "products": name}
    assert {key: found[key] for key in ("head", "order", "owners", "runs")} == {
        key: expected[key] for key in ("head", "order", "owners", "runs")
    }
    assert other.client.execute_command("FT.SEARCH", "products", "*", "LIMIT", "0", "0") == [20]


def test_a_downgrade_script_leaves_what_a_downgrade_leaves(shop: Shop, other: Cli):
    shop.write(CREATE, DROP)
    shop.write(ADD, TAKE)
    shop.write(OTHER, 'op.drop_index("shops")')
    add_documents(shop.client, other.client)
    for url in (shop.url, other.url):
        assert shop.run("--url", url, "upgrade").code == 0
    text = script(shop, other.url, "downgrade", "base", "--strategy", "rebuild")
    assert shop.run("downgrade", "base", "--strategy", "rebuild").code == 0
    assert other.complete(text) == []
    assert outcome(other.client) == outcome(shop.client)
    assert outcome(other.client)["owners"] == {}
    assert other.client.exists("{redismigrate:shop}:last_run") == 0
    assert [key for key in other.client.scan_iter() if b":undo:" in key] == []


def test_a_script_that_is_piped_twice_does_nothing_the_second_time(shop: Shop, other: Cli):
    shop.write(CREATE, DROP)
    shop.write(ADD, TAKE)
    text = script(shop, other.url, "upgrade")
    other.pipe(text)
    other.wait()
    before = {key: other.client.dump(key) for key in other.client.scan_iter()}
    output = other.pipe(text)
    assert "000000000001 was applied before" in output
    assert errors_in(output) == []
    assert {key: other.client.dump(key) for key in other.client.scan_iter()} == before


def test_a_range_is_made_without_a_server_in_both_directions(shop: Shop, other: Cli):
    shop.write(CREATE, DROP)
    shop.write(ADD, TAKE)
    shop.write(OTHER, 'op.drop_index("shops")')
    nowhere = "redis://127.0.0.1:1"
    add_documents(shop.client, other.client)
    # A part of the way with each of the two, in turns.
    assert other.complete(script(shop, nowhere, "upgrade", "base:000000000001")) == []
    assert shop.run("--url", other.url, "upgrade", "000000000002").code == 0
    assert other.complete(script(shop, nowhere, "upgrade", "000000000002:head")) == []
    assert shop.run("upgrade").code == 0
    other.wait()
    assert outcome(other.client) == outcome(shop.client)
    assert other.complete(script(shop, nowhere, "downgrade", "head:000000000002")) == []
    assert shop.run("downgrade", "000000000002").code == 0
    assert outcome(other.client) == outcome(shop.client)
    assert shop.run("--url", other.url, "downgrade", "base").code == 0


@pytest.mark.parametrize("spoilt", ["head", "indexes", "lock", "run", "owner", "taken"])
def test_a_script_changes_nothing_where_it_was_not_made_for(shop: Shop, other: Cli, spoilt: str):
    shop.write(CREATE, DROP)
    shop.write(OTHER, 'op.drop_index("shops")')
    assert shop.run("--url", other.url, "upgrade", "000000000001").code == 0
    text = script(shop, other.url, "upgrade")
    client, key = other.client, "{redismigrate:shop}:"
    says = {
        "head": 'made for a Redis at ["000000000001"], but this one is at []',
        "indexes": "the recorded indexes are not those that this script was made for",
        "lock": "redismigrate is at work",
        "run": "a run of redismigrate is unfinished",
        "owner": 'index "shops" belongs to project "another"',
        "taken": "nothing was changed: FT.CREATE shops was refused",
    }[spoilt]
    match spoilt:
        case "head":
            assert shop.run("--url", other.url, "downgrade", "base").code == 0
        case "indexes":
            client.set(f"{key}indexes", client.get(f"{key}indexes").replace(b'"goods"', b'"wares"'))
        case "lock" | "run":
            client.set(f"{key}{spoilt}", "{}")
        case "owner":
            client.set("{redismigrate}:owners", '{"products": "shop", "shops": "another"}')
        case "taken":
            client.execute_command("FT.CREATE", "shops", "SCHEMA", "n", "TAG")
    other.wait()

    def content() -> Any:
        keys = {name: client.dump(name) for name in client.scan_iter() if not name.endswith(b":fence")}
        return keys, sorted(list_indexes(client.execute_command))

    before = content()
    output = other.pipe(text)
    assert says in output
    assert content() == before


def test_a_refused_command_takes_back_the_whole_revision_and_those_after_it(shop: Shop, other: Cli):
    shop.write(CREATE, DROP)
    shop.write(f"{ADD}\n{OTHER}", 'op.drop_index("shops")\n' + TAKE)
    shop.write('op.create_alias("wares", "products")', 'op.drop_alias("wares")')
    add_documents(other.client)
    assert shop.run("--url", other.url, "upgrade", "000000000001").code == 0
    text = script(shop, other.url, "upgrade")
    other.client.execute_command("FT.CREATE", "shops", "SCHEMA", "n", "TAG")
    other.wait()
    live = read_index(other.client.execute_command, "products")
    errors = errors_in(other.pipe(text))
    assert len(errors) == 2
    other.wait()
    now = read_index(other.client.execute_command, "products")
    assert (now.schema, now.synonyms, now.statistics.num_docs) == (live.schema, live.synonyms, 20)
    assert resolve_alias(other.client.execute_command, "goods") == "products"
    assert resolve_alias(other.client.execute_command, "wares") is None
    assert outcome(other.client)["order"] == ["000000000001"]


def test_a_document_that_the_new_index_can_not_take_stops_the_script_before_the_swap(shop: Shop, other: Cli):
    shop.write(CREATE, DROP)
    shop.write(
        'with op.index("products") as index:\n    index.add_field({"name": "n", "type": "numeric"})\n'
        '    index.alter_field("embedding", algorithm="hnsw")'
    )
    add_documents(other.client)
    assert shop.run("--url", other.url, "upgrade", "000000000001").code == 0
    text = script(shop, other.url, "upgrade")
    other.client.hset("p:3", "n", "no number")
    other.pipe(text)
    other.wait()
    assert "1 documents can not be indexed in products__000000000002" in other.pipe(text)
    assert outcome(other.client)["aliases"]["products"] is None


def test_a_document_that_is_gone_when_the_new_index_comes_to_it_does_not_stop_the_script(
    shop: Shop, other: Cli
):
    shop.write(CREATE, DROP)
    shop.write('with op.index("products") as index:\n    index.alter_field("embedding", algorithm="hnsw")')
    add_documents(other.client)
    assert shop.run("--url", other.url, "upgrade", "000000000001").code == 0
    text, execute = script(shop, other.url, "upgrade"), other.client.execute_command
    build = next(line for line in text.splitlines() if line.startswith("EVALSHA"))
    other.pipe(text.partition(build)[0] + build + "\n")
    other.wait()
    other.client.hset("p:gone", "title", "x")
    other.client.hdel("p:gone", "title")
    # Only the new index has met it.
    execute("FT.ALIASDEL", "goods")
    serving = read_index(execute, "products").schema
    execute("FT.DROPINDEX", "products")
    execute(*create_arguments(serving))
    execute("FT.ALIASADD", "goods", "products")
    other.wait()
    assert errors_in(other.pipe(text)) == []
    assert outcome(other.client)["order"] == ["000000000001", "000000000002"]


CHANGES = {
    "field dropped": 'with op.index("products") as index:\n    index.drop_field("brand")',
    "options": 'with op.index("products") as index:\n    index.set_options(language="german", no_freqs=True)',
    "renamed": 'with op.index("products") as index:\n    index.rename_to("wares")',
    "alias moved": OTHER + 'op.create_alias("goods", "shops")',
    "alias dropped": 'op.drop_alias("goods")',
    "synonyms added": 'op.set_synonyms("products", "coats", ["coat", "jacket"])',
    "synonyms changed": 'op.set_synonyms("products", "shoes", ["boot", "sneaker"])',
    "synonyms removed": 'op.set_synonyms("products", "shoes", [])',
    "dropped": 'op.drop_alias("goods")\nop.drop_index("products")',
    "dropped and created again": 'op.drop_index("products")' + CREATE.replace('"title"', '"name"'),
    "dropped with documents": 'op.drop_index("products", delete_documents=True)',
    "two at once": OTHER + HNSW,
    "json": """
op.create_index({
    "index": {"name": "shops", "prefix": ["j:"], "storage_type": "json"},
    "fields": [{"name": "n", "type": "tag", "path": "$.n"}],
})
""",
    "temporary": """
op.create_index({
    "index": {"name": "shops", "prefix": ["s:"], "temporary_seconds": 3600},
    "fields": [{"name": "n", "type": "tag"}],
})
""",
}


@pytest.mark.slow_beyond(19)
@pytest.mark.parametrize("strategy", ["auto", "rebuild"])
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_revision_changes_the_script_changes_alike(
    shop: Shop, other: Cli, change: str, strategy: str
):
    shop.write(CREATE, DROP)
    shop.write(CHANGES[change])
    add_documents(shop.client, other.client)
    for url in (shop.url, other.url):
        assert shop.run("--url", url, "upgrade", "000000000001").code == 0
    text = script(shop, other.url, "upgrade", "--strategy", strategy)
    assert shop.run("upgrade", "--strategy", strategy).code == 0
    assert other.complete(text) == []
    other.wait()
    assert outcome(other.client) == outcome(shop.client)


def test_a_downgrade_script_builds_beside_as_well(shop: Shop, other: Cli):
    shop.write(CREATE, DROP)
    shop.write(HNSW, FLAT)
    add_documents(shop.client, other.client)
    for url in (shop.url, other.url):
        assert shop.run("--url", url, "upgrade").code == 0
    text = script(shop, other.url, "downgrade", "-1")
    assert shop.run("downgrade", "-1").code == 0
    assert "products__000000000002_2 is being built" in other.pipe(text)
    other.wait()
    assert other.complete(text) == []
    assert outcome(other.client) == outcome(shop.client)
    assert other.complete(script(shop, other.url, "downgrade", "base")) == []
    assert shop.run("downgrade", "base").code == 0
    assert outcome(other.client) == outcome(shop.client)


def test_a_server_over_its_memory_limit_is_left_as_it_is(shop: Shop, other: Cli):
    shop.write(CREATE, DROP)
    text = script(shop, other.url, "upgrade")
    other.client.config_set("maxmemory", "1")
    try:
        output = other.pipe(text)
    finally:
        other.client.config_set("maxmemory", "0")
    assert "command not allowed when used memory > 'maxmemory'" in output
    assert list(other.client.scan_iter()) == []
    assert list_indexes(other.client.execute_command) == ()


def test_a_user_without_all_rights_changes_nothing(shop: Shop, other: Cli):
    shop.write(CREATE, DROP)
    text = script(shop, other.url, "upgrade")
    other.client.execute_command("ACL", "SETUSER", "clerk", "on", "nopass", "~*", "+@all", "-ft.synupdate")
    output = other.pipe(f"AUTH clerk x\n{text}")
    other.client.execute_command("ACL", "DELUSER", "clerk")
    assert "the user lacks the right to run FT.SYNUPDATE" in output
    assert list_indexes(other.client.execute_command) == ()
    assert other.client.exists("{redismigrate:shop}:head") == 0


def test_a_sleeping_holder_of_the_lock_is_fenced_off(shop: Shop, other: Cli):
    shop.write(CREATE, DROP)
    text = script(shop, other.url, "upgrade")
    other.client.set("{redismigrate:shop}:fence", "7")
    other.pipe(text)
    assert other.client.get("{redismigrate:shop}:fence").startswith(b"8-")


def test_names_of_any_bytes_survive_the_script(shop: Shop, other: Cli):
    schema = {
        "index": {"name": "a\"b\udcff', {x}: é", "prefix": ["\udcfe:"]},
        "fields": [{"name": "n", "type": "tag"}],
    }
    shop.write(f"op.create_index({schema!a})", "pass")
    text = script(shop, other.url, "upgrade")
    assert text.isascii()
    assert shop.run("upgrade").code == 0
    assert other.complete(text) == []
    other.wait()
    assert outcome(other.client) == outcome(shop.client)


def test_steps_that_read_documents_or_run_code_are_refused_by_name(shop: Shop):
    shop.write(CREATE, DROP)
    shop.write("op.run(lambda client: None)", "pass")
    shop.refuses(
        "upgrade",
        "--script",
        code=6,
        says=("The plan can't be a script: 000000000002: run_function reads documents or runs code",),
    )
    shop.refuses("upgrade", "base:head", "--script", code=6, says=("The plan can't be a script",))
    assert script(shop, shop.url, "upgrade", "000000000001").count("EVALSHA") == 1


def test_rewritten_documents_are_refused_by_name(shop: Shop):
    shop.write(CREATE, DROP)
    shop.write('with op.index("products") as index:\n    index.alter_field("embedding", datatype="float16")')
    add_documents(shop.client)
    assert shop.run("upgrade", "000000000001").code == 0
    shop.refuses("upgrade", "--script", code=6, says=("The plan can't be a script", "copy_documents"))
    shop.refuses(
        "upgrade",
        "--script",
        "--strategy",
        "rebuild",
        "--exclusive",
        code=6,
        says=("The plan", "rewrite_documents"),
    )


@pytest.mark.parametrize(
    "change",
    [
        f'{HNSW}\nop.set_synonyms("products", "shoes", [])',
        'with op.index("products") as index:\n    index.rename_to("wares")\n'
        + CREATE.replace("goods", "wares2"),
    ],
)
def test_a_revision_that_has_to_wait_in_its_middle_is_refused_by_name(shop: Shop, change: str):
    shop.write(CREATE, DROP)
    shop.write(change, "pass")
    add_documents(shop.client)
    assert shop.run("upgrade", "000000000001").code == 0
    shop.refuses(
        "upgrade",
        "--script",
        code=6,
        says=("The plan can't be a script: 000000000002: swap_alias of ", "make two revisions of it"),
    )
    assert shop.run("upgrade").code == 0


def test_a_blocked_plan_makes_no_script(shop: Shop):
    shop.write(CREATE, 'op.irreversible("it is gone")')
    assert shop.run("upgrade").code == 0
    shop.refuses("downgrade", "base", "--script", code=6, says=("The plan is blocked", "it is gone"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("upgrade", "current:head"), "'current:head' counts from what is applied"),
        (("upgrade", "-1:head"), "'-1:head' counts from what is applied"),
        (("upgrade", "head:base"), "'head:base' leaves nothing to apply"),
        (("downgrade", "base:head"), "Revision 000000000001 is not applied"),
        (("downgrade", "head:head"), "'head:head' leaves nothing to undo"),
        (("upgrade", "head", "--dry-run"), "--script goes with none of"),
        (("upgrade", "head", "--phase", "expand"), "--script goes with none of"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(shop: Shop, arguments: tuple[str, ...], says: str):
    shop.write(CREATE, DROP)
    shop.refuses(*arguments, "--script", code=2, says=(says,))


def test_ranges_follow_each_other_over_a_second_index_and_back(shop: Shop, other: Cli):
    shop.write(CREATE, DROP)
    shop.write(HNSW, FLAT)
    shop.write(ADD, TAKE)
    shop.write(FLAT, HNSW)
    add_documents(other.client)
    nowhere = "redis://nowhere:1"
    for direction, ends in (
        ("upgrade", "base:000000000001"),
        ("upgrade", "000000000001:000000000002"),
        ("upgrade", "000000000002:000000000003"),
        ("upgrade", "000000000003:head"),
        ("downgrade", "head:000000000001"),
    ):
        text = script(shop, nowhere, direction, ends)
        assert other.complete(text) == [], ends
        assert shop.run("--url", other.url, "check").code in {0, 4}
        assert other.client.execute_command("FT.SEARCH", "products", "*", "LIMIT", "0", "0") == [20]
    assert shop.run("--url", other.url, "current", "--json").json["heads"] == ["000000000001"]


def test_a_range_without_script_is_refused(shop: Shop):
    shop.write(CREATE, DROP)
    shop.refuses(
        "upgrade", "base:head", code=2, says=("'base:head' is a range, but one revision is expected",)
    )


def test_an_index_that_no_revision_made_needs_the_server(shop: Shop, other: Cli):
    shop.write('with op.index("old") as index:\n    index.add_field({"name": "m", "type": "tag"})', "pass")
    for client in (shop.client, other.client):
        client.execute_command("FT.CREATE", "old", "PREFIX", "1", "o:", "SCHEMA", "n", "TAG")
    shop.wait_until_indexed()
    refused = shop.run("upgrade", "base:head", "--script")
    assert refused.code == 8
    assert "old" in refused.err
    text = script(shop, other.url, "upgrade")
    assert shop.run("upgrade").code == 0
    assert other.complete(text) == []
    other.wait()
    assert outcome(other.client) == outcome(shop.client)
    assert outcome(other.client)["owners"] == {"old": "shop"}


def test_the_record_says_when_the_script_was_run_and_that_it_was_one(shop: Shop, other: Cli):
    shop.write(CREATE, DROP)
    text = script(shop, other.url, "upgrade")
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    other.pipe(text)
    (applied,) = shop.run("--url", other.url, "--json", "current").json["applied"]
    assert before <= datetime.fromisoformat(applied["applied_at"]) <= datetime.now(UTC)
    assert applied["by"].endswith(" --script")
    (event,) = shop.run("--url", other.url, "--json", "status").json["journal"]
    assert (event["event"], event["revision"]) == ("upgrade", "000000000001")


def test_a_cluster_gets_no_script(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    shop.write(CREATE, DROP)
    monkeypatch.setattr(Capabilities, "runs_search_in_scripts", property(lambda _: False))
    shop.refuses("upgrade", "--script", code=6, says=("The plan can't be a script: a cluster runs no FT.*",))


def test_nothing_to_do_is_a_script_that_does_nothing(shop: Shop):
    shop.write(CREATE, DROP)
    assert shop.run("upgrade").code == 0
    text = script(shop, shop.url, "upgrade")
    assert [line.split()[0] for line in text.splitlines()] == ["ECHO", "ECHO"]


def test_the_script_is_one_string_with_json(shop: Shop):
    shop.write(CREATE, DROP)
    assert "SCRIPT LOAD" in shop.run("--json", "upgrade", "--script").json["script"]


# --- stamp ------------------------------------------------------------------------------------------------


EXISTING = (
    "FT.CREATE", "products", "PREFIX", "1", "p:", "SCHEMA", "title", "TEXT", "brand", "TAG", "SEPARATOR", ";",
    "embedding", "VECTOR", "FLAT", "6", "TYPE", "FLOAT32", "DIM", "2", "DISTANCE_METRIC", "COSINE",
)  # fmt: skip


@pytest.fixture
def stamped(shop: Shop, other: Cli) -> Shop:
    """Two servers that have the index of the first revision, made by somebody else."""
    shop.write(CREATE, DROP)
    shop.write(ADD, TAKE)
    for client in (shop.client, other.client):
        client.execute_command(*EXISTING)
        client.execute_command("FT.ALIASADD", "goods", "products")
        client.execute_command("FT.SYNUPDATE", "products", "shoes", "boot", 'sh\xf6e "x"')
    return shop


def last_line(output: str) -> str:
    return output.strip().splitlines()[-1]


@pytest.mark.parametrize("target", ["000000000001", "base:000000000001"])
def test_a_piped_script_leaves_what_a_stamp_leaves(stamped: Shop, other: Cli, target: str):
    url = other.url if ":" not in target else "redis://nowhere:1"
    text = script(stamped, url, "stamp", target)
    assert stamped.run("stamp", "000000000001").code == 0
    assert last_line(other.pipe(text)) == "000000000001 is recorded"
    assert outcome(other.client) == outcome(stamped.client)
    assert last_line(other.pipe(text)) == "000000000001 was recorded before"
    assert outcome(other.client) == outcome(stamped.client)

    # From there a script and the command itself go on.
    assert other.complete(script(stamped, other.url, "upgrade")) == []
    other.wait()
    assert stamped.run("--url", other.url, "check").code == 0


def test_a_piped_script_keeps_the_records_there_are_and_takes_back_what_it_does_not_name(
    stamped: Shop, other: Cli
):
    assert stamped.run("--url", other.url, "stamp", "000000000001").code == 0
    before = stamped.run("--url", other.url, "current", "--json").json["applied"]
    other.client.execute_command("FT.ALTER", "products", "SCHEMA", "ADD", "price", "NUMERIC")
    assert last_line(other.pipe(script(stamped, other.url, "stamp", "head"))) == "000000000002 is recorded"
    after = stamped.run("--url", other.url, "current", "--json").json["applied"]
    assert after[0] == before[0]
    assert after[1]["by"].endswith(" --script")

    assert last_line(other.pipe(script(stamped, other.url, "stamp", "base"))) == "base is recorded"
    found = stamped.run("--url", other.url, "current", "--json").json
    assert (found["applied"], found["indexes"]) == ([], {})
    assert other.client.get("{redismigrate}:owners") == b"{}"


def test_the_script_of_a_stamp_is_not_made_where_the_indexes_differ(stamped: Shop):
    stamped.refuses(
        *("stamp", "head", "--script"),
        code=3,
        says=("The server is not what this revision makes: products: numeric field 'price' is dropped.",),
    )


def test_an_index_that_does_not_exist_is_not_stamped(shop: Shop):
    shop.write(CREATE, DROP)
    for more in ((), ("--script",)):
        shop.refuses(
            *("stamp", "head", *more),
            code=3,
            says=("The server is not what this revision makes: index products does not exist.",),
        )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("FT.DROPINDEX", "products"), "there is no index products; stamp the revision that fits"),
        (("FT.ALIASDEL", "goods"), "there is no index goods; stamp the revision that fits"),
        (
            ("FT.CREATE", "goods", "SCHEMA", "a", "TAG"),
            "goods leads to index goods instead of products; make the script from this server",
        ),
        (("SET", "{redismigrate:shop}:lock", "somebody"), "redismigrate is at work; run the script later"),
        (("SET", "{redismigrate}:owners", '{"products": "x"}'), 'index "products" belongs to project "x"'),
    ],
)
def test_a_piped_script_of_a_stamp_changes_nothing_where_it_does_not_fit(
    stamped: Shop, other: Cli, change: tuple[str, ...], says: str
):
    text = script(stamped, other.url, "stamp", "000000000001")
    other.client.execute_command(*change)
    errors = errors_in(other.pipe(text))
    assert len(errors) == 1
    assert says in errors[0]
    assert other.client.get("{redismigrate:shop}:head") is None
    assert other.client.get("{redismigrate:shop}:indexes") is None


def test_a_script_of_a_stamp_for_another_record_changes_nothing(stamped: Shop, other: Cli):
    text = script(stamped, other.url, "stamp", "000000000002:000000000001")
    assert "made for a Redis at" in errors_in(other.pipe(text))[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("base:head", "base"), "A range stands alone."),
        (
            ("current:head",),
            "'current:head' counts from what is applied",
        ),
        (("head", "--purge"), "--purge can't be a script: a damaged record has to be read first."),
        (("base:nowhere",), "There is no revision 'nowhere'."),
    ],
)
def test_a_stamp_that_can_not_be_a_script_is_refused(stamped: Shop, arguments: tuple[str, ...], says: str):
    stamped.refuses("stamp", *arguments, "--script", code=2, says=(says,))


def test_several_heads_are_stamped_by_name(shop: Shop):
    shop.write("pass")
    first = shop.write("pass", down_revision="000000000001")
    second = shop.write("pass", down_revision="000000000001")
    third = shop.write("pass", down_revision="000000000001")
    result = shop.run("stamp", first, third, "--json")
    assert result.code == 0, result.err
    assert result.json["heads"] == [first, third]
    assert shop.run("current", "--json").json["missing"] == [second]


def test_a_project_with_a_quotation_mark_in_its_name_keeps_its_indexes(shop: Shop, other: Cli):
    configuration = shop.folder / "redismigrate.toml"
    text = configuration.read_text().replace('project = "shop"', "project = 'sh\\o\"p'")
    configuration.write_text(text)
    shop.write(CREATE, DROP)
    shop.write('op.drop_index("products")' + CREATE)
    for revision in ("000000000001", "000000000002"):
        assert other.complete(script(shop, other.url, "upgrade", revision)) == []
    assert json.loads(other.client.get("{redismigrate}:owners") or b"") == {"products": 'sh\\o"p'}
    current = shop.run("--url", other.url, "current", "--json").json
    assert (current["project"], current["heads"]) == ('sh\\o"p', ["000000000002"])
