"""A backup after a crash: whatever was durable stays, what was not goes, and writing continues."""

import gc
import resource
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from backup_samples import chunk, manifest, write_backup

from redismigrate.backup.backup import Backup, Problem
from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.errors import BackupDamaged, BackupFailed, FenceLost


def stopped(tmp_path, chunks=2):
    """The folder of a backup whose process was stopped after some chunks."""
    return write_backup(tmp_path, chunks, is_complete=False)


def assert_continues(folder, durable):
    """Reading gives the durable chunks; a writer adds one after them and completes the backup."""
    assert list(Backup.open(folder).chunks()) == [chunk(number) for number in range(1, durable + 1)]
    assert Backup.open(folder).verify() == []
    with BackupWriter.reopen(folder) as writer:
        assert writer.add(chunk(durable + 1)).file == f"chunk-{durable + 1:06}.npz"
        writer.finish()
    backup = Backup.open(folder)
    assert list(backup.chunks()) == [chunk(number) for number in range(1, durable + 2)]
    assert backup.verify() == []
    assert backup.manifest.complete
    assert len(list(folder.iterdir())) == durable + 2


def test_a_backup_continues_after_its_last_chunk(tmp_path):
    assert_continues(stopped(tmp_path), durable=2)


def test_a_backup_that_was_stopped_twice_continues(tmp_path):
    folder = stopped(tmp_path)
    with BackupWriter.reopen(folder) as writer:
        writer.add(chunk(3))
    assert_continues(folder, durable=3)


def test_a_backup_without_chunks_continues(tmp_path):
    assert_continues(stopped(tmp_path, chunks=0), durable=0)


def test_a_crash_before_the_list_of_chunks_is_made_does_no_harm(tmp_path):
    folder = stopped(tmp_path, chunks=0)
    (folder / "chunks.jsonl").unlink()
    assert_continues(folder, durable=0)


def test_a_complete_backup_continues(tmp_path):
    assert_continues(write_backup(tmp_path, 2), durable=2)


def test_a_complete_backup_that_is_continued_is_complete_no_more_until_it_is_finished(tmp_path):
    folder = write_backup(tmp_path, 1)
    BackupWriter.reopen(folder).close()
    assert not Backup.open(folder).manifest.complete
    assert_continues(folder, durable=1)


def test_a_crash_while_a_chunk_is_written_leaves_a_file_that_goes(tmp_path):
    folder = stopped(tmp_path)
    (folder / "chunk-000003.npz.tmp").write_bytes(b"half of it")
    assert_continues(folder, durable=2)


def test_a_crash_before_a_recorded_chunk_gets_its_name_leaves_it_out(tmp_path):
    folder = stopped(tmp_path, chunks=3)
    (folder / "chunk-000003.npz").rename(folder / "chunk-000003.npz.tmp")
    assert_continues(folder, durable=2)


@pytest.mark.parametrize("length", [0, 1, 50])
def test_a_crash_while_a_record_is_written_leaves_it_out(tmp_path, length):
    folder = stopped(tmp_path, chunks=3)
    (folder / "chunk-000003.npz").rename(folder / "chunk-000003.npz.tmp")
    lines = (folder / "chunks.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "chunks.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:length])
    assert_continues(folder, durable=2)


def test_a_crash_while_the_manifest_is_replaced_leaves_the_older_one(tmp_path):
    folder = stopped(tmp_path)
    (folder / "manifest.json.tmp").write_bytes(b'{"format"')
    assert_continues(folder, durable=2)


def test_a_crash_before_the_list_of_a_complete_backup_is_removed_does_no_harm(tmp_path):
    folder = stopped(tmp_path)
    listed = (folder / "chunks.jsonl").read_bytes()
    with BackupWriter.reopen(folder) as writer:
        writer.finish()
    (folder / "chunks.jsonl").write_bytes(listed)
    assert_continues(folder, durable=2)


def test_a_crash_before_the_first_manifest_lets_the_backup_start_again(tmp_path):
    folder = stopped(tmp_path, chunks=0)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "manifest.json.tmp").write_bytes(b"{")
    assert write_backup(tmp_path, 1) == folder
    assert Backup.open(folder).verify() == []


def test_a_record_whose_chunk_was_removed_is_damage_and_no_crash(tmp_path):
    folder = stopped(tmp_path)
    (folder / "chunk-000002.npz").unlink()
    assert Backup.open(folder).verify() == [Problem("chunk-000002.npz", "is missing")]
    with pytest.raises(BackupDamaged, match=r"chunk-000002\.npz is missing"):
        BackupWriter.reopen(folder)


def test_a_chunk_whose_record_was_removed_is_damage_and_no_crash(tmp_path):
    folder = stopped(tmp_path)
    lines = (folder / "chunks.jsonl").read_bytes()
    for shorter in (lines[:-1], lines.splitlines(keepends=True)[0], b""):
        (folder / "chunks.jsonl").write_bytes(shorter)
        with pytest.raises(BackupDamaged, match=r"chunk-00000[12]\.npz stands in no list"):
            Backup.open(folder)
        with pytest.raises(BackupDamaged, match="stands in no list"):
            BackupWriter.reopen(folder)


@pytest.mark.parametrize("line", [b"{}", b"", b"\xff", b'{"file": "chunk-000001.npz"}', b"\x00" * 180])
def test_a_line_that_is_no_record_is_damage(tmp_path, line):
    folder = stopped(tmp_path)
    lines = (folder / "chunks.jsonl").read_bytes().splitlines()
    (folder / "chunks.jsonl").write_bytes(b"\n".join([line, lines[1], b""]))
    with pytest.raises(BackupDamaged, match=r"line 1 of chunks\.jsonl is no record of a chunk"):
        Backup.open(folder)


def test_a_record_whose_name_leads_elsewhere_is_damage(tmp_path):
    folder = stopped(tmp_path)
    path = folder / "chunks.jsonl"
    path.write_bytes(path.read_bytes().replace(b"chunk-000002.npz", b"../../../passwd"))
    with pytest.raises(BackupDamaged, match=r"chunk 2 is called '\.\./\.\./\.\./passwd'"):
        Backup.open(folder)


def test_a_list_that_is_a_link_is_not_followed(tmp_path):
    folder = stopped(tmp_path)
    (folder / "chunks.jsonl").rename(tmp_path / "elsewhere")
    (folder / "chunks.jsonl").symlink_to(tmp_path / "elsewhere")
    for use in (Backup.open, BackupWriter.reopen):
        with pytest.raises(BackupDamaged, match=r"chunks\.jsonl is a link"):
            use(folder)


def test_files_of_others_are_neither_removed_nor_replaced(tmp_path):
    folder = stopped(tmp_path)
    for name in ("notes.txt", "other.tmp", "chunk-000009.npz"):
        (folder / name).write_text("of somebody else")
    (folder / "chunk-000003.npz.tmp").symlink_to(folder / "notes.txt")
    with BackupWriter.reopen(folder) as writer, pytest.raises(BackupFailed, match="File exists"):
        writer.add(chunk(3))
    for name in ("notes.txt", "other.tmp", "chunk-000009.npz", "chunk-000003.npz.tmp"):
        assert (folder / name).read_text() == "of somebody else"


def test_a_full_disk_fails_the_chunk_and_all_later_ones_and_loses_none_before(tmp_path):
    with BackupWriter.create(tmp_path, manifest()) as writer:
        writer.add(chunk(1))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(BackupFailed, match="can't be written: File too large") as error:
                writer.add(chunk(2))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert "what is not backed up was not changed" in error.value.hint
        for use in (lambda: writer.add(chunk(2)), writer.finish):
            with pytest.raises(BackupFailed, match="File too large"):
                use()
    assert_continues(writer.folder, durable=1)


def test_a_record_that_does_not_fit_on_the_disk_fails_the_chunk(tmp_path):
    with BackupWriter.create(tmp_path, manifest()) as writer:
        for number in range(1, 21):  # until the list is longer than a chunk
            writer.add(chunk(number))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = (writer.folder / "chunks.jsonl").stat().st_size
        assert size > (writer.folder / "chunk-000001.npz").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))
        try:
            with pytest.raises(BackupFailed, match="can't be written"):
                writer.add(chunk(21))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_continues(writer.folder, durable=20)


def test_a_full_disk_keeps_the_backup_from_being_complete(tmp_path):
    with BackupWriter.create(tmp_path, manifest()) as writer:
        writer.add(chunk(1))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        try:
            with pytest.raises(BackupFailed, match="can't be written: File too large"):
                writer.finish()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_continues(writer.folder, durable=1)


def test_a_backup_that_can_not_be_finished_leaves_no_file_open(tmp_path):
    is_lost = False

    def require_lock():
        if is_lost:
            raise FenceLost("another process has the lock")

    writer = BackupWriter.reopen(stopped(tmp_path), require_lock=require_lock)
    with warnings.catch_warnings(record=True, action="always") as caught:
        is_lost = True
        with pytest.raises(FenceLost):
            writer.finish()
        del writer
        gc.collect()
    assert not caught


def test_a_folder_that_can_not_be_synchronised_leaves_no_file_open(tmp_path, monkeypatch):
    def refuse(folder):
        raise OSError("no")

    folder = stopped(tmp_path)
    monkeypatch.setattr("redismigrate.backup.backup_writer.sync_folder", refuse)
    with warnings.catch_warnings(record=True, action="always") as caught:
        with pytest.raises(BackupFailed):
            BackupWriter.reopen(folder)
        gc.collect()
    assert not caught


def test_a_file_that_has_the_name_of_the_next_chunk_is_not_replaced(tmp_path):
    with BackupWriter.create(tmp_path, manifest()) as writer:
        alien = writer.folder / "chunk-000001.npz"
        alien.write_text("of somebody else")
        with pytest.raises(BackupFailed, match="File exists"):
            writer.add(chunk(1))
    assert alien.read_text() == "of somebody else"


def test_a_chunk_that_can_not_be_encoded_keeps_the_backup_from_being_complete(tmp_path):
    with BackupWriter.create(tmp_path, manifest()) as writer:
        impossible = chunk(1)
        impossible.numbers["ttl_ms"][0] = 2**64
        with pytest.raises(OverflowError):
            writer.add(impossible)
        with pytest.raises(OverflowError):
            writer.finish()
    assert_continues(writer.folder, durable=0)


def test_a_folder_that_can_not_be_made_is_an_error_with_a_hint(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BackupFailed, match=r"can't be written: File exists \(.*/file\)") as error:
        BackupWriter.create(tmp_path / "file", manifest())
    assert "--backup-dir" in error.value.hint


WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from backup_samples import chunk, manifest
from redismigrate.backup.backup_writer import BackupWriter
writer = BackupWriter.create(Path(sys.argv[2]), manifest())
for number in range(1, 256):
    writer.add(chunk(number))
    print(number, flush=True)
"""


@pytest.mark.parametrize("milliseconds", [0, 1, 3, 7, 20])
def test_a_killed_process_loses_no_chunk_that_it_was_told_is_durable(tmp_path, milliseconds):
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(Path(__file__).parents[1]), str(tmp_path)],
        stdout=subprocess.PIPE,
    ) as process:
        told = [process.stdout.readline()]
        time.sleep(milliseconds / 1000)
        process.kill()
        told += process.stdout.readlines()
    (folder,) = (path.parent for path in tmp_path.rglob("manifest.json"))
    durable = len(Backup.open(folder).records)
    assert durable >= int(told[-1])
    assert_continues(folder, durable)
