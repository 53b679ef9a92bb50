"""What can be said of a kind of step: how it is stored, what it means, and what is true of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Strategy = Literal["alter", "shadow", "shadow_field", "shadow_copy", "rebuild"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
# "auto": the cheapest that keeps search up and fits in memory.
StrategyChoice = Literal["auto", Strategy]
# What of a revision is to be done: beside the old, or with its removal, or both.
Phase = Literal["all", "expand", "contract"]
# What becomes of the other indexes of a revision when one fails.
OnFailure = Literal["undo", "continue"]
# Whether the indexes of a revision begin to serve together, or each before the next one is begun.
CutoverChoice = Literal["together", "each"]
# Those that build an index beside the one that serves.
BESIDE: frozenset[Strategy | None] = frozenset({"shadow", "shadow_field", "shadow_copy"})

# As it is stored in `:run`, in plan files, and shown by `--json`.
StepKind = Literal[
    "claim_index",
    "prove_index",
    "back_up_documents",
    "rewrite_documents",
    "verify_backup",
    "restore_documents",
    "index_documents",
    "catch_up_documents",
    "copy_documents",
    "promote_documents",
    "remove_documents",
    "start_backup",
    "drop_values",
    "restore_values",
    "create_index",
    "alter_index",
    "replace_index",
    "drop_index",
    "set_alias",
    "swap_alias",
    "set_synonyms",
    "wait_for_index",
    "validate_index",
    "check_expectations",
    "run_function",
    "release_index",
    "record_indexes",
    "record_revision",
    "record_fold",
    "unrecord_revision",
]
# What a kind means for one step: the same word where it means one thing only.
LifeName = Literal[
    "claim_index",
    "release_index",
    "prove_index",
    "back_up_documents",
    "back_up_beside",
    "rewrite_documents",
    "index_documents",
    "catch_up_documents",
    "verify_backup",
    "restore_rewritten",
    "restore_promoted",
    "fill_second_fields",
    "make_copies",
    "promote_documents",
    "remove_second_fields",
    "take_second_fields_back",
    "fill_twins",
    "take_twins_back",
    "remove_twins",
    "remove_originals",
    "take_copies_back",
    "start_backup",
    "drop_values",
    "restore_values",
    "create_index",
    "create_beside",
    "alter_index",
    "replace_index",
    "set_synonyms",
    "drop_index",
    "drop_to_rewrite",
    "drop_left",
    "drop_over_second_fields",
    "set_alias",
    "swap_alias",
    "swap_when_recorded",
    "wait_for_index",
    "validate_index",
    "check_expectations",
    "run_function",
    "record_indexes",
    "record_revision",
    "record_fold",
    "unrecord_revision",
]
RunPhase = Literal["documents", "index", "validate", "cutover"]
# What is true of some: sets of kinds, each said where the kind is described.
Trait = Literal[
    "changes_index",  # An index is another one after it: the plan shows its schema.
    "makes_index",  # An index of the name comes to be by it.
    "drops_index",  # An index is gone after it.
    "replaces_index",  # Another index serves after it, in the place of the one before.
    "stays_same_index",  # The index is changed where it is, and what it covers in other databases stays.
    "has_definition",  # It makes an index or changes it where it is, by the definition that it carries.
    "is_kept_if_temporary",  # It can't be undone for a TEMPORARY index: dropping that deletes its documents.
    "moves_names",  # It only changes what names lead to: several such are one transaction.
    "is_loss",  # Clients lose an index or a name by it, for which nothing is built beside.
    "takes_search_away",  # An index goes by it: all documents are read and backed up before.
    "comes_early",  # It is done before any index goes, where search is down meanwhile.
    "bears_unmoved_names",  # It can be done to an index that no name leads to yet.
    "owns",  # It is about whose an index is.
    "takes_effect_before_its_note",  # It is no transaction with it: a run that turns round there undoes it.
    "reads_own_backup",  # It needs the backup that its revision has made, or adds to it.
    "restores",  # It reads that backup to undo its revision: its place is noted in the step.
    "keeps_to_rate",  # `--max-docs-per-second` decides how long it takes.
    "is_looked_at_again",  # It only looks, and does so once more where it may be long ago when names move.
    "is_repeated",  # It is done once more when the run is taken up, since writers may have gone on.
    "makes_new_form",  # The documents have their new form after it.
    "writes_vectors",  # The declared fields have their new form after it: how integers were made is recorded.
    "is_followed",  # What it has made is kept in step with writers from then on.
    "ends_following",  # From then on nothing is.
]


@dataclass(frozen=True, kw_only=True)
class StepLife:
    """What is known of all steps that mean the same.

    Attributes:
        name: Which meaning it is.
        kind: How such a step is stored.
        does: What it does.
        second_try: What it meets when a process died before it was noted as done.
        undone_by: The steps that undo it; none where nothing has to be undone.
        phase: To which part of the run's seconds it counts.
        offline: Whether a file of `--script` can do it: by commands, by leaving the look to the reader, or as
            part of the record; None where it reads documents or runs code.
        traits: What else is true of it.
    """

    name: LifeName
    kind: StepKind
    does: str
    second_try: str
    undone_by: tuple[LifeName, ...] = ()
    phase: RunPhase = "index"
    offline: Literal["commands", "look", "record"] | None = None
    traits: frozenset[Trait] = frozenset()

    def has(self, trait: Trait) -> bool:
        """Whether something is true of it."""
        return trait in self.traits


# What a second form is made of -> how it is made, how the first form is removed, how it is taken back.
_OF_SECOND_FORMS: Mapping[str, tuple[LifeName, LifeName, LifeName]] = {
    "copies": ("make_copies", "remove_originals", "take_copies_back"),
    "twins": ("fill_twins", "remove_twins", "take_twins_back"),
    "second_fields": ("fill_second_fields", "remove_second_fields", "take_second_fields_back"),
}


def life_name_of(
    kind: StepKind,
    strategy: Strategy | None = None,
    *,
    takes_back: bool = False,
    after_record: bool = False,
    has_second_fields: bool = False,
    has_twins: bool = False,
) -> LifeName:
    """What a step means, by what is stored of it.

    Args:
        kind: Its kind.
        strategy: How the change that it belongs to is carried out.
        takes_back: Of a removal: it takes back what was copied, rather than what it was copied from.
        after_record: It comes once the revision is recorded.
        has_second_fields: It is about an index over second fields.
        has_twins: It is about values that stand at two paths of their documents, see `documents.twins`.
    """
    in_fields = strategy == "shadow_field"
    match kind:
        case "back_up_documents":
            return "back_up_beside" if in_fields else "back_up_documents"
        case "restore_documents":
            return "restore_promoted" if in_fields else "restore_rewritten"
        case "copy_documents" | "remove_documents":
            form = "copies" if not in_fields else "twins" if has_twins else "second_fields"
            return _OF_SECOND_FORMS[form][0 if kind == "copy_documents" else 1 + takes_back]
        case "create_index":
            return "create_beside" if strategy in BESIDE else "create_index"
        case "swap_alias":
            return "swap_when_recorded" if after_record else "swap_alias"
        case "drop_index" if after_record:
            return "drop_over_second_fields" if has_second_fields else "drop_left"
        case "drop_index":
            return "drop_to_rewrite" if strategy == "rebuild" else "drop_index"
    return kind
