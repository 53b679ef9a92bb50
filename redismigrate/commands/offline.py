"""`--script` of upgrade, downgrade and stamp: what they do as a file for `redis-cli`; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from redismigrate import __version__
from redismigrate.commands.migration import Migration
from redismigrate.commands.migration_options import MigrationOptions
from redismigrate.commands.project import Project
from redismigrate.commands.recording import record_downgrades, record_upgrades
from redismigrate.commands.recover import as_found, history_at, records_of, stamped_by
from redismigrate.commands.reviewed_plans import require_not_blocked
from redismigrate.commands.session import refuse_unfinished_run
from redismigrate.commands.squashed_history import seen
from redismigrate.errors import PlanBlocked, UsageError
from redismigrate.execution.indexes.live import existing_indexes
from redismigrate.execution.offline.offline_stamp import stamp_lines
from redismigrate.execution.offline.redis_cli import remark_line
from redismigrate.execution.offline.transcript import Start, script_of
from redismigrate.history.graph import History
from redismigrate.history.identifiers import revisions_to_undo
from redismigrate.history.notation import Identifier, parse_range
from redismigrate.history.resolution import resolve
from redismigrate.planning.chain import plan_chain
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.other_databases import schemas_left_short
from redismigrate.planning.physical_names import with_physical_names
from redismigrate.planning.plan import Plan
from redismigrate.planning.plan_in_progress import PlanOptions
from redismigrate.redis_server.capabilities import Capabilities
from redismigrate.schema.definition import Catalog
from redismigrate.state.lock import signature
from redismigrate.state.offline_script import RECORDED_AT, digest_of_indexes
from redismigrate.state.store import read_state
from redismigrate.state.stored_documents import Head, catalog_content

if TYPE_CHECKING:
    from redismigrate.operations.recorded import Direction
    from redismigrate.redis_server.connection import Server

# What a range is planned for, as no server is asked: one without limits, on which everything is to be had.
ANY_SERVER = Capabilities(
    redis_version="",
    search_version=None,
    has_json=True,
    role="master",
    is_cluster=False,
    has_search_coordinator=False,
    maxmemory=0,
    maxmemory_policy="noeviction",
    used_memory=0,
    ignores_partial_updates=False,
    has_search=False,  # whatever is to be had may be: nothing is refused because of a version
)


def script(
    project: Project,
    target: str = "head",
    direction: Direction = "upgrade",
    options: MigrationOptions | None = None,
) -> str:
    """An upgrade or downgrade as a file for `redis-cli`, which records it as well.

    Args:
        project: The project.
        target: A revision identifier: the file leads there from what the server has now. Or a range `a:b`: it
            leads from `a` to `b`, and no server is asked.
        direction: Upgrade or downgrade.
        options: Of these `strategy`, `allow_lossy` and `ignore_other_databases` count.

    Returns:
        Lines for the standard input of `redis-cli`; one remark where nothing is to be done.

    Raises:
        PlanBlocked: It is blocked, or has a step that reads documents, runs code or needs a cluster.
        UsageError: The range makes no sense.
    """
    options, project = options or MigrationOptions(), project.showing(target)
    options.refuse_indexes_apart("a file for redis-cli")
    # A file is looked through revision by revision, and records each for itself.
    options = replace(options, fold=False)
    plan, start = (_range if ":" in target else _from_server)(project, target, direction, options)
    require_not_blocked(plan)
    by = f"{signature()} --script"
    opening = _opening(f"{direction} of project {project.settings.project} to {target}", start)
    if not plan.revisions:
        return f"{remark_line(opening[0])}\n{remark_line('nothing to do')}\n"
    remarks = map(remark_line, (*opening, *_not_looked_at(plan, target)))
    lines = (*remarks, *script_of(plan, start, project.keys, by))
    return "".join(f"{line}\n" for line in lines)


def _not_looked_at(plan: Plan, target: str) -> tuple[str, ...]:
    """What a plan without a server could not know of."""
    builds = any(schemas_left_short(step) for item in plan.revisions for step in item.steps)
    if ":" not in target or not builds:
        return ()
    return (
        "no server was asked: documents in databases other than 0 leave these indexes; see INFO keyspace",
    )


def _from_server(
    project: Project, target: str, direction: Direction, options: MigrationOptions
) -> tuple[Plan, Start]:
    with project.connect() as server:
        _require_scripts(server)
        state = read_state(server, project.keys)
        plan = Migration(project, server, options).plan(direction, target)
        if direction == "downgrade":
            _require_records([item.revision for item in plan.revisions], state.head)
        digest = digest_of_indexes(state.documents["indexes"].content)
        undoable = frozenset(state.last_revisions)
        return plan, Start(state.head, state.catalog, digest, existing_indexes(server), undoable)


def _require_records(revisions: Iterable[str], head: Head) -> None:
    """Refuse to take apart the record of a squashed revision: a script only adds and takes records.

    Raises:
        PlanBlocked: One of the revisions is recorded as a part of a squashed one.
    """
    for revision in revisions:
        if revision not in head.revisions:
            raise PlanBlocked(
                f"The plan can't be a script: revision {revision} is recorded as a part of a squashed one.",
                "Let redismigrate run it.",
            )


def _range(
    project: Project, target: str, direction: Direction, options: MigrationOptions
) -> tuple[Plan, Start]:
    history = project.history
    lower, upper = _ends(target)
    wishes = _wishes(project, options)
    head, catalog = _state_after_ranges(project, lower, wishes)
    applied = seen(project, head).applied
    if direction == "upgrade":
        ids = history.upgrade_path(resolve(history, upper, applied), applied)
        recorded = record_upgrades(history, ids, catalog, None)
    else:
        ids = revisions_to_undo(history, upper.text, applied)
        recorded = record_downgrades(history, ids, seen(project, head), catalog, lambda _: None)
    if not ids:
        raise UsageError(
            f"'{target}' leaves nothing to {'apply' if direction == 'upgrade' else 'undo'}.",
            "`a:b` goes from a to b: up with `upgrade`, down with `downgrade`.",
        )
    inventory = _any_server_with(project, catalog)
    plan = plan_chain(recorded, catalog, inventory, wishes, direction=direction, target=target)
    digest = digest_of_indexes(catalog_content(catalog))
    # Of a last run nothing is known. It may have been an upgrade to there, or a downgrade.
    return plan, Start(head, catalog, digest, inventory.names, frozenset(history))


def _wishes(project: Project, options: MigrationOptions) -> PlanOptions:
    return PlanOptions(
        options.strategy,
        options.allow_lossy,
        options.exclusive,
        project.settings.adopt,
        ignores_other_databases=options.ignore_other_databases,
        drop_field_ttls=options.drop_field_ttls,
    )


def _any_server_with(project: Project, catalog: Catalog) -> Inventory:
    return Inventory(
        project=project.settings.project,
        capabilities=ANY_SERVER,
        names=frozenset(definition.physical for definition in catalog.values()),
        aliases={alias: d.physical for d in catalog.values() for alias in d.all_aliases},
        owners=dict.fromkeys(catalog, project.settings.project),
    )


def _state_after_ranges(project: Project, end: Identifier, wishes: PlanOptions) -> tuple[Head, Catalog]:
    """What is recorded where upgrades by ranges have led to a revision.

    They build indexes under names that the scripts tell. So one file can follow another with no server asked.
    """
    head, _ = _state_at(project.history, end)
    recorded, _ = history_at(project.history, head.applied)
    catalog = Catalog()
    server = _any_server_with(project, catalog)
    plan = plan_chain(recorded, catalog, server, wishes, direction="upgrade", target=end.text)
    for item, planned in zip(recorded, plan.revisions, strict=True):
        catalog = with_physical_names(item.apply(catalog), planned.steps)
    return head, catalog


def _ends(target: str) -> tuple[Identifier, Identifier]:
    lower, upper = parse_range(target)
    if "current" in {lower.symbol, upper.symbol} or lower.symbol is None:
        raise UsageError(
            f"'{target}' counts from what is applied, but for a range no server is asked.",
            "Name a revision before the colon, or leave `a:` out.",
        )
    return lower, upper


def _state_at(
    history: History, end: Identifier, applied: frozenset[str] = frozenset()
) -> tuple[Head, Catalog]:
    """What is recorded where everything up to a revision is applied, as the scripts tell it."""
    recorded, catalog = history_at(history, history.ancestors(resolve(history, end, applied)))
    by = f"{signature()} --script"
    return Head(records_of(recorded, RECORDED_AT, by)), catalog


def stamp_script(project: Project, target: str | Iterable[str]) -> str:
    """A stamp as a file for `redis-cli`.

    Args:
        project: The project.
        target: A revision identifier, or several: the live indexes are compared with what the revisions make,
            and the file leads there from what the server has recorded now. Or a range `a:b`: the file leads
            from `a` to `b`, and no server is asked.

    Returns:
        Lines for the standard input of `redis-cli`.

    Raises:
        DriftError: The live indexes are not what the history up to there makes.
        UsageError: The range makes no sense.
    """
    targets = (target,) if isinstance(target, str) else tuple(target)
    project = project.showing(*targets)
    is_range = any(":" in text for text in targets)
    if is_range and len(targets) > 1:
        raise UsageError("A range stands alone.", "Name one range `a:b`, or revisions.")
    by = f"{signature()} --script"
    if is_range:
        lower, upper = _ends(targets[0])
        head, catalog = _state_after_ranges(project, lower, _wishes(project, MigrationOptions()))
        names = frozenset(definition.physical for definition in catalog.values())
        digest = digest_of_indexes(catalog_content(catalog))
        start = Start(head, catalog, digest, names, frozenset(project.history))
        head, catalog = _state_at(project.history, upper, head.applied)
    else:
        with project.connect() as server:
            _require_scripts(server)
            state = read_state(server, project.keys)
            refuse_unfinished_run(state)
            digest = digest_of_indexes(state.documents["indexes"].content)
            undoable = frozenset(state.last_revisions)
            start = Start(state.head, state.catalog, digest, existing_indexes(server), undoable)
            before = seen(project, state.head)
            applied = stamped_by(project.history, targets, before.applied)
            _require_records(applied & before.applied, state.head)
            recorded, catalog = history_at(project.history, applied)
            catalog = as_found(project, server, catalog)
        head = Head(records_of(recorded, RECORDED_AT, by))
    lines = stamp_lines(start, head, catalog, project.keys, by, is_compared=not is_range)
    opening = _opening(f"stamp of project {project.settings.project} at {' '.join(targets)}", start)
    return "".join(f"{line}\n" for line in (*map(remark_line, opening), *lines))


def _require_scripts(server: Server) -> None:
    server.capabilities.require_search()
    if not server.capabilities.runs_search_in_scripts:
        raise PlanBlocked(
            "The plan can't be a script: a cluster runs no FT.* in scripts.", "Let redismigrate run it."
        )


def _opening(what: str, start: Start) -> tuple[str, str]:
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    heads = ", ".join(start.head.heads) or "base"
    return (
        f"redismigrate {__version__}: {what}; made {moment} by {signature()}",
        f"for a Redis at {heads}; elsewhere it changes nothing. What is done already is left alone.",
    )
