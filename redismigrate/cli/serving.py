"""Commands that run a private server: server, demo."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from redismigrate.cli.context import Invocation, global_options


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="By default a free one.")
@click.option(
    "--dir",
    "data_dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the data here; without it nothing is kept.",
)
@global_options
@click.pass_obj
def server(invocation: Invocation, /, port: int, data_dir: Path | None) -> None:
    """Run a private Redis with Search until Ctrl-C; its URL is the first line."""
    from redismigrate.redis_server.embedded import EmbeddedServer

    with EmbeddedServer(data_dir=data_dir, port=port) as running:
        invocation.result({"url": running.url, "pid": running.pid}, running.url)
        invocation.say("Stop it with Ctrl-C.")
        try:
            signal.pause()
        except KeyboardInterrupt:
            invocation.say("Stopped.")


COMMANDS = (server,)
