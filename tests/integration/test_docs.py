"""Every command that the README and the pages under docs/ show does what they show.

Each page is followed from its top in an empty home folder, with one bash and an empty Redis. What the blocks
of a page mean:

- `console`: lines after `$ ` are typed; what stands under them is compared with what was printed, see
  `doc_output.Ids.compare`. A command must end with 0, unless the next one is `echo $?`.
- `bash`: a script; must end with 0.
- any block whose first line is a comment with a path, `# migrations/versions/….py`: a file that is written.
  Where that is a migration script which exists and the block has no `revision = …`, the block is what the
  reader fills in: its functions take the place of the script's.
- `python` without a path: an `upgrade` is recorded against the indexes that those before it on the page have
  left, and its `downgrade` must lead back; anything else is a program and run.
- `json`, `toml` and `yaml` must be valid.
- `<!-- doc-test: not run: reason -->` before a block: its commands are not run.

The commands of the README are started as they are installed, those of all other pages by `warm_commands`.

The pages' server redis://127.0.0.1:7379 is the test server here, /home/ada the temporary folder, ada@laptop
whoever runs the test. Ids of 12 hex digits are those of this run.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
import yaml
from doc_output import HOME, URL, Ids
from doc_pages import PAGES, ROOT, Block, anchors_of, blocks_of, commands_of, links_of

from redismigrate.operations.operation_types import Irreversible
from redismigrate.operations.script_calls import record
from redismigrate.schema.compare import canonical
from redismigrate.schema.definition import Catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

PARSERS: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "toml": tomllib.loads,
    "yaml": yaml.safe_load,
}
INSTALLED = Path(sys.executable).parent
END = "the command has ended with"
# What bash says about a process that was killed, where a terminal shows the last word but one.
KILLED = re.compile(r"^\S*bash: line \d+: +\d+ Killed .*$", re.MULTILINE)
FORGOTTEN = re.compile(r"REDISMIGRATE_(?!SERVER$)|PYTEST|COLUMNS$|EDITOR$|VISUAL$")


class Reader:
    """Someone who follows a page.

    Args:
        home: An empty folder.
        url: The test server.
        commands: The folder with the reader's `redismigrate`.
    """

    def __init__(self, home: Path, url: str, commands: Path = INSTALLED) -> None:
        self._home, self._url = home, url
        self._folder = home
        self._ids = Ids()
        self._catalog = Catalog()
        environment = {name: value for name, value in os.environ.items() if not FORGOTTEN.match(name)}
        # Unbuffered, so that errors keep their place.
        path = os.pathsep.join([str(commands), str(INSTALLED), os.environ["PATH"]])
        self._bash = subprocess.Popen(
            ["/bin/bash", "--noprofile", "--norc"],
            cwd=home,
            env={**environment, "PATH": path, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        if block.language in PARSERS:
            PARSERS[block.language](block.text)
        if block.title is not None:
            self._write(block.title, block.text)
        elif block.reason_not_run is not None:
            return
        elif block.language == "console":
            self._follow_console(block)
        elif block.language == "bash":
            self.run(f"(set -e\n{block.text}\n)")
        elif block.language == "python" and "def upgrade(" in block.text:
            self._record(block.text)
        elif block.language == "python":
            self.run(f"python - <<'END OF PROGRAM'\n{block.text}\nEND OF PROGRAM")

    def run(self, script: str) -> None:
        """Run a script of bash where the page has led to; it must end with 0."""
        code, printed = self._type(script)
        assert code == 0, printed

    def leave(self) -> None:
        """End bash."""
        self._bash.communicate("exit\n", timeout=30)

    def _follow_console(self, block: Block) -> None:
        commands = commands_of(block)
        for command, following in zip(commands, (*commands[1:], None), strict=True):
            code, printed = self._type(command.text)
            self._ids.compare(command.output, printed)
            if following is None or following.text != "echo $?":
                assert code == 0, f"`{command.text}` ended with {code}:\n{printed}"

    def _type(self, command: str) -> tuple[int, str]:
        """Run a command in the page's bash; its exit code and what it printed, in the words of the page."""
        typed = self._ids.in_this_run(command).replace(URL, self._url)
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        # The last part gives `echo $?` what it asks for.
        self._bash.stdin.write(
            f"{{ {typed}\n}} </dev/null 2>&1\ncode=$?; echo; echo {END} $code; pwd; (exit $code)\n"
        )
        self._bash.stdin.flush()
        printed = ""
        for line in self._bash.stdout:
            if line.startswith(END):
                self._folder = Path(self._bash.stdout.readline().rstrip("\n"))
                printed = printed.replace(self._url, URL).replace(str(self._home), HOME)
                return int(line.removeprefix(END)), KILLED.sub("Killed", printed)
            printed += line
        raise AssertionError(f"bash ended in `{typed}`:\n{printed}")

    def _write(self, title: str, text: str) -> None:
        file = self._folder / self._ids.in_this_run(title)
        text = self._ids.in_this_run(text).replace(URL, self._url) + "\n"
        if file.exists() and file.parent.name == "versions" and "\nrevision = " not in text:
            text = filled_in(file.read_text(encoding="utf-8"), text)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def _record(self, script: str) -> None:
        functions: dict[str, Any] = {}
        exec(compile(script, "page", "exec"), functions)  # noqa: S102 - what the page says
        before = self._catalog
        self._catalog = record(functions["upgrade"], before, "page").catalog
        if "downgrade" in functions:
            back = record(functions["downgrade"], self._catalog, "page")
            if not any(isinstance(operation, Irreversible) for operation in back.recorded):
                assert indexes(back.catalog) == indexes(before)


def filled_in(script: str, part: str) -> str:
    """A migration script with what a part has instead of the script's functions of the same names."""
    named = {node.name for node in ast.parse(part).body if isinstance(node, ast.FunctionDef)}
    lines = script.splitlines()
    for node in reversed(ast.parse(script).body):
        if isinstance(node, ast.FunctionDef) and node.name in named:
            del lines[node.lineno - 1 : node.end_lineno]
    return "\n".join([*lines, "", part])


def indexes(catalog: Catalog) -> dict[str, tuple[Any, ...]]:
    """Indexes to compare: the order of fields does not matter."""
    return {name: (canonical(d.schema), d.aliases, d.synonyms) for name, d in catalog.items()}


@pytest.fixture
def reader(tmp_path: Path, redis_url: str, warm_commands: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path.resolve(), redis_url, warm_commands)
    yield reader
    reader.leave()


# What a newcomer reads, one after the other, and tries on one Redis.
FIRST_PAGES = (ROOT / "README.md", ROOT / "docs" / "tutorial.md")


def is_followed(page: Path) -> bool:
    return page not in FIRST_PAGES and any(block.language or block.title for block in blocks_of(page))


def follow(page: Path, reader: Reader) -> None:
    """Do what a page says, and see what it shows."""
    for block in blocks_of(page):
        try:
            reader.follow(block)
        except AssertionError as error:
            raise AssertionError(f"{page.relative_to(ROOT)}, block at line {block.line}: {error}") from error


# What a page shows of one kind of server, by the name of its file.
OF_SERVERS = {
    "bring-an-existing-index.md": pytest.mark.needs("small indexes"),
    "re-encode-vectors.md": pytest.mark.lacks("integer vectors"),
}


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=str(page.relative_to(ROOT)), marks=OF_SERVERS.get(page.name, ()))
        for page in PAGES
        if is_followed(page)
    ],
)
def test_a_page_shows_what_happens(page: Path, reader: Reader):
    follow(page, reader)


def test_the_first_pages_show_what_happens_one_after_the_other_on_one_server(
    tmp_path: Path, redis_url: str, client: redis.Redis, warm_commands: Path
):
    readers = []
    for page, place in zip(FIRST_PAGES, (INSTALLED, warm_commands), strict=True):
        home = tmp_path / page.stem
        home.mkdir()
        readers.append(Reader(home.resolve(), redis_url, place))
        follow(page, readers[-1])
    client.flushall()
    # Where each of them has ended, a colleague, or CI, brings an empty Redis to the head by the one command.
    for reader in readers:
        reader.run("redismigrate upgrade head && redismigrate check")
        reader.leave()


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_the_links_of_a_page_lead_somewhere(page: Path):
    for target in links_of(page):
        path, _, fragment = target.partition("#")
        if "://" in path:
            continue
        linked = (page.parent / unquote(path)).resolve() if path else page
        assert linked.exists(), f"{page.relative_to(ROOT)} links to {target}"
        if fragment:
            assert fragment in anchors_of(linked), f"{page.relative_to(ROOT)} links to {target}"


def test_the_index_leads_to_every_page():
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in links_of(index)}
    assert set(PAGES) - linked - {index} == set()


def test_what_is_not_run_is_said_to_be_so_for_a_reason():
    reasons = [block.reason_not_run for page in PAGES for block in blocks_of(page) if block.reason_not_run]
    assert len(reasons) <= 6, reasons


def test_an_id_on_a_page_stands_for_one_id_of_the_run():
    ids = Ids()
    ids.compare(
        ("Wrote 8f3a1c9b2d4e_x.py", "base -> 8f3a1c9b2d4e"), "Wrote 0a1b2c3d4e5f_x.py\nbase -> 0a1b2c3d4e5f"
    )
    assert ids.in_this_run("show 8f3a1c9b2d4e") == "show 0a1b2c3d4e5f"
    with pytest.raises(AssertionError, match="the page shows"):
        ids.compare(("8f3a1c9b2d4e",), "ffffffffffff")


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("Applied 1 revision in 0.13 s.", "Applied 2 revisions in 0.13 s."),
        ("one", "one\ntwo"),
        ("one\ntwo", "one"),
        ("one\n…\nthree", "one\ntwo"),
    ],
)
def test_output_that_a_page_does_not_show_is_noticed(shown: str, printed: str):
    with pytest.raises(AssertionError, match="the page"):
        Ids().compare(tuple(shown.splitlines()), printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("1,000 0.3 s 5 MB", "1,000 <0.1 s 5 MB"),
        ("1,000 <0.1 s 5 MB", "1,000  12.5 s  5 MB"),
        ("in 0.13 s, 2026-11-20 15:40:15", "in 12.5 s, 2027-01-02 03:04:05"),
        ("step    takes", "step  takes"),
        ("one\n…\nthree", "one\ntwo\ntwo and a half\nthree"),
        ("by ada@laptop, process 12", "by ci@runner-7, process 4711"),
    ],
)
def test_what_differs_from_run_to_run_does_not_matter(shown: str, printed: str):
    Ids().compare(tuple(shown.splitlines()), printed)
