"""Where backups stand: the names of their folders, the listing, removal, and the room that is left."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from backup_samples import forge_manifest, write_backup
from hypothesis import given
from hypothesis import strategies as st

from redismigrate.backup.backup import Backup
from redismigrate.backup.folders import (
    backup_folder,
    backups_in,
    discard_backup,
    folder_name,
    free_bytes,
    name_of_folder,
    prune_run,
    room_problem,
)
from redismigrate.errors import BackupDamaged, FenceLost

NAMES = st.binary(max_size=60).map(lambda name: name.decode("utf-8", "surrogateescape"))


@given(NAMES)
def test_every_name_has_a_folder_of_its_own_below_the_one_above(name):
    folder = folder_name(name)
    assert name_of_folder(folder) == name
    assert folder not in {"", ".", ".."}
    assert not set(folder) & set('/\\\0:*?"<>| \n')
    with tempfile.TemporaryDirectory() as above:
        (Path(above) / folder).mkdir()
        assert [path.name for path in Path(above).iterdir()] == [folder]


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("products", "products"),
        ("Shop_1.2-x", "Shop_1.2-x"),
        ("..", "%2E."),
        ("../../etc", "%2E.%2F..%2Fetc"),
        (".hidden", "%2Ehidden"),
        ("idx:products", "idx%3Aproducts"),
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("50%", "50%25"),
        ("", "%"),
    ],
)
def test_plain_names_stay_readable_and_others_are_percent_encoded(name, folder):
    assert folder_name(name) == folder
    assert name_of_folder(folder) == name


def test_a_name_that_is_too_long_for_a_folder_is_shortened_and_stays_unique(tmp_path):
    one, other = "/" * 5000, "/" * 4999 + "."
    assert folder_name(one) != folder_name(other)
    assert name_of_folder(folder_name(one)).startswith("///")
    folder = write_backup(tmp_path, index=one)
    assert backups_in(tmp_path)[0].index == one
    assert prune_run(folder.parent.parent) > 0


def test_a_backup_stands_below_project_run_revision_and_served_name(tmp_path):
    folder = backup_folder(tmp_path, "shop", "run1", "8f3a1c9b2d4e", "a/b")
    assert folder == tmp_path / "shop" / "run1" / "8f3a1c9b2d4e" / "a%2Fb"


def test_backups_are_listed_by_age_with_what_they_hold(tmp_path):
    newer = write_backup(tmp_path, 2, index="../b", created_at="2026-11-20T10:00:00+00:00")
    older = write_backup(tmp_path, 1, is_complete=False, created_at="2026-11-19T10:00:00+00:00")
    write_backup(tmp_path, 1, project="blog", created_at="2026-11-21T10:00:00+00:00")
    first, second, third = backups_in(tmp_path)
    assert (first.folder, first.index, first.is_complete, first.documents) == (older, "products", False, 3)
    assert (second.folder, second.index, second.is_complete, second.documents) == (newer, "../b", True, 6)
    assert second.size_bytes == sum(path.stat().st_size for path in newer.glob("chunk-*.npz"))
    assert (second.run, second.revision, second.problem) == ("20261120-1", "8f3a1c9b2d4e", None)
    assert third.project == "blog"
    assert backups_in(tmp_path, project="shop") == (first, second)
    assert backups_in(tmp_path, project="unknown") == ()


def test_there_are_no_backups_where_there_is_no_folder(tmp_path):
    assert backups_in(tmp_path / "missing") == ()


def test_a_damaged_backup_is_listed_with_its_problem(tmp_path):
    folder = write_backup(tmp_path, index="a/b")
    (folder / "manifest.json").write_text("{")
    (summary,) = backups_in(tmp_path)
    assert (summary.project, summary.index, summary.is_complete) == ("shop", "a/b", False)
    assert "manifest.json is no JSON" in summary.problem


def test_a_folder_that_a_crash_left_without_a_manifest_is_not_listed(tmp_path):
    folder = backup_folder(tmp_path, "shop", "run", "rev", "products")
    folder.mkdir(parents=True)
    (folder / "manifest.json.tmp").touch()
    assert backups_in(tmp_path) == ()


def test_links_to_folders_are_not_followed(tmp_path):
    outside = write_backup(tmp_path / "outside")
    (tmp_path / "backups" / "shop").mkdir(parents=True)
    (tmp_path / "backups" / "shop" / "run").symlink_to(outside.parent.parent)
    assert backups_in(tmp_path / "backups") == ()
    with pytest.raises(BackupDamaged, match="the folder is a link"):
        prune_run(tmp_path / "backups" / "shop" / "run")
    assert outside.exists()


def test_prune_removes_the_backups_of_a_run_and_nothing_else(tmp_path):
    first, second = write_backup(tmp_path), write_backup(tmp_path, index="other", is_complete=False)
    other_run = write_backup(tmp_path, run="another")
    (first / "chunk-000009.npz.tmp").touch()
    size = sum(path.stat().st_size for folder in (first, second) for path in folder.glob("*.npz"))
    run = first.parent.parent
    assert prune_run(run) == size
    assert not run.exists()
    assert backups_in(tmp_path)[0].folder == other_run
    assert prune_run(run) == 0


def test_prune_leaves_files_that_no_manifest_lists_and_what_links_lead_to(tmp_path):
    folder = write_backup(tmp_path / "backups")
    (folder / "notes.txt").write_text("keep")
    (folder.parent / "without manifest").mkdir()
    (folder.parent / "without manifest" / "chunk-000001.npz").touch()
    (tmp_path / "precious").write_text("keep")
    (folder / "chunk-000001.npz").unlink()
    (folder / "chunk-000001.npz").symlink_to(tmp_path / "precious")
    prune_run(folder.parent.parent)
    assert sorted(path.name for path in folder.iterdir()) == ["chunk-000001.npz", "notes.txt"]
    assert (tmp_path / "precious").read_text() == "keep"
    assert (folder.parent / "without manifest" / "chunk-000001.npz").exists()


def test_prune_can_be_repeated_after_it_was_interrupted(tmp_path):
    folder = write_backup(tmp_path)
    (folder / "chunk-000001.npz").unlink()
    prune_run(folder.parent.parent)
    assert not folder.exists()


def test_prune_removes_nothing_when_one_manifest_is_damaged(tmp_path):
    intact, damaged = write_backup(tmp_path), write_backup(tmp_path, index="other")
    chunks = json.loads((damaged / "manifest.json").read_text())["chunks"]
    forge_manifest(damaged, chunks=[chunks[0] | {"file": "../products/manifest.json"}, *chunks[1:]])
    with pytest.raises(BackupDamaged, match="chunk 1 is called"):
        prune_run(intact.parent.parent)
    assert len(list(intact.iterdir())) == len(list(damaged.iterdir())) == 4


def test_prune_removes_nothing_for_a_manifest_that_was_copied_there(tmp_path):
    folder = write_backup(tmp_path)
    shutil.copytree(folder, folder.with_name("other"))
    with pytest.raises(BackupDamaged, match=r"manifest\.json is of another backup"):
        prune_run(folder.parent.parent)
    assert len(list(folder.iterdir())) == 4


def test_to_discard_a_backup_takes_its_empty_folders_along(tmp_path):
    folder = write_backup(tmp_path / "backups", is_complete=False)
    discard_backup(folder, lambda: None)
    assert [path.name for path in (tmp_path / "backups").rglob("*")] == [".gitignore"]
    discard_backup(folder, lambda: None)


def test_to_discard_a_backup_leaves_those_of_other_runs(tmp_path):
    folder, other = write_backup(tmp_path, is_complete=False), write_backup(tmp_path, run="another")
    discard_backup(folder, lambda: None)
    assert not folder.parent.parent.exists()
    assert Backup.open(other).verify() == []


def test_to_discard_what_a_full_disk_left_needs_no_manifest(tmp_path):
    folder = backup_folder(tmp_path, "shop", "run", "8f3a1c9b2d4e", "products")
    folder.mkdir(parents=True)
    (folder / "manifest.json.tmp").touch()
    discard_backup(folder, lambda: None)
    assert not (tmp_path / "shop").exists()


def test_nothing_is_discarded_without_the_lock(tmp_path):
    folder = write_backup(tmp_path)
    with pytest.raises(FenceLost):
        discard_backup(folder, _lost)
    assert Backup.open(folder).verify() == []


def _lost() -> None:
    raise FenceLost("Another process has taken over the lock of this project; this one stops.")


def test_free_bytes_are_those_of_the_nearest_folder_that_exists(tmp_path):
    free = free_bytes(tmp_path / "not" / "yet")
    assert 0 < free <= shutil.disk_usage(tmp_path).total


def test_a_backup_that_does_not_fit_is_a_problem(tmp_path):
    assert room_problem(tmp_path, 1) is None
    problem = room_problem(tmp_path / "backups", 10**18)
    assert problem.startswith("the backup takes 1,000,000,000,000,000,000 bytes, and ")
    assert f"{tmp_path}/backups has room for" in problem
