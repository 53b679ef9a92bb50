"""`--report-out` writes what was done, validated and measured, however it ends; notebooks show the same."""

from __future__ import annotations

import json
from datetime import datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from vector_documents import TO_FLOAT16, TO_FLOAT32, applied, creation, documents, stock_to_re_encode

from redismigrate import commands
from redismigrate.commands import MigrationOptions, MigrationReport, Project
from redismigrate.errors import PlanBlocked, RedisMigrateError, RunInterrupted
from redismigrate.redis_server.inspection import read_index

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Shop

PRODUCTS = 300


@pytest.fixture
def products(shop: Shop) -> Shop:
    """One revision to apply, over documents that are re-encoded."""
    stock_to_re_encode(shop, PRODUCTS)
    return shop


def project_of(shop: Shop) -> Project:
    return Project.load(shop.folder / "redismigrate.toml")


def read(shop: Shop, name: str = "report.yaml") -> dict[str, Any]:
    text = (shop.folder / name).read_text()
    content: dict[str, Any] = json.loads(text) if name.endswith(".json") else yaml.safe_load(text)
    assert MigrationReport.model_validate(content).to_json() == content
    return content


@pytest.mark.parametrize("name", ["report.yaml", "report.yml", "report.json"])
def test_a_report_says_what_was_done_and_found(products: Shop, name: str):
    products.client.hset("p:broken", mapping={"title": "shoe", "embedding": b"abc"})
    result = products.run("upgrade", "--report-out", name, "--max-failures", "1", "--json")
    assert result.code == 0, result.err
    report = read(products, name)
    assert (report["command"], report["target"], report["result"]) == ("upgrade", "head", "done")
    assert (report["run"], report["revisions"]) == (result.json["run"], ["000000000002"])
    assert report["error"] is None
    started, finished = (datetime.fromisoformat(report[moment]) for moment in ("started", "finished"))
    assert (finished - started).total_seconds() >= report["seconds"]["total"] > 0
    steps = [step["step"] for step in report["steps"]]
    assert {"back_up_documents", "copy_documents", "validate_index", "record_revision"} <= set(steps)
    assert sum(step["seconds"] for step in report["steps"]) <= report["seconds"]["total"]
    (found,) = report["validated"]
    assert found["schema_matches"]
    assert (found["documents_before"], found["documents_after"]) == (PRODUCTS, PRODUCTS)
    assert (found["failures_before"], found["failures_after"]) == (1, 1)
    assert found["answers"]["all documents"] == 1
    assert report["documents"]["rewritten"] == PRODUCTS
    assert [failed["key"] for failed in report["documents"]["failed"]] == ["p:broken"]
    assert [backup.endswith("/products") for backup in report["backups"]] == [True]
    assert any("query_bytes_change" in warning for warning in report["warnings"])
    undo, correct, keep = report["what_next"]
    assert f"redismigrate rollback --run {report['run']}" in undo
    assert "left as they are" in correct
    assert "redismigrate backup prune" in keep
    assert products.run(*keep.partition("`redismigrate ")[2].partition("`")[0].split()).code == 0


def test_sizes_before_and_after_tell_what_is_saved(shop: Shop):
    wide = creation().replace("'dims': 8", "'dims': 256")
    for number in range(500):
        shop.client.hset(f"p:{number}", mapping={"title": "shoe", "embedding": bytes(1024)})
    shop.write(wide, "op.drop_index('products')")
    applied(shop)
    shop.wait_until_indexed()
    before = memory_of(shop)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    report = commands.upgrade(project_of(shop)).report
    assert report is not None
    (sizes,) = report.sizes
    told = (sizes.index_bytes_before, sizes.document_bytes_before)
    assert told == pytest.approx(before, rel=0.05)
    told = (sizes.index_bytes_after, sizes.document_bytes_after)
    assert told == pytest.approx(memory_of(shop), rel=0.05)
    assert report.memory_saved_bytes == pytest.approx(sum(before) - sum(memory_of(shop)), rel=0.05)
    assert report.memory_saved_bytes > 500 * 512


def memory_of(shop: Shop) -> tuple[int, int]:
    """What the index and all its documents take."""
    current = shop.run("current", "--json").json["indexes"]["products"]["physical"]
    live = read_index(shop.client.execute_command, current)
    assert live is not None
    return live.statistics.size_bytes, sum(int(shop.client.memory_usage(key)) for key in documents(shop))


def test_the_verbs_back_have_reports_too(products: Shop):
    applied(products)
    assert products.run("downgrade", "-1", "--report-out", "down.yaml").code == 0
    down = read(products, "down.yaml")
    assert (down["command"], down["target"], down["result"]) == ("downgrade", "-1", "done")
    assert down["memory_saved_bytes"] is not None
    assert products.run("rollback", "--run", down["run"], "--report-out", "back.json").code == 0
    back = read(products, "back.json")
    assert (back["command"], back["target"], back["result"]) == ("rollback", None, "done")
    assert back["revisions"] == ["000000000002"]
    assert back["steps"]


def test_an_expanded_revision_says_how_to_go_on(products: Shop):
    assert products.run("upgrade", "--phase", "expand", "--report-out", "report.yaml").code == 0
    report = read(products)
    assert (report["result"], report["expanded"]) == ("expanded", "000000000002")
    assert "redismigrate upgrade head --phase contract" in report["what_next"][1]


def test_a_contracted_revision_says_what_it_saved(products: Shop):
    assert products.run("upgrade", "--phase", "expand").code == 0
    assert products.run("upgrade", "--phase", "contract", "--report-out", "report.yaml").code == 0
    report = read(products)
    assert {each["revision"] for each in report["validated"]} == {"000000000002"}
    assert all(each["revision"] for each in report["steps"])
    assert report["sizes"][0]["index_bytes_after"] is not None


def test_where_nothing_is_to_be_done_the_report_says_so(products: Shop):
    applied(products)
    assert products.run("upgrade", "--report-out", "report.yaml").code == 0
    report = read(products)
    assert (report["result"], report["run"], report["revisions"]) == ("nothing", None, [])
    assert commands.upgrade(project_of(products)).report is None


def test_a_failed_run_has_a_report(products: Shop):
    products.write("op.run(lambda client: 1 / 0)")
    result = products.run("upgrade", "--report-out", "report.yaml", "--json")
    assert result.code == 1
    report = read(products)
    assert (report["result"], report["run"]) == ("failed", result.json["run"])
    assert report["revisions"] == ["000000000002"]
    assert report["error"]["message"] == result.json["error"]["message"]
    assert "ZeroDivisionError" in report["error"]["message"]
    assert report["what_next"] == [report["error"]["hint"]]
    assert [found["revision"] for found in report["validated"]] == ["000000000002"]


def test_so_has_one_that_is_interrupted_and_its_error(products: Shop):
    def fail(event: commands.Progress) -> None:
        if event.step == "create_index":
            raise ValueError("no such bar")

    options = MigrationOptions(report_out=products.folder / "report.yaml")
    with pytest.raises(RunInterrupted) as caught:
        commands.upgrade(project_of(products), options=options, on_progress=fail)
    report = read(products)
    assert report["result"] == "interrupted"
    assert caught.value.report.to_json() == report
    assert len(report["backups"]) == 1
    assert "Run the same command again" in report["what_next"][0]
    applied(products, "--report-out", "report.yaml")
    assert read(products)["run"] == report["run"]


def test_so_has_a_plan_that_is_blocked(products: Shop):
    products.write("with op.index('products') as index:\n    index.alter_field('embedding', dims=4)")
    result = products.run("upgrade", "--report-out", "report.yaml")
    assert result.code == PlanBlocked.exit_code
    assert read(products)["result"] == "blocked"


@pytest.mark.parametrize("name", ["report.txt", "report", "nowhere/report.yaml"])
def test_where_no_report_can_be_written_nothing_is_begun(products: Shop, name: str):
    before = products.content()
    result = products.run("upgrade", "--report-out", name)
    assert result.code in {2, 8}
    assert "report" in result.err
    assert products.content() == before


@pytest.mark.parametrize("arguments", [("--dry-run",), ("--script",)])
def test_what_does_nothing_takes_no_report(products: Shop, arguments: tuple[str, ...]):
    assert products.run("upgrade", *arguments, "--report-out", "report.yaml").code == 2
    assert not (products.folder / "report.yaml").exists()


def test_a_report_that_can_not_be_written_in_the_end_is_an_error(products: Shop, monkeypatch: Any):
    def full(self: Path, *_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(RedisMigrateError, match="No space left on device"):
        commands.upgrade(
            project_of(products), options=MigrationOptions(report_out=products.folder / "report.yaml")
        )
    assert commands.current(project_of(products)).missing == ()


def test_no_report_has_a_password(products: Shop):
    url = "redis://ada:secret-of-ada@127.0.0.1:1/0"
    assert products.run("--url", url, "upgrade", "--report-out", "report.yaml").code == 1
    report = read(products)
    assert report["error"]["code"] == "connection_failed"
    assert "secret-of-ada" not in (products.folder / "report.yaml").read_text()


def test_names_that_are_no_utf_8_come_through(shop: Shop):
    name = "pr\udcff<b>ducts"
    shop.write(creation().replace("'products'", ascii(name)), f"op.drop_index({name!a})")
    for file in ("report.yaml", "report.json"):
        assert shop.run("upgrade", "--report-out", file).code == 0
        assert [found["index"] for found in read(shop, file)["validated"]] == [name]
        shop.run("downgrade", "base")


class Tags(HTMLParser):
    """The tags and the text of HTML, which must be closed in their order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        del attrs
        self.tags.add(tag)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


KNOWN_TAGS = {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}


def test_a_notebook_shows_plan_and_report_and_runs_nothing_of_theirs(products: Shop):
    script = products.script("000000000002")
    evil = "<script>alert(1)</script> & \u202ereversed"
    script.write_text(script.read_text().replace("revision 2", evil))
    project = project_of(products)
    plan = commands.plan(project)
    shown = Tags(plan._repr_html_())
    assert shown.tags == KNOWN_TAGS
    assert "<script>alert(1)</script> & \\u202ereversed" in shown.text
    for item in (plan.target, "000000000002", *(step.description for step in plan.revisions[0].steps)):
        assert item in shown.text
    assert "query_bytes_change" in shown.text

    report = commands.upgrade(project).report
    assert report is not None
    shown = Tags(report._repr_html_())
    assert shown.tags == KNOWN_TAGS
    for item in (report.run, "products", "all documents", f"{PRODUCTS}", "memory saved", *report.backups):
        assert str(item) in shown.text

    blocked = "with op.index('products') as index:\n    index.alter_field('embedding', dims=4)"
    products.write(blocked)
    again = project_of(products)
    assert "blocked:" in Tags(commands.plan(again)._repr_html_()).text
    with pytest.raises(PlanBlocked) as caught:
        commands.upgrade(again)
    assert "error:" in Tags(caught.value.report._repr_html_()).text
