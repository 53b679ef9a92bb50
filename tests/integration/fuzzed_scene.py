"""A project whose folder and Redis are put back as they were after each mutation."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from conftest import Shop
from fuzzing import Outcome, documents_in, files_below, run_in_process

from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.redis_server.inspection import list_indexes, read_index, resolve_alias
from redismigrate.schema.create import create_arguments

# A lock of somebody else is waited for so long.
SERVED = ("products",)
LOCK_TIMEOUT = "lock_timeout = 0.2\n"


class Scene:
    """A shop on a server of its own that can be saved and put back.

    Attributes:
        shop: The project.
        outside: The folder above it, in which nothing else may be written.
    """

    def __init__(self, shop: Shop, folder: Path) -> None:
        self.shop = shop
        self.outside = folder
        self._pristine = folder.parent / f"{folder.name}-pristine"
        self._below: dict[str, Any] = {}
        self._redis: Any = None
        self._dumps: dict[bytes, Any] = {}
        self._commands: list[list[Any]] = []

    def save(self) -> None:
        """Remember folder and Redis as they are now."""
        self.shop.wait_until_indexed()
        shutil.copytree(self.shop.folder, self._pristine, symlinks=True)
        client = self.shop.client
        self._dumps = {key: client.dump(key) for key in client.scan_iter(count=10_000)}
        self._commands = []
        for name in list_indexes(client.execute_command):
            index = read_index(client.execute_command, name)
            assert index is not None
            self._commands.append(create_arguments(index.schema, name=name))
        for served in SERVED:
            target = resolve_alias(client.execute_command, served)
            if target not in {None, served}:
                self._commands.append([b"FT.ALIASADD", served, target])
        self._redis = self._content()
        self._below = self._outside()

    def restore(self) -> None:
        """Put back what differs."""
        if self._content() != self._redis:
            self._restore_redis()
        shutil.rmtree(self.shop.folder)
        shutil.copytree(self._pristine, self.shop.folder, symlinks=True)

    def _restore_redis(self) -> None:
        client = self.shop.client
        client.flushall()  # drops the indexes, too
        for key, dump in self._dumps.items():
            client.restore(key, 0, dump)
        for command in self._commands:
            client.execute_command(*command)
        self.shop.wait_until_indexed()

    def run(self, *arguments: str) -> Outcome:
        """Run a command in the project's folder."""
        return run_in_process(arguments, self.shop.folder)

    def written_outside(self) -> list[str]:
        """What was written or removed beside the project since `save`."""
        now = self._outside()
        return [name for name in {**now, **self._below} if now.get(name) != self._below.get(name)]

    def state(self) -> dict[str, bytes]:
        """The documents of the state: every string, by its key."""
        client = self.shop.client
        keys = sorted(key for key in client.scan_iter(match="{redismigrate*", _type="string"))
        return {key.decode(): client.get(key) or b"" for key in keys}

    def _outside(self) -> dict[str, Any]:
        found = files_below(self.outside)
        own = self.shop.folder.name
        return {name: size for name, (size, _) in found.items() if name.split("/")[0] != own}

    def _content(self) -> Any:
        client = self.shop.client
        keys = sorted(client.scan_iter(count=10_000, match="{redismigrate*"))
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.dump(key)
        dumps = pipeline.execute()
        return documents_in(client), keys, dumps, client.execute_command("FT._LIST")


@contextmanager
def scene_on(folder: Path, server: EmbeddedServer) -> Iterator[Scene]:
    """A new shop on a server of its own, emptied before.

    Args:
        folder: For the project and what stands beside it.
        server: Started.
    """
    with redis.Redis.from_url(server.url, decode_responses=False, protocol=2) as client:
        client.flushall()
        project = folder / "shop"
        project.mkdir(parents=True)
        shop = Shop(project, server.url, client)
        assert shop.run("init", "migrations", "--url", server.url).code == 0
        configuration = project / "redismigrate.toml"
        configuration.write_text(LOCK_TIMEOUT + configuration.read_text())
        yield Scene(shop, folder)
