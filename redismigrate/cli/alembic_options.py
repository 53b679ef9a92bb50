"""Options as Alembic spells them: hidden, they end with 2 and say what the same is called here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Function = TypeVar("_Function", bound=Callable[..., Any])


def alembic_option(name: str, ours: str, *, takes_value: bool = False) -> Callable[[_Function], _Function]:
    """What gives a command an option of Alembic that only says what ours is.

    Args:
        name: As Alembic spells it.
        ours: What to do here, a sentence.
        takes_value: A value may follow it, which is read and left alone.
    """

    def tell(context: click.Context, parameter: click.Parameter, value: Any) -> None:  # noqa: ARG001
        if value is not None and value is not False:
            raise click.UsageError(f"{name} is an option of Alembic. {ours}", context)

    kind: dict[str, Any] = {"is_flag": False, "flag_value": ""} if takes_value else {"is_flag": True}
    return click.option(
        name,
        "of_alembic",
        # Before the arguments are counted: its value would be one too many.
        is_eager=True,
        expose_value=False,
        hidden=True,
        callback=tell,
        help=ours,
        **kind,
    )


config_of_alembic = alembic_option(
    "-c", "Here the configuration file is named by --config FILE.", takes_value=True
)
sql_is_script = alembic_option("--sql", "Here --script prints what redis-cli can run.")
sql_is_needless = alembic_option("--sql", "A script is written without a server here: leave it out.")
