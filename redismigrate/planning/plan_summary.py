"""The costs of a whole plan at a glance, as numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from redismigrate.quantities import seconds_text, size_text

# A backup that leaves less than this many times its size free is told with what is free.
_AMPLE = 10


class PlanSummary(BaseModel):
    """What a plan costs in all; None where that is not known.

    Attributes:
        seconds: Wall seconds, functions of scripts left out.
        functions: The functions of scripts that it runs: what these cost is not known.
        search_downtime_seconds: Seconds in which searches on any index fail or miss documents.
        search_downtime_seconds_by_index: Served name -> its part of them.
        peak_memory_bytes: The most extra memory of the server at any moment, functions of scripts left out.
        memory_bytes_by_index: Served name -> the most that its own steps take.
        used_memory_bytes: What the server uses now.
        maxmemory_bytes: Its limit; 0 is none.
        memory_saved_bytes: What it uses less afterwards; below 0: more.
        backup_bytes: What backups take on disk.
        backup_free_bytes: The room for them.
        aof_enabled: The server writes an append-only file.
        aof_growth_bytes: What that grows by until it is rewritten.
        save_points: When the server takes snapshots by itself, as its setting `save` says; empty for never.
        is_child_running: It is writing a snapshot or a new append-only file now.
        snapshot_bytes: The most that a snapshot takes on disk once all is done.
        snapshot_growth_bytes: What of that is there only while second forms of documents are.
        copy_on_write_bytes: The most that the memory grows by if a snapshot is taken, or an append-only file
            rewritten, while documents are written and indexes built.
    """

    model_config = ConfigDict(frozen=True)

    seconds: float
    functions: tuple[str, ...]
    search_downtime_seconds: float
    search_downtime_seconds_by_index: dict[str, float]
    peak_memory_bytes: int
    memory_bytes_by_index: dict[str, int]
    used_memory_bytes: int
    maxmemory_bytes: int | None
    memory_saved_bytes: int | None
    backup_bytes: int
    backup_free_bytes: int | None
    aof_enabled: bool | None
    aof_growth_bytes: int | None
    save_points: str | None
    is_child_running: bool | None
    snapshot_bytes: int | None
    snapshot_growth_bytes: int
    copy_on_write_bytes: int | None

    def rows(self) -> Iterator[tuple[str, str]]:
        """For people: what it is, and how much."""
        yield "takes", self._takes()
        yield "search down", self._search_down()
        yield "peak memory", f"{self._peak()}; {self._limit()}"
        if len(self.memory_bytes_by_index) > 1:
            sizes = self.memory_bytes_by_index.items()
            yield "", ", ".join(f"{name} {_size(size, '+')}" for name, size in sizes)
        yield "copy on write", self._copy_on_write()
        yield "afterwards", self._afterwards()
        yield "backups", self._backups()
        yield "append-only file", self._aof()
        yield "snapshot", self._snapshot()

    def _takes(self) -> str:
        seconds = seconds_text(self.seconds)
        if not self.functions:
            return seconds or "no time"
        untold = f"{' and '.join(self.functions)}: not known"
        return f"{seconds}, and {untold}" if seconds else untold

    def _peak(self) -> str:
        if not self.functions:
            return _size(self.peak_memory_bytes, "+")
        return f"at least {_size(self.peak_memory_bytes, '+')}" if self.peak_memory_bytes else "not known"

    def _search_down(self) -> str:
        down = self.search_downtime_seconds_by_index
        if not down:
            return "never"
        total = seconds_text(self.search_downtime_seconds)
        of_each = ", ".join(f"{name} {seconds_text(seconds)}" for name, seconds in down.items())
        return f"{total}: {of_each}" if len(down) > 1 else f"{total} for {next(iter(down))}"

    def _limit(self) -> str:
        used = f"{_size(self.used_memory_bytes)} are used now"
        if self.maxmemory_bytes is None:
            return f"{used}, maxmemory is not known"
        return f"{used} of {_size(self.maxmemory_bytes)}" if self.maxmemory_bytes else f"{used}, no maxmemory"

    def _copy_on_write(self) -> str:
        if self.copy_on_write_bytes is None:
            return "not known"
        if not self.copy_on_write_bytes:
            return "none"
        most = f"up to {_size(self.copy_on_write_bytes, '+')}"
        if self.is_child_running:
            return f"{most}: a snapshot or AOF is being written now"
        return f"{most} if a snapshot or AOF is written meanwhile"

    def _afterwards(self) -> str:
        saved = self.memory_saved_bytes
        if saved is None:
            return "memory not known"
        if not saved:
            return "as much memory as before"
        return f"{_size(abs(saved))} of memory {'saved' if saved > 0 else 'more than before'}"

    def _backups(self) -> str:
        if not self.backup_bytes:
            return "none"
        size = _size(self.backup_bytes)
        if self.backup_free_bytes is None:
            return f"{size} on disk; what is free there is not known"
        if self.backup_free_bytes > _AMPLE * self.backup_bytes:
            return f"{size} on disk"
        return f"{size} on disk, of {_size(self.backup_free_bytes)} that are free"

    def _aof(self) -> str:
        if self.aof_enabled is None:
            return "not known whether there is one"
        if not self.aof_enabled:
            return "none"
        if self.aof_growth_bytes is None:
            return "there is one; how it grows is not known"
        return _size(self.aof_growth_bytes, "+") if self.aof_growth_bytes else "hardly grows"

    def _snapshot(self) -> str:
        when = "not known when one is taken"
        if self.save_points is not None:
            when = f"save {self.save_points}" if self.save_points else "none is taken by itself"
        if self.snapshot_bytes is None:
            return f"size not known, {when}"
        return f"up to {_size(self.snapshot_bytes)} on disk, {when}"


def _size(size_bytes: int, sign: str = "") -> str:
    return size_text(size_bytes, sign) or "none"
