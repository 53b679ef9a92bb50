"""Which fields and indexes that go are some that come: as `--rename` says, as somebody answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from redismigrate.errors import UsageError
from redismigrate.operations.differing import Rename, rename_candidates
from redismigrate.operations.index_renames import IndexRename, index_rename_candidates, new_names
from redismigrate.schema import IndexSchema

IsRename = Callable[[Rename | IndexRename], bool | None]
"""Says whether a field or an index that goes and one that comes are one; None when nobody can tell."""

Schemas = Mapping[str, IndexSchema]
_Pair = TypeVar("_Pair", Rename, IndexRename)


@dataclass(frozen=True)
class Renames:
    """What is known about renames.

    Attributes:
        fields: Those of fields, by the old name of their index.
        indexes: Those of indexes.
        open_fields: Pairs of fields with one definition of which nobody could tell.
        open_indexes: Pairs of indexes likewise.
    """

    fields: tuple[Rename, ...] = ()
    indexes: tuple[IndexRename, ...] = ()
    open_fields: tuple[Rename, ...] = ()
    open_indexes: tuple[IndexRename, ...] = ()


NO_RENAMES = Renames()


def find_renames(
    before: Schemas, after: Schemas, said: Iterable[str], is_rename: IsRename | None = None
) -> Renames:
    """Find out about every pair that may be a rename; indexes first, for their fields are compared then.

    Args:
        before: Served name -> schema.
        after: Served name -> wanted schema.
        said: What `--rename` says: "old:new" of fields or of indexes, or with "field:" or "index:" before it.
        is_rename: Asked about every other pair of one definition; without it nobody can tell.

    Raises:
        UsageError: A text fits nothing, or a field as well as an index.
        SchemaError: An index is renamed twice.
    """
    texts = tuple(dict.fromkeys(said))
    said_indexes = [pair for text in texts for pair in _index_pairs(text, before, after)]
    indexes, open_indexes = _ask(said_indexes, index_rename_candidates(before, after), is_rename)
    names = new_names(before, after, indexes)
    said_fields: list[Rename] = []
    for text in texts:
        pairs = tuple(_field_pairs(text, before, after, names))
        if not pairs:
            _refuse_what_fits_nothing(text, before, after)
        elif any(_index_pairs(text, before, after)):
            raise UsageError(
                f"--rename {text}: a field may be meant, or an index.",
                f"Write --rename field:{text} or --rename index:{text}.",
            )
        said_fields += pairs
    candidates = [
        pair for old, new in sorted(names.items()) for pair in rename_candidates(before[old], after[new])
    ]
    fields, open_fields = _ask(said_fields, candidates, is_rename)
    return Renames(tuple(fields), tuple(indexes), tuple(open_fields), tuple(open_indexes))


def _ask(
    said: Iterable[_Pair], candidates: Iterable[_Pair], is_rename: IsRename | None
) -> tuple[list[_Pair], list[_Pair]]:
    """The renames after everybody was asked, and the pairs of which nobody could tell."""
    known, unknown = list(said), []
    for pair in candidates:
        if any(_exclude_each_other(pair, one) for one in known):
            continue
        answer = None if is_rename is None else is_rename(pair)
        if answer is None:
            unknown.append(pair)
        elif answer:
            known.append(pair)
    return known, unknown


def _exclude_each_other(one: Rename | IndexRename, other: Rename | IndexRename) -> bool:
    """Whether both are about one field, or about one index."""
    if isinstance(one, Rename) and isinstance(other, Rename) and one.index != other.index:
        return False
    return one.old == other.old or one.new == other.new


def _refuse_what_fits_nothing(text: str, before: Schemas, after: Schemas) -> None:
    if not any(_index_pairs(text, before, after)):
        raise UsageError(
            f"--rename {text}: no index loses the one field and gets the other, and no index of the one name "
            "goes while one of the other comes.",
            "Write --rename old:new, with the name that the history has and the one that is declared.",
        )


def _index_pairs(text: str, before: Schemas, after: Schemas) -> Iterator[IndexRename]:
    gone, come = before.keys() - after.keys(), after.keys() - before.keys()
    for old, new in {*_halves(text), *_halves(text.removeprefix("index:"))}:
        if old in gone and new in come:
            yield IndexRename(old, new)


def _field_pairs(text: str, before: Schemas, after: Schemas, names: Mapping[str, str]) -> Iterator[Rename]:
    """The renames that a text stands for, in every index that loses the one field and gets the other."""
    for index, new_index in sorted(names.items()):
        old_fields, new_fields = _names(before[index]), _names(after[new_index])
        for old, new in sorted({*_halves(text), *_halves(text.removeprefix("field:"))}):
            if old in old_fields - new_fields and new in new_fields - old_fields:
                yield Rename(index, old, new)


def _halves(text: str) -> Iterator[tuple[str, str]]:
    for position, character in enumerate(text):  # names may hold colons themselves
        if character == ":":
            yield text[:position], text[position + 1 :]


def _names(schema: IndexSchema) -> set[str]:
    return {field.name for field in schema.fields}
