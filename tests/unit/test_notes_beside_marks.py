"""What a run notes beside its marks: that all documents have been looked at, and that the limit was met."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from redismigrate.execution.steps.marked_forms import MarkedForms


class Strings:
    """The strings of a server."""

    def __init__(self) -> None:
        self.values: dict[bytes, str] = {}

    def execute(self, name: str, *arguments: Any) -> Any:
        """Carry out one of the few commands that notes need."""
        match name:
            case "SET":
                self.values[arguments[0]] = arguments[1]
            case "EXISTS":
                return int(arguments[0] in self.values)
            case "DEL":
                return [self.values.pop(key, None) for key in arguments]
        return None


@pytest.fixture
def server() -> Strings:
    return Strings()


@pytest.fixture
def forms(server: Strings, monkeypatch: pytest.MonkeyPatch) -> MarkedForms:
    monkeypatch.setattr(MarkedForms, "marks", lambda *_: b"{redismigrate:shop}:mark:run:way:")
    return MarkedForms(SimpleNamespace(project="shop", server=server, require_lock=lambda: None))  # type: ignore[arg-type]


STEP: Any = SimpleNamespace(index="products")
RUN: Any = SimpleNamespace(id="run")


def test_the_limit_is_met_before_all_documents_were_looked_at(forms: MarkedForms):
    """Else what stands at new paths since before the run would be taken for the application's word."""
    forms.note_limit(STEP, RUN)
    assert forms.have_met_limit(STEP, RUN)
    assert not forms.have_looked_at_all(STEP, RUN)


def test_it_is_not_forgotten_once_they_were(forms: MarkedForms):
    forms.note_limit(STEP, RUN)
    forms.note_looked_at_all(STEP, RUN)
    assert forms.have_met_limit(STEP, RUN)
    assert forms.have_looked_at_all(STEP, RUN)


def test_no_note_outlives_the_marks(forms: MarkedForms, server: Strings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("redismigrate.execution.steps.marked_forms.forget_marks", lambda *_: None)
    forms.note_looked_at_all(STEP, RUN)
    forms.note_limit(STEP, RUN)
    forms.forget(STEP, RUN)
    assert server.values == {}
