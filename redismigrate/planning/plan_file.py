"""A plan as JSON and YAML: to be reviewed, and to be compared with the one that is carried out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from redismigrate.errors import ConfigurationError, PlanBlocked
from redismigrate.foreign_documents import (
    UnreadableDocument,
    UnreadableFile,
    parse_json,
    parse_yaml,
    read_text,
)
from redismigrate.planning.plan import Plan, RevisionPlan, Step
from redismigrate.schema.redisvl import schema_to_redisvl

# Of all the rest of the file: what was edited by hand or half copied was not reviewed.
_DIGEST = "content_sha256"
# A chain of thousands of revisions has some.
_MOST_VALUES = 10_000_000
_MAKE_ONE = "Make one with `redismigrate plan -o plan.yaml`."
# What of a step says what it does, and not what it costs.
_OF_STEP = ("kind", "index", "strategy", "alias", "rewrite", "schema")


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON data, in the shape that `plan --json` promises."""
    return {
        "project": plan.project,
        "direction": plan.direction,
        "target": plan.target,
        "digest": plan.digest,
        "blocked": list(plan.blocked),
        "warnings": list(plan.warnings),
        "summary": None if plan.summary is None else plan.summary.model_dump(),
        "revisions": [
            {
                "revision": item.revision,
                "message": item.recorded.message,
                **_fold_to_json(plan, item),
                "operations": [str(operation) for operation in item.recorded.operations],
                "warnings": list(item.warnings),
                "blocked": list(item.blocked),
                "obstacles": [obstacle.model_dump() for obstacle in item.obstacles],
                "expected": [
                    {"index": look.index, "expectation": str(look.expectation), "found": look.found}
                    for look in item.looks
                ],
                "steps": [_step_to_json(step) for step in item.steps],
                "alternatives": [alternative.model_dump() for alternative in item.alternatives],
            }
            for item in plan.revisions
        ],
    }


def _fold_to_json(plan: Plan, item: RevisionPlan) -> dict[str, Any]:
    """Of a fold its revisions and what it saves; nothing of a revision that stands for itself."""
    saving = plan.savings.get(item.revision)
    if saving is None:
        return {}
    return {"folded": list(item.ids), "saves": saving.model_dump()}


def _step_to_json(step: Step) -> dict[str, Any]:
    """A step for review: what it is and costs, and the schema that it makes, in RedisVL's form."""
    document: dict[str, Any] = {
        "kind": step.kind,
        "index": step.index,
        "strategy": step.strategy,
        "description": step.description,
        "estimate": step.estimate.model_dump(),
        "rollback": step.rollback,
    }
    if step.alias is not None:
        document["alias"] = step.alias
    if step.documents is not None and step.kind == "rewrite_documents":
        done = step.documents.model_dump()
        document |= {"rewrite": done["rewrite"], "quantizations": done["quantizations"]}
    if step.checks is not None:
        document["expectations"] = [str(each) for each in step.checks.expectations]
    if step.life.has("changes_index"):
        document["schema"] = None if step.after is None else schema_to_redisvl(step.after.schema)
    return document


def write_plan(plan: Plan, file: Path) -> None:
    """Write the plan as YAML, with a digest over all that stands there."""
    import yaml

    content = plan_to_json(plan)
    sealed = content | {_DIGEST: _content_digest(content)}
    # Letters stay letters where they come back as they were: some YAML takes for ends of lines, or for none.
    texts = (yaml.safe_dump(sealed, sort_keys=False, allow_unicode=allows) for allows in (True, False))
    text = next((text for text in texts if _reads_as(text, content)), "")
    try:
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ConfigurationError(f"Can't write the plan to {file}: {error.strerror}.") from error


def _reads_as(text: str, content: dict[str, Any]) -> bool:
    """Whether a file of some text gives a content back."""
    data = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    try:
        found = parse_yaml(data, _MOST_VALUES)
        return _bytes_of({name: found[name] for name in content}) == _bytes_of(content)
    except (UnreadableDocument, ValueError, TypeError, KeyError):
        return False


def read_plan(file: Path) -> dict[str, Any]:
    """The content of a plan that was written to a file, as `plan_to_json` gives it.

    Raises:
        ConfigurationError: It is no plan of ours.
        PlanBlocked: It was edited since, so what was reviewed is not what would run.
    """
    try:
        content = parse_yaml(read_text(file), _MOST_VALUES)
    except UnreadableFile as error:
        raise ConfigurationError(f"Can't read the plan {file}: {error.reason}.", _MAKE_ONE) from error
    except UnreadableDocument as error:
        raise ConfigurationError(
            f"{file} is no plan of redismigrate. It {error.problem}.", _MAKE_ONE
        ) from error
    if not isinstance(content, dict) or not {"digest", "revisions", _DIGEST} <= content.keys():
        raise ConfigurationError(f"{file} is no plan of redismigrate.", _MAKE_ONE)
    written = content.pop(_DIGEST)
    try:
        is_as_written = written == _content_digest(content)
    except (TypeError, ValueError):  # YAML has values and keys that no plan has
        is_as_written = False
    if not is_as_written:
        raise PlanBlocked(
            f"The plan in {file} was edited since it was written: it is not what would run.",
            "Change the scripts instead, make a new one with `redismigrate plan -o FILE` and look at it.",
        )
    return content


def is_same_plan(reviewed: dict[str, Any], plan: Plan) -> bool:
    """Whether a plan does what a reviewed one says; what it costs is measured anew, and may differ.

    Args:
        reviewed: As `read_plan` gives it.
        plan: As it is made now.
    """
    now = parse_json(json.dumps(plan_to_json(plan)))
    try:
        is_same = _bytes_of(_what_is_done(reviewed)) == _bytes_of(_what_is_done(now))
    except (KeyError, TypeError, AttributeError):  # somebody has made it up
        is_same = False
    return is_same and bool(reviewed["digest"] == now["digest"])


def _what_is_done(content: dict[str, Any]) -> Any:
    return [
        content["project"],
        content["direction"],
        [
            [
                item["revision"],
                item["message"],
                item["operations"],
                [{name: step.get(name) for name in _OF_STEP} for step in item["steps"]],
            ]
            for item in content["revisions"]
        ],
    ]


def _content_digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(_bytes_of(content)).hexdigest()


def _bytes_of(content: Any) -> bytes:
    """Content as it reads from a file: bytes that are no UTF-8 may be when they stand behind each other."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogateescape")
