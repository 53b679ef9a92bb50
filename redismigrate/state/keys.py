"""The names of the state's keys.

All are strings or streams: an index without PREFIX would count hashes and JSON keys as its documents.
"""

from __future__ import annotations

from dataclasses import dataclass

OWNERS_KEY = "{redismigrate}:owners"


@dataclass(frozen=True)
class StateKeys:
    """The keys of one project; one hash tag puts them into one slot of a cluster."""

    project: str

    def _key(self, name: str) -> str:
        return f"{{redismigrate:{self.project}}}:{name}"

    @property
    def head(self) -> str:
        """String, JSON: heads and every applied revision."""
        return self._key("head")

    @property
    def indexes(self) -> str:
        """String, JSON: served name -> definition."""
        return self._key("indexes")

    @property
    def run(self) -> str:
        """String, JSON: the current or interrupted run."""
        return self._key("run")

    @property
    def progress(self) -> str:
        """String, JSON: how far that run is; written at every step, and small for that."""
        return self._key("progress")

    @property
    def control(self) -> str:
        """String, JSON: what was changed of the limits of that run; written without the lock."""
        return self._key("control")

    @property
    def follower(self) -> str:
        """String, JSON: the last sign of life of whoever follows an expanded revision; expires soon."""
        return self._key("follower")

    @property
    def while_expanded(self) -> str:
        """String, JSON: what became of documents while that run has two forms of them."""
        return self._key("while_expanded")

    @property
    def last_run(self) -> str:
        """String, JSON: the run that finished last, if it can be rolled back."""
        return self._key("last_run")

    def undo(self, revision: str) -> str:
        """String, JSON: what undoes a revision that the run in progress, or else the last one, recorded."""
        return self._key(f"undo:{revision}")

    @property
    def marks(self) -> str:
        """The beginning of strings that stand beside copies of documents; they end with their run."""
        return self._key("mark:")

    @property
    def aside(self) -> str:
        """A document, for as long as one script takes that puts one of another type in its place."""
        return self._key("aside")

    def mark(self, copies: str) -> str:
        """The beginning of those of some copies."""
        return f"{self.marks}{copies}:"

    @property
    def lock(self) -> str:
        """String, JSON: who works on the project; expires with its lease."""
        return self._key("lock")

    @property
    def fence(self) -> str:
        """String: the last fencing token."""
        return self._key("fence")

    @property
    def journal(self) -> str:
        """Stream: what happened, when and by whom."""
        return self._key("journal")

    @property
    def scratch_prefix(self) -> str:
        """A key prefix that no key has: what a scratch index covers."""
        return self._key("scratch:")
