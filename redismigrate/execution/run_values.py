"""Types of the values that a run is made of, so that whatever stands in its record is one or damage."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from redismigrate.planning.step_life import CutoverChoice, OnFailure, Phase
from redismigrate.schema.strict import Count


def _is_moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return text


Moment = Annotated[str, AfterValidator(_is_moment)]
"""ISO 8601 with time zone."""


class Arguments(BaseModel):
    """The types of a run's options. Others may stand beside them: another version wrote those."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    strategy: str = "auto"
    phase: Phase = "all"
    on_failure: OnFailure = "undo"
    cutover: CutoverChoice = "together"
    allow_lossy: bool = False
    drop_field_ttls: bool = False
    exclusive: bool = False
    ignore_other_databases: bool = False
    postpone_cutover: bool = False
    max_failures: Count = 0
    max_latency_ms: float | None = None
    max_docs_per_second: float | None = None
    max_wait_seconds: float | None = None
    batch_size: Annotated[int, Field(ge=1, lt=2**31)] = 1
    workers: Annotated[int, Field(ge=1, lt=2**31)] = 1
    backup_dir: str = ""


# What no run can go on without.
NEEDED_ARGUMENTS = frozenset({"exclusive", "batch_size", "workers", "backup_dir"})
