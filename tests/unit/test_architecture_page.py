"""The page about the architecture names every module of the document engine, and no other."""

from __future__ import annotations

import re

import pytest
from doc_pages import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FOLDERS = (
    "documents",
    "backup",
    "execution/documents/traffic",
    "execution/documents/in_place",
    "execution/documents/beside",
)


def table_of(folder: str) -> list[str]:
    """The modules in the first column of the table that is headed by a folder."""
    rows = PAGE.partition(f"| `{folder}/` | |\n")[2].partition("\n\n")[0].splitlines()[1:]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_of_the_engine_has_each_of_its_modules_in_its_table_once(folder: str):
    modules = sorted(
        file.stem for file in (ROOT / "redismigrate" / folder).glob("*.py") if file.stem != "__init__"
    )
    assert sorted(table_of(folder)) == modules


def test_every_folder_of_execution_has_its_line():
    folders = [path for path in (ROOT / "redismigrate" / "execution").rglob("*") if path.is_dir()]
    for folder in folders:
        name = folder.relative_to(ROOT / "redismigrate" / "execution").as_posix()
        if name != "documents" and "__pycache__" not in name:
            assert re.search(rf"^{name}/ ", PAGE, re.MULTILINE), name
