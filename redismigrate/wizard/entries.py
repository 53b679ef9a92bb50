"""Answers given beforehand, as they would be typed or a whole change at once, and how they are played."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from redismigrate.errors import RedisMigrateError, SchemaError, UsageError
from redismigrate.foreign_modules import shown_value
from redismigrate.foreign_text import readable
from redismigrate.schema.redisvl import as_mapping, located, refuse_unknown
from redismigrate.schema.strict import did_you_mean
from redismigrate.wizard.dialogue import Dialogue
from redismigrate.wizard.forms import FORMS
from redismigrate.wizard.questions import Answer, Exact, Question

Entry = Answer | Mapping[str, Answer]
"""A typed answer, or the name of an action with its first answer and those of its further questions."""
_MOST_ENTRIES = 10_000


class Asking(Protocol):
    """A dialogue that is under way, for whoever gives the answers."""

    dialogue: Dialogue

    @property
    def question(self) -> Question:
        """What is asked now."""

    def answer(self, answer: Answer) -> None:
        """Take the answer to what is asked now."""


@dataclass(frozen=True)
class GivenAnswers:
    """What an answers file says.

    Attributes:
        entries: In order.
        index: What they are about; None: it does not say.
        message: What the revision is for; None: it does not say.
    """

    entries: tuple[Entry, ...]
    index: str | None = None
    message: str | None = None


def given_answers(content: Any) -> GivenAnswers:
    """The answers that the data of a file is: a list, or a mapping with it and with index and message.

    Raises:
        SchemaError: It is something else; says which entry.
    """
    layout = {"answers": content} if isinstance(content, list) else as_mapping(content, "the file")
    refuse_unknown(layout, ("index", "message", "answers"), "the file")
    entries = layout.get("answers", [])
    if not isinstance(entries, list) or len(entries) > _MOST_ENTRIES:
        raise SchemaError(
            f"answers is no list of at most {_MOST_ENTRIES:,}.", "Write one entry per answer or change."
        )
    index, message = (_text(layout, key) for key in ("index", "message"))
    read = []
    for position, entry in enumerate(entries):
        with located(f"answers[{position}]"):
            read.append(_entry(entry))
    return GivenAnswers(tuple(read), index, message)


def _text(layout: Mapping[str, Any], key: str) -> str | None:
    text = layout.get(key)
    if text is not None and not isinstance(text, str):
        raise SchemaError(f"{key} is no text: {shown_value(text)}.", "Write it in quotes.")
    return text


def played(asking: Asking, entries: Iterable[Entry]) -> Iterator[None]:
    """Give answers, and finish where they end at the menu; after each it can be looked at what it led to.

    Args:
        asking: Who asks.
        entries: As in an answers file; what they are is looked at.

    Raises:
        RedisMigrateError: Why one was refused; says which.
        UsageError: There is no answer to a question that needs one, or no question to an answer.
    """
    position = -1
    for position, given in enumerate(entries):
        entry = _entry(given)
        where = f"answers[{position}]"
        if asking.dialogue.ending is not None:
            raise UsageError(f"{where}: the wizard has ended before it.", "Take it out.")
        if isinstance(entry, Mapping):
            yield from _one_change(asking, entry, where)
        else:
            _give(asking, str(entry) if type(entry) in {int, float} else entry, where)
            yield
    yield from _rest(asking, f"answers[{position + 1}]")


def _rest(asking: Asking, where: str) -> Iterator[None]:
    """Leave what may be left, and finish."""
    while asking.dialogue.ending is None:
        question = asking.question
        if asking.dialogue.form is None:
            _give(asking, "finish", where)
        elif question.current is None:
            raise UsageError(f"{where}: there is no answer to “{question.text}”.", "Add it.")
        else:
            _give(asking, "", where)
        yield


def _one_change(asking: Asking, entry: Mapping[str, Answer], where: str) -> Iterator[None]:
    left = dict(entry)
    action = _action(left, where)
    if asking.dialogue.form is not None:
        raise UsageError(
            f"{where}: “{asking.question.text}” is asked, and this is a change of its own.",
            "Answer that before.",
        )
    _give(asking, action, where)
    while asking.dialogue.form is not None and asking.dialogue.ending is None:
        question = asking.question
        if question.key == "attribute":
            yield from _attributes(asking, left, where)
            _give(asking, "", where)
        elif question.key in left:
            value = left.pop(question.key)
            if value is None and question.current is None:
                told = f"{where}: {question.key} is empty: {question.text}."
                raise UsageError(told, "Say what it is to be.")
            _give(asking, value, where)
        elif question.current is not None:
            _give(asking, "", where)
        else:
            raise UsageError(
                f"{where}: {action} needs {question.key!r}: {question.text}.", f"Add {question.key}: ..."
            )
        yield
    left.pop(action, None)
    if left:
        key = next(iter(left))
        raise UsageError(f"{where}: {action} does not ask for {shown_value(key)}.", "Take it out.")


def _attributes(asking: Asking, left: dict[str, Answer], where: str) -> Iterator[None]:
    """Set the attributes that an entry names, in an order in which each can be."""
    while left:
        refusals = []
        for name, value in tuple(left.items()):
            _give(asking, Exact(name), where)
            asking.answer(value)
            if asking.dialogue.refusal is None:
                del left[name]
                break
            refusals.append(asking.dialogue.refusal)
            _give(asking, "", where)
        else:
            raise _at(refusals[0], where)
        yield


def _action(entry: dict[str, Answer], where: str) -> str:
    """The action that an entry names by one of its keys; the key is called like it from then on."""
    named = {key: key.replace("_", "-") for key in entry if key.replace("_", "-") in FORMS}
    if len(named) != 1:
        found = ", ".join(map(readable, named or entry)) or "nothing"
        question = "" if named else did_you_mean(found, FORMS)
        raise UsageError(
            f"{where}: one action has to be named, not {found}{question}.",
            f"Actions: {', '.join(FORMS)}.",
        )
    ((key, action),) = named.items()
    entry[action] = entry.pop(key)
    return action


def _give(asking: Asking, answer: Answer, where: str) -> None:
    asking.answer(answer)
    if asking.dialogue.refusal is not None:
        raise _at(asking.dialogue.refusal, where)


def _at(error: RedisMigrateError, where: str) -> RedisMigrateError:
    """The error with its place."""
    error.message = f"{where}: {error.message}"
    error.args = (error.message,)
    return error


def _entry(entry: Any) -> Entry:
    """An entry whose texts stand for themselves where it is a mapping."""
    if isinstance(entry, Mapping):
        return {_key(key): _value(value) for key, value in entry.items()}
    return "" if entry is None else _scalar(entry)


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise SchemaError(f"{shown_value(key)} is no key of an answer.", "Write it in quotes.")
    return key


def _value(value: Any) -> Answer:
    scalar = _scalar(value)
    return Exact(scalar) if isinstance(scalar, str) else scalar


def _scalar(value: Any) -> Answer:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise SchemaError(f"{shown_value(value)} is no answer.", "Write text, a number, or yes or no.")
