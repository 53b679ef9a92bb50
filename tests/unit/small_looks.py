"""One look at a document: the real decisions and the real driver, over a model of Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from small_rules import ONLY_NEW, UNCONVERTIBLE, Pairs, pairs
from small_server import NEVER, RUN_ID, Form, Server, hash_of
from small_world import State

from redismigrate.backup.replaced_documents import Replaced
from redismigrate.documents.batch import Failure
from redismigrate.documents.whole_transform import Documents
from redismigrate.errors import FenceLost
from redismigrate.execution.documents.beside import mark_store
from redismigrate.execution.documents.beside.copies import Copies
from redismigrate.execution.documents.beside.marks import fence_of
from redismigrate.execution.documents.beside.removals import Removals
from redismigrate.execution.documents.traffic.synchronising import SynchronisingWork
from redismigrate.execution.documents.traffic.turn import Turn
from redismigrate.schema import IndexSchema, TagField
from redismigrate.schema.moves import PrefixChange
from redismigrate.state.fence import Fence
from redismigrate.state.keys import StateKeys

OLD, NEW = b"product:1", b"shop:product:1"
BESIDE_OLD, BESIDE_NEW = b"product:2", b"shop:product:2"
BESIDE = {"hash": Form("hash", ((b"a", b"9", NEVER),)), "json": Form("json", b"9")}
CHANGE = PrefixChange("product:", "shop:product:")
STATE = StateKeys("p")
FENCE_KEY = STATE.fence.encode()
TOKEN = b"7"


class Looked(NamedTuple):
    """What a look has done.

    Attributes:
        old: The original.
        new: The copy.
        mark: The mark.
        kept: What was backed up.
        named: Why it is unfinished; none where it is not named.
        is_listed: As a conflict.
        is_unproved: It was counted among what goes without proof.
        done: How often it was counted as done.
        writes: How many writes there were.
        is_stopped: The run was stopped.
        others: What was at other documents' keys.
    """

    old: Form | None
    new: Form | None
    mark: bytes | None
    kept: tuple[Replaced, ...]
    named: tuple[str, ...]
    is_listed: bool
    is_unproved: bool
    done: int
    writes: int
    is_stopped: bool
    others: tuple[Any, ...]


class Broken(AssertionError):
    """What has to hold does not."""


class Looks:
    """Looks at documents, never twice at the same state.

    Args:
        kind: Of documents.
        is_slow: The transforms take long.
    """

    def __init__(self, kind: str, *, is_slow: bool = False) -> None:
        self._kind = kind
        self._is_slow = is_slow
        self._known: dict[Any, Looked] = {}
        self._fenced: set[Any] = set()
        self._prefix = mark_store.mark_prefix(STATE, "run-1", "way")
        self._other_prefix = mark_store.mark_prefix(STATE, "run-0", "way")
        path = {"path": "$.a"} if kind == "json" else {}
        self._schema = IndexSchema(
            name="products",
            storage_type=kind,
            prefixes=("product:",),
            fields=(TagField(name="a", **path),),
        )

    @property
    def are_marks_shared(self) -> bool:
        """Whether one run reads what another one has marked."""
        return self._prefix == self._other_prefix

    def look(self, state: State, aim: str, **how: Any) -> Looked:
        """What a look does, see `look_anew`."""
        key = (*state[:5], aim, *how.items())
        if key not in self._known:
            self._known[key] = self.look_anew(state, aim, **how)
        return self._known[key]

    def look_anew(
        self,
        state: State,
        aim: str,
        *,
        reported: bool,
        refused: int | None = None,
        is_beside: bool = False,
        before_exec: Callable[[Server], None] | None = None,
        token: bytes = TOKEN,
    ) -> Looked:
        """What a look does.

        Args:
            state: At what.
            aim: As `Copies` has it.
            reported: The copy was reported as written.
            refused: Which write is refused, from 0.
            is_beside: There is a second document in the batch.
            before_exec: Is called between reading and writing.
            token: Of whoever has the lock.
        """
        marks = STATE.marks.encode()
        keys = {
            OLD: state.old,
            NEW: state.new,
            self._prefix + OLD: None if state.mark is None else Form("string", state.mark),
            FENCE_KEY: Form("string", token),
            BESIDE_OLD: BESIDE[self._kind] if is_beside else None,
        }
        if self._prefix != self._other_prefix:
            keys[self._other_prefix + OLD] = Form("string", b"of another run")
        server = Server(
            {name: form for name, form in keys.items() if form is not None},
            state.clock,
            int(state.evicted),
            refused,
            marks,
            self._prefix,
            before_exec,
        )
        kept: list[Replaced] = []
        copies = Copies(
            self._schema,
            self._schema.storage_type,
            (CHANGE,),
            _leaving_out(UNCONVERTIBLE),
            self._prefix,
            aim,
            _leaving_out(ONLY_NEW),
            fence_of(TOKEN),
            Removals(before=(RUN_ID, 0)),
            kept.extend,
            {OLD} if reported else set(),
            self._is_slow,
        )
        batch = [OLD, BESIDE_OLD] if is_beside else [OLD]
        turn = Turn(server, SynchronisingWork(copies, batch), Fence(FENCE_KEY, TOKEN))
        is_stopped = False
        try:
            turn.ask()
            turn.write()
            if not turn.is_done():
                turn.repeat()
        except FenceLost:
            raise
        except Exception as error:
            if refused is None:
                raise Broken(f"a look at it fails: {error!r}") from error
            is_stopped = True
        if not is_stopped and not server.is_drained:
            raise Broken("replies are left over")
        result = turn.outcome.result
        done = (
            result.written,
            result.removed,
            result.turned_back,
            result.only_new,
            result.only_new_deleted,
            result.made_again,
        )
        mark = server.keys.get(self._prefix + OLD)
        beside = server.keys.get(BESIDE_NEW), self._prefix + BESIDE_OLD in server.keys
        named_beside = any(each.key == BESIDE_OLD for each in turn.outcome.failures)
        return Looked(
            server.keys.get(OLD),
            server.keys.get(NEW),
            None if mark is None else mark.content,
            tuple(kept),
            tuple(each.reason for each in turn.outcome.failures if each.key == OLD),
            any(each.key == OLD for each in turn.outcome.conflicts),
            OLD in copies.removals.unproved,
            sum(done),
            server.writes,
            is_stopped,
            (*beside, named_beside),
        )

    def require_fenced(self, state: State, aim: str, *, reported: bool) -> None:
        """A process without the lock changes nothing, whenever it has lost it (I8)."""
        key = (*state[:5], aim, reported)
        if key in self._fenced:
            return
        self._fenced.add(key)
        servers: list[Server] = []

        def take_over(server: Server) -> None:
            servers.append(server)
            server.keys[FENCE_KEY] = Form("string", b"8")

        for how in ({"token": b"8"}, {"before_exec": take_over}):
            try:
                self.look_anew(state, aim, reported=reported, **how)
            except FenceLost:
                continue
            raise Broken("I8: a process without the lock goes on")
        if servers and servers[0].written:
            raise Broken(f"I8: a process without the lock writes {servers[0].written}")


def _leaving_out(value: bytes) -> Callable[[Documents], Documents]:
    """The transform that changes nothing, and can't convert one value."""

    def transform(documents: Documents) -> Documents:
        contents, failures = list(documents.contents), []
        for row, document in enumerate(contents):
            if value in (document.values() if isinstance(document, dict) else {document}):
                contents[row] = None
                failures.append(Failure(row, "it is odd"))
        return Documents(contents, documents.expiries, failures) if failures else documents

    return transform


def form_of(kept: Replaced) -> Form | None:
    """What was backed up, as a form."""
    found = kept.original
    lifetime = NEVER if found.expires_ms < 0 else found.expires_ms // 1000
    if isinstance(found.document, bytes):
        return Form("json", found.document, lifetime)
    if found.document is None:
        return None
    moments = {name: moment // 1000 for name, moment in found.expiries.items()}
    return hash_of(
        {name: (value, moments.get(name, NEVER)) for name, value in found.document.items()}, lifetime
    )


def backed_up(looked: Looked) -> Pairs:
    found: set[tuple[bytes, bytes]] = set()
    for each in looked.kept:
        document = each.original.document
        found |= {(b"", document)} if isinstance(document, bytes) else set((document or {}).items())
    return frozenset(found)


def safe_after(state: State, looked: Looked, before: Pairs) -> Pairs:
    """What of an original is in the backup, or was written by the run."""
    now = pairs(looked.old)
    return before | state.ledger.safe | backed_up(looked) | (now - pairs(state.old))
