"""A value that stands in a document twice, at two paths that two releases of an application write."""

from __future__ import annotations

from dataclasses import dataclass

from redismigrate.documents.rewrite import Recoding, Rewrite


@dataclass(frozen=True)
class Twin:
    """One value under two paths of the same document.

    Attributes:
        old: The hash field, or JSON path, of the old form.
        new: That of the new one.
        recoding: What makes the new form of the old one; None where both are the same value.
        keeps_old: Whether the old one stays when the change is over.
    """

    old: str
    new: str
    recoding: Recoding | None = None
    keeps_old: bool = False


def twins_of(rewrite: Rewrite) -> tuple[Twin, ...]:
    """What stands twice while a change is made with search up; nothing where no value gets another path.

    What is renamed goes in the end from where it was; vectors that get a second form elsewhere stay, but for
    that form where the change is taken back.

    Args:
        rewrite: All that the change does to documents.
    """
    recodings = {recoding.path: recoding for recoding in rewrite.recodings}
    renamed = [Twin(each.old, each.new, recodings.get(each.old)) for each in rewrite.renames]
    beside = [
        Twin(each.path, each.new_path, each, keeps_old=not each.is_way_back)
        for each in rewrite.recodings
        if each.new_path is not None
    ]
    return tuple(renamed + beside)
