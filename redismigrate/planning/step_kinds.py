"""Every kind of step in one table: what it does, how it is undone, what a second try meets.

A step is stored and shown by its `StepKind`. Some of these mean several things, by the strategy and by when
they come; each meaning is a row of its own here, the step's life: `Step.life`. The rows
about documents are in `document_step_kinds`. To add a kind, see docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from redismigrate.planning.document_step_kinds import OF_DOCUMENTS
from redismigrate.planning.step_life import LifeName, StepLife
from redismigrate.planning.values_step_kinds import OF_VALUES

_ONE_SCRIPT = "Nothing: it is one script with its note. Where it is not, what is there already is left out."
_OF_NAMES = (
    StepLife(
        name="claim_index",
        kind="claim_index",
        does="Notes that an index belongs to this project.",
        second_try="It is claimed already, which is as good; one of another project is refused.",
        undone_by=("release_index",),
        offline="record",
        traits=frozenset({"owns", "takes_effect_before_its_note"}),
    ),
    StepLife(
        name="release_index",
        kind="release_index",
        does="Gives an index up: from then on it is nobody's.",
        second_try="It is nobody's already.",
        undone_by=("claim_index",),
        offline="record",
        traits=frozenset({"is_loss", "owns", "takes_effect_before_its_note"}),
    ),
    StepLife(
        name="set_alias",
        kind="set_alias",
        does="Leads an alias to an index, or to none.",
        second_try="The alias leads there already. One that leads to neither of both was moved: drift.",
        undone_by=("set_alias",),
        phase="cutover",
        offline="commands",
        traits=frozenset({"moves_names"}),
    ),
    StepLife(
        name="swap_alias",
        kind="swap_alias",
        does=(
            "Lets all names of an index lead to the one that was built beside it, once that is in step with "
            "writers. An index whose own name is among them is dropped for that."
        ),
        second_try="The names lead there already; writers are met again before.",
        # The index that was dropped is built again, and other aliases go, before names move back.
        undone_by=("create_beside", "wait_for_index", "set_alias", "swap_alias"),
        phase="cutover",
        offline="commands",
        traits=frozenset({"changes_index", "replaces_index", "moves_names"}),
    ),
    StepLife(
        name="swap_when_recorded",
        kind="swap_alias",
        does="The same once the revision is recorded: to the index over declared fields, which is recorded.",
        second_try="The names lead there already.",
        # Undone, the names go from that index to the one before the revision at once.
        phase="cutover",
        offline="commands",
        traits=frozenset({"changes_index", "replaces_index"}),
    ),
)
_OF_INDEXES = (
    StepLife(
        name="prove_index",
        kind="prove_index",
        does="Creates a definition on a scratch index without documents, and drops that.",
        second_try="A scratch index that is left is dropped first.",
        offline="commands",
        traits=frozenset({"comes_early", "bears_unmoved_names"}),
    ),
    StepLife(
        name="create_index",
        kind="create_index",
        does="Creates an index under the name that it is to have.",
        second_try=f"{_ONE_SCRIPT} One of another definition is somebody else's, and refused.",
        undone_by=("drop_index",),
        offline="commands",
        traits=frozenset({"changes_index", "makes_index", "has_definition", "is_kept_if_temporary"}),
    ),
    StepLife(
        name="create_beside",
        kind="create_index",
        does="Creates an index beside the one that serves, under a physical name of its own.",
        second_try=f"{_ONE_SCRIPT} One that lacks its synonyms is made again.",
        undone_by=("drop_index",),
        offline="commands",
        traits=frozenset({"changes_index", "makes_index", "has_definition", "is_kept_if_temporary"}),
    ),
    StepLife(
        name="alter_index",
        kind="alter_index",
        does="Adds fields to an index with FT.ALTER.",
        second_try=f"{_ONE_SCRIPT} Fields that are there are not added.",
        undone_by=("replace_index", "wait_for_index"),
        offline="commands",
        traits=frozenset(
            {
                "changes_index",
                "stays_same_index",
                "has_definition",
                "is_kept_if_temporary",
                "bears_unmoved_names",
            }
        ),
    ),
    StepLife(
        name="set_synonyms",
        kind="set_synonyms",
        does="Adds terms to synonyms with FT.SYNUPDATE.",
        second_try=f"{_ONE_SCRIPT} FT.SYNUPDATE bears a repeat.",
        undone_by=("replace_index", "wait_for_index"),
        offline="commands",
        traits=frozenset(
            {"stays_same_index", "has_definition", "is_kept_if_temporary", "bears_unmoved_names"}
        ),
    ),
    StepLife(
        name="replace_index",
        kind="replace_index",
        does="Drops an index and creates another one, with aliases and synonyms, in one transaction.",
        second_try=f"{_ONE_SCRIPT} An index that is neither as before nor as after was changed: drift.",
        undone_by=("replace_index", "wait_for_index"),
        offline="commands",
        traits=frozenset(
            {
                "changes_index",
                "makes_index",
                "drops_index",
                "replaces_index",
                "has_definition",
                "takes_search_away",
            }
        ),
    ),
    StepLife(
        name="drop_index",
        kind="drop_index",
        does="Drops an index, its documents too where the script says so. Its name may go to another one.",
        second_try="It is gone, and need not be dropped.",
        # Where its name has an heir, it comes back beside that, and the names after it. Documents don't.
        undone_by=("create_index", "create_beside", "wait_for_index", "set_alias"),
        offline="commands",
        traits=frozenset({"changes_index", "drops_index", "moves_names", "is_loss", "takes_search_away"}),
    ),
    StepLife(
        name="drop_to_rewrite",
        kind="drop_index",
        does="Drops an index whose documents are to be rewritten: each write would index them once more.",
        second_try="It is gone, and need not be dropped.",
        undone_by=("create_index", "wait_for_index"),
        offline="commands",
        traits=frozenset({"changes_index", "drops_index", "is_loss", "takes_search_away"}),
    ),
    StepLife(
        name="drop_left",
        kind="drop_index",
        does="Drops the index that was swapped out, once all is recorded. Its name becomes an alias.",
        second_try="It is gone, and need not be dropped.",
        undone_by=("set_alias", "create_beside", "wait_for_index"),
        offline="commands",
        traits=frozenset({"changes_index", "drops_index", "takes_search_away"}),
    ),
    StepLife(
        name="drop_over_second_fields",
        kind="drop_index",
        does="Drops the index over second fields, which has served until the declared ones had their values.",
        second_try="It is gone, and need not be dropped.",
        # What it has read is gone by the time that it could be undone.
        offline="commands",
        traits=frozenset({"changes_index", "drops_index", "takes_search_away"}),
    ),
    StepLife(
        name="wait_for_index",
        kind="wait_for_index",
        does="Waits until an index has all documents, and follows writers meanwhile.",
        second_try="It waits for the rest.",
        offline="look",
        traits=frozenset({"bears_unmoved_names"}),
    ),
    StepLife(
        name="validate_index",
        kind="validate_index",
        does="Compares an index with its definition, its documents, and the answers of the one before it.",
        second_try="It looks again; a server that was restarted builds the index anew, which is waited for.",
        phase="validate",
        offline="look",
        traits=frozenset({"bears_unmoved_names", "is_looked_at_again"}),
    ),
)
_OF_EXPECTATIONS = (
    StepLife(
        name="check_expectations",
        kind="check_expectations",
        does="Asks an index what its users expect of it, before names move to it if it was built beside.",
        second_try="It asks again.",
        phase="validate",
        offline="look",
        traits=frozenset({"bears_unmoved_names", "is_looked_at_again"}),
    ),
)
_OF_REVISIONS = (
    StepLife(
        name="run_function",
        kind="run_function",
        does="Calls a function that a script gave to `op.run`, or the one that undoes it.",
        second_try="It is called again: it has to bear a repeat.",
        undone_by=("run_function",),
        phase="documents",
        traits=frozenset({"takes_effect_before_its_note"}),
    ),
    StepLife(
        name="record_indexes",
        kind="record_indexes",
        does=(
            "Records indexes as they are by now, and not the revision, in one transaction with the moves of "
            "names before it: others of the revision are still to be changed, or could not be."
        ),
        second_try="Nothing: it is its own note.",
        # Whoever turns round writes the record that the revision has met.
        phase="cutover",
    ),
    StepLife(
        name="record_revision",
        kind="record_revision",
        does="Records the revision, in one transaction with the moves of names before it.",
        second_try="Nothing: it is its own note.",
        undone_by=("unrecord_revision",),
        phase="cutover",
        offline="record",
    ),
    # A kind of its own, so that a version that knows no folds refuses to take up a run or a rollback of one.
    StepLife(
        name="record_fold",
        kind="record_fold",
        does="Records revisions that are carried out as one, all of them in that transaction.",
        second_try="Nothing: it is its own note.",
        undone_by=("unrecord_revision",),
        phase="cutover",
    ),
    StepLife(
        name="unrecord_revision",
        kind="unrecord_revision",
        does="Takes the record back, in one transaction with what turns to the revision before.",
        second_try="Nothing: it is its own note.",
    ),
)
_ALL = _OF_NAMES + _OF_INDEXES + _OF_EXPECTATIONS + OF_DOCUMENTS + OF_VALUES + _OF_REVISIONS
LIVES: Mapping[LifeName, StepLife] = MappingProxyType({life.name: life for life in _ALL})
