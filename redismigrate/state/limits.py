"""What can be set of how hard a run may press the server, and in which range: for both ways to say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from redismigrate.errors import UsageError

OFF = "off"
ON = "on"


@dataclass(frozen=True)
class Setting:
    """How a value of `Control` is called and given on the command line.

    Attributes:
        attribute: Of `Control`.
        least: The smallest number; None where it is on or off.
        most: The largest number.
        unit: What the number counts.
    """

    attribute: str
    least: float | None = None
    most: float = 1e9
    unit: str = ""


SETTINGS: Mapping[str, Setting] = {
    "max-latency": Setting("max_latency_ms", 0.1, unit=" ms"),
    "max-docs-per-second": Setting("max_docs_per_second", 1),
    "max-wait": Setting("max_wait_seconds", 1, unit=" s"),
    "critical-latency": Setting("critical_latency_ms", 1, unit=" ms"),
    # Replicas tell once a second how far they are.
    "max-replica-lag": Setting("max_replica_lag_seconds", 2, unit=" s"),
    "max-memory": Setting("max_memory_percent", 1, 100, unit="% of maxmemory"),
    "paused": Setting("paused"),
    "postpone-cutover": Setting("postpone_cutover"),
}


def parse_setting(text: str) -> tuple[str, float | bool | None]:
    """An attribute of `Control` and its value from `K=V`.

    Raises:
        UsageError: There is no such setting, or the value is out of its range.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    setting = SETTINGS.get(name.replace("_", "-"))
    if setting is None or not equals:
        raise UsageError(
            f"{text} is nothing that can be set.",
            f"Write NAME=VALUE with one of {', '.join(SETTINGS)}, for example max-latency=5.",
        )
    if setting.least is None:
        if value not in {ON, OFF}:
            raise UsageError(f"{name} is {value}.", f"It has to be {ON} or {OFF}.")
        return setting.attribute, value == ON
    if value == OFF:
        return setting.attribute, None
    return setting.attribute, require_in_range(name, value, setting)


def require_in_range(name: str, value: str | float, setting: Setting) -> float:
    """The number, if it is one that can be set.

    Raises:
        UsageError: It is none.
    """
    least = setting.least or 0
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not least <= number <= setting.most:  # false for NaN, too
        upper = f" and at most {setting.most:g}" if setting.most <= 100 else ""  # noqa: PLR2004 - percent
        raise UsageError(
            f"{name} is {value}.", f"It has to be a number of at least {least:g}{upper}, or off."
        )
    return number
