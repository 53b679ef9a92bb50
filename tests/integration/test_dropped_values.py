"""Values that no index reads are backed up and removed with search up, and come back as they were."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from signalled_process import kill_at_every
from vector_documents import CHANGE, applied, documents, kill_before

from redismigrate.execution.steps.values_steps import ValuesSteps

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Shop

PRODUCTS = 40
DROP, RESTORE = CHANGE + "index.drop_values({!r})", CHANGE + "index.restore_values({!r})"
FIELDS = [{"name": "title", "type": "text"}]


def stocked(shop: Shop, storage_type: str = "hash", path: str = "note") -> None:
    """Products of which every second one has a note, and a revision that drops these."""
    for number in range(PRODUCTS):
        fields: dict[Any, Any] = {"title": f"shoe {number}"}
        if number % 2:
            fields["note"] = b"\xff\x00 %d" % number if storage_type == "hash" else [number, {"a": 1.50}]
        if storage_type == "hash":
            shop.client.hset(f"p:{number}", mapping=fields)
        else:
            shop.client.execute_command("JSON.SET", f"p:{number}", "$", json.dumps(fields))
    schema = {"index": {"name": "products", "prefix": "p:", "storage_type": storage_type}, "fields": FIELDS}
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    applied(shop)
    shop.write(DROP.format(path), RESTORE.format(path))


def contents(shop: Shop) -> dict[bytes, Any]:
    """The documents: hashes as fields, JSON as parsed."""
    if shop.client.type("p:0") == b"hash":
        return documents(shop)
    keys = sorted(shop.client.scan_iter("p:*"))
    return {key: json.loads(shop.client.execute_command("JSON.GET", key)) for key in keys}


@pytest.mark.parametrize(("storage_type", "path"), [("hash", "note"), ("json", "$.note")])
def test_dropped_values_come_back(shop: Shop, storage_type: str, path: str):
    stocked(shop, storage_type, path)
    before = contents(shop)
    plan = shop.run("plan")
    assert f"back up the values at {path}" in plan.out
    assert "20 documents of index products" in " ".join(plan.out.split())
    applied(shop)
    name = path.removeprefix("$.")
    plain = {
        key: {field: value for field, value in fields.items() if field not in (name, name.encode())}
        for key, fields in before.items()
    }
    assert contents(shop) == plain
    assert shop.run("check").code == 0
    assert shop.hits("products", "shoe") == PRODUCTS
    assert shop.run("backup", "verify").code == 0
    assert shop.run("downgrade", "-1").code == 0
    assert contents(shop) == before
    applied(shop)
    run = shop.run("--json", "upgrade", "head")
    assert run.json["result"] == "nothing"
    done = shop.run("--json", "status").json
    assert done is not None
    assert contents(shop) == plain


def test_rollback_brings_them_back(shop: Shop):
    stocked(shop)
    before = contents(shop)
    run = shop.run("--json", "upgrade", "head").json["run"]
    assert shop.run("rollback", "--run", run).code == 0
    assert contents(shop) == before


def test_a_backup_is_restored_by_itself(shop: Shop):
    stocked(shop)
    before = contents(shop)
    run = shop.run("--json", "upgrade", "head").json["run"]
    result = shop.run("backup", "restore", "--run", run)
    assert result.code == 0, result.err
    assert contents(shop) == before


def test_what_the_application_has_written_since_stays(shop: Shop):
    stocked(shop)
    applied(shop)
    shop.client.hset("p:1", "note", "newer")
    shop.client.delete("p:3")
    result = shop.run("downgrade", "-1")
    assert result.code == 0, result.err
    assert "p:3: it is gone" in result.out
    assert shop.client.hget("p:1", "note") == b"newer"
    assert shop.client.hget("p:5", "note") == b"\xff\x00 5"
    assert not shop.client.exists("p:3")


def test_a_release_that_still_writes_them_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    stocked(shop)
    first_pass = ValuesSteps._all

    def written_meanwhile(self: ValuesSteps, *arguments: Any) -> Any:
        done = first_pass(self, *arguments)
        if not shop.client.hexists("p:7", "note"):
            monkeypatch.undo()
            shop.client.hset("p:7", "note", "again")
        return done

    monkeypatch.setattr(ValuesSteps, "_all", written_meanwhile)
    result = shop.run("upgrade", "head")
    assert "1 documents of products got values at note again meanwhile" in " ".join(result.out.split())
    assert shop.client.hget("p:7", "note") is None
    assert shop.run("downgrade", "-1").code == 0
    assert shop.client.hget("p:7", "note") == b"again"


def test_lifetimes_come_back(shop: Shop):
    stocked(shop)
    shop.client.hpexpire("p:1", 3_600_000, "note")
    moment = shop.client.hpexpiretime("p:1", "note")
    applied(shop)
    assert shop.run("downgrade", "-1").code == 0
    assert shop.client.hpexpiretime("p:1", "note") == moment


def test_a_document_that_has_nothing_else_stays(shop: Shop):
    stocked(shop)
    shop.client.hset("p:only", "note", "x")
    result = shop.run("upgrade", "head")
    assert result.code == 0
    assert "p:only: it has nothing else" in result.out
    assert shop.client.hget("p:only", "note") == b"x"


@pytest.mark.slow
def test_killed_at_every_step_boundary(shop: Shop):
    stocked(shop)
    before = contents(shop)
    kills, code = kill_at_every(shop, "upgrade", "head")
    assert (kills >= 2, code) == (True, 0)
    assert shop.client.hget("p:1", "note") is None
    kills, code = kill_at_every(shop, "downgrade", "-1")
    assert (kills >= 1, code) == (True, 0)
    assert contents(shop) == before


def test_killed_with_values_gone_and_with_values_back(shop: Shop):
    stocked(shop)
    before = contents(shop)
    kill_before(shop, "record_revision", "upgrade", "head")
    applied(shop)
    assert shop.client.hget("p:1", "note") is None
    kill_before(shop, "record_revision", "downgrade", "-1")
    applied(shop, "-1", verb="downgrade")
    assert contents(shop) == before


def test_rolled_back_where_it_was_killed(shop: Shop):
    stocked(shop)
    before = contents(shop)
    kill_before(shop, "record_revision", "upgrade", "head")
    assert shop.client.hget("p:1", "note") is None
    assert shop.run("rollback").code == 0
    assert contents(shop) == before


def test_blocked_where_another_index_reads_them(shop: Shop):
    stocked(shop)
    shop.client.execute_command(
        "FT.CREATE", "others", "PREFIX", 1, "p:", "SCHEMA", "note", "TEXT", "title", "TEXT"
    )
    shop.refuses("upgrade", code=6, says=("The plan is blocked: ", "field 'note' of index others reads note"))


def test_blocked_without_its_backup(shop: Shop, tmp_path: Path):
    stocked(shop)
    folder = tmp_path / "copies"
    applied(shop, "--backup-dir", str(folder))
    folder.rename(tmp_path / "elsewhere")
    shop.refuses("downgrade", "-1", code=6, says=("The plan is blocked: ", "--backup-dir"))
    assert shop.run("downgrade", "-1", "--allow-lossy").code == 0
    assert shop.client.hget("p:1", "note") is None


def test_values_that_another_index_filters_by_stay(shop: Shop):
    """On hashes a filter names fields of the hash as well, which the index need not have."""
    stocked(shop)
    fields = ("PREFIX", "1", "p:", "FILTER", "@note!='x'", "SCHEMA", "title", "TEXT")
    shop.client.execute_command("FT.CREATE", "noted", *fields)
    shop.refuses("upgrade", "head", code=6, says=("The plan is blocked", "FILTER of index noted reads note"))


def test_members_whose_object_is_gone_are_told(shop: Shop):
    """The server writes nothing there, and says nothing of it."""
    for number in range(3):
        text = json.dumps({"title": "shoe", "meta": {"note": number}})
        shop.client.execute_command("JSON.SET", f"p:{number}", "$", text)
    schema = {
        "index": {"name": "products", "prefix": "p:", "storage_type": "json"},
        "fields": [{"name": "title", "type": "text", "path": "$.title"}],
    }
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    shop.write(DROP.format("$.meta.note"), RESTORE.format("$.meta.note"))
    applied(shop)
    shop.client.execute_command("JSON.DEL", "p:0", "$.meta")
    shop.client.execute_command("JSON.SET", "p:1", "$", "[1]")
    counts = applied(shop, "-1", verb="downgrade")
    reason = "nothing holds $.meta.note there any more; left as it is"
    assert counts["failed"] == [{"key": key, "reason": reason} for key in ("p:0", "p:1")]
    assert counts["rewritten"] == 1
    found = [shop.client.execute_command("JSON.GET", f"p:{number}") for number in range(3)]
    assert found == [b'{"title":"shoe"}', b"[1]", b'{"title":"shoe","meta":{"note":2}}']


@pytest.mark.parametrize("paths", [("$.meta", "$.meta.note"), ("$.meta.note", "$.meta")])
def test_what_could_not_come_back_stays(shop: Shop, paths: tuple[str, str]):
    """The server reads no text as this number; of one path within another all comes back with that."""
    texts = {
        b"p:1": b'{"title":"shoe","meta":{"note":[7.710130092190573e-87,{"a":2.9079095546198844e79}]}}',
        b"p:2": b'{"title":"shoe","meta":{"note":[1e-7,{"a":1.5}],"more":1e22}}',
    }
    for key, text in texts.items():
        shop.client.execute_command("JSON.SET", key, "$", text)
    schema = {
        "index": {"name": "products", "prefix": "p:", "storage_type": "json"},
        "fields": [{"name": "title", "type": "text", "path": "$.title"}],
    }
    shop.write(f"op.create_index({schema!r})", "op.drop_index('products')")
    applied(shop)
    drops = [f"index.drop_values({path!r})" for path in paths]
    restores = [f"index.restore_values({path!r})" for path in reversed(paths)]
    shop.write(CHANGE + "\n    ".join(drops), CHANGE + "\n    ".join(restores))
    before = contents(shop)
    reason = "it holds a number that the server does not read as it prints it"
    assert applied(shop)["failed"] == [{"key": "p:1", "reason": reason}]
    assert contents(shop)[b"p:1"] == before[b"p:1"]
    assert contents(shop)[b"p:2"] == {"title": "shoe"}
    assert applied(shop, "-1", verb="downgrade")["failed"] == []
    assert contents(shop) == before


def test_values_of_the_application_outlive_a_downgrade_that_is_rolled_back(shop: Shop):
    stocked(shop)
    applied(shop)
    shop.client.hset("p:1", "note", "newer")
    before = contents(shop)
    run = shop.run("--json", "downgrade", "-1").json["run"]
    shop.client.hset("p:3", "note", "of an old release")
    result = shop.run("rollback", "--run", run)
    assert result.code == 0, result.err
    assert contents(shop) == {
        **before,
        b"p:3": {**before[b"p:3"], b"note": b"of an old release"},
    }
    assert shop.run("downgrade", "-1").code == 0
    assert shop.client.hget("p:1", "note") == b"newer"
    assert shop.client.hget("p:5", "note") == b"\xff\x00 5"
