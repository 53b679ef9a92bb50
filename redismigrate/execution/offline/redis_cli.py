"""Commands as `redis-cli` reads them from a file: one a line, words in quotes where they need them."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Of these `redis-cli` makes the same word without quotes.
_PLAIN = re.compile(rb"[A-Za-z0-9_@%+=:,./{}<>\[\]()*$|!?^~&;-]+")
_ESCAPES = {b"\\": b"\\\\", b'"': b'\\"', b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t"}


def command_line(words: Sequence[bytes | str]) -> str:
    r"""One command as a line of ASCII, without its line break; any byte survives as `\xNN`.

    Args:
        words: The command; a text is taken as UTF-8, lone surrogates as the bytes they stand for.
    """
    encoded = (word if isinstance(word, bytes) else word.encode("utf-8", "surrogateescape") for word in words)
    return " ".join(map(_word, encoded))


def remark_line(text: str) -> str:
    """A line that tells the reader something, and whoever watches the file being run.

    `redis-cli` knows no comments: it would send a line that begins with # as a command. ECHO does nothing but
    show it.
    """
    return f"ECHO {_quoted(f'# {text}'.rstrip().encode('utf-8', 'surrogateescape'))}"


def _word(word: bytes) -> str:
    return word.decode("ascii") if _PLAIN.fullmatch(word) else _quoted(word)


def _quoted(word: bytes) -> str:
    parts = []
    for number in word:
        byte = bytes([number])
        if byte in _ESCAPES:
            parts.append(_ESCAPES[byte].decode("ascii"))
        elif byte.isascii() and byte.decode("ascii").isprintable():
            parts.append(byte.decode("ascii"))
        else:
            parts.append(f"\\x{number:02x}")
    return f'"{"".join(parts)}"'
