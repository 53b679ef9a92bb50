"""The Python API: one function per verb of the command line; each gives a result and prints nothing.

    from redismigrate.commands import Project, upgrade

    result = upgrade(Project.load(), "head", on_progress=print)

Modules are imported when a function is first used, so that a command pays only for what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redismigrate.commands.authoring.baselines import baseline
    from redismigrate.commands.authoring.generating import autogenerate
    from redismigrate.commands.authoring.guided import wizard
    from redismigrate.commands.authoring.schema_patches import from_schema_patch
    from redismigrate.commands.authoring.scripts import edit, init, merge, revision, templates
    from redismigrate.commands.authoring.squashing import squash
    from redismigrate.commands.backups.listing import list_backups, verify_backups
    from redismigrate.commands.backups.prune import prune_backups
    from redismigrate.commands.backups.restore import restore_backups
    from redismigrate.commands.checking import check
    from redismigrate.commands.controlling import control
    from redismigrate.commands.demo.demonstration import run_demo
    from redismigrate.commands.following import follow
    from redismigrate.commands.inspect import current, status
    from redismigrate.commands.migrate import downgrade, plan, rollback, upgrade
    from redismigrate.commands.migration_options import MigrationOptions, MigrationResult
    from redismigrate.commands.migration_report import MigrationReport
    from redismigrate.commands.offline import script, stamp_script
    from redismigrate.commands.progress_events import Progress
    from redismigrate.commands.project import Project
    from redismigrate.commands.readiness import check_heads
    from redismigrate.commands.recover import stamp, unlock
    from redismigrate.commands.repairing import repair
    from redismigrate.commands.revisions import branches, heads, history, show
    from redismigrate.commands.validating import validate
    from redismigrate.commands.watching import watch

_MODULES = {
    "MigrationOptions": "migration_options",
    "MigrationReport": "migration_report",
    "MigrationResult": "migration_options",
    "Progress": "progress_events",
    "Project": "project",
    "autogenerate": "authoring.generating",
    "baseline": "authoring.baselines",
    "branches": "revisions",
    "check": "checking",
    "check_heads": "readiness",
    "control": "controlling",
    "current": "inspect",
    "downgrade": "migrate",
    "edit": "authoring.scripts",
    "follow": "following",
    "from_schema_patch": "authoring.schema_patches",
    "heads": "revisions",
    "history": "revisions",
    "init": "authoring.scripts",
    "list_backups": "backups.listing",
    "merge": "authoring.scripts",
    "plan": "migrate",
    "prune_backups": "backups.prune",
    "restore_backups": "backups.restore",
    "repair": "repairing",
    "revision": "authoring.scripts",
    "rollback": "migrate",
    "run_demo": "demo.demonstration",
    "script": "offline",
    "show": "revisions",
    "squash": "authoring.squashing",
    "stamp": "recover",
    "stamp_script": "offline",
    "status": "inspect",
    "templates": "authoring.scripts",
    "unlock": "recover",
    "upgrade": "migrate",
    "validate": "validating",
    "verify_backups": "backups.listing",
    "watch": "watching",
    "wizard": "authoring.guided",
}
__all__ = [
    "MigrationOptions",
    "MigrationReport",
    "MigrationResult",
    "Progress",
    "Project",
    "autogenerate",
    "baseline",
    "branches",
    "check",
    "check_heads",
    "control",
    "current",
    "downgrade",
    "edit",
    "follow",
    "from_schema_patch",
    "heads",
    "history",
    "init",
    "list_backups",
    "merge",
    "plan",
    "prune_backups",
    "repair",
    "restore_backups",
    "revision",
    "rollback",
    "run_demo",
    "script",
    "show",
    "squash",
    "stamp",
    "stamp_script",
    "status",
    "templates",
    "unlock",
    "upgrade",
    "validate",
    "verify_backups",
    "watch",
    "wizard",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
