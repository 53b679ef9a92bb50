"""Runs one migration of RedisVL, in an environment that has RedisVL and nothing of ours.

`redisvl_apply.py PORT INDEX CHANGES BACKUP_DIR [BATCH_SIZE]` takes the changes of a schema patch as JSON,
plans and applies them, and prints a JSON object with the seconds of its phases. Without BATCH_SIZE all is at
its defaults.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version

from redisvl.migration import (  # type: ignore[import-not-found, unused-ignore]
    MigrationExecutor,
    MigrationPlanner,
    SchemaPatch,
)


class StepTimes:
    """When each step was first and last heard of: the report leaves enumerating and dumping out."""

    def __init__(self) -> None:
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def note(self, step: str, _: str | None) -> None:
        """Be told by the executor that a step begins, goes on or ends."""
        self._last[step] = time.perf_counter()
        self._first.setdefault(step, self._last[step])

    def seconds(self, step: str) -> float:
        """Of a step, 0 if there was none."""
        return self._last.get(step, 0.0) - self._first.get(step, 0.0)


def main() -> None:
    """Plan, apply and print."""
    port, index, changes, backup_dir, *batch_size = sys.argv[1:]
    # RedisVL 0.28 reads the replies of RESP2 only, and redis-py 8 speaks RESP3 unless told.
    url = f"redis://127.0.0.1:{port}?protocol=2"
    started = time.perf_counter()
    patch = SchemaPatch(changes=json.loads(changes))
    plan = MigrationPlanner().create_plan_from_patch(index, schema_patch=patch, redis_url=url)
    planned = time.perf_counter()
    steps = StepTimes()
    settings = {"batch_size": int(batch_size[0])} if batch_size else {}
    report = MigrationExecutor().apply(
        plan, redis_url=url, progress_callback=steps.note, backup_dir=backup_dir, **settings
    )
    if report.result != "succeeded":
        raise SystemExit(f"RedisVL reports {report.result}: {report.validation.errors}")
    timings = report.timings
    phases = {
        "plan": planned - started,
        "enumerate": steps.seconds("enumerate"),
        "dump": steps.seconds("dump"),
        "convert": timings.quantize_duration_seconds or 0.0,
        "rename": (timings.field_rename_duration_seconds or 0.0)
        + (timings.key_rename_duration_seconds or 0.0),
        "index": timings.initial_indexing_duration_seconds or 0.0,
        "validate": timings.validation_duration_seconds or 0.0,
        "total": time.perf_counter() - started,
    }
    versions = {"RedisVL": version("redisvl"), "its redis-py": version("redis")}
    print(json.dumps({"seconds": phases, "versions": versions}))


if __name__ == "__main__":
    main()
