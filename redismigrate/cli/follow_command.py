"""The command that follows an expanded revision."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from redismigrate.cli.context import Invocation, global_options, lines_text
from redismigrate.cli.option_parameters import max_removals_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redismigrate.state.follower_report import FollowerReport

TOLD_EVERY_SECONDS = 10.0


@click.command()
@global_options
@max_removals_option
@click.pass_obj
def follow(invocation: Invocation, /, max_removals: int | None) -> None:
    """Keep old and new in step while a revision is expanded.

    It ends when the revision is contracted or rolled back, or with Ctrl-C.
    """
    from redismigrate import commands
    from redismigrate.cli.run_view import TerminalWatcher

    told, said = 0.0, ""

    def goes_on(report: FollowerReport) -> bool:
        nonlocal told, said
        text = _text(report)
        if text != said and time.monotonic() - told >= TOLD_EVERY_SECONDS:
            invocation.say(text)
            told, said = time.monotonic(), text
        return not stop.is_set()

    with _stopped_by_signals() as stop, TerminalWatcher(invocation) as watcher:
        followed = commands.follow(invocation.project(), goes_on, watcher, max_removals)
    lines = [] if followed.report is None else [_text(followed.report)]
    invocation.result(followed.to_json(), lines_text([*lines, f"Ended: {followed.why}."]))


def _text(report: FollowerReport) -> str:
    parts = [f"{report.documents:,} documents looked at", f"{report.written:,} written"]
    for count, what in (
        (report.turned_back, "came in the new form"),
        (report.only_new, "are in the new form alone"),
        (report.failed, "can't be converted"),
    ):
        if count:
            parts.append(f"{count:,} {what}")
    return f"Following revision {report.revision}: {', '.join(parts)}."


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Set by SIGINT or SIGTERM: an orderly end, as whoever runs it in the background expects."""
    stop = threading.Event()
    previous = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


COMMANDS = (follow,)
