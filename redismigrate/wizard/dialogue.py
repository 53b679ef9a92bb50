"""The dialogue: a state that has a question, and that an answer turns into the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from redismigrate.errors import PlanBlocked, RedisMigrateError
from redismigrate.wizard.draft import Draft
from redismigrate.wizard.forms import FORMS, View
from redismigrate.wizard.questions import Answer, Choice, Exact, Question

MENU = Question("action", "Action", tuple(Choice(name, form.text) for name, form in FORMS.items()))


@dataclass(frozen=True)
class Judgement:
    """What planning says about a draft.

    Attributes:
        impossible: Why no upgrade could carry it out, whatever its options; one phrase each.
        notes: What the user should know; one sentence each.
    """

    impossible: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


Judge = Callable[[Draft], Judgement]


@dataclass(frozen=True)
class Told:
    """What an answer has led to, for people.

    Attributes:
        kind: Whether something was changed, or is to be known.
        text: It.
    """

    kind: Literal["changed", "note"]
    text: str


@dataclass(frozen=True)
class Dialogue:
    """Where the wizard is.

    Attributes:
        draft: The change so far.
        form: The action of the menu whose questions are being asked; None: the menu.
        values: What is answered of it.
        told: What the last answer has led to.
        refusal: Why the last answer was refused; None: it was not.
        view: What it has asked to be shown of the change.
        ending: How the wizard has ended; None: it has not.
        message: What the revision is for, once it has ended to be written.
    """

    draft: Draft
    form: str | None = None
    values: Mapping[str, Answer] = field(default_factory=dict)
    told: tuple[Told, ...] = ()
    refusal: RedisMigrateError | None = None
    view: View | None = None
    ending: Literal["finish", "quit"] | None = None
    message: str | None = None

    @property
    def question(self) -> Question:
        """What is asked now."""
        if self.form is None:
            return MENU
        following = FORMS[self.form].next(self.draft, self.values)
        assert isinstance(following, Question)  # noqa: S101 - `answered` carries out what is complete
        return following

    def answered(self, answer: Answer, judge: Judge) -> Dialogue:
        """The dialogue after an answer; where that is refused, the same question once more.

        Args:
            answer: As it was typed, or a value of an answers file.
            judge: Says what planning thinks of a change.
        """
        question = self.question
        try:
            return self._after(question, question.meant(answer), judge)
        except RedisMigrateError as error:
            return self.refused(error)

    def refused(self, error: RedisMigrateError) -> Dialogue:
        """The same question once more, for a reason."""
        return replace(self, told=(), view=None, refusal=error)

    def _after(self, question: Question, meant: Answer, judge: Judge) -> Dialogue:
        is_empty = meant == "" and not isinstance(meant, Exact)
        if self.form is None:
            following = Dialogue(self.draft)
            if is_empty or meant is None:
                return following
            return _settled(replace(following, form=str(meant)), judge)
        if (is_empty or meant is None) and question.current is None:
            return Dialogue(self.draft)
        return _settled(Dialogue(self.draft, self.form, {**self.values, question.key: meant}), judge)


def _settled(asked: Dialogue, judge: Judge) -> Dialogue:
    """With what the answers of the form come to, once it has all of them."""
    done = FORMS[asked.form or ""].next(asked.draft, asked.values)
    if isinstance(done, Question):
        return asked
    told = () if done.draft == asked.draft else _told(asked.draft, done.draft, judge)
    if done.note:
        told = (*told, Told("note", done.note))
    return Dialogue(
        done.draft,
        done.form,
        done.values,
        told,
        view=done.view,
        ending=done.ending,
        message=done.message,
    )


def _told(before: Draft, after: Draft, judge: Judge) -> tuple[Told, ...]:
    """What is said about a further change; RedisMigrateError where it is impossible."""
    judgement = judge(after)
    known = judge(before).impossible if judgement.impossible else ()
    new = [reason for reason in judgement.impossible if reason not in known]
    if new and len(after.answered) > len(before.answered):
        raise PlanBlocked(f"{'; '.join(new)}.", "This answer has changed nothing.", tuple(new))
    changes = after.answered[len(before.answered) :]
    told = tuple(Told("changed", str(change)) for group in changes for change in group)
    return (*told, *(Told("note", note) for note in judgement.notes))
