"""Revisions that give documents other forms, at random: what each script says, and the form it leaves."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from forms_of_documents import CUT, WIDE, Form, Place

BLOCK = "with op.index('products') as index:"


@dataclass(frozen=True)
class FormChange:
    """One revision.

    Attributes:
        kind: What it does, in a word.
        before: The form it finds.
        after: The one it leaves.
        there: The lines of `upgrade`.
        back: Those of `downgrade`.
    """

    kind: str
    before: Form
    after: Form
    there: tuple[str, ...]
    back: tuple[str, ...]

    @property
    def lines(self) -> tuple[list[str], list[str]]:
        """Both functions of the script."""
        there, back = ([BLOCK, *(f"    {line}" for line in each)] for each in (self.there, self.back))
        return there, back

    @property
    def moves_keys(self) -> bool:
        """Both forms are documents of their own."""
        return self.before.prefix != self.after.prefix


def first_form(chooses: random.Random) -> Form:
    """Two texts and two vectors, or fewer."""
    places = {
        "title": Place("title", "title"),
        "embedding": Place("embedding", "embedding", WIDE),
        "note": Place("note", ""),
    }
    if chooses.random() < 0.5:
        places["brand"] = Place("brand", "brand")
    if chooses.random() < 0.4:
        places["image"] = Place("image", "image", WIDE)
    return Form(chooses.choice(["hash", "hash", "json"]), "p:", places)


def form_changes(chooses: random.Random, form: Form) -> list[FormChange]:
    """One revision, or two."""
    found: list[FormChange] = []
    for number in range(chooses.choice([1, 1, 2])):
        kinds = [_renames, _renames, _cut_to_paths, _cut_in_place, _other_storage, _other_storage]
        if form.storage == "hash":
            kinds += [_encoded_to_paths, _encoded_to_paths]
        if form.kept:
            kinds += [_dropped] * 8
        made = None
        while made is None:
            made = chooses.choice(kinds)(chooses, form, number)
        found.append(made)
        form = made.after
    return found


def _vectors(form: Form) -> dict[str, Place]:
    return {name: place for name, place in form.places.items() if place.dims}


def _some(chooses: random.Random, names: Sequence[str]) -> list[str]:
    return sorted(chooses.sample(sorted(names), chooses.randint(1, len(names))))


def _path(form: Form, name: str) -> str:
    return f"$.{name}" if form.storage == "json" else name


def _renames(chooses: random.Random, form: Form, number: int) -> FormChange:
    there, back, places = [], [], dict(form.places)
    for name in _some(chooses, list(form.indexed)):
        old = places[name]
        new = replace(old, name=f"{name}_r{number}", attribute=f"{name}_r{number}")
        there.append(f"index.rename_field({old.attribute!r}, {new.attribute!r})")
        back.append(f"index.rename_field({new.attribute!r}, {old.attribute!r})")
        if old.name != old.attribute:
            return _no_change()
        places[name] = new
    return FormChange("rename", form, replace(form, places=places), tuple(there), tuple(back))


def _no_change() -> FormChange:
    return None  # type: ignore[return-value]


def _at_paths(
    chooses: random.Random, form: Form, kind: str, made: Callable[[Place], tuple[Place, str, str]]
) -> FormChange:
    there, back, places, kept = [], [], dict(form.places), set(form.kept)
    for name in _some(chooses, list(_vectors(form))):
        old = places[name]
        new, change, change_back = made(old)
        new_path, old_path = _path(form, new.name), _path(form, old.name)
        if form.storage == "hash":
            new = replace(new, attribute=new.name)
        there.append(f"index.{change.format(old.attribute)}, path={new_path!r})")
        back.append(
            f"index.alter_field({new.attribute!r}, {change_back}, path={old_path!r}, "
            f"attribute={old.attribute!r})"
        )
        places[name] = new
        kept.add(old.name)
    after = replace(form, places=places, kept=frozenset(kept))
    return FormChange(kind, form, after, tuple(there), tuple(back))


def _encoded_to_paths(chooses: random.Random, form: Form, number: int) -> FormChange:
    if any(place.datatype != "float32" for place in _vectors(form).values()):
        return _no_change()

    def made(old: Place) -> tuple[Place, str, str]:
        new = replace(old, name=f"{old.name}_h{number}", datatype="float16")
        return new, "alter_field({!r}, datatype='float16'", "datatype='float32'"

    return _at_paths(chooses, form, "encoded at paths", made)


def _cut_to_paths(chooses: random.Random, form: Form, number: int) -> FormChange:
    if any(place.dims != WIDE for place in _vectors(form).values()):
        return _no_change()
    is_normalised = chooses.random() < 0.5

    def made(old: Place) -> tuple[Place, str, str]:
        new = replace(old, name=f"{old.name}_c{number}", dims=CUT, is_normalised=is_normalised)
        return new, f"truncate({{!r}}, dims={CUT}, renormalize={is_normalised}", f"dims={WIDE}"

    return _at_paths(chooses, form, "cut at paths", made)


def _cut_in_place(chooses: random.Random, form: Form, number: int) -> FormChange:
    if any(place.dims != WIDE for place in _vectors(form).values()):
        return _no_change()
    is_normalised = chooses.random() < 0.5
    there, back, places = [], [], dict(form.places)
    for name in _some(chooses, list(_vectors(form))):
        old = places[name]
        there.append(f"index.truncate({old.attribute!r}, dims={CUT}, renormalize={is_normalised})")
        back.append(f"index.alter_field({old.attribute!r}, dims={WIDE})")
        places[name] = replace(old, dims=CUT, is_normalised=is_normalised)
    return FormChange("cut", form, replace(form, places=places), tuple(there), tuple(back))


def _other_storage(chooses: random.Random, form: Form, number: int) -> FormChange:
    storage, prefix = {"hash": "json", "json": "hash"}[form.storage], f"s{number}:"
    there = f"index.change_storage({storage!r}, prefix=({form.prefix!r}, {prefix!r}))"
    back = f"index.change_storage({form.storage!r}, prefix=({prefix!r}, {form.prefix!r}))"
    if any(place.name != place.attribute for place in form.indexed.values()):
        # The attribute would be the field of a hash.
        return _no_change()
    after = replace(form, storage=storage, prefix=prefix)
    return FormChange("storage", form, after, (there,), (back,))


def _dropped(chooses: random.Random, form: Form, number: int) -> FormChange:
    name = chooses.choice(sorted(form.kept))
    path = _path(form, name)
    after = replace(form, kept=form.kept - {name})
    there, back = f"index.drop_values({path!r})", f"index.restore_values({path!r})"
    return FormChange("dropped", form, after, (there,), (back,))
