"""Runs that an earlier version has left on a server, as text.

`python tests/integration/stored_runs.py VERSION` takes them, with the plans that this version has written,
and puts them into `data/runs_VERSION`. They are taken once, before the form of a run changes, and stay: later
versions have to end these runs. A file has the state's keys, the documents, the commands that make the
indexes, and the files of backups.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from document_scenarios import SCENARIOS, Scenario, Stage, set_stage
from signalled_process import KILLED, Verb, kill_at

from redismigrate import commands
from redismigrate.backup.manifest import MANIFEST, Manifest, dump_manifest
from redismigrate.config import DEFAULT_BACKUP_DIR
from redismigrate.redis_server.embedded import EmbeddedServer
from redismigrate.redis_server.inspection import list_indexes, read_index, resolve_alias
from redismigrate.schema.create import create_arguments
from redismigrate.state.lock import signature

if TYPE_CHECKING:
    from conftest import Shop

DATA = Path(__file__).with_name("data")
# Enough for documents without a vector, without a title, with any bytes in their key, and that expire.
DOCUMENTS = 12
HOST, FOLDER, SOMEBODY = "@HOST@", "@FOLDER@", "somebody@somewhere, redismigrate"
_NAMES = re.compile(r"\bproducts(?:__[0-9a-f]{12}_\w+)?\b")
_PASSING = (b":lock", b":journal", b":follower", b":control")
FUNCTION = Scenario(
    (
        (
            (
                'op.run(lambda client: client.set("counted", 1), lambda client: client.delete("counted"))',
                "index.set_options(stopwords=['und'])",
            ),
            ("index.set_options(stopwords=None)",),
        ),
    ),
    "shadow",
)


@dataclass(frozen=True)
class Case:
    """A run that was interrupted, or came to its end.

    Attributes:
        scenario: Its history, see `document_scenarios`; "function" has an `op.run`.
        before: The kind of step before which its process was killed; None where it was not.
        verb: What it did; a rollback is one of an upgrade that was interrupted before `upgraded_to`.
        upgraded_to: Before which step the upgrade ended that is rolled back.
    """

    scenario: str
    before: str | None
    verb: Verb = "upgrade"
    upgraded_to: str | None = None

    @property
    def name(self) -> str:
        """Of its file."""
        words = (self.scenario, self.verb, "finished" if self.before is None else f"before {self.before}")
        return "_".join(words).replace(" ", "_")


CASES = (
    Case("float16", "create_index"),
    Case("float16", None),
    Case("float16 beside", "swap_alias"),
    Case("float16 beside", "remove_documents"),
    Case("float16 beside", "remove_documents", "rollback", "swap_alias"),
    Case("prefix beside", "swap_alias"),
    Case("prefix beside", "remove_documents"),
    Case("prefix beside", None),
    Case("rename", "create_index"),
    Case("function", "swap_alias"),
)


def stage(shop: Shop, name: str, *, rehearses: bool) -> Stage:
    """The project of a case with the base applied, see `set_stage`."""
    SCENARIOS["function"] = FUNCTION
    try:
        return set_stage(shop, name, DOCUMENTS, rehearses=rehearses)
    finally:
        del SCENARIOS["function"]


def stored(version: str, case: Case) -> Any:
    """What stands in the file of a case."""
    return json.loads((DATA / f"runs_{version}" / f"{case.name}.json").read_text(encoding="utf-8"))


def put(shop: Shop, content: Any) -> None:
    """Leave the server and the backups as an earlier version has left them; the server is empty before."""
    shop.client.flushall()
    for key, document in content["state"].items():
        shop.client.set(key.encode("latin-1"), _filled(document, shop))
    for key, (fields, expires, fields_expire) in content["documents"].items():
        name = key.encode("latin-1")
        if isinstance(fields, str):
            shop.client.set(name, fields.encode("latin-1"))
        else:
            shop.client.hset(name, mapping={_bytes(field): _bytes(value) for field, value in fields.items()})
        if expires >= 0:
            shop.client.pexpireat(name, expires)
        for field, moment in fields_expire.items():
            shop.client.hpexpireat(name, moment, _bytes(field))
    for command in content["indexes"]:
        shop.client.execute_command(*map(_bytes, command))
    for path, data in content["backups"].items():
        file = shop.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        is_text = file.name == MANIFEST
        file.write_bytes(data.encode() if is_text else base64.b64decode(data))
    shop.wait_until_indexed()


def _filled(document: Any, shop: Shop) -> bytes:
    if isinstance(document, str):
        return document.encode("latin-1")
    text = json.dumps(document)
    return text.replace(HOST, socket.gethostname()).replace(FOLDER, str(shop.folder)).encode()


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")


def take(shop: Shop) -> dict[str, Any]:
    """What stands on the server and in the backups now, as `put` takes it."""
    shop.wait_until_indexed()
    state: dict[str, Any] = {}
    documents: dict[str, Any] = {}
    for key in sorted(shop.client.scan_iter(count=10_000)):
        if key.startswith(b"{redismigrate"):
            if not key.endswith(_PASSING):
                state[key.decode("latin-1")] = _without_place(shop.client.get(key), shop)
        else:
            documents[key.decode("latin-1")] = _document(shop, key)
    return {
        "state": state,
        "documents": documents,
        "indexes": _indexes(shop, state),
        "backups": _backups(shop),
    }


def _without_place(text: bytes, shop: Shop) -> Any:
    """A document without the names of this machine, its folders and whoever works on it."""
    try:
        found = json.loads(text)
    except ValueError:
        return text.decode("latin-1")
    if not isinstance(found, dict):
        return text.decode("latin-1")
    host = socket.gethostname()
    plain = json.dumps(found).replace(f"{host}:{shop.folder}", f"{HOST}:{FOLDER}")
    plain = plain.replace(str(shop.folder), FOLDER).replace(f'"host": "{host}"', f'"host": "{HOST}"')
    plain = plain.replace(signature(), SOMEBODY)
    return json.loads(plain)


def _document(shop: Shop, key: bytes) -> tuple[Any, int, dict[str, int]]:
    client: Any = shop.client
    if client.type(key) == b"string":
        return client.get(key).decode("latin-1"), client.pexpiretime(key), {}
    fields = client.hgetall(key)
    moments = client.hpexpiretime(key, *fields)
    return (
        {name.decode("latin-1"): value.decode("latin-1") for name, value in fields.items()},
        client.pexpiretime(key),
        {name.decode("latin-1"): moment for name, moment in zip(fields, moments, strict=True) if moment >= 0},
    )


def _indexes(shop: Shop, state: dict[str, Any]) -> list[list[str]]:
    execute = shop.client.execute_command
    made: list[list[Any]] = []
    names = list_indexes(execute)
    for name in sorted(names):
        live = read_index(execute, name)
        assert live is not None
        made.append(list(create_arguments(live.schema, name=name)))
        made += [["FT.SYNUPDATE", name, group, *terms] for group, terms in live.synonyms.items()]
    for alias in sorted({"catalog", *_NAMES.findall(json.dumps(state))} - set(names)):
        target = resolve_alias(execute, alias)
        if target is not None:
            made.append(["FT.ALIASADD", alias, target])
    return [
        [word.decode("latin-1") if isinstance(word, bytes) else str(word) for word in command]
        for command in made
    ]


def _backups(shop: Shop) -> dict[str, str]:
    found = {}
    for file in sorted((shop.folder / DEFAULT_BACKUP_DIR).rglob("*")):
        if file.is_file():
            path = str(file.relative_to(shop.folder))
            if file.name == MANIFEST:
                content = json.loads(file.read_bytes())
                del content["sha256"]
                found[path] = dump_manifest(Manifest(**{**content, "host": "somewhere"})).decode()
            else:
                found[path] = base64.b64encode(file.read_bytes()).decode()
    return found


def _interrupt(made: Stage, case: Case) -> None:
    if case.before is None:
        made.run("upgrade", "head")
        return
    project = commands.Project.load(made.shop.folder / "redismigrate.toml")
    options = made.scenario.options
    steps = commands.plan(project, "head", "upgrade", options).revisions[0].steps
    kinds = [step.kind for step in steps]
    first = case.upgraded_to or case.before
    assert kill_at(made.shop, "upgrade", "head", kinds.index(first) + 1, options=options) == KILLED
    if case.verb == "rollback":
        for at in range(len(kinds)):
            killed = kill_at(made.shop, "rollback", "", 1 if at == 0 else 2, "undo step", options=options)
            assert killed == KILLED
            run, progress = made.shop.state("run"), made.shop.state("progress")
            assert run is not None
            if run["undo"][{**run, **(progress or {})}["position"]]["kind"] == case.before:
                return
        raise AssertionError("no such step")


def _made(case: Case, server: EmbeddedServer) -> tuple[dict[str, Any], str]:
    """A case, and the plan of its upgrade as it was written."""
    from conftest import Shop

    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(redis.Redis.from_url(server.url, decode_responses=False, protocol=2)) as client,
    ):
        client.flushall()
        shop = Shop(Path(folder).resolve() / "shop", server.url, client)
        shop.folder.mkdir()
        assert shop.run("init", "migrations", "--url", server.url).code == 0
        made = stage(shop, case.scenario, rehearses=False)
        result = shop.run("plan", "head", *made.scenario.flags[:-4], "-o", "plan.yaml")
        assert result.code == 0, result.err
        plan = (shop.folder / "plan.yaml").read_text(encoding="utf-8")
        _interrupt(made, case)
        return take(shop), plan


def main(version: str) -> None:
    """Take all cases and plans of a version."""
    folder = DATA / f"runs_{version}"
    folder.mkdir(parents=True)
    with EmbeddedServer() as server:
        for case in CASES:
            content, plan = _made(case, server)
            parts = (f"{json.dumps(name)}: {json.dumps(part)}" for name, part in content.items())
            text = "{" + ",\n".join(parts) + "}"
            assert socket.gethostname() not in text
            (folder / f"{case.name}.json").write_text(text + "\n", encoding="utf-8")
            (folder / f"{case.scenario.replace(' ', '_')}_plan.yaml").write_text(plan, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
