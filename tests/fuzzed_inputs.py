"""Mutations of files and documents for the fuzz tests: of their bytes, and of the values inside of them.

Every one comes from a `random.Random` that is given, so that a number brings back what it made.
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

SEED = 20261130
Form = Literal["json", "yaml", "toml"]
LEVELS = 1_000
DIGITS = 4_301
ESCAPE = "\x1b[2J\x1b]0;owned\x07"

# Text that a value, a name or a path may be.
HOSTILE_TEXTS = (
    "", " ", "\0", "a\0b", "a" * 5_000, "a/" * 2_500, "../" * 40 + "x", "/", ".", "..", "~", "-1", "--help",
    "*", ESCAPE, "a\nError: forged", "a\r\x08b", "\u202e", "\x9b2J", "\ufeff", "\ud800", "\udcff",
    "\U0001f600", "%s%n", "{}", "{0.__class__}", "$(id)", "'; DROP", '"', "'", "\\", "%(rev", "%(rev)d",
    "$.a[?(@)]", "1e999", "nan", "null", "true", "1" * DIGITS, "2026-99-99", "FLOAT16", "x" * 70_000,
    "@{a}", "{redismigrate:x}:head", "p:", "products",
)  # fmt: skip
# Values of other types.
HOSTILE_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 2**64, 10**40, 0.5, -0.0, 1e308, float("inf"),
    float("nan"), [], {}, [None], [[]], {"": None}, {"a": {"b": []}}, [1, "a"], "a", ["a"] * 50,
    {"\ud800": 1},
)  # fmt: skip


@dataclass(frozen=True)
class Raw:
    """What stands in a file as it is, because no value renders to it."""

    text: str


_DEEP = Raw("[" * LEVELS + "]" * LEVELS)
_DIGITS = Raw("1" * DIGITS)
HOSTILE_RAW: dict[Form, tuple[Raw, ...]] = {
    "json": (
        _DEEP, _DIGITS, Raw("-" + "9" * DIGITS), Raw('{"a":' * LEVELS + "1" + "}" * LEVELS), Raw("1e999"),
        Raw("[" * 100_000), Raw("NaN"), Raw("-Infinity"), Raw('"\\ud800"'), Raw('"\\u0000"'),
        Raw("1" * 100 + ".5"), Raw('{"a":1,"a":2}'), Raw('"\\u001b[2J"'),
    ),
    "yaml": (
        _DEEP, _DIGITS, Raw("{a: " * LEVELS + "1" + "}" * LEVELS), Raw('!!int ""'), Raw("!!int x"),
        Raw("!!float ''"), Raw("!!bool perhaps"), Raw("!!timestamp 99999-01-01"), Raw("!!timestamp x"),
        Raw("2026-13-45"), Raw("!!binary x"), Raw("!!binary \xe9"), Raw("!!set {a, b}"),
        Raw("!!omap [a: 1]"), Raw("!!omap x"), Raw("!!pairs [a: 1]"),
        Raw("!!python/object/apply:os.system ['id']"), Raw("!!python/name:os.system"), Raw("!!null x"),
        Raw("!!map []"), Raw("!!seq {}"), Raw("!!str [a]"), Raw("!unknown a"), Raw("*nowhere"),
        Raw("&a [*a]"), Raw("<<: 1"), Raw("{<<: [1]}"), Raw("{? [a] : b}"), Raw("{[a]: b}"),
        Raw("{{a: b}: c}"), Raw(".inf"), Raw(".nan"), Raw("0x" + "f" * DIGITS), Raw("1:" * 400 + "1"),
        Raw("0b"), Raw("0o"), Raw("1_"), Raw("_"), Raw("0x_"), Raw("="), Raw('"\\x1b[2J"'),
        Raw('"\\ud800"'), Raw('"\\0"'), Raw("2026-01-01"), Raw("2026-01-01T00:00:00+99:99"),
        Raw("!!binary aGFsbG8="), Raw("1" + "_" * DIGITS), Raw("1.5e+999"), Raw("0" + "7" * DIGITS),
        Raw("- - - -"),
    ),
    "toml": (
        _DEEP, _DIGITS, Raw("{a = " * LEVELS + "1" + "}" * LEVELS), Raw("nan"), Raw("-inf"),
        Raw("2026-13-45"), Raw("2026-01-01"), Raw("12:00:00"), Raw("2026-01-01T00:00:00+23:59"),
        Raw("1e999"), Raw("0x" + "f" * DIGITS), Raw('"\\u0000"'), Raw('"\\u001b[2J"'), Raw('"\\ud800"'),
        Raw("'''\n'''"), Raw("[{}]"), Raw("{}"), Raw("1_0"),
    ),
}  # fmt: skip
HOSTILE_BYTES = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc3", b"\r\n", b"\t", b"\x1b[2J",
    b"\xc2\x9b2J", b"[" * LEVELS, b"{" * LEVELS, b"1" * DIGITS, b"\n---\n", b"- " * 200, b"\n\n", b":",
    b"&a *a", b"!!int ", b"%YAML 9.9\n", b"'", b'"', b"#", b"\x85", b"\xe2\x80\xa8", b"=", b",", b"?",
    b"\\", b"a" * 20_000,
)  # fmt: skip


def mutations(target: str, count: int, first: int | None = None) -> Iterator[tuple[int, random.Random]]:
    """The numbers of some mutations of a target, each with what makes it.

    Args:
        target: Of which others have other ones.
        count: How many.
        first: The number of the first; None for what the environment variable FUZZ_FIRST says, else 0.
    """
    if first is None:
        first = int(os.environ.get("FUZZ_FIRST") or 0)
    for number in range(first, first + count):
        yield number, random.Random(f"{SEED}/{target}/{number}")  # noqa: S311 - repeatable


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """Bytes with one to three of them, or a piece, changed, taken out, doubled, moved or put in."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_OF_BYTES)(data, rng)
    return data


def mutated_text(text: str, rng: random.Random) -> str:
    """The same of text: what is no UTF-8 afterwards stands there as lone surrogates."""
    data = mutated_bytes(text.encode("utf-8", "surrogateescape"), rng)
    return data.decode("utf-8", "surrogateescape")


def mutated_value(value: Any, rng: random.Random, form: Form = "json") -> Any:
    """JSON-like data with one to three values, names or items changed; may hold `Raw`."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _one_change(value, rng, form)
    return value


def mutated_file(value: Any, rng: random.Random, form: Form) -> bytes:
    """A file of some data, changed inside its values (mostly), or in its bytes.

    Args:
        value: The data, as it reads from the file that nobody changed.
        rng: What makes the mutation.
        form: Of the file.
    """
    if rng.random() < 0.3:
        return mutated_bytes(rendered(value, form), rng)
    return rendered(mutated_value(value, rng, form), form)


def rendered(value: Any, form: Form) -> bytes:
    """Data as a file."""
    if form == "toml":
        text = _toml(value) if isinstance(value, dict) else f"a = {_inline(value, 'toml')}\n"
    elif form == "yaml":
        text = _yaml(value)
    else:
        text = _inline(value, "json")
    return text.encode("utf-8", "surrogatepass")


def hostile_value(rng: random.Random, form: Form = "json") -> Any:
    """Any of the hostile texts, values and raw pieces of a form."""
    return copy.deepcopy(rng.choice(rng.choice((HOSTILE_TEXTS, HOSTILE_VALUES, HOSTILE_RAW[form]))))


def _one_change(value: Any, rng: random.Random, form: Form) -> Any:
    places = [place for place in _places(value) if place[0] is not None]
    if not places:
        return hostile_value(rng, form)
    container, at = rng.choice(places)
    what = rng.random()
    if what < 0.6:
        container[at] = hostile_value(rng, form)
    elif what < 0.7:
        del container[at]
    elif what < 0.8:
        container[at] = [container[at]] if rng.random() < 0.5 else {"a": container[at]}
    elif what < 0.9:
        other, there = rng.choice(places)
        if there in other if isinstance(other, dict) else there < len(other):
            container[at] = copy.deepcopy(other[there])
    elif isinstance(container, list):
        container.insert(at, copy.deepcopy(container[at]))
    else:
        container[rng.choice(HOSTILE_TEXTS)] = container[at] if rng.random() < 0.5 else container.pop(at)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with every place in it."""
    if isinstance(value, dict | list):
        for at, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            yield value, at
            yield from _places(inner)


def _inline(value: Any, form: Form) -> str:
    """Data on one line, in what JSON, YAML and TOML have in common as far as that goes."""
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        sign = " = " if form == "toml" else ": "
        return (
            "{" + ", ".join(f"{_text(name)}{sign}{_inline(each, form)}" for name, each in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_inline(each, form) for each in value) + "]"
    if value is None and form == "toml":
        return '""'
    if isinstance(value, float) and form == "toml":
        return repr(value)
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: object) -> str:
    return json.dumps(str(text))


def _toml(value: dict[str, Any]) -> str:
    """Plain settings first, tables after them."""
    lines = [
        f"{_text(name)} = {_inline(each, 'toml')}"
        for name, each in value.items()
        if not isinstance(each, dict)
    ]
    tables = [
        f"[{_text(name)}]\n{_toml_lines(each)}" for name, each in value.items() if isinstance(each, dict)
    ]
    return "\n".join([*lines, *tables]) + "\n"


def _toml_lines(table: dict[str, Any]) -> str:
    return "".join(f"{_text(name)} = {_inline(each, 'toml')}\n" for name, each in table.items())


def _yaml(value: Any, indent: str = "") -> str:
    """Mappings in blocks, so that tags and bytes hit what people write; lists on one line."""
    if isinstance(value, dict) and value:
        lines = []
        for name, each in value.items():
            inner = _yaml(each, indent + "  ")
            plain = str(name) if str(name).isidentifier() else _text(name)
            is_block = isinstance(each, dict) and bool(each)
            lines.append(f"{indent}{plain}:\n{inner}" if is_block else f"{indent}{plain}: {inner}")
        return "\n".join(lines)
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN
        return ".nan"
    return _inline(value, "yaml")


def _place(data: bytes, rng: random.Random) -> int:
    return rng.randrange(len(data) + 1)


def _flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return b"\0"
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _any_byte(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def _without(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.choice((1, 1, 4, 30, 400)) :]


def _truncated(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def _doubled(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    piece = data[at : at + rng.choice((1, 10, 100, 1_000))]
    return data[:at] + piece + data[at:]


def _inserted(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.choice(HOSTILE_BYTES) + data[at:]


def _replaced(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    hostile = rng.choice(HOSTILE_BYTES)
    return data[:at] + hostile + data[at + len(hostile) :]


def _swapped_lines(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    rng.shuffle(lines) if rng.random() < 0.2 else lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    return b"\n".join(lines)


_OF_BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip, _flip, _any_byte, _without, _without, _truncated, _doubled, _inserted, _inserted, _replaced,
    _swapped_lines,
)  # fmt: skip
