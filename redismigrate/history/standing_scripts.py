"""Which scripts the history is made of: a squashed one stands for those that it replaces."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from redismigrate.errors import ScriptError
from redismigrate.history.script import Script


def standing_scripts(scripts: Iterable[Script], opened: Collection[str] = ()) -> tuple[Script, ...]:
    """The scripts without those that others replace; what revises or depends on these is on their heir.

    Replaced scripts may stay in their folders until they are deleted. Nothing else changes by that.

    Args:
        scripts: All that there are.
        opened: Squashed revisions in whose place those that they replace are wanted.

    Raises:
        ScriptError: Two scripts replace the same revision, or one replaces what replaces others.
    """
    scripts = tuple(scripts)
    heirs: dict[str, Script] = {}
    squashed = [script for script in scripts if script.replaces]
    for script in squashed:
        for revision in script.replaces:
            other = heirs.setdefault(revision, script)
            if other is not script:
                raise ScriptError(
                    f"{other.path} and {script.path} both replace revision {revision}.",
                    "Delete one of them, or take the revision out of its `replaces`.",
                )
    for script in squashed:
        if script.revision in heirs:
            raise ScriptError(
                f"{heirs[script.revision].path} replaces {script.revision}, which replaces others itself.",
                f"Take `replaces` out of {script.path} once every Redis has a revision after it.",
            )
    names = {old: heir.revision for old, heir in heirs.items() if heir.revision not in opened}
    names |= {script.revision: script.replaces[-1] for script in squashed if script.revision in opened}
    if not names:
        return scripts
    return tuple(_renamed(script, names) for script in scripts if script.revision not in names)


def _renamed(script: Script, names: dict[str, str]) -> Script:
    """A script that revises and depends on what stands."""

    def standing(revisions: tuple[str, ...]) -> tuple[str, ...]:
        found = dict.fromkeys(names.get(revision, revision) for revision in revisions)
        return tuple(revision for revision in found if revision != script.revision)

    down_revisions, depends_on = standing(script.down_revisions), standing(script.depends_on)
    if (down_revisions, depends_on) == (script.down_revisions, script.depends_on):
        return script
    return replace(script, down_revisions=down_revisions, depends_on=depends_on)
