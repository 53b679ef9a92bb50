"""Refuses plans that can't run, and those that are not the ones that were looked at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from redismigrate.errors import BackupDamaged, PlanBlocked
from redismigrate.foreign_text import shell_command
from redismigrate.planning.plan import Plan
from redismigrate.planning.plan_file import is_same_plan, read_plan


def require_same_plan(plan: Plan, file: Path) -> None:
    """Refuse to carry out another plan than the one that was looked at.

    Args:
        plan: As it is now.
        file: The one that was written.

    Raises:
        PlanBlocked: They differ.
    """
    if not is_same_plan(read_plan(file), plan):
        raise PlanBlocked(
            f"The plan in {file} no longer holds: operations or indexes have changed since.",
            "Make a new one with `redismigrate plan -o FILE` and look at it.",
        )


def require_not_blocked(plan: Plan, damaged: Iterable[BackupDamaged] = ()) -> None:
    """Refuse to carry out a plan that can't run.

    Args:
        plan: Which.
        damaged: What is known of backups that can't be restored from.

    Raises:
        BackupDamaged: It is blocked for want of a backup; names all that it is for.
        PlanBlocked: It is blocked for something else; tells every reason.
    """
    if plan.blocked:
        # A reason has the whole sentence about the backup, with its folder.
        needed = [error for error in damaged if any(error.message in reason for reason in plan.blocked)]
        if needed:
            hints = dict.fromkeys(error.hint for error in needed if error.hint)
            raise BackupDamaged(
                " ".join(error.message for error in needed),
                f"{' '.join(hints)} Or name the folder of other copies with --backup-dir, or make do with "
                "what is left by --allow-lossy. Nothing was changed.",
            )
        words = ["redismigrate", "plan"]
        if plan.direction == "downgrade":
            words += ["--down", plan.target]
        elif plan.target != "head":
            words.append(plan.target)
        raise PlanBlocked(
            f"The plan is blocked: {'; '.join(plan.blocked)}.",
            f"Nothing was changed. `{shell_command(*words)}` shows the whole plan.",
            plan.blocked,
        )
