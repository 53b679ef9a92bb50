"""What is written to the state at once: documents, an event, and the commands that go with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redismigrate.state.stored_documents import Head, LastRun, catalog_content

if TYPE_CHECKING:
    from redismigrate.schema.definition import Catalog

Command = Sequence[bytes | str]
Content = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """Commands and documents of which all is done or nothing; without any it asks for the lock alone.

    Attributes:
        head: The new head document, None to leave it.
        catalog: The new indexes document, None to leave it.
        run: The new run document, None to leave it. It tells everything: that of its progress is empty.
        progress: The new document of the run's progress, None to leave it.
        end_run: Delete the run document, that of its progress, what was changed of its limits, and what was
            counted while it was expanded.
        last_run: The new document of the run that finished last, None to leave it.
        end_last_run: Delete that document.
        undo: Revision -> the document that tells what undoes it, None to delete it. It is written once,
            so the fencing token alone guards it.
        event: What the journal gets.
        commands: Redis Search commands, run in order before anything is written.
        put_back: Commands that undo the first ones when a later one is refused; their errors are ignored.
        guards: Physical index -> its max_doc_id and num_docs, without which nothing is done. They are
            looked at where commands can be one script with the documents.
        replaces_damaged: Write documents whatever stands in their place: the lock alone guards them.
    """

    head: Head | None = None
    catalog: Catalog | None = None
    run: Content | None = None
    progress: Content | None = None
    end_run: bool = False
    last_run: LastRun | None = None
    end_last_run: bool = False
    undo: Mapping[str, Content | None] = field(default_factory=dict)
    event: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[Command] = ()
    put_back: Sequence[Command] = ()
    guards: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    replaces_damaged: bool = False

    def contents(self) -> dict[str, Content | None]:
        """What the documents hold afterwards that are written, by their attribute of the keys; None: none."""
        contents: dict[str, Content | None] = {}
        if self.head is not None:
            contents["head"] = self.head.content()
        if self.catalog is not None:
            contents["indexes"] = catalog_content(self.catalog)
        if self.run is not None or self.end_run:
            # There is always one beside a run: without it nobody knows how far the run is.
            contents["run"], contents["progress"] = self.run, None if self.run is None else {}
        elif self.progress is not None:
            contents["progress"] = self.progress
        if self.last_run is not None or self.end_last_run:
            contents["last_run"] = None if self.last_run is None else self.last_run.content()
        return contents
