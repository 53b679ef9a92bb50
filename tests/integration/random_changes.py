"""Random indexes, documents and changes, and a model of what becomes of the documents."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from vector_documents import CHANGE, DTYPES

Documents = dict[bytes, dict[bytes, bytes]]

ODD = (" ", "{tag}", "a*b", "[q]?", "\\", "ü", "@n", "'\"", "\t", "=>", "$x", "\udcff\udc80", "\x7f")
# Above the numbers of all documents.
FIRST_FREE = 1000


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Vector:
    """A field of vectors and what becomes of it.

    Attributes:
        old: The field of the hash before.
        new: The field of the hash after.
        dims: Components.
        before: Datatype.
        after: The wanted one.
    """

    old: str
    new: str
    dims: int
    before: str
    after: str

    def encoded(self, numbers: Any) -> bytes:
        """Numbers as they are stored before."""
        with np.errstate(over="ignore"):
            return np.asarray(numbers, np.float32).astype(DTYPES[self.before]).tobytes()

    def forward(self, value: bytes) -> bytes | None:
        """What it becomes; None where it is no vector, or too large."""
        return _converted(value, self.dims, self.before, self.after)

    def back(self, value: bytes) -> bytes | None:
        return _converted(value, self.dims, self.after, self.before)


def _converted(value: bytes, dims: int, before: str, after: str) -> bytes | None:
    if len(value) != dims * np.dtype(DTYPES[before]).itemsize:
        return None
    numbers = np.frombuffer(value, DTYPES[before]).astype(np.float64)
    with np.errstate(over="ignore"):
        rounded = numbers.astype(np.float32).astype(DTYPES[after])
        rounded = numbers.astype(DTYPES[after]) if after != "bfloat16" else rounded
    is_too_large = np.isinf(rounded.astype(np.float64)) & np.isfinite(numbers)
    return None if is_too_large.any() else rounded.tobytes()


@dataclass
class RandomChange:
    """A revision that re-encodes, renames and moves, or some of that.

    Attributes:
        seed: Makes it.
        kind: "re-encode", "rename", "move", or "all" in one pass.
        is_strange: Whether names and keys hold any bytes, and some documents can't be rewritten.
    """

    seed: int
    kind: str
    is_strange: bool
    vectors: list[Vector] = field(default_factory=list)
    renames: dict[str, str] = field(default_factory=dict)
    prefixes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 - the same for a seed
        choose = self.random.choice
        for number in range(choose([1, 1, 2])):
            old = self._name(f"p{number}") + choose([":", "", "/"])
            keeps_keys = self.kind in {"re-encode", "rename"}
            self.prefixes[old] = old if keeps_keys else f"q{number}{self._name('')}:"
        text = self._name("text")
        self.renames[text] = text if self.kind == "re-encode" else self._name("new text")
        for number in range(choose([1, 2, 3]) if self.kind != "move" else 1):
            old = self._name(f"vector{number}")
            renames = self.kind in {"all", "rename"} and choose([True, False])
            new = self._name(f"new{number}") if renames else old
            before = choose(list(DTYPES))
            keeps_type = self.kind in {"move", "rename"}
            after = before if keeps_type else choose([name for name in DTYPES if name != before])
            self.vectors.append(Vector(old, new, choose([1, 2, 5]), before, after))

    @property
    def has_one_width(self) -> bool:
        """Whether a vector's length does not tell in which datatype it is."""
        widths = [
            (np.dtype(DTYPES[v.before]).itemsize, np.dtype(DTYPES[v.after]).itemsize) for v in self.vectors
        ]
        return any(before == after for before, after in widths)

    def schema(self, *, after: bool = False) -> dict[str, Any]:
        """Of the index, in RedisVL's layout."""
        numbers = random.Random(self.seed)  # noqa: S311 - the same for a seed
        fields: list[dict[str, Any]] = [
            {"name": new if after else old, "type": "text"} for old, new in self.renames.items()
        ]
        for vector in self.vectors:
            attributes = {
                "algorithm": numbers.choice(["flat", "hnsw"]),
                "dims": vector.dims,
                "datatype": vector.after if after else vector.before,
                "distance_metric": numbers.choice(["l2", "ip", "cosine"]),
            }
            name = vector.new if after else vector.old
            fields.append({"name": name, "type": "vector", "attrs": attributes})
        prefixes = list(self.prefixes.values() if after else self.prefixes)
        return {"index": {"name": "products", "prefix": prefixes}, "fields": fields}

    def script(self, *, back: bool = False) -> str:
        """The body of `upgrade`, or of `downgrade`."""
        calls = []
        for vector in self.vectors:
            name = vector.new if back else vector.old
            datatype = vector.before if back else vector.after
            if vector.before != vector.after or self.kind == "move":
                calls.append(f"index.alter_field({name!r}, datatype={datatype!r})")
        renamed = {vector.old: vector.new for vector in self.vectors} | self.renames
        for verb, pairs in (("rename_field", renamed), ("change_prefix", self.prefixes)):
            moving = [pair for pair in pairs.items() if pair[0] != pair[1]]
            calls += [f"index.{verb}{pair[::-1] if back else pair!r}" for pair in moving]
        return CHANGE + "\n    ".join(calls)

    def documents(self, count: int) -> Documents:
        """Some documents, of which some lack fields, and some can't be rewritten."""
        return dict(self._document(number) for number in range(count))

    def vector_of(self, vector: Vector) -> bytes:
        """A vector that can be converted."""
        return vector.encoded([self.random.gauss(0, 1) for _ in range(vector.dims)])

    def moved(self, key: bytes) -> bytes:
        """What a key becomes."""
        for old, new in self.prefixes.items():
            if key.startswith(encode(old)):
                return encode(new) + key[len(encode(old)) :]
        return key

    def after(self, document: dict[bytes, bytes]) -> dict[bytes, bytes] | None:
        """What a document becomes; None where it can't be rewritten and stays as it is."""
        new = dict(document)
        for vector in self.vectors:
            value = new.pop(encode(vector.old), None)
            if value is None:
                continue
            wanted = value if vector.before == vector.after else vector.forward(value)
            if wanted is None:
                return None
            new[encode(vector.new)] = wanted
        for old, name in self.renames.items():
            if old == name or encode(old) not in new:
                continue
            if encode(name) in new:
                return None
            new[encode(name)] = new.pop(encode(old))
        return new

    def after_with_search_up(self, document: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """What a rename makes of a document: a value whose new name is taken stays, and the others go."""
        new = dict(document)
        for old, name in ({vector.old: vector.new for vector in self.vectors} | self.renames).items():
            if old != name and encode(old) in new and encode(name) not in new:
                new[encode(name)] = new.pop(encode(old))
        return new

    def _document(self, number: int) -> tuple[bytes, dict[bytes, bytes]]:
        chance, choose = self.random.random, self.random.choice
        odd = choose([b"", b"\0", b"\n {x}", b"\xff"]) if self.is_strange else b""
        key = encode(choose(list(self.prefixes))) + odd + b"%d" % number
        document = {
            b"number": b"%d" % number,
            b"\xfe\0": b"\0" * choose([0, 3, 70_000 if chance() < 0.05 else 9]),
        }
        for old, new in self.renames.items():
            document[encode(old)] = choose([b"a red shoe", b"", b"\xff\0"])
            if self.is_strange and old != new and chance() < 0.05:
                document[encode(new)] = b"taken"
        for vector in self.vectors:
            if chance() < 0.1:
                continue
            value = self.vector_of(vector)
            if self.is_strange and chance() < 0.05:
                value = choose(
                    [value[:-1], value + b"x", b"no vector at all", vector.encoded([1e38] * vector.dims)]
                )
            document[encode(vector.old)] = value
        return key, document

    def _name(self, kind: str) -> str:
        if not self.is_strange:
            return kind.replace(" ", "_")
        return kind + self.random.choice(ODD)
