"""Runs one contestant once: a fresh server, the documents, the migration, a look at what became of them."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from benchmark_cases import CASES, Case, Contestant
from benchmark_documents import INDEX, PREFIX, SCHEMA_FIELDS, Documents, require_hashes
from measured_process import MeasuredProcess, run_measured
from raw_connection import RawConnection, require_no_error
from search_prober import ProbedSearch, probed

from redismigrate.history.script_writer import write_script
from redismigrate.history.templates import template_folder
from redismigrate.redis_server.embedded import EmbeddedServer

_HERE = Path(__file__).parent
_ENTRY_POINT = str(Path(sys.executable).with_name("redismigrate"))
_BASELINE, _MEASURED = "000000000001", "000000000002"
_BEST_BATCH_SIZE = "1000"
# Redis frees the memory of a dropped or replaced index for a second or two after it has said so.
_SETTLING_SECONDS = 2.0


@dataclass(frozen=True)
class Outcome:
    """What one run took.

    Attributes:
        documents_seconds: Enumerate, read, back up, convert or rename, write.
        total_seconds: From planning to the end of the validation; None where only documents are changed.
        peak_bytes: Of the migrating process; None for one that is no migration.
        search: What a prober saw, if one watched.
        phases: Seconds by the contestant's own names; `index` is the wait for the server to build the index.
        versions: Of the packages that did it.
    """

    documents_seconds: float
    total_seconds: float | None
    peak_bytes: int | None
    search: ProbedSearch | None
    phases: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def own_seconds(self) -> float | None:
        """The total without what the server needs to build the index, whoever asks for it."""
        return None if self.total_seconds is None else self.total_seconds - self.phases["index"]


def run_contestant(
    contestant: Contestant,
    case_name: str,
    documents: Documents,
    redisvl_python: Path,
    *,
    is_probed: bool,
    entry_point: Sequence[str] = (_ENTRY_POINT,),
) -> Outcome:
    """Run one contestant on a fresh server.

    Args:
        contestant: Who.
        case_name: One of `CASES`.
        documents: What is migrated.
        redisvl_python: The interpreter that has RedisVL.
        is_probed: Whether to watch the search; the prober slows the migration a little.
        entry_point: How redismigrate is started, with the absolute path of a program.

    Raises:
        RuntimeError: The migration failed, or did not do what it should.
    """
    case = CASES[case_name]
    with tempfile.TemporaryDirectory() as name, EmbeddedServer(port=0) as server:
        port, folder = urlsplit(server.url).port, Path(name)
        assert port is not None
        connection = RawConnection(port)
        documents.load(connection)
        if contestant == "raw loop":
            arguments = [str(port), case_name, str(documents.count)]
            command = [sys.executable, str(_HERE / "raw_loop.py"), *arguments]
        elif contestant.startswith("RedisVL"):
            documents.create_index(connection)
            arguments = [str(port), INDEX, json.dumps(case.redisvl_changes), str(folder / "backups")]
            arguments += [] if contestant.endswith("defaults") else [_BEST_BATCH_SIZE]
            command = [str(redisvl_python), str(_HERE / "redisvl_apply.py"), *arguments]
        else:
            _write_project(folder, case, documents.dims)
            redismigrate = [*entry_point, "--url", server.url]
            run_measured([*redismigrate, "upgrade", _BASELINE], folder)
            strategy = "auto" if contestant.endswith("search up") else "rebuild"
            arguments = ["--strategy", strategy, "--backup-dir", str(folder / "backups")]
            arguments += ["--exclusive"] if contestant.endswith("--exclusive") else []
            command = [*redismigrate, "upgrade", "head", "--json", *arguments]
        time.sleep(_SETTLING_SECONDS)
        with probed(port, INDEX, documents.count, case.queries) if is_probed else nullcontext() as search:
            process = run_measured(command, folder)
        outcome = _outcome(contestant, process, search)
        _require_migrated(connection, case, documents, has_index=contestant != "raw loop")
        connection.close()
    return outcome


def server_versions() -> dict[str, str]:
    """The versions of the server that all of them run on, and of its Search module."""
    with EmbeddedServer(port=0) as server:
        connection = RawConnection(urlsplit(server.url).port or 0)
        info, modules = connection.ask("INFO", "server"), connection.ask("MODULE", "LIST")
        connection.close()
    require_no_error([info, modules])
    redis_version = next(
        line.partition(":")[2] for line in info.decode().splitlines() if line.startswith("redis_version:")
    )
    numbers = {module[1]: int(module[3]) for module in modules}
    search = numbers[b"search"]
    return {"Redis": redis_version, "RediSearch": f"{search // 10_000}.{search // 100 % 100}.{search % 100}"}


def _write_project(folder: Path, case: Case, dims: int) -> None:
    settings = 'project = "shop"\nscript_location = "migrations"\n'
    (folder / "redismigrate.toml").write_text(settings, encoding="utf-8")
    vector = {"algorithm": "flat", "datatype": "float32", "dims": dims, "distance_metric": "cosine"}
    schema = {
        "index": {"name": INDEX, "prefix": PREFIX},
        "fields": [*SCHEMA_FIELDS, {"name": "embedding", "type": "vector", "attrs": vector}],
    }
    template, versions = template_folder("generic"), folder / "migrations" / "versions"
    write_script(
        template,
        versions,
        revision=_BASELINE,
        message="products",
        down_revisions=(),
        create_date=datetime.now(UTC),
        upgrade_lines=(f"op.create_index({schema!r})",),
        downgrade_lines=(f"op.drop_index({INDEX!r})",),
    )
    write_script(
        template,
        versions,
        revision=_MEASURED,
        message=case.title,
        down_revisions=(_BASELINE,),
        create_date=datetime.now(UTC),
        upgrade_lines=case.upgrade,
        downgrade_lines=case.downgrade,
    )


def _outcome(contestant: Contestant, process: MeasuredProcess, search: ProbedSearch | None) -> Outcome:
    if contestant == "raw loop":
        return Outcome(float(process.stdout), None, None, search)
    result = json.loads(process.stdout)
    seconds: dict[str, float] = result["seconds"]
    if contestant.startswith("RedisVL"):
        documents = sum(seconds[phase] for phase in ("enumerate", "dump", "convert", "rename"))
        versions: dict[str, str] = result["versions"]
    else:
        documents, versions = seconds["documents"], {}
    return Outcome(documents, seconds["total"], process.peak_bytes, search, seconds, versions)


def _require_migrated(
    connection: RawConnection, case: Case, documents: Documents, *, has_index: bool
) -> None:
    require_hashes(connection, [case.migrated(key, document) for key, document in documents.sample])
    if has_index:
        documents.require_indexed(connection, case.queries[-1])
