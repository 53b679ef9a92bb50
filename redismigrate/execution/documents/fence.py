"""What every batch of writes checks: whether this process still holds the lock."""

from __future__ import annotations

from dataclasses import dataclass

from redismigrate.errors import FenceLost


@dataclass(frozen=True, slots=True)
class Fence:
    """The fencing token of a process.

    Attributes:
        key: Where Redis keeps the last token that was given out.
        token: The one that this process got.
    """

    key: bytes
    token: bytes

    def require(self, current: object) -> None:
        """Go on only with the lock.

        Args:
            current: What the key holds.

        Raises:
            FenceLost: Another process has got a token since, or the key is gone.
        """
        if current != self.token:
            raise FenceLost.with_token(current)
