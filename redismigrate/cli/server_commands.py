"""Commands that run a private server: server, demo."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from redismigrate.cli.context import FilePath, Invocation, global_options
from redismigrate.errors import UsageError


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="By default a free one.")
@click.option(
    "--dir",
    "data_dir",
    type=FilePath(path_type=Path, file_okay=False),
    help="Keep the data here; without it nothing is kept.",
)
@global_options
@click.pass_obj
def server(invocation: Invocation, /, port: int, data_dir: Path | None) -> None:
    """Run a private Redis with Search until Ctrl-C. Its URL is the first line."""
    from redismigrate.redis_server.embedded import EmbeddedServer

    with EmbeddedServer(data_dir=data_dir, port=port) as running:
        invocation.result({"url": running.url, "pid": running.pid}, running.url)
        invocation.say("Stop it with Ctrl-C.")
        try:
            signal.pause()
        except KeyboardInterrupt:
            invocation.say("Stopped.")


@click.command()
@click.option("--keep", is_flag=True, help="Keep the example project and say where it is.")
@global_options
@click.pass_obj
def demo(invocation: Invocation, /, keep: bool) -> None:
    """Take an example project through its revisions and back.

    It brings its own private Redis, takes seconds and leaves nothing behind.
    """
    from redismigrate import commands
    from redismigrate.cli.demo_view import DemoView

    if any(given is not None for given in (invocation.url, invocation.config, invocation.env)):
        raise UsageError(
            "The demo brings its own server and its own project.", "Leave --url, --config and --env out."
        )
    with DemoView(invocation) as view:
        result = commands.run_demo(view, keep=keep)
        view.finished(result)
    invocation.result(result.to_json(), str(result.kept or "") if invocation.is_quiet else "")


COMMANDS = (demo, server)
