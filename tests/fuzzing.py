"""Runs the command line on what is broken or hostile, and judges how it ended.

`run_in_process` and `run_as_process` give an `Outcome`, `judge` tells what is wrong with it, and a `Campaign`
collects that over many mutations and fails once, with each kind of fault and an input that shows it. How many
mutations each target gets is set by the environment variable FUZZ_MUTATIONS, and FUZZ_FIRST takes others:

    FUZZ_MUTATIONS=2000 FUZZ_FIRST=5000 pytest -m slow tests/integration/test_fuzzed_files.py
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from redismigrate.cli import main

if TYPE_CHECKING:
    from types import TracebackType

    import redis

# Of the table in docs/reference/errors.md, and success.
DOCUMENTED = frozenset(range(9))
LIMIT_SECONDS = 10.0
ENTRY_POINT = Path(sys.executable).with_name("redismigrate")
MUTATIONS_VARIABLE = "FUZZ_MUTATIONS"
# What the command line says of an error that nobody has foreseen, in words and as JSON.
_RAW = re.compile(
    r"^Error: (?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Warning|Iteration)\b(?::|$)"
    r"|Run it with -v to see where"
    r'|"code": "unexpected"'
    r"|Traceback \(most recent call last\)"
    r"|^Exception ignored in"
    r"|^Fatal Python error",
    re.MULTILINE,
)
_SHOWN_CONTROLS = frozenset("\n\t")
_DIRECTION = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
MOST_FAULTS_SHOWN = 25


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        arguments: Of the command.
        code: Its exit code; None when it had to be stopped.
        out: Standard output.
        err: Standard error.
        seconds: How long it took.
        raised: What came out of the entry point besides an exit, as text; empty when nothing did.
    """

    arguments: tuple[str, ...]
    code: int | None
    out: str
    err: str
    seconds: float
    raised: str = ""


class _Hang(BaseException):
    """A command ran longer than it may."""


def run_in_process(arguments: Sequence[str], folder: Path, limit: float = LIMIT_SECONDS) -> Outcome:
    """Run `redismigrate` in this process; fast.

    Args:
        arguments: Of the command.
        folder: Where it is run.
        limit: Seconds after which it is stopped.
    """
    out, err = io.StringIO(), io.StringIO()
    code: Any = None
    raised = ""
    begin = time.monotonic()
    with (
        contextlib.chdir(folder),
        _restored_process(),
        _stopped_after(limit),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main(list(arguments))
        except SystemExit as leaving:
            code = leaving.code
        except _Hang:
            raised = f"hang: stopped after {limit:g} s"
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            raised = f"{type(error).__name__} came out of the entry point: {error}"
    seconds = time.monotonic() - begin
    return Outcome(tuple(arguments), code, out.getvalue(), err.getvalue(), seconds, raised)


def run_as_process(
    arguments: Sequence[str], folder: Path, limit: float = LIMIT_SECONDS, **environment: str
) -> Outcome:
    """Run the installed command as a process: for what may close streams, kill or hang it.

    Args:
        arguments: Of the command.
        folder: Where it is run.
        limit: Seconds after which it is killed.
        environment: Variables besides those of this process.
    """
    begin = time.monotonic()
    try:
        process = subprocess.run(
            [ENTRY_POINT, *arguments],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        out, err = (
            (stream or b"").decode(errors="backslashreplace") for stream in (expired.stdout, expired.stderr)
        )
        return Outcome(tuple(arguments), None, out, err, limit, f"hang: killed after {limit:g} s")
    out, err = (stream.decode(errors="backslashreplace") for stream in (process.stdout, process.stderr))
    return Outcome(tuple(arguments), process.returncode, out, err, time.monotonic() - begin)


def judge(outcome: Outcome) -> list[str]:
    """What is wrong with how a command ended, one line each; empty when nothing is."""
    faults = []
    if outcome.raised:
        faults.append(outcome.raised)
    elif outcome.code not in DOCUMENTED:
        faults.append(f"exit code {outcome.code} is not documented")
    for name, text in (("output", outcome.out), ("error", outcome.err)):
        raw = _RAW.search(text)
        if raw:
            line = text[text.rfind("\n", 0, raw.start()) + 1 :].partition("\n")[0]
            faults.append(
                f"raw error: {line[:200]!r}" if name == "error" else f"raw error in output: {line[:200]!r}"
            )
        control = next((each for each in text if _is_control(each)), None)
        if control is not None:
            faults.append(f"raw {control!r} on the terminal ({name})")
    return faults


def files_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder below a folder with its size and time, to see what was written."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(folder))] = (0 if path.is_dir() else status.st_size, status.st_mtime_ns)
    return found


def documents_in(client: redis.Redis) -> dict[bytes, Any]:
    """Every key of the application with its value, to compare: hashes as mappings, others as DUMP."""
    keys = sorted(key for key in client.scan_iter(count=10_000) if not key.startswith(b"{redismigrate"))
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.type(key)
    types = pipeline.execute()
    for key, type_ in zip(keys, types, strict=True):
        pipeline.hgetall(key) if type_ == b"hash" else pipeline.dump(key)
    return dict(zip(keys, pipeline.execute(), strict=True))


def mutations_wanted(default: int) -> int:
    """How many mutations a target gets: what FUZZ_MUTATIONS says, else the default."""
    return int(os.environ.get(MUTATIONS_VARIABLE) or default)


@dataclass
class Campaign:
    """The faults of many mutations of one target; leaving it fails when there are any.

    Attributes:
        target: What was mutated.
        count: Of the outcomes that were judged.
        codes: Exit code -> how often.
        faults: Kind of fault -> what showed it, the first ones.
    """

    target: str
    count: int = 0
    codes: dict[int | None, int] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)

    def judge(self, number: int, outcome: Outcome, shown: object = "") -> bool:
        """Judge an outcome; whether it is faultless.

        Args:
            number: Of the mutation, which brings it back.
            outcome: How the command ended.
            shown: What was mutated, for the message.
        """
        self.count += 1
        self.codes[outcome.code] = self.codes.get(outcome.code, 0) + 1
        faults = judge(outcome)
        for fault in faults:
            self.add(number, fault, f"{' '.join(outcome.arguments)!r} on {_short(shown)}")
        return not faults

    def add(self, number: int, fault: str, shown: object = "") -> None:
        """Note a fault that was found otherwise, as a document that is lost."""
        kind = re.sub(r"0x[0-9a-f]+|\d+|/\S+", "#", fault)[:110]
        self.faults.setdefault(kind, []).append(f"mutation {number}: {fault}\n      {shown}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        print(f"{self.target}: {self.count} mutations judged, exit codes {self.codes}")
        if kind is None and self.faults:
            shown = [
                f"  {len(found)} x {found[0]}"
                for found in sorted(self.faults.values(), key=len, reverse=True)
            ]
            told = "\n".join(shown[:MOST_FAULTS_SHOWN])
            raise AssertionError(f"{self.target}: {len(self.faults)} kinds of fault\n{told}")


def _short(shown: object) -> str:
    text = repr(shown)
    return text if len(text) <= 400 else f"{text[:250]} … {text[-150:]}"


def _is_control(character: str) -> bool:
    if character in _SHOWN_CONTROLS:
        return False
    return unicodedata.category(character) == "Cc" or character in _DIRECTION


@contextlib.contextmanager
def _stopped_after(seconds: float) -> Iterator[None]:
    """Raise `_Hang` in the block when it takes longer; the alarm of pytest's own limit goes on afterwards."""

    def stop(*_: object) -> None:
        raise _Hang

    begin = time.monotonic()
    handler = signal.signal(signal.SIGALRM, stop)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - begin), 0.01))


@contextlib.contextmanager
def _restored_process() -> Iterator[None]:
    """Put back what the entry point sets for the whole process."""
    logger = logging.getLogger("redismigrate")
    on_sigterm, level = signal.getsignal(signal.SIGTERM), logger.level
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)
        logger.setLevel(level)
