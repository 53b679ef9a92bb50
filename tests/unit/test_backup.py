"""A backup on disk: what was added is there, what was changed is found, and a bad chunk gives nothing."""

import json
import os
import shutil
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest
from backup_samples import chunk, chunk_bytes, forge_chunk, forge_manifest, manifest, write_backup
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.backup.backup import Backup, Problem
from redismigrate.backup.backup_writer import BackupWriter
from redismigrate.backup.chunk_file import Chunk
from redismigrate.documents.batch import Batch
from redismigrate.errors import BackupDamaged, BackupFailed, FenceLost

CHANGED = "was changed after it was written (its sha256 differs)"


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """A backup that no test changes."""
    return write_backup(tmp_path_factory.mktemp("intact"))


@pytest.fixture
def folder(tmp_path):
    return write_backup(tmp_path)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_backup_gives_its_chunks_in_the_order_in_which_they_were_added(intact):
    backup = Backup.open(intact)
    assert list(backup.chunks()) == [chunk(1), chunk(2), chunk(3)]
    assert backup.documents == 9
    assert backup.size_bytes == sum((intact / record.file).stat().st_size for record in backup.records)
    assert backup.verify() == []


def test_a_complete_backup_is_a_manifest_and_its_chunks(intact):
    assert names(intact) == ["chunk-000001.npz", "chunk-000002.npz", "chunk-000003.npz", "manifest.json"]
    content = json.loads((intact / "manifest.json").read_text())
    assert content["schema_before"] == manifest().schema_before
    assert content["options"] == {"batch_size": 500}
    assert (content["format"], content["complete"], content["documents"]) == (1, True, 9)
    assert [record["file"] for record in content["chunks"]] == names(intact)[:3]
    assert content["created_at"].endswith("+00:00")
    assert content["host"]


def test_names_and_schema_may_hold_any_text(tmp_path):
    odd = b"caf\xe9 \xff/..".decode("utf-8", "surrogateescape")
    schema = {"name": odd, "10": [1.5, None, True], "9": {"é": -0.0}}
    folder = write_backup(tmp_path, 0, index=odd, project="../up", fields=(odd,), schema_before=schema)
    read = Backup.open(folder).manifest
    assert (read.index, read.project, read.fields, read.schema_before) == (odd, "../up", (odd,), schema)
    assert folder.resolve().is_relative_to(tmp_path)


def test_only_the_owner_may_read_a_backup(tmp_path):
    folder = write_backup(tmp_path / "backups")
    for path in (folder, folder.parent, tmp_path / "backups", *folder.iterdir()):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077


def test_a_backup_is_never_overwritten(folder, tmp_path):
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    with pytest.raises(BackupFailed, match="holds files already, and a backup is never overwritten") as error:
        BackupWriter.create(tmp_path, manifest())
    assert "--backup-dir" in error.value.hint
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before


def test_chunks_without_a_manifest_are_not_overwritten(folder, tmp_path):
    (folder / "manifest.json").unlink()
    with pytest.raises(BackupFailed, match="never overwritten"):
        BackupWriter.create(tmp_path, manifest())


def test_submitted_chunks_are_written_in_order_while_the_caller_goes_on(tmp_path):
    with BackupWriter.create(tmp_path, manifest()) as writer:
        futures = [writer.submit(chunk(number)) for number in range(1, 21)]
        writer.finish()
    numbers = range(1, 21)
    assert [future.result().file for future in futures] == [f"chunk-{number:06}.npz" for number in numbers]
    assert list(Backup.open(writer.folder).chunks()) == [chunk(number) for number in numbers]


def test_an_added_chunk_can_be_read_before_the_backup_is_complete(tmp_path):
    with BackupWriter.create(tmp_path, manifest()) as writer:
        record = writer.add(chunk(1))
        backup = Backup.open(writer.folder)
        assert backup.records == (record,)
        assert list(backup.chunks()) == [chunk(1)]
        assert backup.verify() == []
        assert not backup.manifest.complete


def test_a_chunk_with_other_columns_than_the_backup_is_refused(tmp_path):
    with BackupWriter.create(tmp_path, manifest()) as writer:
        with pytest.raises(ValueError, match=r"columns \['other'\], expected \['embedding'\]"):
            writer.submit(Chunk(Batch([b"a"], {"other": [b"1"]})))
        writer.add(chunk(1))


@given(data=st.data())
def test_a_changed_byte_in_a_chunk_is_found_and_named_and_the_chunk_gives_nothing(intact, data):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(intact, Path(place, "copy")))
        number = data.draw(st.integers(1, 3))
        path = folder / f"chunk-{number:06}.npz"
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        backup = Backup.open(folder)
        assert backup.verify() == [Problem(path.name, CHANGED)]
        given_out = backup.chunks()
        for before in range(1, number):
            assert next(given_out) == chunk(before)
        with pytest.raises(BackupDamaged, match=f"{path.name} was changed after it was written"):
            next(given_out)


@given(data=st.data())
def test_a_changed_byte_in_the_manifest_is_found_or_means_nothing(intact, data):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(shutil.copytree(intact, Path(place, "copy")))
        content = bytearray((folder / "manifest.json").read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        (folder / "manifest.json").write_bytes(content)
        try:
            assert Backup.open(folder).manifest == Backup.open(intact).manifest
        except BackupDamaged as error:
            assert "manifest.json" in error.message  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize("change", [-1, -1000, 1])
def test_a_chunk_of_another_length_is_found_without_reading_it(folder, change):
    path = folder / "chunk-000002.npz"
    size = path.stat().st_size
    os.truncate(path, max(0, size + change))
    expected = f"has {max(0, size + change):,} bytes, expected {size:,}"
    assert Backup.open(folder).verify() == [Problem("chunk-000002.npz", expected)]
    with pytest.raises(BackupDamaged, match=f"chunk-000002.npz {expected}"):
        list(Backup.open(folder).chunks())


def test_a_missing_chunk_is_found(folder):
    (folder / "chunk-000003.npz").unlink()
    assert list(map(str, Backup.open(folder).verify())) == ["chunk-000003.npz is missing"]
    with pytest.raises(BackupDamaged, match=r"chunk-000003\.npz is missing\.") as error:
        list(Backup.open(folder).chunks())
    assert "Put an intact copy" in error.value.hint


def test_every_problem_is_listed(folder):
    (folder / "chunk-000001.npz").unlink()
    os.truncate(folder / "chunk-000003.npz", 0)
    (folder / "notes.txt").touch()
    assert [problem.file for problem in Backup.open(folder).verify()] == [
        "chunk-000001.npz",
        "chunk-000003.npz",
        "notes.txt",
    ]


def test_what_is_intact_of_a_damaged_backup_can_be_read_without_the_rest(folder):
    (folder / "chunk-000002.npz").unlink()
    left = Backup.open(folder).without_damaged()
    assert list(left.chunks()) == [chunk(1), chunk(3)]
    assert (left.lost, left.lost_documents) == ({"chunk-000002.npz"}, 3)


def test_of_an_intact_backup_nothing_is_lost(folder):
    left = Backup.open(folder).without_damaged()
    assert (left.lost, left.lost_documents) == (frozenset(), 0)


@pytest.mark.parametrize("calls", range(3))
def test_a_writer_that_has_lost_its_lock_changes_nothing_of_the_backup(folder, calls):
    """Whenever it notices: its successor has finished the backup by then."""
    left = calls

    def require_lock() -> None:
        nonlocal left
        if not left:
            raise FenceLost("Another process has taken over the lock of this project; this one stops.")
        left -= 1

    before = Backup.open(folder)
    with pytest.raises(FenceLost):
        BackupWriter.reopen(folder, require_lock=require_lock)
    assert Backup.open(folder).records == before.records
    assert Backup.open(folder).verify() == []


def test_a_file_that_nothing_lists_is_found(folder):
    shutil.copy(folder / "chunk-000001.npz", folder / "chunk-000004.npz")
    assert Backup.open(folder).verify() == [Problem("chunk-000004.npz", "does not belong to the backup")]
    assert len(list(Backup.open(folder).chunks())) == 3


def test_two_chunks_that_were_exchanged_are_found(folder):
    first, second = folder / "chunk-000001.npz", folder / "chunk-000002.npz"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert [problem.file for problem in Backup.open(folder).verify()] == [first.name, second.name]


def test_a_chunk_that_is_a_link_is_not_followed(folder, tmp_path):
    path = folder / "chunk-000001.npz"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert Backup.open(folder).verify() == [Problem(path.name, "is a link")]
    with pytest.raises(BackupDamaged, match="is a link"):
        next(Backup.open(folder).chunks())


def test_a_pipe_in_place_of_a_file_is_refused_and_does_not_block(folder):
    for name in ("chunk-000001.npz", "manifest.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(BackupDamaged, match=f"{name} is no regular file"):
            list(Backup.open(folder).chunks())
        (folder / name).unlink()


def test_a_folder_without_a_manifest_is_no_backup(tmp_path):
    with pytest.raises(BackupDamaged, match=r"manifest\.json is missing"):
        Backup.open(tmp_path)


def test_a_manifest_that_was_edited_is_refused(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("products", "producta"))
    with pytest.raises(BackupDamaged, match=r"manifest\.json was changed after it was written"):
        Backup.open(folder)


def test_a_manifest_of_a_newer_version_is_refused_with_what_to_do(folder):
    forge_manifest(folder, format=2, surprise=True)
    with pytest.raises(BackupDamaged, match=r"has format 2, newer than this redismigrate reads") as error:
        Backup.open(folder)
    assert "newer one" in error.value.hint


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"1", b"\xff", b"[" * 100_000, b"1" * 5000, b'{"format": 1}']
)
def test_a_manifest_that_is_none_is_refused(folder, content):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BackupDamaged, match=r"manifest\.json"):
        Backup.open(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../chunk-000001.npz",
        "/etc/passwd",
        "./chunk-000001.npz",
        "chunk-000002.npz",
        "chunk-1.npz",
        "chunk-000001.npz\n",
        "chunk-000001.npz\x00",
        "",
        "manifest.json",
    ],
)
def test_a_name_of_a_chunk_that_leads_elsewhere_is_refused(folder, name):
    chunks = json.loads((folder / "manifest.json").read_text())["chunks"]
    forge_manifest(folder, chunks=[{**chunks[0], "file": name}, *chunks[1:]])
    with pytest.raises(BackupDamaged, match=r"chunk 1 is called .*, expected 'chunk-000001\.npz'"):
        Backup.open(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "0" * 63},
        {"sha256": None},
        {"documents": -1},
        {"documents": 10**30},
        {"documents": "3"},
        {"documents": 3.0},
        {"documents": True},
        {"bytes": 2**63},
        {"file": ["chunk-000001.npz"]},
        {"surprise": 1},
    ],
)
def test_a_record_with_wrong_values_is_refused(folder, changes):
    chunks = json.loads((folder / "manifest.json").read_text())["chunks"]
    forge_manifest(folder, chunks=[chunks[0] | changes, *chunks[1:]])
    with pytest.raises(BackupDamaged, match=r"manifest\.json has a wrong 'chunks\.0\."):
        Backup.open(folder)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"chunks": {}}, "has a wrong 'chunks'"),
        ({"fields": "embedding"}, "has a wrong 'fields'"),
        ({"fields": [1]}, "has a wrong 'fields.0'"),
        ({"project": None}, "has a wrong 'project'"),
        ({"complete": "yes"}, "has a wrong 'complete'"),
        ({"format": 0}, "has a wrong 'format'"),
        ({"surprise": 1}, "has a wrong 'surprise'"),
        ({"documents": 10}, "counts 10 documents, its chunks 9"),
        ({"chunks": []}, "counts 9 documents, its chunks 0"),
    ],
)
def test_a_manifest_with_wrong_values_is_refused(folder, changes, problem):
    forge_manifest(folder, **changes)
    with pytest.raises(BackupDamaged, match=problem):
        Backup.open(folder)


def test_a_count_that_is_not_that_of_the_chunk_is_refused(folder):
    chunks = json.loads((folder / "manifest.json").read_text())["chunks"]
    forge_manifest(folder, chunks=[chunks[0] | {"documents": 4}, *chunks[1:]], documents=10)
    with pytest.raises(BackupDamaged, match=r"chunk-000001\.npz holds 3 documents, expected 4"):
        list(Backup.open(folder).chunks())


def test_a_forged_chunk_without_valid_arrays_gives_nothing(folder):
    forge_chunk(folder, b"\x80\x04\x95")
    with pytest.raises(BackupDamaged, match=r"chunk-000001\.npz is no npz of arrays"):
        list(Backup.open(folder).chunks())
    assert [problem.file for problem in Backup.open(folder).verify()] == ["chunk-000001.npz"]


def test_a_forged_chunk_with_other_fields_gives_nothing(folder):
    forge_chunk(folder, chunk_bytes(Chunk(Batch([b"a", b"b", b"c"], {"price": [None] * 3}))))
    with pytest.raises(BackupDamaged, match=r"holds the fields \['price'\], not those of the manifest"):
        list(Backup.open(folder).chunks())


def test_a_chunk_may_be_empty_and_values_large(tmp_path):
    vectors = [row.tobytes() for row in np.ones((50, 3072), np.float32)]
    large = Chunk(Batch([b"%d" % row for row in range(50)], {"embedding": vectors}))
    empty = Chunk(Batch([], {"embedding": []}))
    with BackupWriter.create(tmp_path, manifest()) as writer:
        writer.add(large)
        writer.add(empty)
        writer.finish()
    assert list(Backup.open(writer.folder).chunks()) == [large, empty]
