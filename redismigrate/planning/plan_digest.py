"""The digest of a plan: what is to be done, how, and to which definitions, but no counts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from redismigrate.planning.plan import RevisionPlan, Step
from redismigrate.schema.definition import IndexDefinition


def digest_of_plans(plans: Sequence[RevisionPlan], met: Mapping[str, IndexDefinition | None]) -> str:
    """SHA-256 over what is to be done, how, and the definitions it meets, as hex digits.

    A script's text counts only where it runs functions: what they do stands nowhere else.

    Args:
        plans: The revisions, in order.
        met: Served name -> the definition on the server before the first of them.
    """
    revisions = []
    for plan in plans:
        recorded = _plain(RevisionPlan(recorded=plan.recorded, steps=()))["recorded"]
        recorded.pop("squashes", None)  # records of before
        runs_functions = any(step.kind == "run_function" for step in plan.steps)
        for script in (recorded, *recorded.get("folded", ())):
            del script["sha256"]  # another checkout of the same script is the same plan
            if not runs_functions:
                del script["code_sha256"]
        revisions.append([recorded, [(step.kind, step.index, step.strategy) for step in plan.steps]])
    definitions = {
        name: None if definition is None else _plain(Step(kind="claim_index", before=definition))["before"]
        for name, definition in met.items()
    }
    text = json.dumps([revisions, definitions], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(model: BaseModel) -> dict[str, Any]:
    # Not mode="json": that replaces what is not UTF-8 in the keys of mappings.
    return model.model_dump()
