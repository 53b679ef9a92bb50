"""What is counted of documents while there are two forms of them adds up, and tells each listed one once."""

from __future__ import annotations

from redismigrate.documents.failures import LISTED_FAILURES, Failures
from redismigrate.state.while_expanded import LISTED_DOCUMENTS, WhileExpanded


def listed(key: str, *, is_conflict: bool = False) -> dict[str, object]:
    return {"key": key, "reason": "because", "is_conflict": is_conflict}


def test_numbers_are_summed_up_and_listed_documents_count_once():
    first = WhileExpanded(1, 2, 3, 1, 1, (listed("p:1", is_conflict=True), listed("p:2")))
    again = WhileExpanded(10, 20, 30, 1, 2, (listed("p:1", is_conflict=True), listed("p:2"), listed("p:3")))
    total = first.plus(again)
    assert (total.born, total.changed, total.deleted) == (11, 22, 33)
    assert (total.conflicts, total.failed) == (1, 2)
    assert [each["key"] for each in total.listed] == ["p:1", "p:2", "p:3"]


def test_a_document_that_was_written_in_both_forms_and_can_not_be_converted_is_listed_for_either():
    total = WhileExpanded(conflicts=1, listed=(listed("p:1", is_conflict=True),)).plus(
        WhileExpanded(failed=1, listed=(listed("p:1"),))
    )
    assert (total.conflicts, total.failed, len(total.listed)) == (1, 1, 2)


def test_the_first_hundred_are_listed_and_all_are_counted():
    first = WhileExpanded(failed=80, listed=tuple(listed(f"p:{number}") for number in range(80)))
    more = WhileExpanded(failed=500, listed=tuple(listed(f"q:{number}") for number in range(100)))
    total = first.plus(more)
    assert (total.failed, len(total.listed)) == (580, LISTED_DOCUMENTS)


def test_nothing_counted_is_nothing():
    assert not WhileExpanded()
    assert WhileExpanded(born=1)


def test_failures_of_a_round_are_added_to_those_of_all_once_each():
    total, done = Failures(), Failures()
    for number in range(LISTED_FAILURES + 10):
        done.add(b"p:%d" % number, "because")
    total.add(b"p:0", "because")
    total.add_all(done)
    total.add_all(done)
    assert total.count == len(total.seen) == LISTED_FAILURES + 10
    assert len(total.listed) == LISTED_FAILURES
