"""The kinds of steps about values that no index reads: dropped from documents, and brought back."""

from __future__ import annotations

from redismigrate.planning.step_life import StepLife

OF_VALUES = (
    StepLife(
        name="start_backup",
        kind="start_backup",
        does="Makes the backup, still empty, to which values go before they are removed.",
        second_try="The files of the first attempt are discarded: nothing was removed yet.",
        phase="documents",
    ),
    StepLife(
        name="drop_values",
        kind="drop_values",
        does="Removes values that no index reads, batch by batch, each once the backup has it.",
        second_try="It removes the rest; what was written again since is backed up once more.",
        undone_by=("restore_values",),
        phase="documents",
        traits=frozenset({"takes_effect_before_its_note", "reads_own_backup", "keeps_to_rate"}),
    ),
    StepLife(
        name="restore_values",
        kind="restore_values",
        does="Writes the newest value of a backup where a document has none by now.",
        second_try="It writes the rest; what is there stays.",
        # Values that came back go to a backup once more, before they are removed again.
        undone_by=("start_backup", "drop_values"),
        phase="documents",
        traits=frozenset({"restores", "takes_effect_before_its_note", "keeps_to_rate"}),
    ),
)
