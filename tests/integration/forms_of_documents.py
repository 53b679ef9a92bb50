"""Where the values of documents stand by a release that knows one form of them, and how each is spelled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import redis
from two_forms_documents import NEVER
from vector_documents import DTYPES

WIDE, CUT = 6, 4
# What numbers may differ by: half precision of normalised ones.
TOLERANCE = 2e-3


@dataclass(frozen=True)
class Value:
    """What an application has written, in the form in which it was written.

    Attributes:
        content: A text, or numbers.
        moment: When a field of a hash expires.
    """

    content: str | tuple[float, ...]
    moment: int = NEVER


@dataclass(frozen=True)
class Place:
    """Where a value stands.

    Attributes:
        name: The field, or the member of JSON documents.
        attribute: Of the index; empty where it does not read the value.
        dims: Of a vector; 0 for a text.
        datatype: Of a vector.
        is_normalised: Shorter vectors are made to have length 1.
    """

    name: str
    attribute: str
    dims: int = 0
    datatype: str = "float32"
    is_normalised: bool = False

    def shown(self, value: Value | None) -> Value | None:
        """What a value is here."""
        if value is None or isinstance(value.content, str):
            return value
        numbers = value.content
        if len(numbers) > self.dims:
            cut = np.array(numbers[: self.dims])
            numbers = tuple(cut / np.linalg.norm(cut) if self.is_normalised else cut)
        return replace(value, content=(*numbers, *[0.0] * (self.dims - len(numbers))))

    def holds(self, found: Value | None, value: Value | None) -> bool:
        """Whether what is found here is a value, as it is here."""
        shown = self.shown(value)
        if found is None or shown is None:
            return found is shown
        if isinstance(found.content, str) or isinstance(shown.content, str):
            return found == shown
        if len(found.content) != len(shown.content) or found.moment != shown.moment:
            return False
        return bool(np.allclose(found.content, shown.content, rtol=TOLERANCE, atol=TOLERANCE))


@dataclass(frozen=True)
class Form:
    """What one release knows of documents.

    Attributes:
        storage: "hash" or "json".
        prefix: What keys begin with.
        places: Of each value.
        kept: Names of members and fields that no release reads any more, but that stay.
    """

    storage: str
    prefix: str
    places: dict[str, Place] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()

    @property
    def indexed(self) -> dict[str, Place]:
        """The places that the index reads."""
        return {name: place for name, place in self.places.items() if place.attribute}

    def key(self, suffix: str) -> str:
        return self.prefix + suffix

    def commands(self, key: str, values: dict[str, Value | None]) -> Iterator[tuple[Any, ...]]:
        """Write values, or take them away."""
        for name, value in values.items():
            place = self.places[name]
            if self.storage == "json":
                path = f"$.{place.name}"
                yield (
                    ("JSON.DEL", key, path)
                    if value is None
                    else ("JSON.SET", key, path, json.dumps(value.content))
                )
            elif value is None:
                yield "HDEL", key, place.name
            else:
                yield "HSET", key, place.name, self._spelled(place, value)

    def whole(self, key: str, values: dict[str, Value]) -> Iterator[tuple[Any, ...]]:
        """Write a document anew."""
        if self.storage == "json":
            content: dict[str, Any] = {
                self.places[name].name: value.content for name, value in values.items()
            }
            yield "JSON.SET", key, "$", json.dumps(content)
            return
        yield "DEL", key
        pairs = [(self.places[name].name, self._spelled(self.places[name], v)) for name, v in values.items()]
        yield "HSET", key, *[word for pair in pairs for word in pair]

    def _spelled(self, place: Place, value: Value) -> str | bytes:
        if isinstance(value.content, str):
            return value.content
        return np.asarray(value.content).astype(DTYPES[place.datatype]).tobytes()

    def read(self, client: redis.Redis, suffix: str) -> tuple[bool, dict[str, Value | None], set[str]]:
        """Whether a document is there, its values in this form, and the names of all others."""
        key = self.key(suffix)
        found: dict[str, Any] = {}
        moments: dict[str, int] = {}
        if self.storage == "json":
            text: Any = client.execute_command("JSON.GET", key)
            is_there = text is not None
            found = json.loads(text) if is_there else {}
        else:
            hashed: Any = client.hgetall(key)
            is_there = bool(hashed)
            found = {name.decode(): value for name, value in hashed.items()}
            if found:
                replies: Any = client.execute_command("HPEXPIRETIME", key, "FIELDS", len(found), *found)
                moments = dict(zip(found, replies, strict=True))
        values = {
            name: self._parsed(place, found.pop(place.name, None), moments.get(place.name, NEVER))
            for name, place in self.places.items()
        }
        return is_there, values, set(found)

    def _parsed(self, place: Place, found: Any, moment: int) -> Value | None:
        if found is None:
            return None
        if not place.dims:
            return Value(found.decode() if isinstance(found, bytes) else found, moment)
        if isinstance(found, bytes):
            width = np.dtype(DTYPES[place.datatype]).itemsize
            if len(found) % width:
                return Value(found.hex(), moment)
            found = np.frombuffer(found, DTYPES[place.datatype]).astype(np.float64)
        return Value(tuple(float(each) for each in found), moment)

    def schema(self) -> dict[str, Any]:
        """Of the index over it."""
        fields = []
        for place in self.indexed.values():
            one: dict[str, Any] = {"name": place.attribute, "type": "vector" if place.dims else "text"}
            if self.storage == "json":
                one["path"] = f"$.{place.name}"
            if place.dims:
                one["attrs"] = {
                    "algorithm": "flat",
                    "dims": place.dims,
                    "distance_metric": "l2",
                    "datatype": place.datatype,
                }
            fields.append(one)
        return {
            "index": {"name": "products", "prefix": self.prefix, "storage_type": self.storage},
            "fields": fields,
        }
