"""A project whose one change gives documents other keys, and where its runs stand."""

from __future__ import annotations

import base64
import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import redis
from two_releases import Releases

from redismigrate import commands
from redismigrate.execution.run import Run
from redismigrate.state.keys import StateKeys

SCRIPT = '''"""{message}"""
revision = {revision!r}
down_revision = {down!r}
branch_labels = ()
depends_on = ()


def upgrade(op):
{upgrade}


def downgrade(op):
{downgrade}
'''
CREATED, CHANGED = "000000000001", "000000000002"
STATE = "{redismigrate:shop}"
Position = Literal["old", "new", "expanded", "interrupted", "undoing"]


class ProjectOnServer:
    """A project of two revisions: one creates the index `products`, one changes it.

    Args:
        folder: An empty one.
        url: The server.
        client: A client of it.
    """

    def __init__(self, folder: Path, url: str, client: redis.Redis) -> None:
        self.folder, self.client = folder, client
        self.has_lost_backups, self._lost_backups = False, b""
        (folder / "migrations" / "versions").mkdir(parents=True)
        (folder / "redismigrate.toml").write_text(
            f'project = "shop"\nscript_location = "migrations"\nurl = "{url}"\nbackup_dir = "backups"\n'
            "lock_timeout = 0.2\n"
        )

    @cached_property
    def project(self) -> commands.Project:
        """Read once its scripts are written."""
        return commands.Project.load(
            self.folder / "redismigrate.toml", {"backup_dir": str(self.folder / "backups")}
        )

    def upgrade(self, revision: str) -> None:
        """Without any disturbance."""
        commands.upgrade(self.project, revision)

    @property
    def run(self) -> Run | None:
        """The run in Redis."""
        run, progress = self.client.mget(f"{STATE}:run", f"{STATE}:progress")
        if run is None:
            return None
        content = json.loads(run) | json.loads(progress or b"{}")
        return Run.from_content(
            {n: v for n, v in content.items() if n not in {"version", "layout"}}, StateKeys("shop")
        )

    @property
    def is_changed(self) -> bool:
        """Whether the change is applied."""
        return CHANGED.encode() in (self.client.get(f"{STATE}:head") or b"")

    @property
    def last_run(self) -> str | None:
        """The run that finished last."""
        content = json.loads(self.client.get(f"{STATE}:last_run") or b"{}")
        return content.get("id") or content.get("run")

    def position(self) -> Position:
        """Where it stands."""
        run = self.run
        if run is None:
            return "new" if self.is_changed else "old"
        if run.rolls_back or run.failure is not None:
            return "undoing"
        return "expanded" if run.is_expanded else "interrupted"

    def lose_backups(self) -> None:
        """Take all backups away."""
        self._lost_backups = self.backups()
        self.has_lost_backups = True
        shutil.rmtree(self.folder / "backups", ignore_errors=True)

    def backups(self) -> bytes:
        """All bytes of all backups, of those that were lost, too."""
        return self._lost_backups + b"".join(
            path.read_bytes() for path in (self.folder / "backups").rglob("*") if path.is_file()
        )

    def rest(self, held: set[bytes], known: set[bytes]) -> list[str]:
        """What is wrong while no run is under way.

        Args:
            held: The documents that the index has to have.
            known: Others that are there.
        """
        wrong = [f"{key!r} is left" for key in self.client.scan_iter(f"{STATE}:copy:*", count=1000)]
        execute: Any = self.client.execute_command
        indexed = set(execute("FT.SEARCH", "products", "*", "NOCONTENT", "LIMIT", 0, 1000)[1:])
        wrong += [f"{key!r} is not found" for key in held - indexed if self.client.exists(key)]
        return wrong + [f"{key!r} is found" for key in (indexed - held) & known]

    def leftover_indexes(self) -> list[bytes]:
        """Those that nothing leads to."""
        execute: Any = self.client.execute_command
        serving = execute("FT.INFO", "products")[1]
        return [name for name in execute("FT._LIST") if name != serving]

    def write(self, revision: str, down: str | None, upgrade: list[str], downgrade: list[str]) -> None:
        """Write a script from the lines of its two functions."""
        text = SCRIPT.format(
            message=f"revision {revision}",
            revision=revision,
            down=down,
            upgrade="\n".join(f"    {line}" for line in upgrade),
            downgrade="\n".join(f"    {line}" for line in downgrade),
        )
        (self.folder / "migrations" / "versions" / f"{revision}.py").write_text(text)


class MovingProject(ProjectOnServer):
    """Its change gives documents other keys.

    Args:
        folder: An empty one.
        url: The server.
        releases: Who writes the documents.
        is_adopted: No revision made the index.
    """

    def __init__(self, folder: Path, url: str, releases: Releases, *, is_adopted: bool) -> None:
        super().__init__(folder, url, releases.client)
        self.is_adopted, self._releases = is_adopted, releases
        old, new = (prefix.decode() for prefix in releases.prefixes)
        before, after = releases.names
        is_json = releases.storage == "json"
        fields = [
            {"name": "title", "type": "text", **({"path": "$.title"} if is_json else {})},
            {"name": before, "type": "text", **({"path": f"$.meta.{before}"} if is_json else {})},
        ]
        options = {"name": "products", "prefix": old, "storage_type": releases.storage}
        there = [f"index.change_prefix({old!r}, {new!r})"]
        back = [f"index.change_prefix({new!r}, {old!r})"]
        if before != after:
            there.append(f"index.rename_field({before!r}, {after!r})")
            back.append(f"index.rename_field({after!r}, {before!r})")
        block = "with op.index('products') as index:"
        if not is_adopted:
            schema = {"index": options, "fields": fields}
            self.write(CREATED, None, [f"op.create_index({schema!r})"], ["op.drop_index('products')"])
        there, back = ([block, *(f"    {line}" for line in lines)] for lines in (there, back))
        self.write(CHANGED, None if is_adopted else CREATED, there, back)

    def create_index(self) -> None:
        """By the first revision, or by hand."""
        if not self.is_adopted:
            self.upgrade(CREATED)
            return
        names = ("title", self._releases.names[0])
        attributes = [[name, "TEXT"] for name in names]
        if self._releases.storage == "json":
            paths = ("$.title", f"$.meta.{names[1]}")
            attributes = [[path, "AS", name, "TEXT"] for path, name in zip(paths, names, strict=True)]
        words = ("ON", self._releases.storage.upper(), "PREFIX", "1", self._releases.prefixes[0], "SCHEMA")
        flat = [word for attribute in attributes for word in attribute]
        self.client.execute_command("FT.CREATE", "products", *words, *flat)

    @property
    def base(self) -> str:
        """What is applied before the change."""
        return "base" if self.is_adopted else CREATED


def names_in(*told: Any) -> set[str]:
    """All texts in results, errors and messages."""
    found: set[str] = set()
    left = list(told)
    while left:
        item = left.pop()
        if isinstance(item, str):
            found.add(item)
        elif isinstance(item, dict):
            if set(item) == {"base64"}:
                found.add(base64.b64decode(item["base64"]).decode("utf-8", "surrogateescape"))
            left += [*item, *item.values()]
        elif isinstance(item, list | tuple | set):
            left += item
        elif isinstance(item, Exception):
            left += [str(item), getattr(item, "documents", None)]
        elif hasattr(item, "to_json"):
            left.append(item.to_json())
        elif hasattr(item, "model_dump"):
            left.append(item.model_dump())
    return found
