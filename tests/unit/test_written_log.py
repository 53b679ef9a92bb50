"""What a backup knows of what was written: the log beside its chunks, after crashes and damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from backup_samples import chunk, forge_manifest, manifest

from redismigrate.backup.backup import Backup
from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.chunk_file import Chunk
from redismigrate.backup.folders import discard_backup, files_of, prune_run
from redismigrate.backup.manifest import load_manifest
from redismigrate.backup.written import LOG, WrittenLog, open_log, start_log, written_numbers
from redismigrate.errors import BackupDamaged, BackupFailed, FenceLost

FIRST, SECOND = np.array([1, 0, 1 << 63], np.uint64), np.array([7, 0, 9], np.uint64)


def nobody() -> None:
    """Nobody else writes."""


def backup_with_log(backup_dir: Path, chunks: int = 2) -> Path:
    """A complete backup of which nothing is written yet."""
    with BackupWriter.create(backup_dir, manifest()) as writer:
        for number in range(1, chunks + 1):
            writer.add(chunk(number))
        writer.finish({"rewrite": {}, **start_log(writer.folder, nobody)})
    return writer.folder


def written(folder: Path) -> list[list[list[int]] | None]:
    """What every chunk says, attempt by attempt."""
    return [
        None if each.written is None else [attempt["embedding"].tolist() for attempt in each.written]
        for each in Backup.open(folder).chunks()
    ]


def test_a_chunk_tells_every_attempt_to_write_it(tmp_path: Path):
    folder = backup_with_log(tmp_path)
    assert written(folder) == [[], []]
    with open_log(folder, nobody) as log:
        log.add(2, [FIRST])
    assert written(folder) == [[], [FIRST.tolist()]]
    with open_log(folder, nobody) as log:
        log.add(2, [SECOND])
        log.add(1, [FIRST])
        log.seal()
    assert written(folder) == [[FIRST.tolist()], [FIRST.tolist(), SECOND.tolist()]]
    assert Backup.open(folder).verify() == []
    assert Backup.open(folder).knows_written


def test_a_log_is_sealed_after_a_process_was_killed_while_it_did_so(tmp_path: Path):
    folder = backup_with_log(tmp_path)
    with open_log(folder, nobody) as log:
        log.add(1, [FIRST])
        (folder / "manifest.json.tmp").write_bytes(b"half of")
        log.seal()
    assert Backup.open(folder).verify() == []
    assert not (folder / "manifest.json.tmp").exists()


def test_a_backup_of_an_older_version_does_not_tell(tmp_path: Path):
    with BackupWriter.create(tmp_path, manifest()) as writer:
        writer.add(chunk(1))
        writer.finish()
    assert written(writer.folder) == [None]
    assert not Backup.open(writer.folder).knows_written


def test_what_was_known_when_a_chunk_was_written_stands_in_it(tmp_path: Path):
    folder = backup_with_log(tmp_path, 1)
    late = chunk(2)
    with BackupWriter.reopen(folder) as writer:
        writer.add(Chunk(late.documents, {**late.numbers, **written_numbers({"embedding": FIRST})}))
        writer.finish()
    assert written(folder) == [[], [FIRST.tolist()]]
    # What was made of the log is not forgotten when the backup is finished once more.
    assert Backup.open(folder).knows_written


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_log_that_a_crash_has_cut_off_ends_before_what_was_not_written(tmp_path: Path, is_sealed: bool):
    folder = backup_with_log(tmp_path)
    with open_log(folder, nobody) as log:
        log.add(1, [FIRST])
        if is_sealed:
            log.seal()
        size = (folder / LOG).stat().st_size
        log.add(2, [SECOND])
    whole = (folder / LOG).read_bytes()
    for length in range(size, len(whole)):
        (folder / LOG).write_bytes(whole[:length])
        assert written(folder) == [[FIRST.tolist()], []]
        assert Backup.open(folder).verify() == []
    (folder / LOG).write_bytes(whole[:-1] + b"\0" * 70)
    with open_log(folder, nobody) as log:
        log.add(2, [FIRST])
    assert written(folder) == [[FIRST.tolist()], [FIRST.tolist()]]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path, whole: path.write_bytes(whole[:-1]), "has 111 bytes, expected 112"),
        (lambda path, whole: path.write_bytes(whole[:20] + b"\1" + whole[21:]), "was changed after it was"),
        (lambda path, _: path.unlink(), "is missing"),
        (lambda path, _: path.rename(path.with_name("x")) and path.symlink_to("x"), "is a link"),
    ],
)
def test_damage_to_what_the_manifest_vouches_for_is_told(tmp_path: Path, change, problem: str):
    folder = backup_with_log(tmp_path)
    with open_log(folder, nobody) as log:
        log.add(1, [FIRST])
        log.add(2, [SECOND])
        log.seal()
    change(folder / LOG, (folder / LOG).read_bytes())

    backup = Backup.open(folder)
    assert any(found.file == LOG and problem in found.what for found in backup.verify())
    for reads in (lambda: list(backup.chunks()), lambda: open_log(folder, nobody), backup.require_intact):
        with pytest.raises(BackupDamaged, match=LOG):
            reads()
    # The originals are all there; what was made of them is to be found out otherwise.
    rest = backup.without_damaged()
    assert [each.written for each in rest.chunks()] == [None, None]
    assert not rest.knows_written


@pytest.mark.parametrize("log", [None, [], {}, {"bytes": -1, "sha256": ""}, {"bytes": 0, "sha256": "x"}])
def test_a_manifest_that_says_nonsense_of_a_log_is_told(tmp_path: Path, log: object):
    folder = backup_with_log(tmp_path)
    forge_manifest(folder, options={"written": log})
    assert [problem.file for problem in Backup.open(folder).verify()] == [LOG]


def test_a_log_of_other_documents_is_damage_of_the_chunk(tmp_path: Path):
    folder = backup_with_log(tmp_path)
    with open_log(folder, nobody) as log:
        log.add(1, [FIRST[:2]])
    assert [str(problem) for problem in Backup.open(folder).verify()] == [
        f"chunk-000001.npz does not fit to what {LOG} says of it"
    ]


def test_a_full_disk_is_told_and_what_was_begun_is_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = backup_with_log(tmp_path)
    with open_log(folder, nobody) as log:
        log.add(1, [FIRST])
        write = log._file.write
        monkeypatch.setattr(log, "_file", _Full(log._file, write))
        with pytest.raises(BackupFailed, match="No space left on device"):
            log.add(2, [SECOND])
    assert written(folder) == [[FIRST.tolist()], []]


class _Full:
    def __init__(self, file, write) -> None:
        self._file, self._write = file, write

    def write(self, data: bytes) -> int:
        return self._write(data[:30])

    def __getattr__(self, name: str):
        return getattr(self._file, name)


def test_a_process_that_has_lost_the_lock_notes_nothing(tmp_path: Path):
    folder = backup_with_log(tmp_path)
    lost: list[bool] = []

    def require_lock() -> None:
        if lost:
            raise FenceLost("", "")

    with WrittenLog(folder, require_lock) as log:
        log.add(1, [FIRST])
        lost.append(True)
        for noting in (lambda: log.add(2, [SECOND]), log.seal):
            with pytest.raises(FenceLost):
                noting()
    with pytest.raises(FenceLost):
        open_log(folder, require_lock)
    assert written(folder) == [[FIRST.tolist()], []]


def test_the_log_goes_with_its_backup(tmp_path: Path):
    folder = backup_with_log(tmp_path)
    assert prune_run(folder.parents[1]) > 0
    assert files_of(tmp_path / "shop") == ()
    folder = backup_with_log(tmp_path)
    assert load_manifest(folder).complete
    discard_backup(folder, nobody)
    assert not folder.exists()
