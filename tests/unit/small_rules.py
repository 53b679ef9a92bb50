"""What a look at a document has to make of its two forms: the table of two forms, with true values.

Written from the table, not from the code: an independent ledger of what both forms were when they were last
in step, of what the owners have done since, and of what is safe because it is in the backup.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from small_server import NEVER, Form, hash_of

Pairs = frozenset[tuple[bytes, bytes]]


class Ledger(NamedTuple):
    """What is true of a document.

    Attributes:
        base: Both forms when they were last in step; None where this run never had them so.
        is_mine: This process has seen the copy beside its original.
        is_made: The run has made the copy.
        is_moved: The run has removed the original, or has left it gone.
        is_deleted: That the application has deleted the copy was proved once.
        is_old_evicted: The original is not there because the server has evicted it.
        is_new_evicted: The same of the copy.
        is_new_over: The copy is not there because its lifetime is over.
        safe: Fields of the original, with their values, that are in the backup or were written by the run.
    """

    base: Form | None = None
    is_mine: bool = False
    is_made: bool = False
    is_moved: bool = False
    is_deleted: bool = False
    is_old_evicted: bool = False
    is_new_evicted: bool = False
    is_new_over: bool = False
    safe: Pairs = frozenset()


class Expected(NamedTuple):
    """What a look has to lead to.

    Attributes:
        old: The original.
        new: The copy.
        ledger: Afterwards.
        is_conflict: It has to be listed, and the original to be in the backup as it was.
        is_named: It has to be named as unfinished.
        is_unproved: It has to be counted among what goes without proof.
    """

    old: Form | None
    new: Form | None
    ledger: Ledger
    is_conflict: bool = False
    is_named: bool = False
    is_unproved: bool = False


class Look(NamedTuple):
    """A look at a document.

    Attributes:
        old: The original before.
        new: The copy before.
        clock: The moment.
        evicted: The server has evicted something since this process began.
        aim: As `Copies` has it.
        reported: The server has told that the copy was written.
        kind: Of documents.
    """

    old: Form | None
    new: Form | None
    clock: int
    evicted: bool
    aim: str
    reported: bool
    kind: str

    @property
    def carries_back(self) -> bool:
        return self.aim in {"beside", "copies_removed"}


def pairs(form: Form | None) -> Pairs:
    """The fields of a form with their values."""
    if form is None:
        return frozenset()
    return frozenset((name, value) for name, (value, _) in form.fields().items())


# Values of originals of which no copy can be made, and of copies that can't be carried back.
UNCONVERTIBLE, ONLY_NEW = b"8", b"9"


def expected(look: Look, ledger: Ledger) -> Iterator[Expected]:
    """What a look may lead to; more than one where the table leaves it open."""
    for each in _where_carried(look, ledger):
        if look.aim == "originals_removed":
            yield _without_original(look, ledger, each)
        elif look.aim == "copies_removed":
            yield _taken_back(look, ledger, each)
        else:
            yield each


def _where_carried(look: Look, ledger: Ledger) -> Iterator[Expected]:
    """What can't be carried back stays in the copy alone."""
    if look.old is not None and look.old.kind == look.kind and _has(look.old, UNCONVERTIBLE):
        yield _without_conversion(look, ledger)
        return
    for each in _beside_or_serving(look, ledger):
        is_written = each.old is not None and each.old != look.old
        if is_written and (_has(each.old, UNCONVERTIBLE) or _has(each.old, ONLY_NEW)):
            yield from _beside_or_serving(look._replace(aim="serving"), ledger)
        else:
            yield each


def _has(form: Form, value: bytes) -> bool:
    return any(each == value for _, each in pairs(form))


def _without_conversion(look: Look, ledger: Ledger) -> Expected:
    """A copy that tells of what the original is no more goes, unless it serves or is the application's."""
    new, base = look.new, ledger.base
    is_named = look.aim != "copies_removed"
    is_document = new is not None and new.kind == look.kind
    is_ours = look.carries_back and base is not None and ledger.is_made and not ledger.is_moved
    if is_ours and is_document and _is_unchanged(new, base, look.clock):
        return Expected(look.old, None, Ledger(), is_named=is_named)
    return Expected(look.old, new, ledger, is_named=is_named)


def _beside_or_serving(look: Look, ledger: Ledger) -> Iterator[Expected]:
    is_document = look.old is not None and look.old.kind == look.kind
    if not is_document:
        yield _of_new_alone(look, ledger)
    elif look.new is None:
        yield from _of_old_alone(look, ledger)
    elif ledger.base is None:
        yield from _of_strangers(look, ledger)
    elif look.new.kind != look.kind:
        is_conflict = ledger.is_moved or not _is_unchanged(look.old, ledger.base, look.clock)
        yield Expected(look.old, look.new, ledger, is_conflict)
    else:
        yield _of_both(look, ledger)


def _of_new_alone(look: Look, ledger: Ledger) -> Expected:
    """There is no original, or something else is in its place."""
    old, new, base = look.old, look.new, ledger.base
    is_document = new is not None and new.kind == look.kind
    if base is None:
        if is_document and look.reported and look.carries_back and old is None:
            after = Ledger(new, is_mine=True)
            return Expected(new, new, after)
        return Expected(old, new, ledger)
    if ledger.is_moved:
        return Expected(old, new, ledger)
    if new is None:
        return Expected(old, None, Ledger())
    if is_document and _is_unchanged(new, base, look.clock):
        return Expected(old, None, Ledger(), is_unproved=ledger.is_old_evicted)
    if look.carries_back:
        if is_document and old is None:
            return Expected(new, new, ledger._replace(base=new, is_mine=True))
        return Expected(old, new, ledger)
    return Expected(old, new, ledger._replace(is_moved=True, is_mine=True))


def _of_old_alone(look: Look, ledger: Ledger) -> Iterator[Expected]:
    """There is no copy."""
    old, base = look.old, ledger.base
    assert old is not None
    after = Ledger(old, is_mine=True, is_made=True)
    made = Expected(old, old, after)
    if base is None or ledger.is_moved or not _is_unchanged(old, base, look.clock):
        yield made
        return
    is_proved = ledger.is_mine and not look.evicted and not _may_be_over(base, look.clock)
    if look.carries_back:
        gone = Expected(None, None, Ledger())
    else:
        gone = Expected(old, None, ledger._replace(is_deleted=True))
    is_proved |= ledger.is_deleted and not look.evicted
    if is_proved:
        yield gone
    # The lifetime that the new release has set may be taken for its word.
    if not is_proved or ledger.is_new_over:
        yield made


def _of_strangers(look: Look, ledger: Ledger) -> Iterator[Expected]:
    """Original and copy were never in step."""
    if look.old != look.new:
        yield Expected(look.old, look.new, ledger, is_named=True)
        return
    yield Expected(look.old, look.new, ledger._replace(base=look.old, is_mine=True, is_made=False))


def _of_both(look: Look, ledger: Ledger) -> Expected:
    """Each has what the other one has got."""
    old, new, base, clock = look.old, look.new, ledger.base, look.clock
    assert old is not None
    assert new is not None
    assert base is not None
    olds, news, bases = old.fields(), new.fields(), base.fields()
    to_old, to_new = dict(olds), dict(news)
    is_key_over = 0 <= base.lifetime <= clock
    is_conflict = False
    for name in olds.keys() | news.keys():
        in_old, in_new, before = olds.get(name), news.get(name), bases.get(name)
        if in_old == in_new:
            continue
        is_over = is_key_over or (before is not None and 0 <= before[1] <= clock)
        if ledger.is_moved:
            # What comes under an old key again has been written; what it lacks went with the original.
            is_old_changed = in_old is not None
        else:
            is_old_changed = in_old != before and not (in_old is None and is_over)
        is_new_changed = in_new != before and not (in_new is None and is_over)
        is_conflict |= is_old_changed and is_new_changed
        if is_new_changed or not (is_old_changed or in_old is not None):
            _take(to_old, name, in_new)
        else:
            _take(to_new, name, in_old)
    lifetimes = _lifetimes(old, new, base, is_moved=ledger.is_moved)
    is_conflict |= lifetimes[2]
    is_hash = look.kind == "hash"
    merged_old = hash_of(to_old, lifetimes[0]) if is_hash else Form(look.kind, to_old[b""][0], lifetimes[0])
    merged_new = hash_of(to_new, lifetimes[1]) if is_hash else Form(look.kind, to_new[b""][0], lifetimes[1])
    if look.carries_back:
        after = Ledger()
        if merged_old is not None:
            after = ledger._replace(base=merged_old, is_mine=True, is_moved=False)
        return Expected(merged_old, merged_new, after, is_conflict)
    if ledger.is_moved:
        lifetime = base.lifetime if old.lifetime == NEVER else old.lifetime
        in_step = hash_of({**bases, **olds}, lifetime) if is_hash else old._replace(lifetime=lifetime)
        return Expected(old, merged_new, ledger._replace(base=in_step, is_mine=True), is_conflict)
    after = ledger._replace(base=old, is_mine=True, is_deleted=merged_new is None)
    return Expected(old, merged_new, after, is_conflict)


def _lifetimes(old: Form, new: Form, base: Form, *, is_moved: bool) -> tuple[int, int, bool]:
    """Of the original's key, of the copy's, and whether both have changed differently."""
    if old.lifetime == new.lifetime:
        return old.lifetime, new.lifetime, False
    is_old_changed = old.lifetime != (NEVER if is_moved else base.lifetime)
    if new.lifetime != base.lifetime:
        return new.lifetime, new.lifetime, is_old_changed
    if is_old_changed:
        return old.lifetime, old.lifetime, False
    return new.lifetime, new.lifetime, False


def _take(fields: dict[bytes, tuple[bytes, int]], name: bytes, value: tuple[bytes, int] | None) -> None:
    if value is None:
        fields.pop(name, None)
    else:
        fields[name] = value


def _without_original(look: Look, ledger: Ledger, done: Expected) -> Expected:
    """The original goes, but where there is no copy of it."""
    if done.is_named or done.old is None or done.old.kind != look.kind:
        return done
    if done.new is None and not done.ledger.is_deleted:
        return done
    return done._replace(old=None, ledger=done.ledger._replace(is_moved=True))


def _taken_back(look: Look, ledger: Ledger, done: Expected) -> Expected:
    """The copy goes, but where it is not the run's, or is all that there is."""
    old = done.old
    is_document = look.new is not None and look.new.kind == look.kind
    is_same = is_document and done.old == done.new
    is_back = done.new is None or (is_same and not _has(done.new, UNCONVERTIBLE))
    stays = not (is_document and ledger.is_made and is_back)
    # What the application has written there and the original can't get is named, once.
    is_own = ledger.base is not None or (look.reported and is_document and look.old is None)
    # The original went already: the copy is the document by then.
    is_gone = ledger.is_moved and (look.old is None or look.old.kind != look.kind)
    is_named = is_own and look.new is not None and not (is_back or is_gone or done.is_conflict)
    return Expected(
        old,
        look.new if stays else None,
        Ledger(),
        done.is_conflict,
        is_named=is_named,
        is_unproved=done.is_unproved,
    )


def _is_unchanged(form: Form, base: Form, clock: int) -> bool:
    """Whether a form is as it was, but for what has expired."""
    now, before = form.fields(), base.fields()
    if form.lifetime != base.lifetime or any(before.get(name) != value for name, value in now.items()):
        return False
    return all(0 <= before[name][1] <= clock for name in before.keys() - now.keys())


def _may_be_over(base: Form, clock: int) -> bool:
    """Whether a document that was so may be gone by itself."""
    if 0 <= base.lifetime <= clock:
        return True
    return all(0 <= moment <= clock for _, moment in base.fields().values())
