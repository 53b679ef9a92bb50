"""Text of others as it is shown to people: from Redis, from scripts, from files.

Names, keys, messages, authors and errors come from anywhere, and an escape sequence or a line break in them
could forge what a terminal shows. This is the one place that decides what of them is shown as it is.
"""

from __future__ import annotations

import shlex
import unicodedata

# Of what Python doesn't call printable: spaces of other scripts, and what joins letters and emoji.
_HARMLESS_CATEGORY = "Zs"
_JOINERS = frozenset("\u200c\u200d")
_ESCAPED_BYTES = range(0xDC80, 0xDD00)


def readable(text: str | bytes) -> str:
    """A text, or its bytes, on one line: what can't be printed, or is no UTF-8, as escapes.

    Args:
        text: Bytes that are not UTF-8 may stand in it as lone surrogates (`surrogateescape`).
    """
    decoded = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
    return decoded if decoded.isprintable() else "".join(map(_shown, decoded))


def readable_lines(text: str) -> str:
    """A text of several lines, each as `readable` shows it."""
    return text if text.isprintable() else "\n".join(map(readable, text.split("\n")))


def readable_paragraph(text: str) -> str:
    """The same, further lines indented: none of them can be taken for a line of ours."""
    first, *others = readable_lines(text).split("\n")
    return "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in others)])


def shell_command(*words: str) -> str:
    """A command as it can be typed into a shell, whatever is in its words.

    Args:
        words: Each may hold lone surrogates for bytes that are not UTF-8.
    """
    return " ".join(map(_shell_word, words))


def _shell_word(word: str) -> str:
    """A word; where it has what can't be printed, in the quotes that bash, zsh and ksh know escapes in."""
    if word.isprintable():
        return shlex.quote(word)
    shown = (
        character
        if character.isprintable() and character not in "'\\"
        else "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))
        for character in word
    )
    return f"$'{''.join(shown)}'"


def _shown(character: str) -> str:
    if (
        character.isprintable()
        or character in _JOINERS
        or unicodedata.category(character) == _HARMLESS_CATEGORY
    ):
        return character
    if ord(character) in _ESCAPED_BYTES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
