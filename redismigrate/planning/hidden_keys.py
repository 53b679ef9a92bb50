"""Whether a change of prefixes hides documents from clients that compose keys of a prefix and a separator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from redismigrate.documents.rewrite import Rewrite
from redismigrate.planning.document_sample import DocumentSample
from redismigrate.schema import IndexSchema
from redismigrate.schema.moves import PrefixChange
from redismigrate.schema.prefixes import beginning_of_keys
from redismigrate.schema.strict import readable, readable_key


@dataclass(frozen=True)
class _Composed:
    """What shows that clients compose the keys of an index.

    Attributes:
        key: One of them.
        begins: What it begins with; the rest is the id.
        separator: Between prefix and id.
        is_guessed: It is not the one that the schema has.
    """

    key: str
    begins: str
    separator: str
    is_guessed: bool


def keys_that_clients_miss(
    before: IndexSchema, after: IndexSchema, rewrite: Rewrite, sample: DocumentSample | None
) -> Iterator[str]:
    """Which documents clients such as RedisVL would no longer find by their ids, going by a sample of keys.

    Args:
        before: The index as it is.
        after: The index as it is wanted.
        rewrite: What moves.
        sample: Of its documents; None where there is none.
    """
    # A key is text here, and so is a prefix; what is no UTF-8 in them is as in a schema.
    keys = () if sample is None else tuple(key.decode("utf-8", "surrogateescape") for key in sample.keys)
    for change in rewrite.prefixes:
        found = _composed(change.old, before.key_separator, keys)
        if found is None or (found.is_guessed and not change.new[-1].isalnum()):
            continue  # of another separator at its end nothing tells whether clients know it
        separator = found.separator if found.is_guessed else after.key_separator
        expected = beginning_of_keys(change.new, separator)
        if change.new + found.begins.removeprefix(change.old) != expected:
            yield _text(change, found, separator, expected, before.name)


def _composed(prefix: str, separator: str, keys: Sequence[str]) -> _Composed | None:
    """A key that clients have composed of a prefix; None where none looks like it.

    The recorded separator may be what is assumed where nobody has told: then the prefix ends with another
    one, or all keys go on with one.
    """
    keys = tuple(key for key in keys if key.startswith(prefix) and key != prefix)
    guesses = {prefix[-1], *(key[len(prefix)] for key in keys[:1])}
    for guess in (separator, *sorted(guess for guess in guesses if not guess.isalnum())):
        begins = beginning_of_keys(prefix, guess)
        made = [key for key in keys if begins.startswith(prefix) and key.startswith(begins)]
        is_guessed = guess != separator
        if made and not (is_guessed and len(made) < len(keys)):
            return _Composed(made[0], begins, guess, is_guessed)
    return None


def _text(change: PrefixChange, found: _Composed, separator: str, expected: str, index: str) -> str:
    becomes = change.new + found.key.removeprefix(change.old)
    looked_for = expected + found.key.removeprefix(found.begins)
    if expected == found.begins:
        advice = "nothing has to move: set_options(prefixes=...) gives the index its prefix"
    else:
        rest = found.begins.removeprefix(change.old)
        old, new = change.old, expected.removesuffix(rest)
        if not expected.endswith(rest):
            old, new = found.begins, expected
        advice = (
            f"change {readable(old)} to {readable(new)}, and set_options(prefixes=...) what the index has"
        )
    return (
        f"key {readable_key(found.key)} of index {index} becomes {readable_key(becomes)}, but clients that "
        f"compose keys as RedisVL does, with {readable(separator)!r} behind the prefix, look for "
        f"{readable_key(looked_for)}: they do not find the document, and loading it again makes a second "
        f"one; if yours do, {advice} (client_keys)"
    )
