"""JSON paths, understood as far as it takes to rename a member and to tell who else reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass

# The path of a whole JSON document.
WHOLE_DOCUMENT = "$"
# What RedisJSON takes behind a dot without quotes; "$.é" is refused.
_BARE_NAME = re.compile(r"[#$%+\-/0-9:A-Za-z^_`~]+")
# Quoted names with a backslash are left out on purpose: JSON.GET reads "\"" as a quote, but JSON.SET makes a
# member whose name has the backslash in it. So are names with white space in front, which JSON.SET cuts off.
_DOUBLE_QUOTED = r'\["(?P<double>[^"\\\s][^"\\]*)"\]'
_SINGLE_QUOTED = r"\['(?P<single>[^'\\\s][^'\\]*)'\]"
_MEMBER = re.compile(rf"\.(?P<bare>{_BARE_NAME.pattern})|{_DOUBLE_QUOTED}|{_SINGLE_QUOTED}")
# Elements of an array, as in "$.tags[*]", belong to the member in front of them.
_LAST_MEMBER = re.compile(rf"(?:{_MEMBER.pattern})(?:\[[^\]\"']*\]|\.\*)*$")


@dataclass(frozen=True)
class JsonPath:
    """A JSON path.

    Attributes:
        members: The names that lead from the root to the value, as far as they are plain.
        rest: What follows from the first step on that is no plain member: a wildcard, a slice, a filter, a
            recursive descent, or a name that RedisJSON reads and writes differently.
    """

    members: tuple[str, ...]
    rest: str = ""

    @classmethod
    def parse(cls, text: str) -> JsonPath:
        """The path that a text stands for; a text that does not begin at the root is all `rest`."""
        if not text.startswith("$"):
            return cls((), text)
        members, position = [], 1
        while (step := _MEMBER.match(text, position)) is not None:
            members.append(step["bare"] or step["double"] or step["single"])
            position = step.end()
        return cls(tuple(members), text[position:])

    @property
    def is_plain(self) -> bool:
        """Whether it leads to one member of one object."""
        return bool(self.members) and not self.rest

    def is_within(self, other: JsonPath) -> bool:
        """Whether it reads the member at a plain path, or something inside of it."""
        return self.members[: len(other.members)] == other.members

    def may_find(self, other: JsonPath) -> bool:
        """Whether its wildcards or the like may lead to the member at a plain path, by the member's name."""
        is_above = other.members[: len(self.members)] == self.members != other.members
        return is_above and self.rest.startswith((".", "["))

    def sibling(self, name: str) -> JsonPath | None:
        """The path of another member of the same object, given a plain path; None: it can't be said.

        Args:
            name: Of the other member.
        """
        path = JsonPath((*self.members[:-1], name))
        return path if JsonPath.parse(str(path)) == path else None

    def __str__(self) -> str:
        return "$" + "".join(map(_step, self.members)) + self.rest


def last_member(text: str) -> str | None:
    """The name in the last step of a path that has one, whatever stands before it.

    Args:
        text: A JSON path.
    """
    step = _LAST_MEMBER.search(text)
    return step and (step["bare"] or step["double"] or step["single"])


def _step(name: str) -> str:
    if _BARE_NAME.fullmatch(name):
        return f".{name}"
    return f"['{name}']" if '"' in name else f'["{name}"]'
