"""What keeps values from standing at two paths of the same documents for a while."""

from __future__ import annotations

from collections.abc import Iterator

from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.twins import Twin, twins_of
from redismigrate.operations.renaming import paths_read
from redismigrate.schema import IndexSchema
from redismigrate.schema.json_paths import JsonPath
from redismigrate.schema.moves import reads


def why_no_twins(before: IndexSchema, after: IndexSchema, rewrite: Rewrite) -> str | None:
    """Why what gets another path can't stand at both for a while; None where it can, or nothing does.

    Args:
        before: The index as it is.
        after: The index as it is wanted.
        rewrite: What becomes of its documents.
    """
    twins = twins_of(rewrite)
    if not twins:
        return None
    reasons = (*_of_recodings(rewrite, twins), *_of_readers(before, after, twins))
    return next(iter(reasons), None)


def _of_recodings(rewrite: Rewrite, twins: tuple[Twin, ...]) -> Iterator[str]:
    """What is re-encoded at the path where it stays takes another way than what gets another path."""
    renamed = [twin for twin in twins if twin.recoding is None or twin.recoding.new_path is None]
    for twin in renamed:
        if twin.recoding is not None:
            yield (
                f"it can't rename {twin.old} and re-encode it at once: do that in two revisions, or give the "
                "new form a path of its own, alter_field(datatype=..., path=...)"
            )
    if renamed and len(renamed) < len(twins):
        second = next(twin for twin in twins if twin not in renamed)
        yield (
            f"it can't rename {renamed[0].old} and give {second.old} a second form in {second.new} at once, "
            "since one goes and the other stays: do that in two revisions"
        )
    for recoding in rewrite.recodings:
        if recoding.new_path is not None and recoding.has_integers:
            integers = recoding.after if recoding.makes_integers else recoding.before
            yield f"path= is for floats, and {integers} is none: leave path= out"
    at_old_paths = [recoding for recoding in rewrite.recodings if recoding.new_path is None]
    if at_old_paths and twins:
        others = " and ".join(f"{twin.old} to {twin.new}" for twin in twins)
        yield (
            f"it can't re-encode {at_old_paths[0].path} at its path in one pass with {others}: "
            "do that in two revisions"
        )


def _of_readers(before: IndexSchema, after: IndexSchema, twins: tuple[Twin, ...]) -> Iterator[str]:
    """What reads a path would find another value there meanwhile, or one value twice."""
    storage = before.storage_type
    for twin in twins:
        for reader, path in paths_read(before):
            if reads(path, twin.new, storage):
                yield (
                    f"{reader} reads {path} today, where the values of {twin.old} are to stand beside: take "
                    "it out of the index and of the documents in a revision before"
                )
        if not twin.keeps_old:
            for reader, path in paths_read(after):
                if reads(path, twin.old, storage):
                    yield (
                        f"{reader} reads {path} afterwards, from where {twin.old} is removed: add it in a "
                        "revision after"
                    )
        for reader, path in (*paths_read(before), *paths_read(after)) if storage == "json" else ():
            found = JsonPath.parse(path)
            if any(found.may_find(JsonPath.parse(place)) for place in (twin.old, twin.new)):
                yield f"{reader} reads {path}, which would find the values of {twin.old} twice meanwhile"
