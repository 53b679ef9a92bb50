"""Backups and runs of versions that kept no digests: verified, taken up, undone, restored."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from redismigrate.schema import IndexSchema
from redismigrate.schema.create import create_arguments

if TYPE_CHECKING:
    import redis
    from conftest import Shop

# Made with the version before, by a user ada on a host web-1: a folder each, with backups, scripts, and what
# the server held before and after. Of integers, which this server has no index for, without a record.
STORED = Path(__file__).parents[1] / "older_backups"
FINISHED = ("float16", "float16_beside", "bfloat16", "back_to_float32", "json_rename")


def documents(client: redis.Redis) -> dict[str, Any]:
    """All hashes and JSON documents, as the stored ones are written down."""
    found: dict[str, Any] = {}
    for key in sorted(client.scan_iter("p:*")):
        if client.type(key) == b"hash":
            values = client.hgetall(key).items()
            found[key.decode()] = {
                "hash": {name.decode(): base64.b64encode(value).decode() for name, value in values}
            }
        else:
            found[key.decode()] = {"json": client.execute_command("JSON.GET", key).decode()}
    return found


class Older:
    """What an older version has left, on the server and in the project's folder."""

    def __init__(self, shop: Shop, name: str) -> None:
        stored = json.loads((STORED / name / "server.json").read_text(encoding="utf-8"))
        self.before: dict[str, Any] = stored["before"]
        self.after: dict[str, Any] = {
            key: value for key, value in stored["after"].items() if key.startswith("p:")
        }
        self.run: str = stored["run"]
        shutil.copytree(STORED / name / "backups", shop.folder / "redismigrate-backups")
        if (STORED / name / "versions").is_dir():
            shutil.copytree(
                STORED / name / "versions", shop.folder / "migrations/versions", dirs_exist_ok=True
            )
        for key, held in stored["after"].items():
            ((kind, value),) = held.items()
            if kind == "hash":
                values = {name: base64.b64decode(text) for name, text in value.items()}
                shop.client.hset(key, mapping=values)  # type: ignore[arg-type]
            elif kind == "json":
                shop.client.execute_command("JSON.SET", key, "$", value)
            else:
                shop.client.set(key, value)
        # A run that was cut off while its index was down has none.
        indexes = {} if name.endswith("interrupted") else (shop.state("indexes") or {}).get("indexes", {})
        for served, recorded in indexes.items():
            schema = IndexSchema.model_validate(recorded["schema"])
            shop.client.execute_command(*create_arguments(schema, name=recorded["physical"]))
            if recorded["physical"] != served:
                shop.client.execute_command("FT.ALIASADD", served, recorded["physical"])
        shop.wait_until_indexed()


def put_back(shop: Shop, *arguments: str) -> None:
    folder = str(shop.folder / "redismigrate-backups")
    result = shop.run("--json", *arguments, "--backup-dir", folder)
    assert result.code == 0, result.err + result.out


@pytest.mark.parametrize("name", [*FINISHED, "int8"])
def test_an_older_backup_is_verified_and_restored(shop: Shop, name: str):
    older = Older(shop, name)
    assert documents(shop.client) == older.after != older.before

    put_back(shop, "backup", "verify")
    put_back(shop, "backup", "restore", "--run", older.run, "--force")

    assert documents(shop.client) == older.before


@pytest.mark.parametrize("name", [*FINISHED, "float16_interrupted"])
def test_a_run_of_an_older_version_is_rolled_back(rebuilding: Shop, name: str):
    older = Older(rebuilding, name)

    put_back(rebuilding, "backup", "verify")
    put_back(rebuilding, "rollback", *(() if name == "float16_interrupted" else ("--run", older.run)))

    assert documents(rebuilding.client) == older.before


def test_a_run_that_an_older_version_was_cut_off_in_is_ended(rebuilding: Shop):
    older = Older(rebuilding, "float16_interrupted")

    result = rebuilding.run(
        "--json", "upgrade", "head", "--backup-dir", str(rebuilding.folder / "redismigrate-backups")
    )
    assert result.code == 0, result.err
    finished = json.loads((STORED / "float16" / "server.json").read_text(encoding="utf-8"))["after"]
    assert documents(rebuilding.client) == {k: v for k, v in finished.items() if k.startswith("p:")}

    put_back(rebuilding, "rollback", "--run", older.run)
    assert documents(rebuilding.client) == older.before
