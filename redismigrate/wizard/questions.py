"""Questions as values, and what somebody means who answers one: a number, a name, or any text."""

from __future__ import annotations

from dataclasses import dataclass

from redismigrate.errors import UsageError
from redismigrate.foreign_documents import UnreadableDocument, parse_json
from redismigrate.foreign_modules import shown_value
from redismigrate.foreign_text import readable
from redismigrate.schema.strict import did_you_mean

DEFAULT = "default"


class Exact(str):
    """An answer that is no number of a choice and nothing to be trimmed: it stands for itself."""

    __slots__ = ()


Answer = str | int | float | bool | None
"""As it was typed, or a value of an answers file; None takes something back to its default."""


@dataclass(frozen=True)
class Choice:
    """One of the answers to choose from.

    Attributes:
        name: What it is answered by, besides its number.
        text: What it is, or is now.
    """

    name: str
    text: str = ""


@dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
        key: What its answer is called in an answers file.
        text: The question, without a question mark.
        choices: Answers to choose from, in the order of their numbers.
        current: What an empty answer leaves as it is; None: it leads back to the menu.
        about: What there is to know about the answer; may be empty.
        if_empty: What an empty answer does, in a word or two; may be empty.
        is_open: The answer may be something else than a choice; so it is where there is none.
        has_default: The answer may be "default".
    """

    key: str
    text: str
    choices: tuple[Choice, ...] = ()
    current: str | None = None
    about: str = ""
    if_empty: str = ""
    is_open: bool = False
    has_default: bool = False

    def meant(self, answer: Answer) -> Answer:
        """What an answer means: the name of a choice, or the text itself.

        Args:
            answer: Typed text is trimmed, and may be a number of a choice; text in double quotes is taken as
                JSON has it.

        Raises:
            UsageError: It is none of the choices, and nothing else may be answered.
        """
        if not isinstance(answer, str):
            return answer if self._is_open or answer is None else self._chosen(str(answer))
        if not isinstance(answer, Exact):
            answer = answer.strip()
            if not answer:
                return answer
            if self.has_default and answer.casefold() == DEFAULT:
                return None
            answer = _unquoted(answer)
        return self._chosen(answer)

    @property
    def _is_open(self) -> bool:
        return self.is_open or not self.choices

    def _chosen(self, answer: str) -> str:
        names = [choice.name for choice in self.choices]
        if answer in names:
            return answer
        if not isinstance(answer, Exact) and answer.isdecimal() and len(answer) < 6:  # noqa: PLR2004 - digits
            number = int(answer)
            if 1 <= number <= len(names):
                return names[number - 1]
        alike = [name for name in names if name.casefold() == answer.casefold()]
        if len(alike) == 1:
            return alike[0]
        if self._is_open:
            return answer
        raise UsageError(
            f"{shown_value(str.__str__(answer))} is none of the answers{did_you_mean(answer, names)}.",
            f"Answer a number from 1 to {len(names)}, or a name: {', '.join(map(readable, names))}.",
        )


def _unquoted(answer: str) -> str:
    if len(answer) > 1 and answer[0] == answer[-1] == '"':
        try:
            return Exact(parse_json(answer))
        except UnreadableDocument as error:
            raise UsageError(
                f"The answer {error.problem}.", "Between double quotes a text stands as in JSON."
            ) from None
    return answer
