"""What other clients change between a plan and its steps, or a crash and its resume, is not run over."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CREATE = """
op.create_index({{
    "index": {{"name": {0!r}, "prefix": "p:"}},
    "fields": [{{"name": "title", "type": "text"}}, {{"name": "brand", "type": "tag"}}],
}})
"""
CHANGE = "with op.index({0!r}) as index: "
STOP = "def stop(client):\n    if client.incr('tries') == 1:\n        raise KeyboardInterrupt"


@pytest.fixture
def two(shop):
    """A shop with ten documents and two indexes over them."""
    shop.add_documents(10, title="a red shoe", brand="x")
    shop.write(CREATE.format("a") + CREATE.format("b"))
    assert shop.run("upgrade").code == 0
    return shop


def fields_of(shop, index):
    """The attributes that an index has on the server."""
    info = shop.client.execute_command("FT.INFO", index)
    attributes = dict(zip(info[::2], info[1::2], strict=True))[b"attributes"]
    return [attribute[3] for attribute in attributes]


def test_a_resume_does_not_rebuild_an_index_that_was_altered_meanwhile(two):
    two.write(
        "op.run(stop)\n" + CHANGE.format("b") + "index.set_options(language='german')", "pass", preamble=STOP
    )
    assert two.run("upgrade").code == 7
    two.client.execute_command("FT.ALTER", "b", "SCHEMA", "ADD", "foreign", "NUMERIC")

    result = two.run("upgrade")

    assert result.code == 3
    assert "Index b was changed by another client: numeric field 'foreign' is added." in result.err
    assert b"foreign" in fields_of(two, "b")
    assert two.state("run") is None


@pytest.mark.needs("search debugging")
def test_a_resume_does_not_drop_an_index_that_became_temporary_meanwhile(two):
    two.write(
        "op.run(stop)\n" + CHANGE.format("b") + "index.set_options(language='german')", "pass", preamble=STOP
    )
    assert two.run("upgrade").code == 7
    two.client.execute_command("FT.DROPINDEX", "b")
    schema = ("SCHEMA", "title", "TEXT", "brand", "TAG")
    two.client.execute_command("FT.CREATE", "b", "PREFIX", 1, "p:", "TEMPORARY", 3600, *schema)

    assert two.run("upgrade").code == 3

    assert two.hits("a", "*") == 10


def test_undoing_a_drop_does_not_replace_an_index_that_somebody_made_under_its_name(two):
    two.write("op.drop_index('b')\nop.run(stop)", "pass", preamble=STOP)
    assert two.run("upgrade").code == 7
    two.client.execute_command("FT.CREATE", "b", "PREFIX", 1, "p:", "TEMPORARY", 3600, "SCHEMA", "t", "TEXT")

    result = two.run("rollback")

    assert result.code == 7
    assert "index b was made meanwhile" in result.err
    assert two.hits("a", "*") == 10


def test_a_resume_does_not_take_an_alias_that_somebody_else_uses_by_now(two):
    two.client.execute_command("FT.CREATE", "theirs", "PREFIX", 1, "t:", "SCHEMA", "t", "TEXT")
    two.write("op.run(stop)\nop.create_alias('live', 'a')", "pass", preamble=STOP)
    assert two.run("upgrade").code == 7
    two.client.execute_command("FT.ALIASADD", "live", "theirs")

    result = two.run("upgrade")

    assert result.code == 3
    assert "Alias live was moved to index theirs by another client." in result.err
    assert two.hits("live", "*") == 0


def test_an_alias_that_was_moved_to_a_foreign_index_is_not_dropped(two):
    two.write("op.create_alias('live', 'a')", "op.drop_alias('live')")
    assert two.run("upgrade").code == 0
    two.client.execute_command("FT.CREATE", "theirs", "PREFIX", 1, "t:", "SCHEMA", "t", "TEXT")
    two.client.execute_command("FT.ALIASUPDATE", "live", "theirs")

    two.refuses(
        "downgrade", "-1", code=6, says=("The plan is blocked: ", "alias live points to index theirs")
    )


def test_an_index_that_a_revision_adopts_is_looked_at_again_when_its_turn_comes(shop):
    shop.client.execute_command("FT.CREATE", "legacy", "PREFIX", 1, "p:", "SCHEMA", "title", "TEXT")
    shop.write(
        "op.run(add)",
        preamble="def add(client):\n    client.execute_command("
        "'FT.ALTER', 'legacy', 'SCHEMA', 'ADD', 'extra', 'TAG')",
    )
    shop.write(CHANGE.format("legacy") + "index.set_options(language='german')")

    result = shop.run("upgrade")

    assert result.code == 3
    assert fields_of(shop, "legacy") == [b"title", b"extra"]
    assert shop.state("head")["heads"] == ["000000000001"]


def test_documents_that_leave_an_index_with_a_filter_and_old_failures_are_noticed(shop):
    shop.add_documents(20, title="a red shoe", price="1", size="x")
    for number in range(20):
        shop.client.hset(f"p:good:{number}", mapping={"title": "a red shoe", "price": "2", "size": "9"})
    shop.client.hset("p:bad", mapping={"title": "x", "price": "no number"})
    shop.write(
        """
        op.create_index({
            "index": {"name": "products", "prefix": "p:", "filter": "@price > 0"},
            "fields": [{"name": "title", "type": "text"}, {"name": "price", "type": "numeric"}],
        })
        """
    )
    assert shop.run("upgrade", "--max-failures", "1").code == 0
    shop.write(CHANGE.format("products") + "index.add_field({'name': 'size', 'type': 'numeric'})")

    result = shop.run("upgrade")

    assert result.code == 1
    assert "20 documents can't be indexed in products" in result.err
    assert shop.hits("products", "*") == 40


def test_an_alias_moves_along_with_an_index_that_the_same_revision_renames(two):
    two.write("op.create_alias('live', 'a')", "op.drop_alias('live')")
    assert two.run("upgrade").code == 0
    two.write(
        CHANGE.format("a") + "index.rename_to('c')\nop.create_alias('live', 'b')",
        "op.create_alias('live', 'c')\n" + CHANGE.format("c") + "index.rename_to('a')",
    )

    assert two.run("upgrade").code == 0
    assert two.run("downgrade", "-1").code == 0

    assert two.run("status", "--json").json["problems"] == []


def test_the_plan_of_a_rebuild_after_a_rename_tells_its_costs(two):
    two.write(CHANGE.format("a") + "index.rename_to('c')", "pass")
    two.write(CHANGE.format("c") + "index.alter_field('title', weight=2)", "pass")

    plan = two.run("plan", "--json").json

    waits = [step for step in plan["revisions"][1]["steps"] if step["kind"] == "wait_for_index"]
    assert waits[0]["estimate"]["documents"] == 10


def test_a_plan_does_not_stand_for_another_strategy(two):
    two.write(CHANGE.format("a") + "index.add_field({'name': 'color', 'type': 'tag'})", "pass")
    assert two.run("plan", "-o", "plan.yaml").code == 0

    two.refuses(
        "upgrade",
        "--plan",
        "plan.yaml",
        "--strategy",
        "rebuild",
        code=6,
        says=("The plan in plan.yaml no longer",),
    )


def test_a_comment_in_a_script_does_not_change_a_plan(two):
    revision = two.write(CHANGE.format("a") + "index.add_field({'name': 'color', 'type': 'tag'})", "pass")
    assert two.run("plan", "-o", "plan.yaml").code == 0
    script = two.script(revision)
    script.write_text(script.read_text() + "\n# reviewed\n")

    assert two.run("upgrade", "--plan", "plan.yaml").code == 0


def test_memory_that_the_same_plan_has_used_already_counts(shop):
    def vector(name):
        return (
            f"op.create_index({{'index': {{'name': {name!r}, 'prefix': 'p:'}}, 'fields': [{{'name': 'v', "
            "'type': 'vector', 'attrs': {'algorithm': 'flat', 'dims': 4096}}]})"
        )

    shop.add_documents(500, v=bytes(4096 * 4))
    shop.write("\n".join(vector(name) for name in "abc"))
    used = shop.client.info("memory")["used_memory"]
    shop.client.config_set("maxmemory", used + 30_000_000)
    try:
        plan = shop.run("plan", "--json")
    finally:
        shop.client.config_set("maxmemory", 0)

    assert plan.code == 6
    assert ["index b needs" in reason for reason in plan.json["blocked"]] == [True, False]
    assert "planned before it" in plan.json["blocked"][0]


def test_an_index_that_is_only_dropped_may_be_gone_already(two):
    two.write("op.drop_index('b')", "pass")
    two.client.execute_command("FT.DROPINDEX", "b")

    assert two.run("upgrade").code == 0

    assert list(two.state("indexes")["indexes"]) == ["a"]


def test_repair_creates_an_index_again_that_somebody_dropped(two):
    two.write("op.create_alias('live', 'a')\nop.set_synonyms('a', 'shoes', ['shoe', 'boot'])", "pass")
    assert two.run("upgrade").code == 0
    two.client.execute_command("FT.DROPINDEX", "a")

    assert two.run("repair", "--json", "-q").json == {"dropped": [], "aliases": [], "created": ["a"]}

    two.wait_until_indexed()
    assert two.hits("live", "boot") == 10
    assert two.run("status", "--json").json["problems"] == []


def test_a_claim_that_a_crash_left_is_given_up_by_a_rollback(two, monkeypatch):
    from redismigrate.state.owners import OwnersWriter

    claim = OwnersWriter.claim

    def claim_and_die(self, index):
        claim(self, index)
        raise KeyboardInterrupt

    two.write(CREATE.format("c"))
    with monkeypatch.context() as patch:
        patch.setattr(OwnersWriter, "claim", claim_and_die)
        assert two.run("upgrade").code == 7

    assert two.run("rollback").code == 0

    owners = json.loads(two.client.get("{redismigrate}:owners"))
    assert sorted(owners) == ["a", "b"]


def test_stdout_is_one_json_document_whatever_scripts_print(two):
    two.write(
        "print('recorded')\nop.run(talk)",
        preamble="import os\n\nprint('imported')\n\n\n"
        "def talk(client):\n    print('run', flush=True)\n    os.system('echo child')",
    )

    with two.process("upgrade", "--json") as process:
        out, err = process.communicate(timeout=120)

    assert process.returncode == 0
    assert json.loads(out)["result"] == "done"
    assert all(word in err for word in ("imported", "recorded", "run", "child"))


def test_a_failed_run_tells_in_json_what_it_had_finished(two):
    two.write("pass")
    two.write("op.run(fail)", preamble="def fail(client):\n    raise ValueError('no')")

    result = two.run("upgrade", "--json").json

    assert (result["result"], result["revisions"]) == ("failed", ["000000000002"])
    assert (len(result["run"]), result["error"]["code"]) == (12, "run_failed")


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("redis://127.0.0.1:{port}?socket_timeot=1", 8, "behind the ? only options of redis-py."),
        ("redis://127.0.0.1:{port}", 1, "is no Redis."),
    ],
)
def test_a_url_that_leads_to_no_redis_is_told(shop, url, code, says):
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=shop.folder,
        text=True,
    )
    with server:
        assert server.stdout is not None
        port = server.stdout.readline().partition(" port ")[2].split()[0]
        result = shop.run("--url", url.format(port=port), "current")
        server.terminate()

    assert result.code == code
    assert says in result.err
