"""Two releases of an application: one that knows the old form of documents, one that knows the new one."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import redis
from two_forms_documents import NEVER, WHOLE, Doc, canonical

Side = Literal["old", "new"]
Command = tuple[bytes | str | int, ...]
FAR_AWAY = 4_102_444_800_000
SHORTEST_MS, LONGEST_MS = 20, 250
ODD = (b"", b"\xff", b"{x}", b" a", b"\n", b"a:b", b"*", b"0" * 300)
ODD_JSON = (
    "[0.1,1e-7,1.0,100000000000000000000.0,18446744073709551615,-0.0]",
    '{"":{"\\u0000":"\\ud83d\\ude00 \\u00e9"},"a b":[[],{}]}',
    "null",
    '"\\"\\\\/"',
)
DEEP = 90
EVICT = "evict"
# What is at all keys, or at some: key, content, moments of fields, moment of the key; the time first.
READ = """
local keys = #KEYS > 0 and KEYS or redis.call('KEYS', '*')
local now = redis.call('TIME')
local found = {now[1] .. string.format('%06d', now[2])}
for _, key in ipairs(keys) do
  local kind = redis.call('TYPE', key)['ok']
  if kind == 'hash' then
    local content = redis.call('HGETALL', key)
    local names = {}
    for at = 1, #content, 2 do names[#names + 1] = content[at] end
    local moments = {}
    if #names > 0 then moments = redis.call('HPEXPIRETIME', key, 'FIELDS', #names, unpack(names)) end
    found[#found + 1] = {key, content, moments, redis.call('PEXPIRETIME', key)}
  elseif kind == 'ReJSON-RL' then
    local text = redis.call('JSON.GET', key)
    found[#found + 1] = {key, text, {}, redis.call('PEXPIRETIME', key)}
  end
end
return found
"""


@dataclass(frozen=True)
class Word:
    """Something that a release does.

    Attributes:
        name: What.
        side: Which one does it.
        suffix: The document, without its prefix.
        commands: How.
    """

    name: str
    side: Side
    suffix: bytes
    commands: Sequence[Command]


@dataclass
class Spoken:
    """What a word met and what it left.

    Attributes:
        before: The document under its old and its new key.
        after: The same.
        before_ms: When.
        after_ms: When.
    """

    before: tuple[Doc | None, Doc | None]
    after: tuple[Doc | None, Doc | None]
    before_ms: int
    after_ms: int


class Releases:
    """Both releases, on a connection of their own.

    Args:
        url: The server.
        storage: "hash" or "json".
        prefixes: The old and the new one.
        names: Of the field that may be renamed, before and after.
        chooses: Of its choices.
    """

    def __init__(
        self,
        url: str,
        storage: str,
        prefixes: tuple[bytes, bytes],
        names: tuple[str, str],
        chooses: random.Random,
    ) -> None:
        self.client = redis.Redis.from_url(url, protocol=2)
        self.storage, self.prefixes, self.names, self.random = storage, prefixes, names, chooses
        self.read = self.client.register_script(READ)
        self.serial = 0
        self.first: dict[bytes, str] = {}

    def key(self, side: Side, suffix: bytes) -> bytes:
        return self.prefixes[side == "new"] + suffix

    def marker(self) -> str:
        """A value that nobody wrote before."""
        self.serial += 1
        return f"w{self.serial}x"

    def name(self, side: Side) -> str:
        return self.names[side == "new"]

    def snapshot(self) -> tuple[int, dict[bytes, Doc]]:
        """All documents at one moment."""
        return parse(self.read(keys=[], args=[]))

    def speak(self, word: Word) -> Spoken:
        """Say a word, and see what it changed, in one transaction."""
        both = [self.key("old", word.suffix), self.key("new", word.suffix)]
        pipeline = self.client.pipeline(transaction=True)
        pipeline.eval(READ, 2, *both)
        for command in word.commands:
            pipeline.execute_command(*command)
        pipeline.eval(READ, 2, *both)
        replies = pipeline.execute(raise_on_error=False)
        (before_ms, before), (after_ms, after) = parse(replies[0]), parse(replies[-1])
        return Spoken(
            (before.get(both[0]), before.get(both[1])),
            (after.get(both[0]), after.get(both[1])),
            before_ms,
            after_ms,
        )

    def creation(self, side: Side, suffix: bytes, marker: str) -> list[Command]:
        """Write a document anew."""
        key, name = self.key(side, suffix), self.name(side)
        gone: Command = ("DEL", key)
        if self.storage == "hash":
            fields = ("title", f"t-{marker}", name, f"d-{marker}", "views", "0")
            return [gone, ("HSET", key, *fields)]
        content = {"title": f"t-{marker}", "meta": {name: f"d-{marker}", "n": [1, 2.5]}, "views": 0}
        return [gone, ("JSON.SET", key, "$", json.dumps(content))]

    def create(self, suffix: bytes) -> Word:
        """The document as it is at first."""
        self.first[suffix] = self.marker()
        return Word("create", "old", suffix, self.creation("old", suffix, self.first[suffix]))

    def any_word(self, side: Side, suffixes: Sequence[bytes], hot: Sequence[bytes]) -> Word:
        """Something that a release may do."""
        choose, chance = self.random.choice, self.random.random
        suffix = choose(hot) if hot and chance() < 0.7 else choose(suffixes)
        if chance() < 0.06:
            suffix = b"new%d" % self.random.randrange(6)
        key = self.key(side, suffix)
        kinds = (
            ["write"] * 5
            + ["whole", "as at first", "as at first", "delete", "count", "count", "expire"]
            + ["expire", "persist", "expire soon"]
        )
        kinds += (
            ["fade", "fade", "last", "fade soon", "remove field", "add field", "add fading"]
            if self.storage == "hash"
            else ["odd", "deepen", "remove field"]
        )
        if side == "old" and self.names[0] != self.names[1]:
            kinds.append("clash")
        kind = choose(kinds)
        made = self._hash_word if self.storage == "hash" else self._json_word
        return Word(kind, side, suffix, self._plain_word(kind, side, suffix, key) or made(kind, side, key))

    def eviction(self, side: Side, suffix: bytes) -> Word:
        """The server takes one form away; no release does."""
        return Word(EVICT, side, suffix, [("DEL", self.key(side, suffix))])

    def correction(self, side: Side, suffix: bytes) -> Word:
        """What makes a document one that can be copied."""
        if side == "new":
            return Word("make room", "new", suffix, [("DEL", self.key("new", suffix))])
        return Word("correct", "old", suffix, self.creation("old", suffix, self.marker()))

    def _plain_word(self, kind: str, side: Side, suffix: bytes, key: bytes) -> list[Command]:
        moment = FAR_AWAY + self.random.randrange(1000)
        soon = self.random.randint(SHORTEST_MS, LONGEST_MS)
        first = self.first.get(suffix) or self.marker()
        return {
            "whole": self.creation(side, suffix, self.marker()),
            "as at first": self.creation(side, suffix, first),
            "delete": [("DEL", key)],
            "expire": [("PEXPIREAT", key, moment)],
            "expire soon": [("PEXPIRE", key, soon)],
            "persist": [("PERSIST", key)],
        }.get(kind, [])

    def _hash_word(self, kind: str, side: Side, key: bytes) -> list[Command]:
        choose = self.random.choice
        moment = FAR_AWAY - self.random.randrange(1000)
        soon = self.random.randint(SHORTEST_MS, LONGEST_MS)
        field = choose(["title", "views", "promo", self.name(side)])
        simple = choose(["title", "views", "promo"])
        return {
            "write": [("HSET", key, choose(["title", self.name(side)]), self.marker())],
            "count": [("HINCRBY", key, "views", 5)],
            "fade": [("HPEXPIREAT", key, moment, "FIELDS", 1, field)],
            "last": [("HPERSIST", key, "FIELDS", 1, field)],
            "fade soon": [("HPEXPIRE", key, soon, "FIELDS", 1, simple)],
            "remove field": [("HDEL", key, simple)],
            "add field": [("HSET", key, "promo", self.marker())],
            "add fading": [
                ("HSET", key, "promo", self.marker()),
                ("HPEXPIREAT", key, moment, "FIELDS", 1, "promo"),
            ],
            "clash": [("HSET", key, self.names[1], self.marker()), ("HSET", key, self.names[0], "clash")],
        }[kind]

    def _json_word(self, kind: str, side: Side, key: bytes) -> list[Command]:
        choose = self.random.choice
        path = choose(["$.title", f"$.meta.{self.name(side)}"])
        nested = '{"a":' * DEEP + "1" + "}" * DEEP
        return {
            "write": [("JSON.SET", key, path, json.dumps(self.marker()))],
            "count": [("JSON.NUMINCRBY", key, "$.views", 5)],
            "remove field": [("JSON.DEL", key, "$.title")],
            "odd": [("JSON.SET", key, "$.odd", choose(ODD_JSON))],
            "deepen": [
                ("JSON.SET", key, "$.deep", nested),
                ("JSON.SET", key, "$.deep" + ".a" * (DEEP - 1), nested),
            ],
            "clash": [
                ("JSON.SET", key, f"$.meta.{self.names[0]}", json.dumps(self.marker())),
                ("JSON.SET", key, f"$.meta.{self.names[1]}", json.dumps(self.marker())),
            ],
        }[kind]


def parse(reply: list[Any]) -> tuple[int, dict[bytes, Doc]]:
    """When, in Unix milliseconds, and what was at the keys."""
    if isinstance(reply, Exception):
        raise reply
    found = {}
    for key, content, moments, expires in reply[1:]:
        if isinstance(content, bytes):
            doc = Doc.of({WHOLE: (canonical(json.loads(content)), NEVER)}, expires)
        else:
            pairs = zip(content[::2], content[1::2], moments, strict=True)
            # A field that has passed is there no more, whatever HGETALL says.
            doc = Doc.of({name: (value, at) for name, value, at in pairs if at != -2}, expires)
        if doc is not None:
            found[key] = doc
    return int(reply[0]) // 1000, found
