"""`redismigrate backup`: what is listed, what is found to be damaged, and what is removed."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from backup_samples import forge_manifest, write_backup
from long_chain import REVISIONS, run, write_long_chain
from signalled_process import KILLED, kill_at
from vector_documents import TO_FLOAT16, TO_FLOAT32, applied, stock

from redismigrate.backup.backup import Backup
from redismigrate.redis_server.connection import connect
from redismigrate.state.keys import StateKeys
from redismigrate.state.lock import Lock

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.usefixtures("rebuilding")

RUN, OTHER_RUN = "a1b2c3d4e5f6", "a1ffffffffff"
OLDER, NEWER = "2026-11-19T10:00:00+00:00", "2026-11-20T10:00:00+00:00"
NOT_AS_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


def backups_of(shop: Shop) -> Path:
    return shop.folder / "redismigrate-backups"


def back_up(shop: Shop, **changes: Any) -> Path:
    """Write a backup where the project's are; its folder."""
    return write_backup(backups_of(shop), **{"run": RUN, **changes})


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def apply_with_backup(shop: Shop, of_run: str) -> str:
    """Apply a revision that changes nothing, and record that a run has made a backup for it; the revision."""
    revision = shop.write()
    run(shop, "upgrade", "head")
    head = shop.state("head")
    head["revisions"][revision]["backup"] = f"laptop:{backups_of(shop)}/shop/{of_run}/{revision}"
    shop.client.set("{redismigrate:shop}:head", json.dumps(head))
    return revision


def interrupt_upgrade(shop: Shop) -> str:
    """Kill an upgrade half way; the id of its run."""
    write_long_chain(shop)
    assert kill_at(shop, "upgrade", "head", at=3) == KILLED
    return str(shop.state("run")["id"])


# --- list ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["list", "verify"])
def test_a_project_without_backups_is_told_so(shop: Shop, command: str):
    result = shop.run("backup", command)
    assert (result.code, result.out) == (0, f"There are no backups in {backups_of(shop)}.\n")
    document = shop.run("backup", command, "--json").json
    assert document == {"folder": str(backups_of(shop)), "backups": []}


def test_backups_are_listed_with_what_they_hold_and_how_large_they_are(shop: Shop):
    older = back_up(shop, created_at=OLDER)
    newer = back_up(shop, run=OTHER_RUN, index="idx:words", chunks=1, is_complete=False, created_at=NEWER)
    back_up(shop, project="blog")
    title, *rows = shop.run("backup", "list").out.splitlines()
    assert title.split() == ["run", "revision", "index", "created", "documents", "size"]
    assert [row.split() for row in rows] == [
        [RUN, "8f3a1c9b2d4e", "products", "2026-11-19", "10:00:00", "9", "7.4", "kB", "complete"],
        [OTHER_RUN, "8f3a1c9b2d4e", "idx:words", "2026-11-20", "10:00:00", "3", "2.5", "kB", "incomplete"],
    ]
    first, second = shop.run("backup", "list", "--json").json["backups"]
    assert first == {
        "run": RUN,
        "revision": "8f3a1c9b2d4e",
        "index": "products",
        "created_at": OLDER,
        "documents": 9,
        "size_bytes": sum(path.stat().st_size for path in older.glob("chunk-*.npz")),
        "complete": True,
        "folder": str(older),
        "problem": None,
    }
    assert (second["folder"], second["complete"]) == (str(newer), False)


@pytest.mark.parametrize("given", [RUN, "a1b"])
def test_the_backups_of_one_run_are_listed_by_its_id_or_the_beginning_of_it(shop: Shop, given: str):
    back_up(shop)
    back_up(shop, revision="000000000001")
    back_up(shop, run=OTHER_RUN)
    listed = shop.run("backup", "list", "--run", given, "--json").json["backups"]
    assert [backup["run"] for backup in listed] == [RUN, RUN]


def test_an_id_that_begins_another_one_names_its_own_run(shop: Shop):
    back_up(shop, run="a1")
    back_up(shop)
    listed = shop.run("backup", "list", "--run", "a1", "--json").json["backups"]
    assert [backup["run"] for backup in listed] == ["a1"]


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
def test_a_run_that_has_no_backup_is_refused(shop: Shop, command: str):
    back_up(shop)
    says = (f"There is no backup of run feed in {backups_of(shop)}.", "`redismigrate backup list` shows")
    shop.refuses("backup", command, "--run", "feed", code=1, says=says)


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
def test_a_beginning_that_several_runs_share_is_refused(shop: Shop, command: str):
    back_up(shop)
    back_up(shop, run=OTHER_RUN)
    says = (f"Several runs begin with a1: {RUN}, {OTHER_RUN}.", "Give more characters")
    shop.refuses("backup", command, "--run", "a1", code=2, says=says)


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
def test_an_empty_id_names_no_run(shop: Shop, command: str):
    back_up(shop)
    shop.refuses("backup", command, "--run", "", code=2, says=("The id of the run is empty.",))


def test_a_backup_without_a_readable_manifest_is_listed_with_what_is_wrong(shop: Shop):
    folder = back_up(shop)
    (folder / "manifest.json").write_text("{")
    result = shop.run("backup", "list")
    assert result.code == 0
    assert f"The backup in {folder} is damaged: manifest.json is no JSON" in result.out
    (listed,) = shop.run("backup", "list", "--json").json["backups"]
    assert (listed["run"], listed["index"], listed["complete"]) == (RUN, "products", False)
    assert "manifest.json is no JSON" in listed["problem"]


@pytest.mark.parametrize("command", ["list", "verify", "prune"])
def test_a_file_in_the_place_of_the_folder_is_one_error(shop: Shop, command: str):
    backups_of(shop).touch()
    says = (
        f"The backups in {backups_of(shop)} can't be read: Not a directory",
        "Check the rights of the folder, or name another one with --backup-dir.",
    )
    shop.refuses("backup", command, *(("--run", RUN) if command == "prune" else ()), code=1, says=says)


@NOT_AS_ROOT
@pytest.mark.parametrize("command", ["list", "verify"])
def test_a_folder_that_may_not_be_read_is_one_error(shop: Shop, command: str):
    folder = back_up(shop).parent
    folder.chmod(0o000)
    says = (f"The backups in {backups_of(shop)} can't be read: Permission denied ({folder}).",)
    try:
        shop.refuses("backup", command, code=1, says=says)
    finally:
        folder.chmod(0o700)


# --- where backups are --------------------------------------------------------------------------------------


def test_the_folder_is_that_of_the_option_before_the_environment_before_the_file(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(configuration.read_text() + 'backup_dir = "var/backups"\n')
    subfolder = shop.folder / "src"
    subfolder.mkdir()

    def folder_for(*arguments: str) -> str:
        return str(shop.run("backup", "list", "--json", *arguments).json["folder"])

    assert folder_for() == f"{shop.folder}/var/backups"
    monkeypatch.setenv("REDISMIGRATE_BACKUP_DIR", "elsewhere")
    assert folder_for() == f"{shop.folder}/elsewhere"
    assert folder_for("--backup-dir", "here") == f"{shop.folder}/here"


def test_a_folder_on_the_command_line_counts_from_where_it_is_typed(shop: Shop):
    folder = write_backup(shop.folder / "src" / "kept", run=RUN)
    shop_in_src = type(shop)(shop.folder / "src", shop.url, shop.client)
    (listed,) = shop_in_src.run("backup", "list", "--backup-dir", "kept", "--json").json["backups"]
    assert listed["folder"] == str(folder)


@pytest.mark.parametrize("command", ["backup list", "upgrade", "downgrade base", "plan", "rollback"])
def test_a_folder_without_a_name_is_refused_wherever_it_can_be_given(shop: Shop, command: str):
    says = ("The given backup_dir is not valid: backup_dir: must not be empty.",)
    shop.refuses(*command.split(), "--backup-dir", "", code=8, says=says)


def test_the_first_backup_keeps_them_all_out_of_a_repository(shop: Shop):
    back_up(shop)
    assert (backups_of(shop) / ".gitignore").read_text().splitlines()[-1] == "*"


def test_a_folder_that_was_there_gets_no_gitignore(shop: Shop):
    backups_of(shop).mkdir()
    back_up(shop)
    assert os.listdir(backups_of(shop)) == ["shop"]  # noqa: PTH208 - names are compared


def test_a_downgrade_takes_originals_from_where_the_option_says_that_backups_are_by_now(shop: Shop):
    schema = {
        "index": {"name": "products", "prefix": "p:"},
        "fields": [
            {
                "name": "embedding",
                "type": "vector",
                "attrs": {"algorithm": "flat", "dims": 2, "distance_metric": "l2"},
            }
        ],
    }
    shop.write(f"op.create_index({schema})", 'op.drop_index("products")')
    shop.write(
        'with op.index("products") as index: index.alter_field("embedding", datatype="float16")',
        'with op.index("products") as index: index.alter_field("embedding", datatype="float32")',
    )
    vector = struct.pack("<2f", 1 / 3, 2 / 3)
    shop.add_documents(5, embedding=vector)
    (shop.folder / "first").mkdir()
    run(shop, "upgrade", "head", "--backup-dir", "first")
    (listed,) = shop.run("backup", "list", "--backup-dir", "first", "--json").json["backups"]
    assert (listed["documents"], listed["complete"]) == (5, True)
    assert shop.client.hget("p:0", "embedding") == struct.pack("<2e", 1 / 3, 2 / 3)
    (shop.folder / "first").rename(shop.folder / "second")
    assert shop.run("downgrade", "-1").code == 6
    run(shop, "downgrade", "-1", "--backup-dir", "second")
    assert shop.client.hget("p:0", "embedding") == vector


# --- verify -------------------------------------------------------------------------------------------------


def test_intact_backups_are_verified(shop: Shop):
    back_up(shop)
    back_up(shop, run=OTHER_RUN, chunks=1, is_complete=False)
    result = shop.run("backup", "verify")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        f"{RUN} 8f3a1c9b2d4e products: 9 documents, 7.4 kB, intact",
        f"{OTHER_RUN} 8f3a1c9b2d4e products: 3 documents, 2.5 kB, intact",
        "2 backups verified, all intact.",
    ]
    assert [backup["problems"] for backup in shop.run("backup", "verify", "--json").json["backups"]] == [
        [],
        [],
    ]
    assert shop.run("backup", "verify", "--quiet").out == ""


def test_verifying_needs_no_server(shop: Shop):
    back_up(shop)
    assert shop.run("backup", "verify", "--url", "redis://127.0.0.1:1").code == 0


def test_verifying_without_a_server_says_that_the_record_was_not_asked(shop: Shop):
    back_up(shop)
    result = shop.run("backup", "verify", "--url", "redis://127.0.0.1:1")
    assert "Note: Redis could not be asked which backups are on record: Can't reach Redis" in result.out


def recorded_backup(shop: Shop) -> Path:
    """The folder of the backup that a revision has made and that is on record."""
    stock(shop, 20)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    applied(shop)
    (found,) = shop.run("backup", "list", "--json").json["backups"]
    return Path(found["folder"])


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("is_link", [False, True])
def test_a_recorded_backup_that_is_gone_or_a_link_is_told(shop: Shop, level: int, is_link: bool):
    folder = recorded_backup(shop)
    assert shop.run("backup", "verify").code == 0
    moved = folder.parents[level - 1] if level else folder
    moved.rename(shop.folder / "moved")
    if is_link:
        moved.symlink_to(shop.folder / "moved")
    result = shop.run("backup", "verify")
    assert (result.code, "There are no backups" in result.out) == (1, False)
    if is_link:
        assert f"The backup in {moved} is damaged: the folder is a link." in result.err
    else:
        assert "is on record, and gone: " in result.err
        assert "damaged or gone." in result.err
    listed = shop.run("backup", "verify", "--json").json
    assert listed["error"]["code"] == "backup_damaged"
    if moved.is_symlink():
        moved.unlink()
    (shop.folder / "moved").rename(moved)
    assert shop.run("backup", "verify").code == 0


def test_copies_are_verified_against_the_record_too_and_what_was_pruned_is_not_missed(shop: Shop):
    folder = recorded_backup(shop)
    run_folder = folder.parents[1]
    copies = shop.folder / "copies"
    shutil.copytree(backups_of(shop), copies)
    assert shop.run("backup", "verify", "--backup-dir", "copies").code == 0
    kept = shop.folder / "kept"
    backups_of(shop).rename(kept)
    assert shop.run("backup", "verify", "--backup-dir", "copies").code == 0
    shutil.rmtree(copies / "shop")
    assert shop.run("backup", "verify", "--backup-dir", "copies").code == 1
    kept.rename(backups_of(shop))
    assert shop.run("backup", "prune", "--run", run_folder.name).code == 0
    assert shop.run("backup", "verify").code == 0


def test_what_another_host_wrote_is_noted(shop: Shop):
    apply_with_backup(shop, RUN)
    result = shop.run("backup", "verify")
    assert (result.code, "host laptop wrote it to" in result.out) == (0, True)


def test_a_folder_whose_name_is_no_utf_8_is_listed_like_any_other(shop: Shop):
    back_up(shop)
    strange = backups_of(shop).joinpath("shop", os.fsdecode(b"caf\xe9"), "8f3a1c9b2d4e", "products")
    strange.mkdir(parents=True)
    (strange / "notes.txt").touch()
    listed = shop.run("backup", "list")
    assert (listed.code, RUN in listed.out, "caf\\xe9" in listed.out) == (0, True, True)
    assert len(shop.run("backup", "list", "--json").json["backups"]) == 2
    verified = shop.run("backup", "verify")
    assert (verified.code, "caf\\xe9/8f3a1c9b2d4e/products is damaged" in verified.err) == (1, True)
    assert shop.run("backup", "verify", "--run", RUN).code == 0


def test_a_file_that_stands_in_a_backup_by_chance_is_to_be_moved_away(shop: Shop):
    folder = recorded_backup(shop)
    (folder / ".DS_Store").touch()
    for command in (("downgrade", "-1"), ("backup", "restore", "--run", folder.parents[1].name)):
        result = shop.run(*command)
        assert (result.code, ".DS_Store does not belong to the backup" in result.err) == (1, True), result.err
        assert "Move .DS_Store out of the folder: redismigrate has not written it." in result.err
        assert "intact copy" not in result.err
    result = shop.run("backup", "verify")
    assert "Move .DS_Store out" in result.err
    (folder / ".DS_Store").unlink()
    shop.run("rollback")
    assert shop.run("downgrade", "-1").code == 0


def test_a_flipped_byte_is_told_with_the_backup_and_its_chunk(shop: Shop):
    folder = back_up(shop)
    back_up(shop, run=OTHER_RUN)
    damaged = folder / "chunk-000002.npz"
    sentence = (
        f"The backup in {folder} is damaged: chunk-000002.npz was changed after it was written (its sha256 "
        "differs)."
    )
    size = damaged.stat().st_size
    for position in {*range(0, size, 131), size - 1}:
        flip(damaged, position)
        result = shop.run("backup", "verify")
        assert result.code == 1, position
        assert result.err.splitlines() == [
            sentence,
            f"Error: 1 of 2 backups in {backups_of(shop)} is damaged.",
            "Put an intact copy of the folder in its place, or delete it by hand once nothing needs it.",
        ]
        flip(damaged, position)
    assert shop.run("backup", "verify").code == 0


def test_damage_is_one_json_document_with_every_problem_and_an_error(shop: Shop):
    folder = back_up(shop)
    flip(folder / "chunk-000001.npz", 40)
    (folder / "chunk-000003.npz").unlink()
    (folder / "notes.txt").touch()
    result = shop.run("--json", "backup", "verify")
    assert result.code == 1
    assert list(result.json) == ["folder", "backups", "error"]
    assert result.json["error"]["code"] == "backup_damaged"
    (backup,) = result.json["backups"]
    assert [problem.partition(": ")[2].split()[0] for problem in backup["problems"]] == [
        "chunk-000001.npz",
        "chunk-000003.npz",
        "notes.txt",
    ]


def test_only_the_backups_of_the_run_are_verified(shop: Shop):
    back_up(shop)
    flip(back_up(shop, run=OTHER_RUN) / "chunk-000001.npz", 40)
    assert shop.run("backup", "verify", "--run", RUN).code == 0
    assert shop.run("backup", "verify", "--run", OTHER_RUN).code == 1


def test_quiet_does_not_hide_damage(shop: Shop):
    folder = back_up(shop)
    flip(folder / "chunk-000001.npz", 40)
    result = shop.run("-q", "backup", "verify")
    assert (result.code, result.out) == (1, "")
    assert f"The backup in {folder} is damaged: chunk-000001.npz" in result.err


@pytest.mark.parametrize("file", ["../../../../../precious", "/etc/passwd", "chunk-000002.npz/../precious"])
def test_a_manifest_that_leads_out_of_its_folder_is_not_followed(shop: Shop, file: str):
    folder = back_up(shop)
    (shop.folder / "precious").write_text("mine")
    chunks = [record.model_dump() for record in Backup.open(folder).records]
    forge_manifest(folder, chunks=[chunks[0] | {"file": file}, *chunks[1:]])
    before = files_below(shop.folder)
    run(shop, "backup", "list")
    sentence = f"The backup in {folder} is damaged: chunk 1 is called {file!r}, expected 'chunk-000001.npz'."
    assert sentence in shop.run("backup", "verify").err
    shop.refuses("backup", "prune", "--run", RUN, "--offline", code=1, says=(sentence,))
    assert files_below(shop.folder) == before


def test_a_chunk_that_is_a_link_is_damage_and_what_it_leads_to_stays(shop: Shop):
    folder = back_up(shop)
    precious = shop.folder / "precious"
    precious.write_bytes((folder / "chunk-000001.npz").read_bytes())
    (folder / "chunk-000001.npz").unlink()
    (folder / "chunk-000001.npz").symlink_to(precious)
    assert f"{folder} is damaged: chunk-000001.npz is a link." in shop.run("backup", "verify").err
    result = shop.run("backup", "prune", "--run", RUN, "--offline")
    assert (result.code, f"Kept {folder}/chunk-000001.npz" in result.out) == (0, True)
    assert precious.exists()


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_folders_that_are_links_are_no_backups(shop: Shop, tmp_path: Path, level: int):
    names = ("shop", RUN, "8f3a1c9b2d4e", "products")
    outside = write_backup(tmp_path / "outside", run=RUN)
    link = backups_of(shop).joinpath(*names[: level + 1])
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path.joinpath("outside", *names[: level + 1]))
    assert shop.run("backup", "list", "--json").json["backups"] == []
    shop.refuses("backup", "prune", "--run", RUN, "--offline", code=1, says=("There is no backup of run",))
    result = shop.run("backup", "verify")
    assert (result.code, "There are no backups" in result.out) == (1, False)
    assert f"The backup in {link} is damaged: the folder is a link." in result.err.splitlines()
    assert Backup.open(outside).verify() == []


@pytest.mark.parametrize("name", ["project", "run", "revision", "index"])
def test_a_manifest_of_another_backup_is_damage_and_nothing_is_removed_for_it(shop: Shop, name: str):
    folder = back_up(shop)
    forge_manifest(folder, **{name: "other"})
    before = files_below(backups_of(shop))
    (listed,) = shop.run("backup", "list", "--json").json["backups"]
    assert (listed["run"], listed["index"]) == (RUN, "products")
    sentence = f"The backup in {folder} is damaged: manifest.json is of another backup."
    assert sentence in shop.run("backup", "verify").err
    shop.refuses("backup", "prune", "--run", RUN, "--offline", code=1, says=(sentence,))
    assert files_below(backups_of(shop)) == before


# --- prune --------------------------------------------------------------------------------------------------


def test_prune_removes_the_backups_of_the_runs_that_are_named(shop: Shop):
    apply_with_backup(shop, of_run="eeeeeeeeeeee")
    removed = [back_up(shop), back_up(shop, revision="000000000001"), back_up(shop, run=OTHER_RUN)]
    kept = back_up(shop, run="c0ffee000000")
    size = sum(path.stat().st_size for folder in removed for path in folder.glob("*.npz"))
    document = shop.run("backup", "prune", "--run", RUN, "--run", "a1f", "--run", RUN, "--json").json
    assert sorted(backup["folder"] for backup in document.pop("backups")) == sorted(map(str, removed))
    assert document == {
        "folder": str(backups_of(shop)),
        "runs": [RUN, OTHER_RUN],
        "freed_bytes": size,
        "kept": [],
        "warnings": [],
    }
    assert os.listdir(backups_of(shop) / "shop") == ["c0ffee000000"]  # noqa: PTH208 - names are compared
    assert Backup.open(kept).verify() == []


def test_prune_tells_what_it_has_removed_and_the_journal_who_did(shop: Shop):
    apply_with_backup(shop, of_run="eeeeeeeeeeee")
    back_up(shop)
    result = shop.run("backup", "prune", "--run", RUN)
    assert (result.code, result.out) == (0, f"Removed 1 backup of run {RUN}: 7.4 kB.\n")
    event = shop.run("status", "--json").json["journal"][0]
    assert (event["event"], event["run"]) == ("prune", RUN)
    assert "redismigrate" in event["by"]


def test_prune_keeps_files_that_belong_to_no_backup_and_names_them(shop: Shop):
    folder = back_up(shop)
    (folder / "notes.txt").write_text("mine")
    (folder.parent / "sizes.png").touch()
    result = shop.run("backup", "prune", "--run", RUN, "--offline")
    assert result.out.splitlines() == [
        f"Kept {folder}/notes.txt, which belongs to no backup.",
        f"Kept {folder.parent}/sizes.png, which belongs to no backup.",
        f"Removed 1 backup of run {RUN}: 7.4 kB.",
    ]
    assert files_below(folder.parent) == ["products/notes.txt", "sizes.png"]


def test_prune_removes_nothing_that_was_not_named(shop: Shop):
    back_up(shop)
    shop.refuses("backup", "prune", code=2, says=("Missing option '--run'.",))


def test_prune_removes_nothing_when_one_of_the_named_runs_is_unknown(shop: Shop):
    folder = back_up(shop)
    says = ("There is no backup of run feed",)
    shop.refuses("backup", "prune", "--run", RUN, "--run", "feed", "--offline", code=1, says=says)
    assert Backup.open(folder).verify() == []


def test_prune_removes_nothing_when_one_manifest_is_damaged(shop: Shop):
    intact, damaged = back_up(shop), back_up(shop, run=OTHER_RUN)
    (damaged / "manifest.json").write_text("{")
    says = (f"The backup in {damaged} is damaged: manifest.json is no JSON", "delete it by hand")
    shop.refuses("backup", "prune", "--run", RUN, "--run", OTHER_RUN, "--offline", code=1, says=says)
    assert Backup.open(intact).verify() == []


def test_the_backup_of_an_interrupted_run_is_not_removed(shop: Shop):
    id_ = interrupt_upgrade(shop)
    folder = back_up(shop, run=id_, is_complete=False)
    shop.client.delete("{redismigrate:shop}:lock")
    says = (
        f"Run {id_} is unfinished and needs the backup of run {id_}.",
        "Finish it with `redismigrate upgrade head`, or undo it with `redismigrate rollback`",
    )
    shop.refuses("backup", "prune", "--run", id_, code=7, says=says)
    assert Backup.open(folder).verify() == []
    run(shop, "rollback")
    run(shop, "backup", "prune", "--run", id_)
    assert not folder.exists()


def test_room_can_be_made_for_an_interrupted_upgrade(shop: Shop):
    interrupt_upgrade(shop)
    folder = back_up(shop)
    run(shop, "backup", "prune", "--run", RUN)
    assert not folder.exists()


def test_an_interrupted_downgrade_keeps_the_backups_of_what_is_applied(shop: Shop):
    write_long_chain(shop)
    run(shop, "upgrade", "head")
    head = shop.state("head")
    head["revisions"][REVISIONS[0]]["backup"] = f"laptop:/backups/shop/{RUN}/{REVISIONS[0]}"
    shop.client.set("{redismigrate:shop}:head", json.dumps(head))
    assert kill_at(shop, "downgrade", "base", at=3) == KILLED
    needed, spare = back_up(shop), back_up(shop, run=OTHER_RUN)
    id_ = shop.state("run")["id"]
    shop.refuses("backup", "prune", "--run", RUN, code=7, says=(f"Run {id_} is unfinished and needs",))
    run(shop, "backup", "prune", "--run", OTHER_RUN)
    assert (needed.exists(), spare.exists()) == (True, False)


def test_prune_waits_for_the_lock_like_every_command_that_migrates(shop: Shop):
    apply_with_backup(shop, of_run="eeeeeeeeeeee")
    folder = back_up(shop)
    with connect(shop.url) as server, Lock(server, StateKeys("shop"), 0):
        result = shop.run("backup", "prune", "--run", RUN, "--lock-timeout", "0.1")
    assert result.code == 5
    assert folder.exists()


def test_prune_warns_of_the_revisions_that_only_that_backup_brings_back(shop: Shop):
    revision = apply_with_backup(shop, of_run=RUN)
    back_up(shop)
    warning = (
        f"revision {revision} was applied with the backup of run {RUN}: without it a downgrade can't bring "
        "back the original values, and needs --allow-lossy where converting back loses some"
    )
    in_words = shop.run("backup", "prune", "--run", RUN)
    assert in_words.out.splitlines() == [
        f"  note: {warning}",
        f"Removed 1 backup of run {RUN}: 7.4 kB.",
    ]
    back_up(shop)
    assert shop.run("backup", "prune", "--run", RUN, "--json").json["warnings"] == [warning]


@pytest.fixture
def reencoded(shop: Shop) -> str:
    """Products are re-encoded, and another run needed no backup; the id of the run with the backup."""
    stock(shop, 5)
    shop.write(TO_FLOAT16, TO_FLOAT32)
    id_ = str(shop.run("upgrade", "--json").json["run"])
    shop.write("pass")
    applied(shop)
    return id_


def test_prune_warns_of_the_finished_downgrade_whose_rollback_needs_the_backup(shop: Shop, reencoded: str):
    undone = str(shop.run("downgrade", "000000000001", "--json").json["run"])
    result = shop.run("backup", "prune", "--run", reencoded, "--json")
    assert result.code == 0
    (warning,) = result.json["warnings"]
    assert warning == (
        f"run {undone} (downgrade to 000000000001) can't be rolled back without the backup of run "
        f"{reencoded}, or not without --allow-lossy"
    )


def test_prune_warns_of_the_finished_upgrade_whose_own_backup_it_is(shop: Shop, reencoded: str):
    run(shop, "downgrade", "000000000001")
    again = str(shop.run("upgrade", "000000000002", "--json").json["run"])
    first, second = shop.run("backup", "prune", "--run", again, "--json").json["warnings"]
    assert first.startswith(
        f"run {again} (upgrade to 000000000002) can't be rolled back without the backup of"
    )
    assert second.startswith("revision 000000000002 was applied with the backup of run")


def test_what_an_interrupted_downgrade_has_restored_from_is_not_removed(shop: Shop, reencoded: str):
    """The revision that the backup is of is undone and recorded; only a rollback goes back to it."""
    assert kill_at(shop, "downgrade", "base", at=2, moment="end of revision") == KILLED
    assert "000000000002" not in (shop.state("head") or {})["revisions"]
    id_ = (shop.state("run") or {})["id"]
    says = (f"Run {id_} is unfinished and needs the backup of run {reencoded}.",)
    shop.refuses("backup", "prune", "--run", reencoded, code=7, says=says)
    run(shop, "rollback")
    run(shop, "backup", "prune", "--run", reencoded)


def test_a_server_that_can_not_be_asked_stops_prune_unless_it_is_told_not_to_ask(shop: Shop):
    folder = back_up(shop)
    arguments = ("backup", "prune", "--run", RUN, "--url", "redis://127.0.0.1:1")
    says = ("Can't reach Redis at redis://127.0.0.1:1", "`--offline` removes backups without asking Redis")
    shop.refuses(*arguments, code=1, says=says)
    assert Backup.open(folder).verify() == []
    run(shop, *arguments, "--offline")
    assert not folder.exists()


def test_a_server_that_knows_nothing_of_the_project_can_not_tell_whether_a_backup_is_needed(shop: Shop):
    folder = back_up(shop)
    says = (f"Redis at {shop.url} has no record of project shop, so it can't tell", "Check the URL.")
    shop.refuses("backup", "prune", "--run", RUN, code=1, says=says)
    assert Backup.open(folder).verify() == []


def test_prune_that_was_cut_off_can_be_repeated(shop: Shop):
    folder = back_up(shop)
    (folder / "chunk-000001.npz").unlink()
    run(shop, "backup", "prune", "--run", RUN, "--offline")
    assert not folder.exists()


def test_the_group_alone_asks_for_a_command(shop: Shop):
    shop.refuses("backup", code=2, says=("Missing command.", "See `redismigrate backup --help`."))
