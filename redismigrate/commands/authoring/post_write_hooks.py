"""Runs the commands that the configuration has for new scripts, a formatter for example."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from redismigrate.config import FILE_PLACEHOLDER, PostWriteHook
from redismigrate.errors import ConfigurationError, ScriptError
from redismigrate.foreign_text import readable, shell_command
from redismigrate.history.script import Script, read_script

_LINES_TOLD = 10


def run_post_write_hooks(hooks: Mapping[str, PostWriteHook], path: Path) -> None:
    """Give a script that was just written to each hook, in order, and look that it is still that revision.

    What a hook prints is told only where it fails: standard output is the command's own.

    Args:
        hooks: By name.
        path: The script.

    Raises:
        ConfigurationError: A hook can't be started, or ends with another code than 0. The script stays as it
            is by then; no further hook runs.
        ScriptError: The hooks have left no script of that revision.
    """
    if not hooks:
        return
    written = read_script(path)
    for name, hook in hooks.items():
        _run(name, hook, path)
    _require_same(path, written, tuple(hooks))


def _run(name: str, hook: PostWriteHook, path: Path) -> None:
    file = os.path.realpath(path)
    program, *arguments = hook.command
    words = [_found(program, hook.cwd), *(word.replace(FILE_PLACEHOLDER, file) for word in arguments)]
    told = f"{path} is written, but the post-write hook {readable(name)!r}"
    by_hand = f"`{shell_command(program, *words[1:])}`"
    try:
        done = subprocess.run(words, cwd=hook.cwd, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        # Of a folder that is missing, too.
        raise ConfigurationError(
            f"{told} can't be started: {error.strerror}: {error.filename or program}.",
            f"Correct post_write_hooks in the configuration. The script stays: run {by_hand} yourself, or "
            "delete it and write it again.",
        ) from error
    if done.returncode:
        output = (done.stderr or done.stdout).decode(errors="backslashreplace").strip()
        last = "\n".join(output.splitlines()[-_LINES_TOLD:])
        raise ConfigurationError(
            f"{told} ended with {done.returncode}{f': {last}' if last else '.'}",
            f"The script stays as it is: remove the cause and run {by_hand}, or delete it and write it "
            "again.",
        )


def _found(program: str, folder: Path) -> str:
    """A program: of the environment that runs this, which may not be on PATH, then of PATH.

    Args:
        program: As the configuration has it.
        folder: Where one with a slash in its name is looked for.
    """
    if os.sep in program:
        return str(folder / program)
    own = str(Path(sys.executable).parent)
    return shutil.which(program, path=own) or shutil.which(program) or program


def _require_same(path: Path, written: Script, names: tuple[str, ...]) -> None:
    """Insist that hooks, which may write anything, have left the revision that was written.

    Raises:
        ScriptError: They have not.
    """
    ran = f"the post-write hooks ({', '.join(map(readable, names))}) ran"
    try:
        left = read_script(path)
    except ScriptError as error:
        raise ScriptError(
            f"{error.message} It was written as it should be before {ran}.", error.hint
        ) from error
    if (left.revision, left.down_revisions) != (written.revision, written.down_revisions):
        raise ScriptError(
            f"{path} was revision {written.revision} before {ran}, and is {left.revision} by now.",
            "Correct post_write_hooks in the configuration, and the script.",
        )
