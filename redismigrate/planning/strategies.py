"""How a change of one index can be carried out, and what forbids each way."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from redismigrate.documents.rewrite import Rewrite
from redismigrate.documents.twins import twins_of
from redismigrate.planning.inventory import Inventory
from redismigrate.planning.step_life import Strategy, StrategyChoice
from redismigrate.planning.twin_limits import why_no_twins
from redismigrate.schema import IndexSchema, TextField, VectorField
from redismigrate.schema.compare import NARROW_TEXT_FIELDS, Difference, diff
from redismigrate.schema.create import misread_field
from redismigrate.schema.definition import IndexDefinition
from redismigrate.schema.prefixes import KeyPrefixes
from redismigrate.schema.strict import encode
from redismigrate.schema.words import not_utf8

Adoption = Literal["alias", "never"]
# key_separator is for clients; SKIPINITIALSCAN matters to FT.CREATE alone, and a rebuild always scans.
_QUANTIZED = (
    "its vectors are integers that stand for other numbers, which JSON would not tell: make floats of "
    "them in a revision of its own"
)
ONLY_RECORDED = {"key_separator", "skip_initial_scan"}


def changes_of(before: IndexDefinition, after: IndexDefinition) -> tuple[Difference, ...]:
    """What differs between two schemas of an index; empty when nothing has to be done on the server."""
    return tuple(
        difference
        for difference in diff(before.schema, after.schema)
        if difference.field is not None or difference.attribute not in ONLY_RECORDED
    )


def untold(reason: str) -> str:
    """That applications' writes are not told, with the server's words."""
    return f"this server does not tell what applications write meanwhile (CLIENT TRACKING: {reason})"


@dataclass(frozen=True)
class Situation:
    """What decides, beside the change itself, how it can be carried out.

    Attributes:
        adoption: Whether an index may become what an alias points to.
        exclusive: Nobody else writes to the documents.
        ignores_partial_updates: The server may not index what is written to a field with another attribute.
        untold_because: Why the server does not tell what others write; None where it does.
        readers: Other indexes that read the values that are to be re-encoded or to get another path.
        at_target: Other indexes that cover the keys to which documents are to move.
        is_way_back: An upgrade is taken back: what that has made comes back exactly.
    """

    adoption: Adoption = "alias"
    exclusive: bool = False
    ignores_partial_updates: bool = False
    untold_because: str | None = None
    readers: tuple[str, ...] = ()
    at_target: tuple[str, ...] = ()
    is_way_back: bool = False


def choose(
    before: IndexDefinition,
    after: IndexDefinition,
    rewrite: Rewrite,
    choice: StrategyChoice,
    situation: Situation,
) -> tuple[Strategy, str | None]:
    """The strategy for a change, and why it is impossible, if it is.

    Args:
        before: The index as it is.
        after: The index as it is wanted; its schema or its name differs.
        rewrite: What has to become of its documents.
        choice: What the user asked for.
        situation: What decides beside that.
    """
    strategy = choice if choice != "auto" else _cheapest(before, after, rewrite, situation)
    return strategy, why_impossible(strategy, before, after, rewrite, situation)


def _cheapest(
    before: IndexDefinition, after: IndexDefinition, rewrite: Rewrite, situation: Situation
) -> Strategy:
    """The first one that is possible, of those that keep search up first.

    Who says that writers are paused has paused the application: documents are rewritten in place then, which
    takes the least time and memory.
    """
    if rewrite.storage is not None:
        # Nothing else gives documents another type, so what forbids it is what has to be told.
        return "shadow_copy" if rewrite.prefixes else "rebuild"
    order: tuple[Strategy, ...] = ("alter", "shadow", "shadow_field", "shadow_copy")
    goes_beside = _why_not_rebuild(before, rewrite) is not None
    if rewrite and situation.exclusive and not goes_beside:
        order = ("alter",)
    possible = (
        strategy for strategy in order if why_impossible(strategy, before, after, rewrite, situation) is None
    )
    return next(possible, "shadow_field" if goes_beside else "rebuild")


def why_impossible(
    strategy: Strategy,
    before: IndexDefinition,
    after: IndexDefinition,
    rewrite: Rewrite,
    situation: Situation,
) -> str | None:
    """Why a strategy can't carry out a change; None when it can.

    Args:
        strategy: How.
        before: The index as it is.
        after: The index as it is wanted.
        rewrite: What has to become of its documents.
        situation: What decides beside that.
    """
    if strategy == "alter":
        reason = f"its documents change: {rewrite}" if rewrite else why_not_alter(before.schema, after.schema)
        return reason and f"strategy alter can't change index {before.served}: {reason}"
    deletes = why_dropping_deletes(before)
    if deletes is not None:
        return deletes
    if after.schema.temporary_seconds is not None:
        return (
            f"index {before.served} can't be made TEMPORARY: that could not be undone without deleting its "
            "documents; create a new index instead"
        )
    if strategy == "rebuild":
        return _why_not_rebuild(before, rewrite)
    if situation.adoption == "never" and before.physical == before.served:
        if rewrite.storage is not None and rewrite.prefixes:
            return (
                f'index {before.served} is no alias, and adopt = "never" says that it may not become one, so '
                "nothing can be built beside it: say what adopt is to be"
            )
        if _why_not_rebuild(before, rewrite) is not None:
            return (
                f'index {before.served} is no alias, and adopt = "never" says that it may not become one, so '
                "nothing can be built beside it: leave path= out, or say what adopt is to be"
            )
        return (
            f'index {before.served} is no alias, and adopt = "never" says that it may not become one: '
            "strategy rebuild changes it in place, with search down meanwhile"
        )
    reason = _WHY_NOT[strategy](before, after, rewrite, situation)
    return reason and f"strategy {strategy} can't change index {before.served}: {reason}"


def _why_not_rebuild(before: IndexDefinition, rewrite: Rewrite) -> str | None:
    reason = None if rewrite.storage is None else _why_not_in_other_type(before, rewrite)
    if reason is not None:
        return f"strategy rebuild can't change index {before.served}: {reason}"
    for recoding in rewrite.recodings:
        if recoding.new_path is not None:
            return (
                f"strategy rebuild can't change index {before.served}: it writes new forms over old "
                f"ones, and that of {recoding.path} goes beside it, to {recoding.new_path}"
            )
    return None


def _why_not_in_other_type(before: IndexDefinition, rewrite: Rewrite) -> str | None:
    """Why documents can't get another type in their place; None when they can."""
    if rewrite.prefixes:
        return (
            "documents that get another type in place keep their keys; strategy shadow_copy gives them other "
            "ones, with search up"
        )
    if before.schema.filter is not None:
        return "it has a FILTER, and documents that this keeps out would get another type, too"
    return _QUANTIZED if before.quantization else None


def _why_not_shadow(
    before: IndexDefinition,  # noqa: ARG001 - one signature
    after: IndexDefinition,  # noqa: ARG001
    rewrite: Rewrite,
    situation: Situation,  # noqa: ARG001
) -> str | None:
    return f"its documents change: {rewrite}" if rewrite else None


def _why_not_shadow_field(
    before: IndexDefinition,
    after: IndexDefinition,
    rewrite: Rewrite,
    situation: Situation,
) -> str | None:
    if not (rewrite.recodings or rewrite.renames) or rewrite.prefixes or rewrite.storage is not None:
        return (
            "it re-encodes vectors of hashes and gives values another path in their documents, which keep "
            "their keys"
        )
    if before.schema.filter is not None:
        return "it has a FILTER, and documents that this keeps out would be changed, too"
    if situation.untold_because is not None:
        return untold(situation.untold_because)
    if situation.ignores_partial_updates:
        return "this server has PARTIAL_INDEXED_DOCS and would not index what is written to a second field"
    twins = twins_of(rewrite)
    reason = why_no_twins(before.schema, after.schema, rewrite)
    if reason is not None:
        return reason
    for recoding in () if twins else rewrite.recodings:
        if recoding.has_one_width:
            return (
                f"{recoding.before} and {recoding.after} are equally long, so it can't be told in which of "
                "them the application writes"
            )
    if situation.readers:
        return f"index {', '.join(situation.readers)} reads the same {'values' if twins else 'vectors'}"
    return None


def _why_not_shadow_copy(
    before: IndexDefinition,
    after: IndexDefinition,
    rewrite: Rewrite,
    situation: Situation,
) -> str | None:
    if not rewrite.prefixes:
        return "it copies documents to another prefix, and these keep theirs"
    if not (rewrite.keeps_all or (situation.is_way_back and rewrite.reversed().keeps_all)):
        return (
            "it can't re-encode vectors on the way where that rounds, or goes to another path; do that in a "
            "revision of its own"
        )
    old, new = ({getattr(p, side) for p in rewrite.prefixes} for side in ("old", "new"))
    covered, wanted = KeyPrefixes.of(before.schema.prefixes), KeyPrefixes.of(after.schema.prefixes)
    is_moved = all(any(encode(each).startswith(prefix) for each in old) for prefix in covered.outermost)
    if covered.cover_everything or not is_moved:
        return "some of its documents would keep their keys"
    nested = _why_not_nested(old, new, rewrite)
    if nested is not None:
        return nested
    if covered.overlap(wanted) or covered.overlap(KeyPrefixes.of(new)):
        return "one of the two indexes would have originals and copies"
    if before.schema.filter is not None:
        return "it has a FILTER, and documents that this keeps out would be copied, too"
    if rewrite.storage is not None and before.quantization:
        return _QUANTIZED
    if situation.untold_because is not None:
        return untold(situation.untold_because)
    if situation.at_target:
        return f"index {', '.join(situation.at_target)} covers the new keys"
    return None


# Prefixes that a message may name; none of them begins as another does.
_EXAMPLES = ("item:", "doc:", "new:", "copy:", "other:")


def _why_not_nested(old: Collection[str], new: Collection[str], rewrite: Rewrite) -> str | None:
    """Why copies can't go under prefixes that begin as those of the originals do; None where none does."""
    nested = next(iter(_nested(old, new)), None)
    if nested is None:
        return None
    if rewrite.storage is None:
        return "a new prefix begins with an old one, or an old with a new one"
    other = next((each for each in _EXAMPLES if not any(_nested(old, {each}))), "another:")
    return (
        f"{nested[1]} begins with {nested[0]}, so originals and copies could not be told apart; take a "
        f"prefix that does not begin so, for example {other}"
    )


def _nested(old: Iterable[str], new: Collection[str]) -> Iterator[tuple[str, str]]:
    """Pairs of an old prefix and a new one of which one begins with the other, the shorter first."""
    for short, long in (sorted((one, other), key=len) for one in old for other in new):
        if long.startswith(short):
            yield short, long


_WHY_NOT = {
    "shadow": _why_not_shadow,
    "shadow_field": _why_not_shadow_field,
    "shadow_copy": _why_not_shadow_copy,
}


def why_dropping_deletes(definition: IndexDefinition) -> str | None:
    """Why FT.DROPINDEX would delete documents; None when they stay."""
    if definition.schema.temporary_seconds is None:
        return None
    return f"index {definition.served} is TEMPORARY: dropping it would delete its documents"


def why_not_alter(before: IndexSchema, after: IndexSchema) -> str | None:
    """What FT.ALTER can't do of this change; None when it can do all."""
    if before.name != after.name:
        return f"FT.ALTER can't rename an index to {after.name}"
    # Such an index keeps its text fields in a mask of 32 bits; FT.ALTER refuses the 33rd.
    if not before.max_text_fields and _text_fields(before) <= NARROW_TEXT_FIELDS < _text_fields(after):
        return (
            f"without MAXTEXTFIELDS an index can't be altered to more than {NARROW_TEXT_FIELDS} TEXT fields"
        )
    for difference in diff(before, after):
        if difference.kind != "field_added" and difference.attribute not in ONLY_RECORDED:
            return f"FT.ALTER only adds fields ({difference})"
    return None


def _text_fields(schema: IndexSchema) -> int:
    return sum(isinstance(field, TextField) for field in schema.fields)


def what_server_lacks(schema: IndexSchema, inventory: Inventory) -> Iterator[str]:
    """Why this server can't hold an index of this schema."""
    if schema.storage_type == "json" and not inventory.capabilities.has_json:
        yield f"index {schema.name} is on JSON, but this server has no RedisJSON module"
    is_wide_without_fields = schema.max_text_fields and schema.no_fields and _text_fields(schema)
    if is_wide_without_fields and inventory.capabilities.crashes_on_wide_text_without_fields:
        yield (
            f"index {schema.name} has max_text_fields and no_fields, with which this server crashes as soon "
            "as it indexes text"
        )
    yield from words_that_change(f"stopwords of index {schema.name}", schema.stopwords or (), inventory)
    for prefix in schema.prefixes or ("",):
        if prefix in inventory.unreadable_prefixes:
            why, rule = inventory.capabilities.why_unreadable(prefix)
            yield f"index {schema.name}: {why}: grant {rule}"
    misread = misread_field(schema.fields, schema.storage_type)
    if misread is not None:
        yield (
            f"FT.CREATE of index {schema.name} would read the name of field {misread} as an option of the "
            "field before it: call the field of the hash otherwise, or index fewer fields that are called "
            "like options"
        )
    for field in schema.fields:
        if isinstance(field, VectorField):
            for feature in (field.datatype, field.algorithm):
                reason = inventory.capabilities.lacking(feature)
                if reason is not None:
                    yield f"field {field.name} of index {schema.name}: {reason}"


def words_that_change(what: str, words: Iterable[str], inventory: Inventory) -> Iterator[str]:
    """Why this server can't hold words, if it can't: of those that are no UTF-8 some make other bytes.

    Args:
        what: What they are, for the message.
        words: Stopwords or synonyms.
        inventory: Of the server.
    """
    if inventory.capabilities.keeps_words_of_any_bytes:
        return
    changing = not_utf8(words)
    if changing:
        shown = ", ".join(ascii(word) for word in changing)
        yield f"{what}: {shown} is no UTF-8, and this server makes other bytes of it; write it in UTF-8"
