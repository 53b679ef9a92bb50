"""All small cases of a document with values at two paths, between two releases; and faults that are found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from small_looks import Broken
from small_twins import TwinExplorer

from redismigrate.execution.documents.beside import twin_marks, twin_values, twin_verdicts
from redismigrate.execution.documents.beside.removals import Removals
from redismigrate.execution.documents.beside.twin_batch import TwinBatch
from redismigrate.execution.documents.beside.twin_marks import TwinEntry
from redismigrate.execution.documents.beside.twin_verdicts import TwinCircumstances
from redismigrate.execution.documents.traffic.mirroring import WithinDocuments
from redismigrate.state.fence import Fence


def told(explorer: TwinExplorer) -> str:
    flags = explorer.has_moments, explorer.refuses, explorer.races
    return f"{explorer.kind} {len(explorer.values)} {flags}"


FEW = (
    TwinExplorer(),
    TwinExplorer(kind="json", values=(b"1",), refuses=True),
    TwinExplorer(values=(b"1",), refuses=True, races=True),
)
MANY = (
    TwinExplorer(kind="json", refuses=True, races=True),
    TwinExplorer(refuses=True, races=True),
    TwinExplorer(values=(b"1",), has_moments=True, refuses=True, races=True),
)


@pytest.mark.parametrize("explorer", FEW, ids=told)
def test_few_words_about_twins_lead_nowhere_wrong(explorer: TwinExplorer):
    assert explorer.walk() > 40


@pytest.mark.slow
@pytest.mark.parametrize("explorer", MANY, ids=told)
def test_many_words_about_twins_lead_nowhere_wrong(explorer: TwinExplorer):
    assert explorer.walk() > 400


def remove_before_the_mark(patch: pytest.MonkeyPatch) -> None:
    write = TwinBatch._write

    def write_in_another_order(batch, key, mark_key, before, *arguments):
        write(batch, key, mark_key, before, *arguments)
        for document in batch._decision.documents:
            document.commands.sort(key=lambda command: command[0] != b"HDEL")

    patch.setattr(TwinBatch, "_write", write_in_another_order)


def back_up_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TwinBatch, "_keep", lambda *_: None)


def take_what_is_there_for_the_application_s(patch: pytest.MonkeyPatch) -> None:
    met = twin_verdicts._met
    patch.setattr(
        twin_verdicts,
        "_met",
        lambda forms, entry: (
            met(forms, entry)
            if forms.new is None
            else twin_verdicts._of_new(
                forms, TwinEntry(), TwinCircumstances(carries_back=True), is_conflict=False
            )
        ),
    )


def forget_lifetimes(patch: pytest.MonkeyPatch) -> None:
    for module in (twin_marks, twin_verdicts, twin_values):
        patch.setattr(module, "digest_of_twin", lambda value: 0 if value is None else int(value.content) + 1)


def count_no_deletion(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Removals, "count", lambda *_: None)


def write_without_the_lock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fence, "require", lambda fence, current: None)


def watch_no_document(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WithinDocuments, "watched", lambda mirror, keys: [])


@pytest.mark.parametrize(
    ("mutate", "explorer", "message"),
    [
        (remove_before_the_mark, TwinExplorer(values=(b"1",), refuses=True), "I2: |I3: "),
        (back_up_nothing, TwinExplorer(values=(b"1",)), "I2: |I3: "),
        (take_what_is_there_for_the_application_s, TwinExplorer(), "instead of"),
        (forget_lifetimes, TwinExplorer(values=(b"1",), has_moments=True), "instead of"),
        (count_no_deletion, TwinExplorer(values=(b"1",)), "is not counted"),
        (write_without_the_lock, TwinExplorer(values=(b"1",)), "I8: "),
        (watch_no_document, TwinExplorer(values=(b"1",), races=True), "between reading and writing"),
    ],
)
def test_a_fault_of_twins_is_found(
    mutate: Callable[[pytest.MonkeyPatch], object],
    explorer: TwinExplorer,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
):
    mutate(monkeypatch)
    with pytest.raises(Broken, match=message):
        explorer.walk()
