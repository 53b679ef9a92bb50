"""Waits in a test until something has come to be, which is a failure where it does not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(is_so: Callable[[], object], seconds: float = 90.0) -> Any:
    """Wait until something is true; what it is then."""
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)
    return found


def long_enough_ms(alike: Callable[[], object]) -> int:
    """A time to live in which one migration begins and ends, on a machine of any speed.

    Args:
        alike: Called once; makes documents and migrates them as well.
    """
    started = time.monotonic()
    alike()
    return 1000 + int(5000 * (time.monotonic() - started))
