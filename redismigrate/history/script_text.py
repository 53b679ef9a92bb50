"""What Python reads of a script: its text without comments, line ends, byte order mark and trailing blanks.

An editor or a checkout changes these without changing what a script does, so the record of an applied
revision compares the digest of the rest. `ast.dump` and `tokenize` give other results on other versions of
Python, so the little that matters, where strings and comments begin and end, is found here.
"""

from __future__ import annotations

import hashlib
import io
import re
import tokenize

_PLAIN = re.compile(r"[^'\"#\n]+")
_QUOTE = re.compile(r"'''|\"\"\"|'|\"")
_PREFIX = re.compile(r"(?<!\w)(?:[rbuft]|br|rb|fr|rf|tr|rt)\Z", re.IGNORECASE)
_REST_OF_STATEMENT = re.compile(r"[ \t\f]*(?:#[^\n]*)?(?:\n|\Z)")
_BLANKS = " \t\f"


def code_digest(source: bytes) -> str:
    """SHA-256 of what Python reads of a script, as hex digits; the same on every version of Python.

    A text that is no valid Python has a digest, too.

    Args:
        source: The bytes of the file.
    """
    lines = _lines_of_code(_text(source))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _text(source: bytes) -> str:
    """The characters of a script with newlines as the only line ends, as Python reads them."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        text = source.decode(encoding)
    except (SyntaxError, ValueError, LookupError):
        text = source.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _lines_of_code(text: str) -> list[str]:
    """The lines that hold code, without comments and trailing blanks; a string keeps its own lines."""
    lines: list[str] = []
    parts: list[str] = []  # of the line, joined at its end: else a long one costs its square
    is_blank, depth, position = True, 0, 0
    while position < len(text):
        quote = _QUOTE.match(text, position)
        if quote:
            code = parts.pop() if parts else ""
            prefix = _PREFIX.search(code)
            end = _end_of_string(text, quote.end(), quote[0], prefix[0] if prefix else "")
            string = text[position:end]
            before = code.removesuffix(prefix[0]) if prefix else code
            is_blank = is_blank and not before.strip()
            follows = bool(lines) and lines[-1].endswith("\\")
            if is_blank and not depth and not follows and _REST_OF_STATEMENT.match(text, end):
                # A docstring: no program reads the blanks at the ends of its lines.
                *rest, last = string.split("\n")
                string = "\n".join([*(line.rstrip(_BLANKS) for line in rest), last])
            parts += [code, string, ""]
            is_blank, position = False, end
        elif text[position] == "#":
            position = _end_of_line(text, position)
        elif text[position] == "\n":
            lines.append("".join(parts).rstrip())
            parts, is_blank, position = [], True, position + 1
        else:
            plain = _PLAIN.match(text, position)
            code = plain[0] if plain else text[position]
            depth += sum(map(code.count, "([{")) - sum(map(code.count, ")]}"))
            parts.append(code)
            position += len(code)
    return [line for line in (*lines, "".join(parts).rstrip()) if line]


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _end_of_string(text: str, position: int, quote: str, prefix: str) -> int:
    """Where a string ends.

    Args:
        text: The script.
        position: Behind the opening quotes.
        quote: They.
        prefix: The letters before them.
    """
    has_fields = bool(set(prefix.lower()) & {"f", "t"})
    while position < len(text):
        if text.startswith(quote, position):
            return position + len(quote)
        is_field = has_fields and text[position] == "{"
        if is_field and not text.startswith("{{", position):
            position = _end_of_field(text, position + 1)
        elif is_field or (text[position] == "\\" and not (has_fields and text.startswith("{", position + 1))):
            position += 2
        else:
            position += 1
    return len(text)


def _end_of_field(text: str, position: int) -> int:
    """Where a replacement field of an f-string ends; since Python 3.12 any expression may stand in it.

    Args:
        text: The script.
        position: Behind its opening brace.
    """
    depth = 0
    while position < len(text):
        quote = _QUOTE.match(text, position)
        if quote:
            prefix = _PREFIX.search(text, max(0, position - 3), position)
            position = _end_of_string(text, quote.end(), quote[0], prefix[0] if prefix else "")
            continue
        character = text[position]
        if character == "#":
            position = _end_of_line(text, position)
            continue
        if character == "}" and not depth:
            return position + 1
        if character == ":" and not depth:
            return _end_of_format(text, position + 1)
        depth += (character in "([{") - (character in ")]}")
        position += 1
    return len(text)


def _end_of_format(text: str, position: int) -> int:
    """Where a replacement field ends whose format begins here: quotes and `#` mean themselves in it."""
    while position < len(text):
        if text[position] == "}":
            return position + 1
        position = _end_of_field(text, position + 1) if text[position] == "{" else position + 1
    return len(text)
