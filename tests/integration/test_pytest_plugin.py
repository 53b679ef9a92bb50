"""The pytest plugin in sessions of its own: what it adds, when its tests pass, and what they find."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from doc_pages import ROOT

# Imported here, since pytester forgets after a session what was imported in it, and numpy loads only once.
from redismigrate.commands.migration import Migration  # noqa: F401
from redismigrate.testing.collection import NAMES
from redismigrate.testing.history_runner import MigrationRunner  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

pytest_plugins = ["pytester"]

PLUGIN = ("-p", "redismigrate.testing.plugin")
CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
# Those that no project skips.
ALWAYS = set(NAMES) - {"declared_schemas_match_head"}
CREATE = """
    op.create_index(
        {
            "index": {"name": "products", "prefix": "product:"},
            "fields": [
                {"name": "brand", "type": "tag"},
                {"name": "price", "type": "numeric"},
                {
                    "name": "embedding",
                    "type": "vector",
                    "attrs": {"algorithm": "flat", "dims": 2, "distance_metric": "cosine"},
                },
            ],
        }
    )
"""
SPLIT = """
    with op.index("products") as index:
        index.alter_field("brand", separator={separator!r})
"""
ENCODE = """
    with op.index("products") as index:
        index.alter_field("embedding", datatype={datatype!r})
"""
CONFTEST = """
    import pytest

    @pytest.fixture
    def redismigrate_documents():
        return {
            "products": [
                {"brand": ["acme", "globex"], "price": 5, "embedding": [0.1, 0.2]},
                {"brand": ["acme"], "price": 7, "embedding": [0.3, 0.4]},
            ]
        }
"""


def write(
    folder: pytest.Pytester,
    number: int,
    upgrade: str,
    downgrade: str,
    *,
    after: int | None = None,
    revision: str | None = None,
    preamble: str = "",
) -> None:
    """Write revision `number`, by default on top of `number - 1`."""
    after = number - 1 if after is None else after
    versions = folder.path / "migrations" / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    lines = [
        f'"""revision {number}"""',
        "from redismigrate import Operations",
        f"revision = {revision or repr(f'{number:012x}')}",
        f"down_revision = {f'{after:012x}' if after else None!r}",
        textwrap.dedent(preamble),
        "def upgrade(op: Operations) -> None:",
        textwrap.indent(textwrap.dedent(upgrade), "    "),
        "def downgrade(op: Operations) -> None:",
        textwrap.indent(textwrap.dedent(downgrade), "    "),
    ]
    (versions / f"{number:012x}.py").write_text("\n".join(lines) + "\n")


@pytest.fixture(autouse=True)
def cache_of_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a server may have been downloaded to: pytester gives each test a home of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", CACHE)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project without a fault: three revisions, the last of which re-encodes the documents of its tests."""
    # An installation whose entry point exists would register the plugin twice.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("REDISMIGRATE_TEST_URL", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    (pytester.path / "redismigrate.toml").write_text('project = "shop"\nscript_location = "migrations"\n')
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    write(pytester, 1, CREATE, "op.drop_index('products')")
    write(pytester, 2, SPLIT.format(separator="|"), SPLIT.format(separator=","))
    write(pytester, 3, ENCODE.format(datatype="float16"), ENCODE.format(datatype="float32"))
    (pytester.path / "tests").mkdir()
    (pytester.path / "tests" / "conftest.py").write_text(textwrap.dedent(CONFTEST))
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess(*PLUGIN, "--test-redismigrate", "-rA", *arguments)


def outcomes(result: pytest.RunResult) -> dict[str, str]:
    """Built-in test -> how it ended."""
    ended = {}
    for line in result.outlines:
        outcome, _, rest = line.partition(" ")
        if outcome in {"PASSED", "FAILED", "ERROR"} and "redismigrate::test_" in rest:
            ended[rest.partition("::test_")[2].partition(" ")[0]] = outcome
    return ended


def failing(result: pytest.RunResult) -> set[str]:
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    return {name for name, outcome in outcomes(result).items() if outcome != "PASSED"}


def says(result: pytest.RunResult, *lines: str) -> None:
    for line in lines:
        result.stdout.fnmatch_lines([line])


def test_every_built_in_test_passes_on_a_project_without_a_fault(project):
    result = run(project)
    assert outcomes(result) == dict.fromkeys(ALWAYS, "PASSED")
    says(result, "SKIPPED * The project declares no schemas: see the setting `schemas`.")
    assert result.ret == 0


def test_without_the_option_nothing_is_added(project):
    result = project.runpytest_inprocess(*PLUGIN)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_two_heads_are_named(project):
    write(project, 4, "pass", "pass", after=2)
    result = run(project)
    assert failing(result) == {"single_head"}
    says(
        result,
        "The history has 2 heads: 000000000003 (revision 3), 000000000004 (revision 4).",
        "Join them with `redismigrate merge 000000000003 000000000004 -m MESSAGE`.",
    )


@pytest.mark.parametrize(
    ("upgrade", "after", "named"),
    [
        ("def (", 3, "*000000000004.py, line 7: the script is not valid Python (SyntaxError: *"),
        ("pass", 4, "*Revisions revise or depend on each other in a circle: 000000000004 -> 000000000004."),
        ("pass", 9, "*000000000004.py revises '000000000009', but no script has that revision."),
    ],
)
def test_a_history_that_cannot_be_read_is_told_without_a_traceback(
    project, upgrade: str, after: int, named: str
):
    write(project, 4, upgrade, "pass", after=after)
    result = run(project)
    assert failing(result) == ALWAYS
    says(result, f"The history can't be read: {named}")
    assert "Traceback" not in result.stdout.str()
    assert "graph.py" not in result.stdout.str() + result.stderr.str()


def test_a_script_that_needs_what_is_not_there_is_named(project):
    write(project, 4, "pass", "pass", preamble="import no_such_module")
    result = run(project)
    assert failing(result) == ALWAYS - {"single_head"}
    says(result, "Revision 000000000004 (revision 4) can't be replayed without a server: *no_such_module*")


def test_a_script_that_asks_for_something_else_each_time_is_named(project):
    script = """
        op.set_synonyms("products", "group", ["a", next(words)])
    """
    preamble = "import itertools\nwords = map(str, itertools.count())"
    # Executed anew by every load, so only what lasts longer than its module differs.
    write(project, 4, "import time\n" + textwrap.dedent(script), "pass", preamble=preamble)
    shared = "import redismigrate\nwords = redismigrate.__dict__.setdefault('words', map(str, range(99999)))"
    write(project, 4, textwrap.dedent(script), "pass", preamble=shared)
    result = run(project, "-k", "scripts_replay")
    assert failing(result) == {"scripts_replay"}
    says(
        result,
        "Revision 000000000004 (revision 4) can't be replayed without a server: its upgrade asks for "
        "something else each time it is called",
    )


def test_an_upgrade_that_fails_on_documents_is_named_with_its_reason(project):
    write(
        project,
        4,
        "op.run(fill, lambda client: None)",
        "pass",
        preamble="""
            def fill(client):
                for key in client.scan_iter(b"product:*"):
                    client.hget(key, b"colour").lower()
        """,
    )
    result = run(project)
    assert failing(result) == {
        "upgrade",
        "up_down_consistency",
        "downgrade_leaves_no_trace",
        "rerun_is_no_op",
        "interrupted_upgrade_resumes",
    }
    says(result, "The upgrade to 000000000004 (revision 4) fails: *NoneType*lower*000000000004.py, line 8)*")


def test_nobody_else_writes_on_the_server_of_the_tests(project):
    rename = 'with op.index("products") as index:\n    index.rename_field({0!r}, {1!r})'
    write(project, 4, rename.format("brand", "maker"), rename.format("maker", "brand"))
    assert failing(run(project)) == set()


def test_a_revision_that_needs_an_option_says_where_tests_get_it_from(project):
    rename = 'with op.index("products") as index:\n    index.rename_field({0!r}, {1!r})'
    write(project, 4, rename.format("brand", "maker"), rename.format("maker", "brand"))
    with (project.path / "tests" / "conftest.py").open("a") as conftest:
        conftest.write("from redismigrate.commands.migrate import MigrationOptions\n\n")
        conftest.write("@pytest.fixture\ndef redismigrate_options():\n")
        conftest.write("    return MigrationOptions(strategy='rebuild')\n")
    result = run(project, "-k", "test_upgrade")
    assert failing(result) == {"upgrade"}
    says(
        result,
        "The upgrade to 000000000004 (revision 4) fails: The plan is blocked: * needs --exclusive: *",
        "Options of the tests come from the fixture redismigrate_options: "
        "MigrationOptions(exclusive=True, allow_lossy=True), for example.",
    )


def test_documents_of_an_index_that_no_revision_creates_are_no_test_of_anything(project):
    (project.path / "tests" / "conftest.py").write_text(
        textwrap.dedent(CONFTEST).replace('"products"', '"prodcuts"')
    )
    result = run(project, "-k", "test_upgrade")
    assert failing(result) == {"upgrade"}
    says(
        result, "redismigrate_documents has documents of prodcuts, but no revision creates an index of that *"
    )


def test_a_function_that_changes_an_index_behind_the_record_is_noticed(project):
    add = "lambda client: client.execute_command('FT.ALTER', 'products', 'SCHEMA', 'ADD', 'x', 'TAG')"
    write(project, 2, f"op.run({add}, lambda client: None)", "pass")
    (project.path / "migrations" / "versions" / "000000000003.py").unlink()
    result = run(project)
    assert "upgrade" in failing(result)
    says(
        result,
        "The indexes differ from what is recorded after the upgrade:",
        "  products: *tag field 'x' is added*",
    )


def test_a_downgrade_that_does_not_lead_back_is_told_with_what_differs(project):
    write(project, 2, SPLIT.format(separator="|"), SPLIT.format(separator=";"))
    result = run(project)
    assert failing(result) == {"up_down_consistency"}
    says(
        result,
        "The downgrade of 000000000002 (revision 2) does not lead back:",
        "  index products: field 'brand': separator changes from ',' to ';'",
    )
    assert "During handling" not in result.stdout.str()


def test_a_downgrade_that_leaves_documents_changed_is_told_with_the_document(project):
    rename = "lambda client: client.hset('product:1', 'brand', 'changed')"
    write(project, 4, f"op.run({rename}, lambda client: None)", "pass")
    result = run(project)
    assert failing(result) == {"up_down_consistency"}
    says(
        result,
        "The downgrade of 000000000004 (revision 4) does not lead back:",
        "  key product:1: brand changes from acme,globex to changed",
    )


@pytest.mark.parametrize(
    ("command", "before", "after"),
    [
        ("client.incr('x')", "1", "2"),
        ("client.rpush('x', 'a')", "?b'a'?", "?b'a', b'a'?"),
        ("client.zincrby('x', 1, 'a')", "?b'a', b'1'?", "?b'a', b'2'?"),
        ("client.xadd('x', {'a': 1})", "a stream, *", "a stream, *"),
    ],
)
def test_values_of_other_keys_are_shown_as_a_reader_knows_them(project, command, before, after):
    write(project, 4, f"op.run(lambda client: {command}, lambda client: None)", "pass")
    result = run(project, "-k", "interrupted")
    assert failing(result) == {"interrupted_upgrade_resumes"}
    says(result, f"  key x: {before} becomes {after}")


def test_what_a_downgrade_to_the_base_leaves_behind_is_listed(project):
    write(
        project,
        4,
        "op.run(lambda client: client.set('cache:1', 'x'), lambda client: None)",
        "pass",
    )
    write(project, 1, CREATE + "    op.create_alias('catalog', 'products')", "pass")
    result = run(project)
    assert failing(result) == {"up_down_consistency", "downgrade_leaves_no_trace"}
    says(
        result,
        "A downgrade to the base leaves something behind:",
        "  index products is still recorded",
        "  index products* exists",
        "  alias catalog leads to index products*",
        "  index products is still owned",
        "  key cache:1 exists",
    )


SCHEMAS = """
    SCHEMAS = {
        "index": {"name": "products", "prefix": "product:"},
        "fields": [
            {"name": "brand", "type": "tag", "attrs": {"separator": "|"}},
            {"name": "price", "type": "numeric"},
            {
                "name": "embedding",
                "type": "vector",
                "attrs": {
                    "algorithm": "flat", "dims": 2, "distance_metric": "cosine", "datatype": "float16",
                },
            },
        ],
    }
"""


def test_declared_schemas_are_compared_with_what_the_history_leads_to(project):
    with (project.path / "redismigrate.toml").open("a") as configuration:
        configuration.write('schemas = ["declared_here:SCHEMAS"]\n')
    declared = project.path / "declared_here.py"
    declared.write_text(textwrap.dedent(SCHEMAS))
    assert outcomes(run(project)) == dict.fromkeys(NAMES, "PASSED")
    declared.write_text(textwrap.dedent(SCHEMAS).replace('"|"', '";"'))
    result = run(project)
    assert failing(result) == {"declared_schemas_match_head"}
    says(
        result,
        "The declared schemas differ from what the history leads to:",
        "  products: field 'brand': separator changes from '|' to ';'",
        "Write the revision: `redismigrate revision --autogenerate -m MESSAGE`.",
    )


def test_the_client_of_the_project_is_never_asked_for_a_connection(project):
    (project.path / "migrations" / "env.py").write_text(
        "def client(*_):\n    raise SystemExit('production')\n"
    )
    assert failing(run(project)) == set()


def test_a_revision_that_is_found_anew_at_every_upgrade_is_noticed(project):
    write(project, 4, "pass", "pass", revision="__import__('secrets').token_hex(6)")
    result = run(project)
    assert failing(result) == {"rerun_is_no_op"}
    says(result, "The second upgrade applied * once more.")


def test_a_function_that_does_not_bear_to_be_repeated_is_found_by_interrupting_it(project):
    write(
        project,
        4,
        "op.run(raise_prices, lower_prices)",
        "pass",
        preamble="""
            def raise_prices(client):
                for key in client.scan_iter(b"product:*"):
                    client.hincrby(key, b"price", 1)

            def lower_prices(client):
                for key in client.scan_iter(b"product:*"):
                    client.hincrby(key, b"price", -1)
        """,
    )
    result = run(project)
    assert failing(result) == {"interrupted_upgrade_resumes"}
    says(
        result,
        "The upgrade to 000000000004 (revision 4) ends differently where it is interrupted at every step and "
        "resumed:",
        "  key product:1: price changes from 6 to 7",
    )


def test_a_revision_that_is_irreversible_ends_the_way_down(project):
    write(project, 4, "pass", 'op.irreversible("the old vectors are gone")')
    result = run(project)
    assert failing(result) == set()
    says(result, "SKIPPED *000000000004 (revision 4) is irreversible: the old vectors are gone")


def test_documents_can_be_made_for_the_schema_of_the_moment(project):
    (project.path / "tests" / "conftest.py").write_text(
        textwrap.dedent("""
            import pytest

            @pytest.fixture
            def redismigrate_documents():
                return {"products": lambda schema: [{"embedding": [0.1] * schema.field("embedding").dims}]}
        """)
    )
    project.makepyfile(
        **{
            "tests/test_documents": """
                def test_documents(redismigrate_runner):
                    redismigrate_runner.migrate_up_to("000000000001")
                    redismigrate_runner.insert_sample_documents()
                    assert list(redismigrate_runner.documents("products")) == ["product:1"]
            """
        }
    )
    run(project).assert_outcomes(passed=len(ALWAYS) + 1, skipped=1)


def test_the_configuration_can_be_elsewhere(project):
    (project.path / "config").mkdir()
    (project.path / "redismigrate.toml").rename(project.path / "config" / "other.toml")
    assert failing(run(project, "-k", "single_head")) == {"single_head"}
    says(run(project, "-k", "single_head"), "There is no redismigrate.toml, and no pyproject.toml with *")
    (project.path / "migrations").rename(project.path / "config" / "migrations")
    with (project.path / "tests" / "conftest.py").open("a") as conftest:
        conftest.write(
            textwrap.dedent("""
                @pytest.fixture(scope="session")
                def redismigrate_config(pytestconfig):
                    return pytestconfig.rootpath / "config" / "other.toml"
            """)
        )
    run(project, "-k", "test_upgrade").assert_outcomes(passed=1, deselected=len(NAMES) - 1)


@pytest.mark.parametrize(
    ("setting", "selected"),
    [
        ("single_head upgrade", {"single_head", "upgrade"}),
        ("!interrupted_upgrade_resumes", set(NAMES) - {"interrupted_upgrade_resumes"}),
        ("test_upgrade single_head !single_head", {"upgrade"}),
    ],
)
def test_the_built_in_tests_can_be_chosen(project, setting: str, selected: set[str]):
    result = project.runpytest_inprocess(
        *PLUGIN, "--test-redismigrate", "--collect-only", "-q", "-o", f"redismigrate_tests={setting}"
    )
    found = {line.partition("::test_")[2] for line in result.outlines if "::test_" in line}
    assert found == selected


def test_a_built_in_test_that_does_not_exist_can_not_be_chosen(project):
    result = run(project, "-o", "redismigrate_tests=!singel_head")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: redismigrate_tests names singel_head; the built-in tests are *"])


def test_the_built_in_tests_see_the_fixtures_of_the_folder_that_is_named(project):
    (project.path / "tests").rename(project.path / "checks")
    change = "lambda client: client.exists('product:1') and client.hset('product:1', 'brand', 'x')"
    write(project, 4, f"op.run({change}, lambda client: None)", "pass")
    assert failing(run(project)) == set()  # without documents nothing changes
    assert failing(run(project, "-o", "redismigrate_tests_folder=checks")) == {"up_down_consistency"}
    result = run(project, "-o", "redismigrate_tests_folder=nowhere")
    result.stderr.fnmatch_lines(["ERROR: redismigrate_tests_folder is nowhere, no folder in *"])


def test_the_built_in_tests_can_be_imported_instead(project):
    project.makepyfile(
        **{"tests/test_builtin": "from redismigrate.testing.tests import test_single_head, test_upgrade"}
    )
    project.runpytest_inprocess(*PLUGIN).assert_outcomes(passed=2)


def test_a_broken_conftest_is_told_as_such(project):
    (project.path / "tests" / "conftest.py").write_text("import no_such_module\n")
    result = run(project)
    assert result.ret != 0
    assert "no_such_module" in result.stdout.str() + result.stderr.str()


def on_server(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, url: str
) -> Callable[..., pytest.RunResult]:
    monkeypatch.setenv("REDISMIGRATE_TEST_URL", url)
    return lambda *arguments: run(project, *arguments)


def content(client: redis.Redis) -> dict[bytes, bytes]:
    return {key: client.dump(key) for key in client.scan_iter()}


def test_a_server_of_others_is_left_as_it_was(project, monkeypatch, redis_url, client):
    client.set("session:1", "theirs")
    client.hset("customer:1", "name", "Ada")
    before = content(client)
    # Its keys move, and come under the prefix they had not when they were inserted.
    move = 'with op.index("products") as index:\n    index.change_prefix({0!r}, {1!r})'
    write(project, 4, move.format("product:", "item:"), move.format("item:", "product:"))
    with (project.path / "tests" / "test_left.py").open("w") as module:
        module.write("def test_left(redismigrate_runner):\n")
        module.write("    redismigrate_runner.migrate_up_to('000000000001')\n")
        module.write("    redismigrate_runner.insert_sample_documents()\n")
        module.write("    redismigrate_runner.migrate_up_to('head')\n")
        module.write("    assert list(redismigrate_runner.documents('products')) == ['item:1', 'item:2']\n")
    result = on_server(project, monkeypatch, redis_url)()
    result.assert_outcomes(passed=len(ALWAYS) + 1, skipped=1)
    assert content(client) == before
    assert client.execute_command("FT._LIST") == []


def test_a_test_that_fails_half_way_leaves_nothing_on_a_server_of_others(
    project, monkeypatch, redis_url, client
):
    client.set("session:1", "theirs")
    project.makepyfile(
        **{
            "tests/test_half": """
                import pytest
                from redismigrate import commands
                from redismigrate.errors import RunInterrupted
                from redismigrate.execution.progress import Watcher

                class Ends(Watcher):
                    def step_started(self, step):
                        if step.kind == "swap_alias":
                            raise RuntimeError("enough")

                def test_half(redismigrate_runner):
                    redismigrate_runner.migrate_up_to("000000000001")
                    redismigrate_runner.insert_sample_documents()
                    with pytest.raises(RunInterrupted):
                        commands.upgrade(redismigrate_runner.project, "head", watcher=Ends())
                    assert len(redismigrate_runner.client.execute_command("FT._LIST")) == 2
                    assert False, "as meant"
            """
        }
    )
    result = on_server(project, monkeypatch, redis_url)("-k", "test_half")
    result.assert_outcomes(failed=1, deselected=len(NAMES))
    says(result, "*as meant*")
    assert client.keys() == [b"session:1"]
    assert client.execute_command("FT._LIST") == []


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("FT.CREATE", "theirs", "SCHEMA", "x", "TAG"), "index theirs"),
        (("SET", "{redismigrate:shop}:head", "{}"), "key {redismigrate:shop}:head"),
        (("HSET", "product:9", "brand", "theirs"), "key product:9"),
    ],
)
def test_a_server_with_what_a_migration_could_change_is_refused(
    project, monkeypatch, redis_url, client, command: tuple[str, ...], named: str
):
    client.execute_command(*command)
    before = content(client)
    result = on_server(project, monkeypatch, redis_url)()
    assert outcomes(result) == dict.fromkeys(NAMES, "ERROR")
    says(result, f"*can't be used for tests: it holds {named}, which these tests have not made and *")
    assert content(client) == before


def test_a_server_with_other_projects_keeps_their_indexes_in_the_record(
    project, monkeypatch, redis_url, client
):
    owners = b'{"customers": "theirs"}'
    client.set("{redismigrate}:owners", owners)
    result = on_server(project, monkeypatch, redis_url)()
    assert outcomes(result) == dict.fromkeys(ALWAYS, "PASSED")
    assert client.keys() == [b"{redismigrate}:owners"]
    assert json.loads(client.get("{redismigrate}:owners")) == json.loads(owners)


def test_an_index_over_all_keys_needs_a_server_without_any(project, monkeypatch, redis_url, client):
    client.set("session:1", "theirs")
    write(project, 1, CREATE.replace('"product:"', "[]"), "op.drop_index('products')")
    result = on_server(project, monkeypatch, redis_url)()
    assert set(outcomes(result).values()) == {"ERROR"}
    says(result, "*it holds key session:1, which these tests have not made*")


def test_one_server_for_several_workers_is_refused(project, monkeypatch, redis_url):
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    result = on_server(project, monkeypatch, redis_url)("-k", "test_upgrade")
    says(result, "REDISMIGRATE_TEST_URL names one server, which several workers of pytest-xdist would share.")


def test_workers_have_a_server_each_and_any_order_is_fine(project):
    project.makepyfile(
        **{
            "tests/test_server": """
                import pytest

                @pytest.mark.parametrize("number", range(8))
                def test_server(redismigrate_runner, number):
                    redismigrate_runner.migrate_up_to()
                    assert redismigrate_runner.current == ("000000000003",)
            """
        }
    )
    result = project.runpytest_subprocess(
        *PLUGIN, "-p", "xdist", "-p", "pytest_randomly", "-n", "2", "--test-redismigrate"
    )
    result.assert_outcomes(passed=len(ALWAYS) + 8, skipped=1)


def test_the_tests_of_the_example_pass(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("REDISMIGRATE_TEST_URL", raising=False)
    example = pytester.path / "example"
    shutil.copytree(
        ROOT / "alembic_style_example", example, ignore=shutil.ignore_patterns("__pycache__", "*_cache")
    )
    monkeypatch.chdir(example)
    result = pytester.runpytest_subprocess(*PLUGIN, "-W", "error", "--rootdir", ".", "--test-redismigrate")
    result.assert_outcomes(passed=len(ALWAYS) + 3, skipped=1)


def test_a_project_that_does_not_use_the_plugin_imports_nothing_for_it():
    program = """
        import sys, pytest
        before = set(sys.modules)
        import redismigrate.testing.plugin
        print(*sorted(name for name in set(sys.modules) - before if not name.startswith("_")))
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert finished.stdout.split() == ["redismigrate", "redismigrate.testing", "redismigrate.testing.plugin"]


def test_pytest_finds_the_plugin_by_its_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"redismigrate": PLUGIN[1]}
