"""What can be chosen from the menu: the questions of each action, and what their answers do."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from redismigrate.errors import UsageError
from redismigrate.foreign_modules import shown_value
from redismigrate.foreign_text import readable
from redismigrate.operations.changes import ChangePrefix
from redismigrate.operations.differing import changes_between
from redismigrate.operations.given import as_name
from redismigrate.schema import TextField
from redismigrate.schema.prefixes import beginning_of_keys
from redismigrate.wizard.attributes import TYPES, offered, required_attributes, shown, value_question
from redismigrate.wizard.draft import Draft
from redismigrate.wizard.questions import Answer, Choice, Exact, Question

Values = Mapping[str, Answer]
View = Literal["script", "patch", "schema", "plan"]
VIEWS: dict[View, str] = {
    "script": "what is written into the revision",
    "patch": "the same as a schema patch of RedisVL",
    "schema": "the index as it is then, in RedisVL's form",
    "plan": "what an upgrade does on this server, and what it costs",
}
_LONGEST_MESSAGE = 100
_BACK = "back to the menu"


@dataclass(frozen=True)
class Done:
    """What the answers of a form come to.

    Attributes:
        draft: The change with them.
        form: Which goes on with further questions; None: back to the menu.
        values: What is answered of that form already.
        view: What is to be shown of the change.
        ending: How the wizard ends, if it does.
        message: What the revision is for, where it is to be written.
        note: What is to be known of what was answered.
    """

    draft: Draft
    form: str | None = None
    values: Values = field(default_factory=dict)
    view: View | None = None
    ending: Literal["finish", "quit"] | None = None
    message: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Form:
    """An action of the menu.

    Attributes:
        text: What it does.
        next: Its next question, or what its answers come to; RedisMigrateError where the last one can't be.
    """

    text: str
    next: Callable[[Draft, Values], Question | Done]


def _add(draft: Draft, values: Values) -> Question | Done:
    if "add" not in values:
        return Question("add", "Name of the new field", if_empty=_BACK)
    name: Any = values["add"]
    if "type" not in values:
        # Whether the name is free does not depend on the type.
        draft.changed(lambda index: index.add_field(TextField(name=name)))
        return Question("type", f"Type of field {name}", tuple(map(Choice, TYPES)), if_empty=_BACK)
    type_ = str(values["type"])
    for attribute in required_attributes(type_):
        if attribute not in values:
            return value_question(TYPES[type_], attribute)
    attrs = {attribute: values[attribute] for attribute in required_attributes(type_)}
    layout = {"name": name, "type": type_, "attrs": attrs}
    return Done(draft.changed(lambda index: index.add_field(layout)), "change", {"change": name})


def _change(draft: Draft, values: Values) -> Question | Done:
    if "change" not in values:
        return Question("change", "Field", _fields(draft), if_empty=_BACK)
    name = str(values["change"])
    known = draft.schema.field(name)
    if "attribute" not in values:
        attributes = offered(known, draft.schema.storage_type)
        text = f"What of {known.type} field {name}"
        return Question("attribute", text, attributes, "", if_empty="done", is_open=True)
    attribute = values["attribute"]
    if not isinstance(attribute, str):
        raise UsageError(f"{shown_value(attribute)} is no attribute.", "Answer a number or a name.")
    if attribute == "":
        return Done(draft)
    is_said, value = "", ""
    if "value" not in values and not isinstance(attribute, Exact):
        attribute, is_said, value = attribute.partition("=")
    if attribute == "name":
        raise UsageError("A name is no attribute to change.", "Choose the action rename for that.")
    known.altered(**{attribute: getattr(known, attribute, None)})  # refuses what is none
    if is_said:
        values = {**values, "value": value_question(type(known), attribute, "").meant(value)}
    elif "value" not in values:
        current = shown(known, attribute, draft.schema.storage_type) if hasattr(known, attribute) else ""
        return value_question(type(known), attribute, current)
    if values["value"] == "" and not isinstance(values["value"], Exact):
        return Done(draft, "change", {"change": name})
    given: dict[str, Any] = {attribute: values["value"]}
    changed = draft.changed(lambda index: index.alter_field(name, **given))
    return Done(changed, "change", {"change": name})


def _remove(draft: Draft, values: Values) -> Question | Done:
    if "remove" not in values:
        return Question("remove", "Field to remove", _fields(draft), if_empty=_BACK)
    name = str(values["remove"])
    path = draft.schema.field(name).path_in(draft.schema.storage_type)
    changed = draft.changed(lambda index: index.drop_field(name))
    return Done(changed, note=f"The documents keep {path}; going back indexes it again.")


def _rename(draft: Draft, values: Values) -> Question | Done:
    if "rename" not in values:
        return Question("rename", "Field to rename", _fields(draft), if_empty=_BACK)
    old, new = str(values["rename"]), values.get("to")
    if "to" not in values:
        return Question("to", f"New name of field {old}", if_empty=_BACK)
    return Done(draft.changed(lambda index: index.rename_field(old, new)))  # type: ignore[arg-type]


def _rename_index(draft: Draft, values: Values) -> Question | Done:
    if "rename-index" not in values:
        return Question("rename-index", f"New name of index {draft.schema.name}", if_empty=_BACK)
    name = as_name(values["rename-index"], "index")  # type: ignore[arg-type]
    return Done(draft.changed(lambda index: index.rename_to(name)))


def _prefix(draft: Draft, values: Values) -> Question | Done:
    prefixes = draft.schema.prefixes
    if "prefix" not in values:
        if len(prefixes) > 1:
            return Question("prefix", "Prefix to change", tuple(map(Choice, prefixes)), if_empty=_BACK)
        now = f"Prefix now: {prefixes[0]}" if prefixes else "No prefix now: every key is a document"
        return Question("prefix", "New prefix", about=now, if_empty=_BACK)
    old, new = prefixes[0] if prefixes else None, values["prefix"]
    if len(prefixes) > 1:
        if "to" not in values:
            return Question("to", f"New prefix in place of {values['prefix']}", if_empty=_BACK)
        old, new = str(values["prefix"]), values["to"]
    changed = [new if each == old else each for each in prefixes] or [new]
    wanted = draft.schema.with_options(prefixes=changed)
    changes = changes_between(draft.schema, wanted)
    if old and new and not any(isinstance(change, ChangePrefix) for change in changes):
        separator, becomes = draft.schema.key_separator, wanted.prefixes[prefixes.index(old)]
        if not changes or beginning_of_keys(old, separator) != beginning_of_keys(becomes, separator):
            # What speaks against moving these documents the recorder says: they must not be left behind.
            changes = (ChangePrefix(old, becomes),)
    return Done(draft.with_changes(changes))


def _preview(draft: Draft, values: Values) -> Question | Done:
    if "preview" not in values:
        choices = tuple(Choice(view, text) for view, text in VIEWS.items())
        return Question("preview", "As", choices, "script")
    return Done(draft, view=values["preview"] or "script")  # type: ignore[arg-type]


def _finish(draft: Draft, values: Values) -> Question | Done:
    if not draft.changes:
        return Done(draft, ending="finish")
    message = "; ".join(map(str, draft.changes))
    suggested = textwrap.shorten(readable(f"{draft.name}: {message}"), _LONGEST_MESSAGE, placeholder=" ...")
    if "finish" not in values:
        return Question("finish", "What the revision is for", current=suggested, is_open=True)
    given = values["finish"]
    if given is not None and not isinstance(given, str):
        raise UsageError(f"{shown_value(given)} is no message.", "Say in a few words what the revision does.")
    return Done(draft, ending="finish", message=given or suggested)


def _undo(draft: Draft, values: Values) -> Done:  # noqa: ARG001 - one signature
    if not draft.answered:
        raise UsageError("There is nothing to undo.", "Choose another action.")
    return Done(draft.undone(), note="The last change is taken back.")


def _quit(draft: Draft, values: Values) -> Done:  # noqa: ARG001 - one signature
    return Done(draft, ending="quit")


# In the order of their numbers; the first eight are those of RedisVL's wizard.
FORMS: dict[str, Form] = {
    "add": Form("add a field", _add),
    "change": Form("change a field: algorithm, datatype, sortable, ...", _change),
    "remove": Form("remove a field from the index", _remove),
    "rename": Form("rename a field, in the documents as well", _rename),
    "rename-index": Form("give the index another name", _rename_index),
    "prefix": Form("change the prefix, in the keys as well", _prefix),
    "preview": Form("show it as script, patch, schema or plan", _preview),
    "finish": Form("write the revision", _finish),
    "undo": Form("take the last change back", _undo),
    "quit": Form("leave; nothing is written", _quit),
}


def _fields(draft: Draft) -> tuple[Choice, ...]:
    return tuple(Choice(each.name, each.type) for each in draft.schema.fields)
