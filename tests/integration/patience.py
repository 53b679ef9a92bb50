"""Waits in a test until something has come to be, which is a failure where it does not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(is_so: Callable[[], object], seconds: float = 30.0) -> Any:
    """Wait until something is true; what it is then."""
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)
    return found
