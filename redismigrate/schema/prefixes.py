"""Which keys prefixes cover, and which ones clients make of them.

To cover costs the same however many there are: an index may have 5,000.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from redismigrate.schema.strict import encode


def beginning_of_keys(prefix: str, separator: str) -> str:
    """What the keys begin with that RedisVL makes of a prefix: that, one separator, then the id.

    Args:
        prefix: Of an index; it may end with separators, which then count once, or be nothing else.
        separator: `key_separator` of the schema; its characters are taken off one by one, as RedisVL does.

    Returns:
        Empty where the id is the whole key.
    """
    kept = prefix.rstrip(separator) if separator else prefix
    return kept + separator if kept else ""


@dataclass(frozen=True, slots=True)
class KeyPrefixes:
    """The prefixes of an index, as bytes: that is what Redis Search compares, not words.

    Attributes:
        outermost: Those that no other one covers, sorted; the empty one covers every key.
    """

    outermost: tuple[bytes, ...]

    @classmethod
    def of(cls, prefixes: Iterable[str]) -> Self:
        """The prefixes of a schema.

        Args:
            prefixes: None for all keys, as in a schema.
        """
        kept: list[bytes] = []
        for prefix in sorted(map(encode, prefixes)):
            if not kept or not prefix.startswith(kept[-1]):
                kept.append(prefix)
        return cls(tuple(kept) or (b"",))

    @property
    def cover_everything(self) -> bool:
        """Whether there is no key without one of them."""
        return self.outermost == (b"",)

    def cover(self, key: bytes) -> bool:
        """Whether a key, or all keys with a prefix, begin with one of these.

        Outermost prefixes don't nest, so only the greatest that is not above the key can fit.
        """
        position = bisect_right(self.outermost, key)
        return position > 0 and key.startswith(self.outermost[position - 1])

    def overlap(self, other: KeyPrefixes) -> bool:
        """Whether there can be a key that both cover."""
        return any(map(other.cover, self.outermost)) or any(map(self.cover, other.outermost))
