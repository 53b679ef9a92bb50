"""The example project: its data, its history, up and down, and every word of its README."""

from __future__ import annotations

import filecmp
import gzip
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from redismigrate.commands import Project, downgrade, upgrade
from redismigrate.config import load_settings
from redismigrate.foreign_modules import functions_in
from redismigrate.history.templates import template_folder
from redismigrate.packaged import packaged_folder
from redismigrate.redis_server.inspection import list_indexes, read_index, resolve_alias

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

EXAMPLE = packaged_folder("_example", "alembic_style_example", "example")
PORT = "6399"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*)\n", re.MULTILINE)
LINES = gzip.decompress((EXAMPLE / "data" / "packages.jsonl.gz").read_bytes()).splitlines()
NAMES = [json.loads(line)["name"] for line in LINES]
EMBEDDINGS = np.load(EXAMPLE / "data" / "packages_minilm384.npy")
FORK = "2f5a5e4caf09"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example."""
    return Path(
        shutil.copytree(
            EXAMPLE, tmp_path / "example", ignore=shutil.ignore_patterns("__pycache__", "*_cache")
        )
    )


@pytest.fixture
def project(folder: Path, redis_url: str) -> Project:
    """The copy on the test server."""
    return Project(load_settings(folder / "redismigrate.toml", {"url": redis_url}, environment={}))


def history() -> tuple[str, ...]:
    project = Project(load_settings(EXAMPLE / "redismigrate.toml", environment={}))
    return project.history.ordered(project.history)


def load(client: redis.Redis) -> int:
    return functions_in(EXAMPLE / "load_data.py")["load_packages"](client)


def nearest(package: str, count: int) -> list[str]:
    """By comparing all embeddings."""
    distances = 1 - EMBEDDINGS @ EMBEDDINGS[NAMES.index(package)]
    return [NAMES[row] for row in np.argsort(distances, kind="stable") if NAMES[row] != package][:count]


def seen(client: redis.Redis) -> dict[str, object]:
    """What the index is, what it holds, and which names lead to it; its physical name is that of a run."""
    execute = client.execute_command
    names = list_indexes(execute)
    indexes = [index for name in names if (index := read_index(execute, name)) is not None]
    return {
        "indexes": [
            (
                index.schema.model_copy(update={"name": "packages"}),
                index.statistics.num_docs,
                index.statistics.indexing_failures,
            )
            for index in indexes
        ],
        "served": [
            name for name in ("packages", "catalog") if name in names or resolve_alias(execute, name) in names
        ],
    }


def test_the_data_is_a_thousand_packages_with_an_embedding_of_unit_length_each():
    assert EMBEDDINGS.shape == (1000, 384)
    assert EMBEDDINGS.dtype == np.float32
    assert len(set(NAMES)) == 1000
    np.testing.assert_allclose(np.linalg.norm(EMBEDDINGS, axis=1), 1, atol=1e-5)


def test_the_example_stays_below_two_megabytes(folder):
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 2_000_000


def test_the_folder_of_migrations_is_what_init_makes():
    _, different, missing = filecmp.cmpfiles(
        EXAMPLE / "migrations", template_folder("generic"), ["README", "script.py.j2"], shallow=False
    )
    assert (different, missing) == ([], [])


def test_the_history_forks_once_and_is_merged():
    project = Project(load_settings(EXAMPLE / "redismigrate.toml", environment={}))
    revisions = {script.revision: script for script in project.scripts}
    assert all(re.fullmatch("[0-9a-f]{12}", revision) for revision in revisions)
    assert len(revisions) == 7
    assert len(project.history.children(FORK)) == 2
    assert [len(script.down_revisions) for script in revisions.values()].count(2) == 1
    assert len(project.history.heads()) == 1


def test_every_revision_can_be_undone_and_applied_again(project, client):
    assert load(client) == 1000
    for revision in history():
        before = seen(client)
        upgrade(project, revision)
        after = seen(client)
        downgrade(project, f"{revision}@-1")
        assert seen(client) == before
        upgrade(project, revision)
        assert seen(client) == after
    downgrade(project, "base")
    assert seen(client) == {"indexes": [], "served": []}
    assert sum(1 for _ in client.scan_iter(match="package:*")) == 1000


def test_searching_by_embedding_finds_the_nearest_at_every_revision(project, client):
    load(client)
    similar = functions_in(EXAMPLE / "search.py")["similar_packages"]
    for revision in history():
        upgrade(project, revision)
        for package in ("dnshistory", "nautilus-image-converter", "kalarm"):
            assert [hit.name for hit in similar(client, package)] == nearest(package, 3)


def test_a_package_that_does_not_exist_is_named(client):
    with pytest.raises(LookupError, match="There is no package emacs"):
        functions_in(EXAMPLE / "search.py")["similar_packages"](client, "emacs")


class Reader:
    """Does what the README says, in a copy of the example, and compares what it prints.

    Args:
        folder: The copy.
        environment: Of the commands.
        warm_commands: The folder with the `redismigrate` of all of them but servers, which signals stop.
    """

    def __init__(self, folder: Path, environment: dict[str, str], warm_commands: Path) -> None:
        self._folder = folder
        self._environment = environment
        self._warm_path = f"{warm_commands}{os.pathsep}{environment['PATH']}"
        self._servers: list[subprocess.Popen[str]] = []

    def follow(self, kind: str, block: str) -> None:
        """Run a console block, or find or fill in a block of Python."""
        if kind == "python":
            self._read_or_fill_in(block)
            return
        commands = COMMAND.split(block)
        assert commands[0] == ""
        for command, expected in zip(commands[1::2], commands[2::2], strict=True):
            is_server = command.startswith("redismigrate server")
            output = self._serve(command, expected) if is_server else self._run(command)
            assert re.fullmatch(pattern(expected), plain(output)), f"$ {command}\n{output}"

    def close(self) -> None:
        """Stop the servers."""
        for server in self._servers:
            server.terminate()
            server.communicate()

    def _run(self, command: str) -> str:
        finished = subprocess.run(
            ["/usr/bin/env", *shlex.split(command)],  # which looks for the command on the given PATH
            cwd=self._folder,
            env={**self._environment, "PATH": self._warm_path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return finished.stdout

    def _serve(self, command: str, expected: str) -> str:
        server = subprocess.Popen(
            shlex.split(command),
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._servers.append(server)
        assert server.stdout is not None
        return "".join(server.stdout.readline() for _ in expected.splitlines())

    def _read_or_fill_in(self, block: str) -> None:
        """The block stands in a script, or belongs into the one that is still empty."""
        scripts = {path: path.read_text() for path in (self._folder / "migrations/versions").glob("*.py")}
        if any(block in source for source in scripts.values()):
            return
        ((path, source),) = ((path, source) for path, source in scripts.items() if "    pass" in source)
        path.write_text(source[: source.index("def upgrade")] + block)


def pattern(expected: str) -> str:
    """A regular expression for an output in which `...` stands for anything, a line of it for any lines."""
    lines = [
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
        for line in plain(expected).splitlines()
    ]
    return "".join(lines)


def plain(output: str) -> str:
    """Without what differs from run to run: durations, blanks at the end of a line, and servers' words."""
    output = re.sub(r"\d+\.\d+ s\b", "0.0 s", output)
    # Redis 7.4 and Redis 8 about the same.
    output = re.sub(r"^No such index (\S+)$", r"\1: no such index", output, flags=re.MULTILINE)
    return re.sub(r" +$", "", output, flags=re.MULTILINE)


@pytest.fixture
def reader(folder: Path, warm_commands: Path) -> Iterator[Reader]:
    programs = Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if name != "REDISMIGRATE_URL"}
    reader = Reader(
        folder, environment | {"PATH": f"{programs}{os.pathsep}{environment['PATH']}"}, warm_commands
    )
    yield reader
    reader.close()


def test_the_readme_does_what_it_says(folder, reader):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    for name in ("README.md", "redismigrate.toml"):
        text = (folder / name).read_text()
        assert PORT in text
        (folder / name).write_text(text.replace(PORT, port))
    blocks = BLOCK.findall((folder / "README.md").read_text())
    assert {kind for kind, _ in blocks} == {"console", "python"}
    for kind, block in blocks:
        reader.follow(kind, block)


def test_it_goes_up_on_an_empty_redis_by_one_command_and_back(project: Project):
    assert upgrade(project, "head").revisions == tuple(project.history)
    downgrade(project, "base")
