"""The change that the wizard was told so far, as text: a script, a patch, a schema, a plan."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redismigrate.commands.authoring.guided import Wizard


def preview_text(asking: Wizard, width: int) -> str:
    """The view that was asked for.

    Args:
        asking: Has been asked for it.
        width: Columns of the terminal.

    Raises:
        RedisMigrateError: There is none: no patch can say it, or the server can't be asked for a plan.
    """
    from redismigrate.schema.yaml_file import yaml_text

    match asking.dialogue.view:
        case "patch":
            return yaml_text(asking.patch())
        case "schema":
            return yaml_text(asking.target_schema())
        case "plan":
            return _plan_text(asking, width)
    content = asking.content()
    lines = []
    for name, body in (("upgrade", content.upgrade_lines), ("downgrade", content.downgrade_lines)):
        lines += [
            f"def {name}(op: Operations) -> None:",
            *(f"    {line}" if line else "" for each in body for line in each.split("\n")),
        ]
        lines += [] if body else ["    pass"]
        lines.append("")
    return "\n".join(lines)


def _plan_text(asking: Wizard, width: int) -> str:
    from redismigrate.cli.plan_view import render_plan
    from redismigrate.cli.rendering import ForeignSafeConsole

    plan = asking.plan()
    text = io.StringIO()
    render_plan(plan, ForeignSafeConsole(file=text, width=width, highlight=False, soft_wrap=False))
    return text.getvalue()
