"""Documents as a model of two forms sees them: fields, lifetimes, and what a change makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NEVER = -1
# What passes at the very moment of a look may be there or not.
BLINK_MS = 3
WHOLE = b"$"


@dataclass(frozen=True)
class Doc:
    """A hash, or a JSON document as one field `$`.

    Attributes:
        fields: Name, value, and when that expires in Unix milliseconds.
        expires: When the key does.
    """

    fields: frozenset[tuple[bytes, bytes, int]]
    expires: int = NEVER

    @classmethod
    def of(cls, fields: dict[bytes, tuple[bytes, int]], expires: int = NEVER) -> Doc | None:
        """None where there is no field."""
        return cls(frozenset((n, v, at) for n, (v, at) in fields.items()), expires) if fields else None

    @property
    def by_name(self) -> dict[bytes, tuple[bytes, int]]:
        return {name: (value, at) for name, value, at in self.fields}

    def at(self, now: int) -> Doc | None:
        """What is left of it at a time."""
        if NEVER < self.expires < now:
            return None
        left = {name: field for name, field in self.by_name.items() if not NEVER < field[1] < now}
        return Doc.of(left, self.expires)

    def __str__(self) -> str:
        fields = " ".join(
            f"{name!r}={value[:60]!r}" + (f"@{at}" if at > 0 else "")
            for name, (value, at) in sorted(self.by_name.items())
        )
        return f"<{fields}{f' @{self.expires}' if self.expires > 0 else ''}>"


Transform = Callable[[Doc], Doc | None]


@dataclass(frozen=True)
class Way:
    """What the documents of a run become.

    Attributes:
        forward: A document in its new form; None where it can't have one.
        back: In its old form.
        is_in_place: It is moved, so that nothing may be at its new key.
        whole: Both, for documents of any depth: a key that was moved may be moved back.
    """

    forward: Transform
    back: Transform
    is_in_place: bool = False
    whole: tuple[Transform, Transform] | None = None

    @property
    def reversed(self) -> Way:
        whole = None if self.whole is None else (self.whole[1], self.whole[0])
        return Way(self.back, self.forward, self.is_in_place, whole)


def renaming_way(storage: str, old: str, new: str, *, is_in_place: bool = False) -> Way:
    """Hash fields, or members of the member `meta` of JSON documents, get another name.

    Args:
        storage: "hash" or "json".
        old: The name before.
        new: The name after; the same where only keys change.
        is_in_place: Documents are moved. If nothing is renamed in them they may be as deep as they like.
    """
    if storage == "json":
        deepest = None if is_in_place and old == new else DEEPEST_JSON
        there, back = (_json_transform(*names, deepest) for names in ((old, new), (new, old)))
        whole = (_json_transform(old, new, None), _json_transform(new, old, None))
        return Way(there, back, is_in_place, whole if is_in_place else None)
    before, after = old.encode(), new.encode()
    return Way(_hash_transform(before, after), _hash_transform(after, before), is_in_place)


def _hash_transform(before: bytes, after: bytes) -> Transform:
    def transform(doc: Doc) -> Doc | None:
        fields = doc.by_name
        if before == after:
            return doc
        if before in fields and after in fields:
            return None
        return Doc.of({after if n == before else n: field for n, field in fields.items()}, doc.expires)

    return transform


def _json_transform(before: str, after: str, deepest: int | None) -> Transform:
    def transform(doc: Doc) -> Doc | None:
        ((value, _),) = doc.by_name.values()
        content = json.loads(value)
        if deepest is not None and depth_of(content) > deepest:
            return None
        meta = content.get("meta") if isinstance(content, dict) else None
        if before != after and isinstance(meta, dict):
            if before in meta and after in meta:
                return None
            content["meta"] = {after if n == before else n: item for n, item in meta.items()}
        return Doc.of({WHOLE: (canonical(content), NEVER)}, doc.expires)

    return transform


# What JSON.SET takes; deeper ones come about by setting a path.
DEEPEST_JSON = 127


def canonical(content: Any) -> bytes:
    """A JSON value as text in which order and spaces don't count."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def depth_of(content: Any) -> int:
    """How deep objects and arrays lie in each other."""
    deepest, left = 0, [(content, 1)]
    while left:
        item, depth = left.pop()
        if isinstance(item, dict | list):
            deepest = max(deepest, depth)
            left += [(inner, depth + 1) for inner in (item.values() if isinstance(item, dict) else item)]
    return deepest
