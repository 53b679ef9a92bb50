"""What whoever writes documents checks: that this process still holds the lock, and Redis the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from redismigrate.errors import FenceLost


def _keeps_no_state() -> None:
    """Where no run is at work there is none to be forgotten."""


@dataclass(frozen=True, slots=True)
class Fence:
    """The fencing token of a process.

    Attributes:
        key: Where Redis keeps the last token that was given out.
        token: The one that this process got.
        require_state: Raises when the server has forgotten what the run has noted there. Called once all
            connections are open over which documents are written: a server that restarts later ends these.
            Between two steps it is reached again unnoticed, and what is noted of a backup, the only place
            of originals by then, may be what it has lost.
    """

    key: bytes
    token: bytes
    require_state: Callable[[], None] = field(default=_keeps_no_state, compare=False)

    def require(self, current: object) -> None:
        """Go on only with the lock.

        Args:
            current: What the key holds.

        Raises:
            FenceLost: Another process has got a token since, or the key is gone.
        """
        if current != self.token:
            raise FenceLost.with_token(current)
