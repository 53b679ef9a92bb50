"""Why a step that changes documents is refused before it changes any, in words."""

from __future__ import annotations

from redismigrate.documents.failures import SHOWN_FAILURES, Failures, is_occupied
from redismigrate.errors import RedisMigrateError
from redismigrate.execution.documents.in_place.backing_up import Prepared
from redismigrate.execution.run import DocumentCounts
from redismigrate.execution.steps.document_work import failed
from redismigrate.schema.strict import readable_key


class DocumentsRefused(RedisMigrateError):
    """More documents than allowed can't be rewritten, or the user lacks a right for it; none was."""


def not_rewritable(prepared: Prepared, index: str, in_all: int) -> DocumentsRefused:
    """That documents can't be rewritten.

    Args:
        prepared: What the first pass found.
        index: Of the documents.
        in_all: How many can't be, those of other indexes included.
    """
    refused = DocumentsRefused(
        f"{prepared.failures.count:,} of {prepared.documents:,} documents of {index} can't be rewritten: "
        f"{_named(prepared.failures)}.",
        what_to_do(prepared.failures, in_all),
    )
    refused.documents = DocumentCounts(read=prepared.documents).plus(failed(prepared.failures))
    return refused


def what_to_do(failures: Failures, count: int) -> str:
    """What to do about documents that would be left as they are.

    Args:
        failures: These.
        count: How many there are in all.
    """
    has_taken = any(is_occupied(document.reason) for document in failures.listed)
    others = " choose another name," if has_taken else ""
    return f"Correct them,{others} or leave them as they are with --max-failures {count}."


def without_second_form(
    index: str, count: int, which: str, failures: Failures | None = None
) -> DocumentsRefused:
    """That documents can't have a second form.

    Args:
        index: Of them.
        count: How many there are.
        which: The end of the sentence, from a colon on.
        failures: Those that are known, with reasons.
    """
    return DocumentsRefused(
        f"{count:,} documents of {index} can't have a second form{which}.",
        what_to_do(failures or Failures(), count),
    )


def not_restorable(prepared: Prepared, index: str) -> DocumentsRefused:
    """That documents can't get back what was cut off of them."""
    refused = DocumentsRefused(
        f"{prepared.lacking.count:,} of {prepared.documents:,} documents of {index} can't get back what they "
        f"had: {_named(prepared.lacking)}.",
        "Write them anew afterwards: --allow-lossy goes on, and gives their vectors zeros at the end.",
    )
    refused.documents = DocumentCounts(read=prepared.documents).plus(failed(prepared.lacking))
    return refused


def _named(failures: Failures) -> str:
    """The first documents with their reasons, and how many more there are."""
    shown = "; ".join(f"{readable_key(d.key)}: {d.reason}" for d in failures.listed[:SHOWN_FAILURES])
    more = f"; and {failures.count - SHOWN_FAILURES:,} more" if failures.count > SHOWN_FAILURES else ""
    return shown + more
