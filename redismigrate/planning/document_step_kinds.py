"""The rows of the table of steps that are about documents: in place, or with a second form beside."""

from __future__ import annotations

from redismigrate.planning.step_life import StepLife

_OF_DOCUMENTS_IN_PLACE = (
    StepLife(
        name="back_up_documents",
        kind="back_up_documents",
        does="Reads all documents with search up, refuses what can't be rewritten, writes the rest to disk.",
        second_try="The files of the first attempt are discarded: no document was changed yet.",
        phase="documents",
        traits=frozenset({"comes_early", "keeps_to_rate"}),
    ),
    StepLife(
        name="rewrite_documents",
        kind="rewrite_documents",
        does="Gives documents their new form in their place, with the index down.",
        second_try="Values are compared with the backup: what has the new form, or was written since, stays.",
        undone_by=("verify_backup", "restore_rewritten"),
        phase="documents",
        traits=frozenset(
            {
                "takes_search_away",
                "takes_effect_before_its_note",
                "reads_own_backup",
                "keeps_to_rate",
                "makes_new_form",
                "writes_vectors",
            }
        ),
    ),
    StepLife(
        name="index_documents",
        kind="index_documents",
        does="Shows few documents among many keys to an index that was told not to scan.",
        second_try="They are shown again, which changes nothing.",
        traits=frozenset({"reads_own_backup", "keeps_to_rate"}),
    ),
    StepLife(
        name="catch_up_documents",
        kind="catch_up_documents",
        does="Rewrites what writers have written in the old form meanwhile, and adds that to the backup.",
        second_try="It looks at all documents again, as whoever takes the run up does in any case.",
        # What it has written is in the backup that undoing the rewrite restores from.
        phase="documents",
        traits=frozenset({"reads_own_backup", "keeps_to_rate", "is_repeated"}),
    ),
    StepLife(
        name="verify_backup",
        kind="verify_backup",
        does="Reads the whole backup, before an index is dropped for what is restored from it.",
        second_try="It reads it again.",
        phase="documents",
        traits=frozenset({"restores"}),
    ),
    StepLife(
        name="restore_rewritten",
        kind="restore_documents",
        does="Brings the originals back where documents have the form that the rewrite gave them.",
        second_try="Every value is compared: what is as before, or was written since, stays.",
        phase="documents",
        traits=frozenset({"restores", "keeps_to_rate"}),
    ),
)
_OF_DOCUMENTS_BESIDE = (
    StepLife(
        name="back_up_beside",
        kind="back_up_documents",
        does="The same before second fields are made; those that a lost run has left are removed.",
        second_try="The files of the first attempt are discarded: no document was changed yet.",
        phase="documents",
        traits=frozenset({"keeps_to_rate"}),
    ),
    StepLife(
        name="fill_second_fields",
        kind="copy_documents",
        does="Writes vectors in their new form into second fields of the same documents; follows writers.",
        second_try="It looks at all documents again, and writes what is out of step.",
        undone_by=("take_second_fields_back",),
        phase="documents",
        traits=frozenset({"takes_effect_before_its_note", "makes_new_form", "is_followed"}),
    ),
    StepLife(
        name="promote_documents",
        kind="promote_documents",
        does="Writes second fields to the declared ones, once the revision is recorded; follows writers.",
        second_try="It looks at all documents again; what is there already is left.",
        undone_by=("verify_backup", "restore_promoted"),
        phase="documents",
        traits=frozenset({"reads_own_backup", "writes_vectors", "is_followed"}),
    ),
    StepLife(
        name="restore_promoted",
        kind="restore_documents",
        does="Brings the originals back; what has the new form still is turned back with its second field.",
        second_try="Every value is compared: what is as before, or was written since, stays.",
        phase="documents",
        traits=frozenset({"restores", "keeps_to_rate"}),
    ),
    StepLife(
        name="remove_second_fields",
        kind="remove_documents",
        does="Removes second fields, and completes the backup with what was written in them.",
        second_try="It removes the rest.",
        # Second fields come back with the copy of the revision that is undone: that is taken back next.
        phase="documents",
        traits=frozenset({"reads_own_backup", "ends_following"}),
    ),
    StepLife(
        name="take_second_fields_back",
        kind="remove_documents",
        does="Carries what was written to second fields back to the declared ones, and removes them.",
        second_try="It does so with the rest.",
        phase="documents",
        traits=frozenset({"ends_following"}),
    ),
    StepLife(
        name="fill_twins",
        kind="copy_documents",
        does=(
            "Writes values to a second path of the same documents, each of which gets a mark of what both "
            "were; follows writers."
        ),
        second_try="It looks at all documents again; marks tell whose change a difference is.",
        # Once the old values are gone they are written again, and the new ones are what is removed.
        undone_by=("take_twins_back", "remove_twins"),
        phase="documents",
        traits=frozenset({"takes_effect_before_its_note", "makes_new_form", "is_followed"}),
    ),
    StepLife(
        name="remove_twins",
        kind="remove_documents",
        does="Removes values from the old paths; what is written there meanwhile goes on to the new ones.",
        second_try="It removes the rest.",
        # All leave their old path first where some have not, and are written there again then.
        undone_by=("remove_twins", "fill_twins"),
        phase="documents",
        traits=frozenset({"ends_following"}),
    ),
    StepLife(
        name="take_twins_back",
        kind="remove_documents",
        does="Carries what was written at new paths back to the old ones, and removes the new values.",
        second_try="It does so with the rest.",
        phase="documents",
        traits=frozenset({"ends_following"}),
    ),
    StepLife(
        name="make_copies",
        kind="copy_documents",
        does="Copies documents under another prefix, each with a mark of what both were; follows writers.",
        second_try="It looks at all documents again; marks tell whose change a difference is.",
        # Once originals are gone, documents are copied back, and the copies are the originals to be removed.
        undone_by=("take_copies_back", "remove_originals"),
        phase="documents",
        traits=frozenset({"takes_effect_before_its_note", "makes_new_form", "is_followed"}),
    ),
    StepLife(
        name="remove_originals",
        kind="remove_documents",
        does="Removes documents that were copied; what is written under their keys goes on to the copies.",
        second_try="It removes the rest.",
        # All leave their old keys first where some have not, and are copied back then.
        undone_by=("remove_originals", "make_copies"),
        phase="documents",
        traits=frozenset({"ends_following"}),
    ),
    StepLife(
        name="take_copies_back",
        kind="remove_documents",
        does="Carries what was written to copies back to the originals, and removes the copies.",
        second_try="It does so with the rest.",
        phase="documents",
        traits=frozenset({"ends_following"}),
    ),
)
OF_DOCUMENTS = _OF_DOCUMENTS_IN_PLACE + _OF_DOCUMENTS_BESIDE
