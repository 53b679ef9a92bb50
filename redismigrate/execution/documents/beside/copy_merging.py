"""Gives each of two forms of a document what the other one has got since they were in step.

Field by field for hashes, as a whole for JSON, and the lifetime of the key in any case.
"""

from __future__ import annotations

from dataclasses import dataclass

from redismigrate.documents.whole import NEVER, Found
from redismigrate.execution.documents.beside.marks import Mark, are_equal, digest_of_field, digest_of_name


@dataclass(slots=True)
class Merged:
    """Both forms with what the other one has got.

    Attributes:
        copy: As it should be.
        original: As it should be where changes are carried back, in the terms of copies.
        is_copy_changed: Since they were in step.
        is_conflict: The same was changed differently.
    """

    copy: Found
    original: Found
    is_copy_changed: bool = False
    is_conflict: bool = False


def merge_forms(original: Found, copy: Found, mark: Mark, now_ms: int) -> Merged:
    """Give each what the other one has got since they were in step.

    Args:
        original: In the terms of copies.
        copy: What is at the target.
        mark: What both were when they were in step.
        now_ms: The server's time, Unix time in milliseconds.
    """
    merged = Merged(Found(), Found())
    lifetimes = _merged_lifetimes(original, copy, mark, merged)
    hashes = original.document, copy.document
    if isinstance(hashes[0], dict) and isinstance(hashes[1], dict):
        forms = _merged_hashes(original, copy, mark, now_ms, merged)
    else:
        forms = _merged_wholes(original, copy, mark, merged)
    (merged.original, merged.copy) = (
        Found(form.document, lifetime, form.expiries) for form, lifetime in zip(forms, lifetimes, strict=True)
    )
    return merged


def _merged_lifetimes(original: Found, copy: Found, mark: Mark, merged: Merged) -> tuple[int, int]:
    """When the keys of original and copy are to expire."""
    old, new = original.expires_ms, copy.expires_ms
    if old == new:
        return old, new
    # What comes under an old key again is another key, which nobody has made eternal.
    if mark.is_moved and old == NEVER:
        merged.is_copy_changed |= new != mark.lifetime
        return new, new
    if new == mark.lifetime:
        return old, old
    merged.is_copy_changed = True
    if mark.is_moved or old != mark.lifetime:
        merged.is_conflict = True
    return new, new


def _merged_wholes(original: Found, copy: Found, mark: Mark, merged: Merged) -> tuple[Found, Found]:
    """Original and copy as one of them is."""
    if say_the_same(copy, original):
        return original, copy
    if mark.is_of(copy):
        return original, original
    merged.is_copy_changed = True
    if mark.is_moved or not mark.is_of(original):
        merged.is_conflict = True
    return copy, copy


def _merged_hashes(
    original: Found, copy: Found, mark: Mark, now_ms: int, merged: Merged
) -> tuple[Found, Found]:
    """Original and copy, field by field."""
    # Then what is there was written since, and what it lacks had gone with the key.
    is_key_over = 0 < mark.lifetime <= now_ms
    if not (mark.is_moved or is_key_over):
        if mark.is_of(original) and mark.is_of(copy):
            return original, copy
        if mark.is_of(copy):
            return original, original
        if mark.is_of(original):
            merged.is_copy_changed = True
            return copy, copy
    old, new = _Fields(original), _Fields(copy)
    for name in {**_fields(original), **_fields(copy)}:
        if old.value(name) == new.value(name):
            continue
        digest = digest_of_name(name)
        before = mark.fields.get(digest)
        is_over = is_key_over or 0 < mark.expiries.get(digest, 0) <= now_ms
        now = [digest_of_field(form, name) for form in (original, copy)]
        # What has expired was taken away by nobody. Where the original was removed here, what it has by now
        # was written since, and what it lacks went with it.
        is_old_changed = now[0] != before and not (now[0] is None and is_over)
        if mark.is_moved:
            is_old_changed = now[0] is not None
        is_new_changed = now[1] != before and not (now[1] is None and is_over)
        merged.is_copy_changed |= is_new_changed
        if is_new_changed or (now[0] is None and not is_old_changed):
            merged.is_conflict |= is_old_changed
            old.take(name, copy)
        elif is_old_changed or now[1] is None:
            new.take(name, original)
    return old.found(), new.found()


class _Fields:
    """The fields of a hash while they change."""

    def __init__(self, found: Found) -> None:
        self._document = dict(_fields(found))
        self._expiries = dict(found.expiries)

    def value(self, name: bytes) -> tuple[bytes | None, int]:
        """A field's value and when it expires."""
        return self._document.get(name), self._expiries.get(name, NEVER)

    def take(self, name: bytes, source: Found) -> None:
        """Take a field as another hash has it, or has it not."""
        self._document.pop(name, None)
        self._expiries.pop(name, None)
        fields = _fields(source)
        if name in fields:
            self._document[name] = fields[name]
            if name in source.expiries:
                self._expiries[name] = source.expiries[name]

    def found(self) -> Found:
        """The hash as it is by now; none where no field is left."""
        return Found(self._document or None, NEVER, self._expiries)


def _fields(found: Found) -> dict[bytes, bytes]:
    return found.document if isinstance(found.document, dict) else {}


def is_same(one: Found, other: Found) -> bool:
    """Whether two forms say the same, their lifetimes included."""
    return one.document == other.document and have_equal_lifetimes(one, other)


def have_equal_lifetimes(copy: Found, original: Found) -> bool:
    """Whether key and fields expire at the same moments."""
    return copy.expires_ms == original.expires_ms and dict(copy.expiries) == dict(original.expiries)


def say_the_same(copy: Found, original: Found) -> bool:
    """Whether both are documents of one content, whatever their lifetimes."""
    if copy.document is None or original.document is None:
        return False
    return are_equal(copy.document, original.document)
