"""Hashes that become JSON documents under the keys that they have, and come back, with writers paused."""

from __future__ import annotations

import json
import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from document_scenarios import BASE, documents, set_stage
from doomed_process import Attempt, StrikingProxy, Victim
from signalled_process import KILLED, exit_code
from test_change_storage_online import (
    FAR_AWAY,
    applied,
    document,
    hashes,
    nearest,
    product,
    stocked,
)

from redismigrate.config import DEFAULT_BACKUP_DIR
from redismigrate.execution.documents.in_place import rights

if TYPE_CHECKING:
    from conftest import Shop


def shelved(shop: Shop, count: int) -> None:
    """Products, and a revision that makes JSON documents of them in place."""
    stocked(shop, count)
    script = next(path for path in shop.folder.rglob("versions/*.py") if "change_storage" in path.read_text())
    text = script.read_text()
    text = text.replace('prefix=("p:", "j:"), ', "").replace(', prefix=("j:", "p:")', "")
    script.write_text(text)


def test_hashes_become_json_under_their_keys_and_come_back_byte_for_byte(shop: Shop):
    shelved(shop, 50)
    shop.client.pexpireat("p:7", FAR_AWAY)
    before = documents(shop)

    result = applied(shop, "upgrade", "head", "--exclusive")

    assert result["documents"] == {"read": 50, "rewritten": 50, "left_in_old_type": 0, "failed": []} | {
        name: value for name, value in result["documents"].items() if name not in {"read", "rewritten"}
    }
    assert shop.hits("products") == 50
    assert hashes(shop.client, "p:") == {}
    assert shop.client.pexpiretime("p:7") == FAR_AWAY
    assert document(shop.client, "p:1")["meta"]["title"] == product(1)["title"]
    assert nearest(shop, 7) == "p:7"
    assert shop.run("check").code == 0
    up = documents(shop)

    # What the application has written since is converted, the rest is as it was.
    shop.client.execute_command("JSON.SET", "p:2", "$.meta.title", '"written since"')
    applied(shop, "downgrade", "-1", "--exclusive")
    assert shop.client.hget("p:2", "title") == b"written since"
    shop.client.hset("p:2", "title", product(2)["title"])
    assert documents(shop) == before
    assert nearest(shop, 7) == "p:7"
    applied(shop, "upgrade", "head", "--exclusive")
    assert documents(shop) == up


def test_json_that_a_hash_does_not_give_back_comes_from_the_backup(shop: Shop):
    """Numbers of vectors with more digits than the index has, members in any order, lifetimes."""
    shelved(shop, 2)
    applied(shop, "upgrade", "head", "--exclusive")
    texts = ['{"z":1.50,"embedding":[0.12345678901234,1,2,3],"a":{"b":[null,1e3]}}', '{"price":1e2}']
    for number, text in enumerate(texts):
        shop.client.execute_command("JSON.SET", f"p:born{number}", "$", text)
    shop.client.pexpireat("p:born0", FAR_AWAY)
    shop.wait_until_indexed()
    before = documents(shop)
    run = applied(shop, "downgrade", "-1", "--exclusive")["run"]
    assert hashes(shop.client, "p:").keys() == {b"0", b"1", b"born0", b"born1"}
    applied(shop, "rollback", "--run", run)
    assert documents(shop) == before


@pytest.mark.parametrize("name", ["hashes as JSON", "JSON as hashes"])
def test_the_way_back_gives_what_was_there_to_the_byte(shop: Shop, name: str):
    """JSON vectors with more digits than a hash keeps, odd keys, lifetimes."""
    stage = set_stage(shop, name, 30, rehearses=False)
    before = documents(shop)
    stage.run("upgrade", "head")
    after = documents(shop)
    assert sum(now != before[key] for key, now in after.items()) == 30
    stage.run("downgrade", BASE)
    assert documents(shop) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hashes as JSON", "JSON as hashes"])
def test_odd_documents_come_back_byte_for_byte(shop: Shop, name: str):
    """Up, down, up, down, and a finished change rolled back."""
    stage = set_stage(shop, name)
    run = applied(shop, "upgrade", "head", *stage.scenario.flags)["run"]
    stage.require(stage.top)
    applied(shop, "rollback", "--run", run)
    stage.require(BASE)


def test_what_has_no_form_in_json_is_found_with_search_up_and_left(shop: Shop):
    shelved(shop, 10)
    shop.client.hset("p:1", "note", b"\xff")
    shop.client.execute_command("HPEXPIREAT", "p:2", FAR_AWAY, "FIELDS", 1, "note")
    before = documents(shop)

    refused = shop.run("upgrade", "head", "--exclusive", "--json")

    assert refused.code == 1
    assert {each["key"] for each in refused.json["documents"]["failed"]} == {"p:1", "p:2"}
    assert "--drop-field-ttls" in refused.err
    assert documents(shop) == before
    assert shop.hits("products") == 10

    flags = ("--exclusive", "--max-failures", "1", "--drop-field-ttls")
    result = applied(shop, "upgrade", "head", *flags)

    assert [each["key"] for each in result["documents"]["failed"]] == ["p:1"]
    assert shop.hits("products") == 9
    assert hashes(shop.client, "p:").keys() == {b"1"}
    applied(shop, "downgrade", "-1", "--exclusive")
    assert documents(shop) == before


def test_another_prefix_is_no_matter_of_it(shop: Shop):
    stocked(shop, 3)
    blocked = shop.run("upgrade", "head", "--exclusive", "--strategy", "rebuild")
    assert blocked.code == 6
    assert "keep their keys; strategy shadow_copy gives them other ones" in blocked.err
    assert applied(shop, "plan", "--exclusive")["revisions"][0]["steps"][1]["strategy"] == "shadow_copy"


def test_the_plan_says_what_it_costs_and_needs_writers_paused(shop: Shop):
    shelved(shop, 10)
    plan = applied(shop, "plan", "--exclusive")
    steps = {step["kind"]: step for step in plan["revisions"][0]["steps"]}
    assert list(steps) == [
        "prove_index",
        "back_up_documents",
        "drop_index",
        "rewrite_documents",
        "create_index",
        "wait_for_index",
        "validate_index",
    ] or list(steps)[-1].startswith("record")
    assert steps["back_up_documents"]["estimate"]["backup_bytes"] > 10 * 100
    assert steps["rewrite_documents"]["estimate"]["bytes_written"] > 0
    compared = shop.run("plan", "--compare", "--exclusive")
    assert "rebuild" in compared.out
    blocked = shop.run("upgrade", "head")
    assert blocked.code == 6
    assert "with --exclusive alone" in blocked.err
    refused = shop.run("upgrade", "head", "--exclusive", "--script")
    assert refused.code != 0
    assert "documents" in refused.err


@pytest.mark.parametrize("lacking", ["-rename", "-json.set", "-hset"])
def test_a_user_who_lacks_a_right_is_told_before_anything_goes(shop: Shop, lacking: str):
    shelved(shop, 5)
    before = documents(shop)
    limited(shop, "~*", "+@all", lacking)
    url = shop.url.replace("unix://", "unix://limited:pw@")
    refused = shop.run("upgrade", "head", "--exclusive", "--url", url)
    shop.client.execute_command("ACL", "DELUSER", "limited")
    assert refused.code == 1
    assert f"lacks the right to run {lacking.removeprefix('-').upper()}" in refused.err
    assert documents(shop) == before
    assert shop.hits("products") == 5


def test_what_the_server_refuses_stays_as_it_was_to_the_byte(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    """Half of the keys may not be written, which nobody has seen before; one may not be removed."""
    shelved(shop, 6)
    shop.client.pexpireat("p:1", FAR_AWAY)
    before = documents(shop)
    monkeypatch.setattr(rights.KeyRights, "lacking", lambda _self, _keys: {})
    own = ("~{redismigrate*", "~products*", "~redismigrate*")
    limited(shop, *own, "~p:0", "%R~p:*", "+@all", "(~p:1 +@all -json.set)")
    url = shop.url.replace("unix://", "unix://limited:pw@")
    result = shop.run("upgrade", "head", "--exclusive", "--url", url, "--max-failures", "5", "--json")
    shop.client.execute_command("ACL", "DELUSER", "limited")
    assert result.code == 0, result.err
    assert len(result.json["documents"]["failed"]) == 5
    now = documents(shop)
    assert {key: value for key, value in now.items() if key != b"p:0"} == {
        key: value for key, value in before.items() if key != b"p:0"
    }
    assert now[b"p:0"][0] == b"ReJSON-RL"  # type: ignore[index]


def limited(shop: Shop, *rules: str) -> None:
    shop.client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">pw", "&*", *rules)


@pytest.mark.slow_beyond(1)
@pytest.mark.parametrize("then", ["upgrade", "rollback"])
def test_killed_while_documents_change_it_goes_on_or_is_undone(shop: Shop, redis_url: str, then: str):
    stage = set_stage(shop, "hashes as JSON", 40, rehearses=False)
    before = documents(shop)
    # Its third batch of documents: some have the new type by then.
    victim = Victim(signal.SIGKILL)
    with StrikingProxy(redis_url, (3, (b"RENAME",)), victim.strike, "reply") as proxy:
        process = Attempt("upgrade", "head", proxy.url).start(stage)
        victim.name(process)
        assert exit_code(process) == KILLED
    types = [kind for kind, *_ in documents(shop).values()]  # type: ignore[misc]
    assert 0 < types.count(b"ReJSON-RL") < 40
    if then == "upgrade":
        stage.run("upgrade", "head")
        types = [kind for kind, *_ in documents(shop).values()]  # type: ignore[misc]
        assert types.count(b"ReJSON-RL") == 40
        assert shop.hits("products") == 40
        stage.run("downgrade", BASE)
    else:
        stage.run("rollback")
    assert documents(shop) == before


def test_what_was_written_since_is_left_and_told_by_a_rollback(shop: Shop):
    shelved(shop, 5)
    before = documents(shop)
    run = applied(shop, "upgrade", "head", "--exclusive")["run"]
    shop.client.execute_command("JSON.SET", "p:2", "$.price", "99")
    shop.client.delete("p:3")
    result = applied(shop, "rollback", "--run", run)
    assert [each["key"] for each in result["documents"]["failed"]] == ["p:2"]
    now = documents(shop)
    assert json.loads(now[b"p:2"][1])["price"] == 99  # type: ignore[index]
    assert {key: now[key] for key in now if key != b"p:2"} == {
        key: before[key] for key in before if key not in {b"p:2", b"p:3"}
    }


def test_without_the_backup_all_are_converted_back_once_that_is_said(shop: Shop):
    shelved(shop, 5)
    before = documents(shop)
    applied(shop, "upgrade", "head", "--exclusive")
    shutil.rmtree(shop.folder / DEFAULT_BACKUP_DIR)
    blocked = shop.run("downgrade", "-1", "--exclusive")
    assert blocked.code == 6
    assert "convert all of them back with --allow-lossy" in blocked.err
    applied(shop, "downgrade", "-1", "--exclusive", "--allow-lossy")
    assert documents(shop) == before


def test_a_backup_puts_its_documents_back_by_itself(shop: Shop):
    shelved(shop, 5)
    before = documents(shop)
    run = applied(shop, "upgrade", "head", "--exclusive")["run"]
    applied(shop, "backup", "verify")
    refused = shop.run("backup", "restore", "--run", run)
    assert refused.code != 0
    assert "would lose documents" in refused.err
    applied(shop, "backup", "restore", "--run", run, "--force")
    assert documents(shop) == before
