"""A plan as JSON and YAML: to be reviewed, and to be compared with the one that is carried out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from redismigrate.errors import ConfigurationError
from redismigrate.planning.plan import CHANGES_AN_INDEX, Plan, Step
from redismigrate.schema.redisvl import schema_to_redisvl


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The plan as JSON data, in the shape that `plan --json` promises."""
    return {
        "project": plan.project,
        "direction": plan.direction,
        "target": plan.target,
        "digest": plan.digest,
        "blocked": list(plan.blocked),
        "warnings": list(plan.warnings),
        "revisions": [
            {
                "revision": item.revision,
                "message": item.recorded.message,
                "operations": [str(operation) for operation in item.recorded.operations],
                "warnings": list(item.warnings),
                "blocked": list(item.blocked),
                "obstacles": [obstacle.model_dump() for obstacle in item.obstacles],
                "steps": [_step_to_json(step) for step in item.steps],
                "alternatives": [alternative.model_dump() for alternative in item.alternatives],
            }
            for item in plan.revisions
        ],
    }


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
    if step.rewrite is not None and step.kind == "rewrite_documents":
        document["rewrite"] = step.model_dump()["rewrite"]
        document["quantizations"] = step.model_dump()["quantizations"]
    if step.kind in CHANGES_AN_INDEX:
        document["schema"] = None if step.after is None else schema_to_redisvl(step.after.schema)
    return document


def write_plan(plan: Plan, file: Path) -> None:
    """Write the plan as YAML."""
    import yaml

    text = yaml.safe_dump(plan_to_json(plan), sort_keys=False, allow_unicode=True)
    try:
        file.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ConfigurationError(f"Can't write the plan to {file}: {error.strerror}.") from error


def read_digest(file: Path) -> str:
    """The digest of a plan that was written to a file.

    Raises:
        ConfigurationError: It is no plan of ours.
    """
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8", errors="surrogateescape"))
        return str(content["digest"])
    except OSError as error:
        raise ConfigurationError(f"Can't read the plan {file}: {error.strerror}.") from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{file} is no plan of redismigrate.", "Make one with `redismigrate plan -o plan.yaml`."
        ) from error
