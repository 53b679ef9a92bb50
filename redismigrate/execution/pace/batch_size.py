"""How many documents go into a batch, and when: what a run with limits takes from the server at a time."""

from __future__ import annotations

SMALLEST_BATCH = 1
# From the smallest batch to 500 documents it takes 60 batches.
GROWTH = 1.1
# Of a batch that was too slow, however slow it was: one measurement may be an outlier.
LEAST_LEFT = 0.1
# Documents are admitted for so long at once: a batch of a whole second's would come as a burst.
BURST_SECONDS = 0.1


class BatchSize:
    """Finds the size with which a batch takes no longer than a limit.

    What a document costs differs by a factor of a thousand, between a hash without an index and a vector
    that goes into an HNSW graph. So it begins with the smallest batch, grows by a tenth with each one, and
    falls at once to what a batch that took too long says.
    """

    def __init__(self) -> None:
        self._size = float(SMALLEST_BATCH)

    def of(self, most: int) -> int:
        """The size of the next batch, at most this."""
        return max(SMALLEST_BATCH, min(most, int(self._size)))

    def grow(self, most: int) -> None:
        """A batch went by without harm; no batch will be larger than this."""
        self._size = min(self._size * GROWTH + 1, float(max(most, SMALLEST_BATCH)))

    def shrink(self, share: float = 0.5) -> None:
        """A batch was too large: the next one has this share of its documents."""
        self._size = max(float(SMALLEST_BATCH), self._size * min(1.0, max(LEAST_LEFT, share)))


class TokenBucket:
    """Admits documents at a rate, which may change at any time.

    Args:
        now: The present moment, in seconds.
    """

    def __init__(self, now: float) -> None:
        self._tokens = 0.0
        self._filled_at = now

    @staticmethod
    def burst(rate: float) -> int:
        """How many documents are admitted at once at most, with so many in a second."""
        return max(1, int(rate * BURST_SECONDS))

    def seconds_until(self, documents: int, rate: float, now: float) -> float:
        """How long to wait until documents may be taken; more of them than a burst count as one."""
        self._tokens = min(self._tokens + (now - self._filled_at) * rate, float(self.burst(rate)))
        self._filled_at = now
        return max(0.0, (min(documents, self.burst(rate)) - self._tokens) / rate)

    def take(self, documents: int) -> None:
        """Take tokens for documents, also such as are not there yet: the next ones wait for them."""
        self._tokens -= documents
