"""All small cases of one vector with a second field, and faults that have been, each of which is found."""

from __future__ import annotations

import pytest

# Second fields back up what they replace since this is there.
pytest.importorskip("redismigrate.execution.documents.beside.growing_backup")

from small_fields import NEW_FORMS, OLD_FORMS, FieldsExplorer
from small_looks import Broken

from redismigrate.execution.documents.beside import second_fields
from redismigrate.execution.documents.beside.second_fields import SecondFields
from redismigrate.state.fence import Fence


@pytest.mark.parametrize("is_slow", [False, True])
def test_few_words_lead_nowhere_wrong(is_slow: bool):
    assert FieldsExplorer(OLD_FORMS[1:], NEW_FORMS[:1], is_slow=is_slow).walk() > 200


@pytest.mark.slow
@pytest.mark.parametrize("is_slow", [False, True])
def test_all_words_lead_nowhere_wrong(is_slow: bool):
    assert FieldsExplorer(refuses=True, is_slow=is_slow).walk() > 2_000


def remove_without_backup(patch: pytest.MonkeyPatch) -> None:
    lost_values = second_fields.lost_values

    def lost(field, declared, second, after):
        return lost_values(field, declared, second, after) if any(after.second) else [None] * len(declared)

    patch.setattr(second_fields, "lost_values", lost)


def keep_no_lifetime(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SecondFields, "_keep_expiries", lambda *_: None)


def write_without_the_lock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fence, "require", lambda fence, current: None)


@pytest.mark.parametrize(
    ("mutate", "message"),
    [(remove_without_backup, "I3: "), (keep_no_lifetime, "instead of"), (write_without_the_lock, "I8: ")],
)
def test_a_fault_that_has_been_is_found(mutate, message: str, monkeypatch: pytest.MonkeyPatch):
    mutate(monkeypatch)
    with pytest.raises(Broken, match=message):
        FieldsExplorer(OLD_FORMS[1:], NEW_FORMS[:1]).walk()
