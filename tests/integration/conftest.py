"""The fixture `shop`: a project folder on the test server, and its commands in process and as processes."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from warm_commands import WarmCommands

from redismigrate.cli import main
from redismigrate.redis_server.inspection import list_indexes, read_index, resolve_alias

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from redismigrate.planning.strategies import StrategyChoice

MIGRATING = frozenset({"plan", "upgrade", "downgrade"})
ENTRY_POINT = Path(sys.executable).with_name("redismigrate")
MONITORED_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')
LATEST = "the revision that was written last"
SCRIPT = '''"""{message}

Revision ID: {revision}
"""
from redismigrate import Operations

revision = {revision!r}
down_revision = {down_revision!r}
branch_labels = {branch_labels!r}
depends_on = {depends_on!r}

{preamble}

def upgrade(op: Operations) -> None:
{upgrade}


def downgrade(op: Operations) -> None:
{downgrade}
'''


@dataclass(frozen=True)
class Result:
    """How a command ended.

    Attributes:
        code: Its exit code.
        out: Standard output.
        err: Standard error.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document that standard output is with `--json`."""
        return json.loads(self.out)


class Shop:
    """A project called `shop` in a folder of its own.

    Attributes:
        folder: Where `redismigrate.toml` and the folder `migrations` are.
        url: The test server.
        client: A client of the test server (RESP2, replies as bytes).
        strategy: What its commands are run with unless they name one; "auto" leaves it to the planner.
    """

    def __init__(
        self, folder: Path, url: str, client: redis.Redis, strategy: StrategyChoice = "auto"
    ) -> None:
        self.folder = folder
        self.url = url
        self.client = client
        self.strategy = strategy
        self._latest: str | None = None
        self._written = 0

    def write(
        self,
        upgrade: str = "pass",
        downgrade: str = "pass",
        *,
        revision: str | None = None,
        down_revision: str | tuple[str, ...] | None = LATEST,
        preamble: str = "",
        branch_labels: tuple[str, ...] = (),
        depends_on: tuple[str, ...] = (),
    ) -> str:
        """Write a migration script and return its id.

        Args:
            upgrade: The body of `upgrade(op)`, indented or not.
            downgrade: The body of `downgrade(op)`.
            revision: Its id, by default 000000000001, 000000000002 and so on.
            down_revision: What it revises, by default the revision that was written last; None for a base.
            preamble: What stands between the metadata and the functions.
            branch_labels: As in a script.
            depends_on: As in a script.
        """
        self._written += 1
        revision = revision or f"{self._written:012x}"
        if down_revision == LATEST:
            down_revision = self._latest
        text = SCRIPT.format(
            message=f"revision {self._written}",
            revision=revision,
            down_revision=down_revision,
            branch_labels=branch_labels,
            depends_on=depends_on,
            preamble=textwrap.dedent(preamble),
            upgrade=_body(upgrade),
            downgrade=_body(downgrade),
        )
        self.script(revision).write_text(text, encoding="utf-8", errors="surrogateescape")
        self._latest = revision
        return revision

    def script(self, revision: str) -> Path:
        """The file of a revision that `write` has written or will write."""
        return self.folder / "migrations" / "versions" / f"{revision}.py"

    def run(self, *arguments: str) -> Result:
        """Run `redismigrate` with these arguments in this process, in the project's folder.

        Fast, and what a debugger can follow. Signals and what depends on the process need `process`.
        """
        out, err, code = io.StringIO(), io.StringIO(), None
        with (
            contextlib.chdir(self.folder),
            _restored_process(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main(self._with_strategy(arguments))
            except SystemExit as leaving:
                code = leaving.code
        assert isinstance(code, int)
        return Result(code, out.getvalue(), err.getvalue())

    def refuses(
        self, *arguments: str, code: int, says: tuple[str, ...], aliases: tuple[str, ...] = ()
    ) -> None:
        """Check that a command is refused, in words and as JSON, and that nothing changes in the Redis.

        Args:
            arguments: Of the command.
            code: Its exit code.
            says: What its error says, the first as its beginning.
            aliases: Aliases to look up, see `content`.
        """
        before = self.content(*aliases)
        in_words = self.run(*arguments)
        as_json = self.run("--json", *arguments)
        assert self.content(*aliases) == before
        assert (in_words.code, as_json.code) == (code, code), in_words.err
        assert in_words.err.startswith(f"Error: {says[0]}"), in_words.err
        assert "Traceback" not in in_words.err + in_words.out
        assert list(as_json.json) == ["error"]
        error = as_json.json["error"]
        assert sorted(error) == ["code", "hint", "message"]
        assert "Error" not in as_json.err
        for text in says:
            assert text in in_words.err
            assert text in f"{error['message']}\n{error['hint']}"

    def process(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start the installed command in the project's folder and return at once; the caller ends it.

        Args:
            arguments: Of the command.
            environment: Variables besides those of this process.
        """
        return subprocess.Popen(
            [ENTRY_POINT, *self._with_strategy(arguments)],
            cwd=self.folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run_process(self, *arguments: str, **environment: str) -> Result:
        """Run the installed command as `process` does and wait for its end."""
        with self.process(*arguments, **environment) as process:
            out, err = process.communicate(timeout=120)
        return Result(process.returncode, out, err)

    def _with_strategy(self, arguments: tuple[str, ...]) -> list[str]:
        """The arguments, and the strategy where the command takes one and it is not left to the planner."""
        if self.strategy == "auto" or "--strategy" in arguments or not MIGRATING.intersection(arguments):
            return list(arguments)
        return [*arguments, "--strategy", self.strategy]

    def add_documents(self, count: int, prefix: str = "p:", **fields: str | bytes | float) -> None:
        """Write hashes `<prefix>0` to `<prefix><count - 1>`; `{n}` in a text stands for the number."""
        pipeline = self.client.pipeline(transaction=False)
        for number in range(count):
            mapping: dict[Any, Any] = {
                name: value.replace("{n}", str(number)) if isinstance(value, str) else value
                for name, value in fields.items()
            }
            pipeline.hset(f"{prefix}{number}", mapping=mapping)
        pipeline.execute()

    def wait_until_indexed(self) -> None:
        """Wait until no index is being built."""
        deadline = time.monotonic() + 90
        while any(
            (index := read_index(self.client.execute_command, name)) is not None
            and index.statistics.is_indexing
            for name in list_indexes(self.client.execute_command)
        ):
            assert time.monotonic() < deadline, "an index is still being built after a minute"
            time.sleep(0.01)

    def hits(self, index: str, query: str = "*") -> int:
        """How many documents a query finds."""
        execute: Any = self.client.execute_command
        return int(execute("FT.SEARCH", index, query, "LIMIT", "0", "0")[0])

    def content(self, *aliases: str) -> dict[str, Any]:
        """Everything in the Redis, to compare: keys with DUMP and expiry, indexes, targets of aliases.

        Of an index also the documents and `max_doc_id`, which grows when it is built again. Left out are the
        lock and the fencing token, which counts up whenever the lock is taken, whatever happens then.

        Args:
            aliases: Aliases to look up: Redis Search does not list them.
        """
        self.wait_until_indexed()
        execute = self.client.execute_command
        indexes = {name: read_index(execute, name) for name in list_indexes(execute)}
        keys = [key for key in self.client.scan_iter(count=10_000) if not key.endswith((b":lock", b":fence"))]
        pipeline = self.client.pipeline(transaction=False)
        for key in keys:
            pipeline.dump(key)
            pipeline.pexpiretime(key)
        dumps = pipeline.execute()
        return {
            "keys": {key: tuple(dumps[2 * at : 2 * at + 2]) for at, key in enumerate(keys)},
            "indexes": {
                name: (index.schema, index.synonyms, index.statistics.num_docs, index.statistics.max_doc_id)
                for name, index in indexes.items()
                if index is not None
            },
            "aliases": {alias: resolve_alias(execute, alias) for alias in aliases},
        }

    def served_names(self) -> dict[str, str]:
        """Physical name -> served name of every recorded index whose served name leads to it.

        A physical name has the fencing token of its run in it, so it differs from run to run.
        """
        recorded = (self.state("indexes") or {}).get("indexes", {})
        execute = self.client.execute_command
        names = list_indexes(execute)
        return {
            definition["physical"]: served
            for served, definition in recorded.items()
            if definition["physical"] == (served if served in names else resolve_alias(execute, served))
        }

    @contextlib.contextmanager
    def monitored(self) -> Iterator[list[list[str]]]:
        """The commands that the server carries out meanwhile, those inside of scripts too, as words.

        The list is complete when the block ends. Bytes that are not ASCII are escaped as MONITOR does.
        """
        commands: list[list[str]] = []
        end = f"end {time.monotonic_ns()}"
        connection: Any = self.client.connection_pool.get_connection()
        connection.send_command("MONITOR")
        connection.read_response()

        def read() -> None:
            while True:
                line = connection.read_response().decode()
                words = [word.replace('\\"', '"') for word in MONITORED_WORD.findall(line)]
                if words == ["ECHO", end]:
                    return
                commands.append(words)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield commands
        finally:
            self.client.echo(end)
            reader.join(timeout=120)
            connection.disconnect()
            self.client.connection_pool.release(connection)

    def state(self, document: str) -> dict[str, Any] | None:
        """A document of the project's state ("head", "indexes", "run"); None: it does not exist."""
        text = self.client.get(f"{{redismigrate:shop}}:{document}")
        return None if text is None else json.loads(text)


@pytest.fixture
def shop(tmp_path: Path, redis_url: str, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A project that `redismigrate init` made, without a revision, on the empty test server."""
    for name in os.environ:
        if name.startswith("REDISMIGRATE_") and name != "REDISMIGRATE_SERVER":
            monkeypatch.delenv(name)
    folder = tmp_path / "shop"
    folder.mkdir()
    shop = Shop(folder, redis_url, client)
    result = shop.run("init", "migrations", "--url", redis_url)
    assert result.code == 0, result.err
    return shop


@pytest.fixture
def rebuilding(shop: Shop) -> Shop:
    """The shop, whose indexes are changed in place, with search down meanwhile."""
    shop.strategy = "rebuild"
    return shop


@pytest.fixture(scope="session")
def warm_commands() -> Iterator[Path]:
    """A folder for the PATH with a `redismigrate` that starts at once; its socket needs a short path."""
    with tempfile.TemporaryDirectory() as folder, WarmCommands(Path(folder)) as commands:
        yield commands


@contextlib.contextmanager
def _restored_process() -> Iterator[None]:
    """Put back what the entry point sets for the whole process."""
    logger = logging.getLogger("redismigrate")
    on_sigterm, level = signal.getsignal(signal.SIGTERM), logger.level
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)
        logger.setLevel(level)


def _body(source: str) -> str:
    return textwrap.indent(textwrap.dedent(source).strip("\n") or "pass", "    ")
