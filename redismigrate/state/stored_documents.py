"""The JSON documents of the state as typed values, and their text form.

`version` counts the writes of a document and stands first in its text: the Lua scripts compare it. `layout`
tells which form the document has; a newer one than ours is refused. What tells how a run goes on, or back,
ends with a sha256 of its text: nobody could review what an edited one drops or rewrites.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from redismigrate.errors import NewerState, SchemaError, StateError
from redismigrate.foreign_documents import UnreadableDocument, parse_json
from redismigrate.state.typed import typed

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from redismigrate.schema.definition import Catalog, IndexDefinition

LAYOUT = 1
VERSION_BYTES = 40
_VERSION = re.compile(rb'{"version": ?(\d+)')
_SEAL = "sha256"
_SEALED = re.compile(rb'{"version": \d+, (.*), "sha256": "([0-9a-f]{64})"}', re.DOTALL)
SEALED = frozenset({"run", "progress", "last_run"})
_OF_OTHERS = frozenset({"replaces", "replaced", "fold"})
_RESTORE = "Restore it from a dump of this Redis, or delete it and run `redismigrate stamp`."


@dataclass(frozen=True)
class StateDocument:
    """One JSON document as it stands in Redis.

    Attributes:
        version: How often it was written; 0 when the key does not exist.
        content: All of it but `version` and `layout`.
    """

    version: int
    content: Mapping[str, Any]

    @property
    def exists(self) -> bool:
        """Whether the document's key exists in Redis."""
        return self.version > 0


@dataclass(frozen=True)
class _Beginning:
    """What every document has."""

    version: int
    layout: int


def parse_document(key: str, text: bytes | None, hint: str | None = None) -> StateDocument:
    """Read a document.

    Args:
        key: Where it stands.
        text: What stands there.
        hint: What to do where that is damaged; None for what to do about the record.

    Raises:
        NewerState: Its layout is newer than this version knows.
        StateError: It is damaged.
    """
    if text is None:
        return StateDocument(0, {})
    try:
        content = dict(parse_json(text))
        head = typed(_Beginning, content)
        if version_in(text[:VERSION_BYTES]) != head.version or not _is_as_written(text, content):
            raise ValueError("somebody has edited it")  # noqa: TRY301 - one way out of all
    except (UnreadableDocument, ValueError, TypeError) as error:
        raise StateError(
            f"The key {key} is damaged: it is no document of redismigrate.",
            _RESTORE if hint is None else hint,
        ) from error
    if head.layout > LAYOUT:
        raise NewerState(
            f"The state of this project has layout {head.layout}; this version of redismigrate knows "
            f"{LAYOUT}.",
            "Upgrade redismigrate.",
        )
    del content["version"], content["layout"]
    content.pop(_SEAL, None)
    return StateDocument(head.version, content)


def version_in(beginning: bytes) -> int:
    """The version of a document, by the first `VERSION_BYTES` of its text; 0 where there is none."""
    found = _VERSION.match(beginning)
    return int(found[1]) if found else 0


def render_document(version: int, content: Mapping[str, Any], *, is_sealed: bool = False) -> bytes:
    """The text of a document; `version` first.

    Args:
        version: Of it.
        content: All else but the layout.
        is_sealed: It ends with a digest of what stands between that and the version; where there is content.
    """
    text = json.dumps({"version": version, "layout": LAYOUT, **content}).encode()
    if not (is_sealed and content):
        return text
    inner = text.partition(b", ")[2][:-1]
    return text[:-1] + f', "{_SEAL}": "{hashlib.sha256(inner).hexdigest()}"}}'.encode()


def _is_as_written(text: bytes, content: Mapping[str, Any]) -> bool:
    """Whether a sealed document is what was sealed; one without a seal was written by an earlier version."""
    if _SEAL not in content:
        return True
    found = _SEALED.fullmatch(text)
    return found is not None and hashlib.sha256(found[1]).hexdigest().encode() == found[2]


@dataclass(frozen=True)
class AppliedRevision:
    """What is remembered of a revision that was applied.

    Attributes:
        parents: The revisions it revises.
        depends_on: The revisions it depends on besides.
        message: Its first line.
        sha256: Of its script; empty when it was stamped without one.
        applied_at: ISO 8601 with time zone.
        seconds: How long it took.
        by: user@host, tool version.
        plan_digest: Of the plan that was run; empty when stamped.
        backup: Where its backup is, if it made one.
        adopted: Indexes that no revision had created before this one changed them.
        code_sha256: Of what Python reads of its script, without comments and line ends; empty in records of
            versions that did not know it.
        replaces: The revisions that it stands for, as a squashed one does.
        replaced: The records of these where they were applied one by one, in that order.
        expectations: What its script expects of indexes once it is applied: "index", and the arguments of
            `op.expect`.
        fold: What it has in common with those that were carried out as one with it, run and revision; empty
            where it was carried out alone.
    """

    parents: tuple[str, ...]
    depends_on: tuple[str, ...]
    message: str
    sha256: str
    applied_at: str
    seconds: float
    by: str
    plan_digest: str = ""
    backup: str | None = None
    adopted: tuple[str, ...] = ()
    code_sha256: str = ""
    replaces: tuple[str, ...] = ()
    replaced: Mapping[str, AppliedRevision] = field(default_factory=dict)
    expectations: tuple[Mapping[str, Any], ...] = ()
    fold: str = ""

    def is_of(self, sha256: str, code_sha256: str) -> bool:
        """Whether a script is the one that was applied, or one that differs in nothing that Python reads.

        Args:
            sha256: Of the script.
            code_sha256: Of what Python reads of it.
        """
        return self.sha256 in {"", sha256} or (bool(self.code_sha256) and self.code_sha256 == code_sha256)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> AppliedRevision:
        """Read from JSON data; what a later version added is ignored. TypeError when it is damaged."""
        if not (isinstance(record, Mapping) and isinstance(record.get("replaced"), Mapping)):
            return typed(cls, record)
        own = typed(cls, {name: value for name, value in record.items() if name != "replaced"})
        return replace(own, replaced={id_: cls.from_json(each) for id_, each in record["replaced"].items()})

    def to_json(self) -> dict[str, Any]:
        """As JSON data; what only squashed and folded revisions have is left out of others."""
        values = asdict(self) | {"replaced": {id_: each.to_json() for id_, each in self.replaced.items()}}
        return {name: value for name, value in values.items() if value or name not in _OF_OTHERS}


@dataclass(frozen=True)
class Head:
    """The head-tracking document: every applied revision."""

    revisions: Mapping[str, AppliedRevision] = field(default_factory=dict)

    @property
    def applied(self) -> frozenset[str]:
        """The ids of all applied revisions."""
        return frozenset(self.revisions)

    @property
    def parents(self) -> dict[str, tuple[str, ...]]:
        """Applied revision -> what it revises and depends on; squashed ones stand for what they replace."""
        heirs = {old: id_ for id_, record in self.revisions.items() for old in record.replaces}
        return {
            id_: tuple(heirs.get(parent, parent) for parent in (*record.parents, *record.depends_on))
            for id_, record in self.revisions.items()
        }

    @property
    def folds(self) -> dict[str, tuple[str, ...]]:
        """Applied revision -> those that were carried out as one with it, itself among them, in order."""
        members: dict[str, tuple[str, ...]] = {}
        for id_, record in self.revisions.items():
            if record.fold:
                members[record.fold] = (*members.get(record.fold, ()), id_)
        return {id_: members[record.fold] for id_, record in self.revisions.items() if record.fold}

    @property
    def heads(self) -> tuple[str, ...]:
        """The applied revisions that no applied revision stands on, sorted."""
        below = {parent for parents in self.parents.values() for parent in parents}
        return tuple(sorted(self.applied - below))

    @property
    def one_by_one(self) -> Mapping[str, AppliedRevision]:
        """Every record: in the place of a squashed one those of what it replaces, where there are any."""
        found: dict[str, AppliedRevision] = {}
        for id_, record in self.revisions.items():
            found |= record.replaced or {id_: record}
        return found

    def with_records(self, records: Mapping[str, AppliedRevision | None]) -> Head:
        """The head with other records, None for none; new ones come where the first that goes stood."""
        new = {id_: record for id_, record in records.items() if record is not None}
        found: dict[str, AppliedRevision] = {}
        for id_, record in self.revisions.items():
            found |= new if id_ in records else {id_: record}
        return Head(found | new)

    def with_revision(self, revision: str, record: AppliedRevision) -> Head:
        """The head after this revision was applied."""
        return Head({**self.revisions, revision: record})

    def without_revisions(self, revisions: Iterable[str]) -> Head:
        """The head after these revisions were undone."""
        gone = frozenset(revisions)
        return Head({id_: record for id_, record in self.revisions.items() if id_ not in gone})

    @classmethod
    def from_content(cls, content: Mapping[str, Any], key: str) -> Head:
        """Read from the content of the document at a key; StateError when it is damaged."""
        try:
            return cls(
                {
                    revision: AppliedRevision.from_json(record)
                    for revision, record in content.get("revisions", {}).items()
                }
            )
        except (AttributeError, TypeError) as error:
            raise damaged_record("applied revisions", key) from error

    def content(self) -> dict[str, Any]:
        """The applied revisions as the content of their document in Redis."""
        return {
            "heads": list(self.heads),
            "revisions": {id_: record.to_json() for id_, record in self.revisions.items()},
        }


@dataclass(frozen=True)
class LastRun:
    """The run that finished last: the one that can be rolled back.

    Attributes:
        run: Its id.
        direction: "upgrade" or "downgrade".
        target: The revision identifier that was asked for.
        revisions: What it recorded, in order.
        finished_at: ISO 8601 with time zone.
    """

    run: str
    direction: str
    target: str
    revisions: tuple[str, ...]
    finished_at: str

    def __str__(self) -> str:
        return f"{self.run} ({self.direction} to {self.target})"

    @classmethod
    def from_content(cls, content: Mapping[str, Any], key: str) -> LastRun:
        """Read from the content of the document at a key; StateError when it is damaged."""
        try:
            last = typed(cls, content)
        except TypeError as error:
            raise damaged_record("the last run", key) from error
        if not last.revisions:  # it would have left nothing that can be rolled back
            raise damaged_record("the last run", key)
        return last

    def content(self) -> dict[str, Any]:
        """The run as the content of its document in Redis."""
        return asdict(self)


def catalog_from_content(content: Mapping[str, Any], key: str) -> Catalog:
    """The catalog in the `:indexes` document at a key; StateError when it is damaged."""
    from pydantic import ValidationError

    from redismigrate.schema.definition import Catalog

    try:
        return Catalog(_definitions().validate_python(content.get("indexes", {})))
    except (ValidationError, SchemaError) as error:
        raise damaged_record("indexes", key) from error


def catalog_content(catalog: Catalog) -> dict[str, Any]:
    """The `:indexes` document of a catalog."""
    # Not mode="json": that replaces what is not UTF-8 in the keys of mappings.
    return {"indexes": _definitions().dump_python(dict(catalog))}


@cache
def _definitions() -> TypeAdapter[dict[str, IndexDefinition]]:
    """Made once, since that takes longer than to read a catalog, and not before one is read."""
    from pydantic import TypeAdapter

    from redismigrate.schema.definition import IndexDefinition

    return TypeAdapter(dict[str, IndexDefinition])


def damaged_record(what: str, key: str) -> StateError:
    """The error for a record that can be parsed, and makes no sense.

    Args:
        what: It tells of.
        key: It stands at.
    """
    return StateError(f"The record of {what} of this project is damaged: {key}.", _RESTORE)
