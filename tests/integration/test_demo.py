"""`redismigrate demo` as a person runs it: what it shows, what it returns, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from servers import server_has

from redismigrate.commands import Project
from redismigrate.commands.demo.demo_scenes import SCENES
from redismigrate.config import load_settings
from redismigrate.packaged import packaged_folder

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRY_POINT = Path(sys.executable).with_name("redismigrate")
ESCAPE_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
Demo = subprocess.CompletedProcess[str]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the demo makes its temporary files; its socket needs a short path."""
    folder = tmp_path / "t"
    folder.mkdir()
    return folder


def start(place: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [ENTRY_POINT, "demo", *arguments],
        cwd=place,
        env={**os.environ, "TMPDIR": str(place), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> Demo:
    with process:
        out, err = process.communicate(timeout=120)
    return Demo(process.args, process.returncode, out, err)


@pytest.fixture
def demo(place: Path) -> Callable[..., Demo]:
    return lambda *arguments, **environment: finish(start(place, *arguments, **environment))


@pytest.fixture(scope="module")
def json_demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """One run with `--json` for all tests that only read what it printed."""
    return finish(start(tmp_path_factory.mktemp("t"), "--json"))


@pytest.fixture(scope="module")
def quiet_demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """One run with `-q`, where the environment has the settings of another project."""
    environment = {"REDISMIGRATE_URL": "redis://localhost:1/0", "REDISMIGRATE_PROJECT": "mine"}
    return finish(start(tmp_path_factory.mktemp("t"), "-q", **environment))


def test_every_revision_of_the_example_has_its_scene():
    example = packaged_folder("_example", "alembic_style_example", "example")
    history = Project(load_settings(example / "redismigrate.toml", environment={})).history
    assert tuple(scene.revision for scene in SCENES) == history.ordered(history)


def test_each_revision_is_shown_with_its_plan_and_a_query_before_and_after_it(demo, place):
    finished = demo()
    assert (finished.returncode, finished.stderr) == (0, "")
    assert ESCAPE_SEQUENCE.search(finished.stdout) is None
    scenes = re.split(r"^\d of 7: ", finished.stdout, flags=re.MULTILINE)
    assert scenes[0].startswith("1,000 packages of Debian 12 and their embeddings are in a private Redis ")
    for scene, text in zip(SCENES, scenes[1:], strict=True):
        assert scene.shows in text
        assert f"$ redismigrate upgrade {scene.revision}\n" in text
        assert f"  record {scene.revision}" in text
        assert re.search(r"^Applied in \d+\.\d\d s\. The index sees 1,000 documents\.$", text, re.MULTILINE)
        assert f"  FT.SEARCH {scene.question.index} '({scene.question.among})=>[KNN 4 @embedding" in text
        assert text.index("\n  before  ") < text.index("\n  after   ")
        assert re.search(r"^ {10}0\.\d{4}  [a-z]\S+ +\S", text, re.MULTILINE)
    assert "Undid 7 revisions in " in scenes[-1]
    assert "no index is left, and the 1,000 packages are as they were loaded." in scenes[-1]
    assert list(place.iterdir()) == []


def test_the_queries_show_what_the_revisions_are_for(json_demo):
    revisions = json.loads(json_demo.stdout)["revisions"]
    found = {
        revision["revision"]: [
            revision[moment]["refusal"] or [hit["name"] for hit in revision[moment]["hits"]]
            for moment in ("before", "after")
        ]
        for revision in revisions
    }
    nearest = ["ip2host", "dnstop", "dnsrecon"]
    for revision in ("7a1a802617b2", "06c45affb167"):
        before = found[revision].pop(0)
        assert before == [] if server_has("unknown fields") else "nknown field" in before, before
    for revision, index in (("51e8d0987b4c", "packages"), ("c1c0db9bb072", "catalog")):
        refusal = found[revision].pop(0)
        assert index in refusal
        assert "no such index" in refusal.lower()
    assert found == {
        "51e8d0987b4c": [nearest],
        "7a1a802617b2": [["ip2host", "dnstop", "libmaxminddb0"]],
        "9c1b2cd5abc3": [[], ["ip2host", "graphdefang", "netsed"]],
        "2f5a5e4caf09": [nearest, nearest],
        "06c45affb167": [["dnstop", "dnsrecon", "ruby-dnsruby"]],
        "c1c0db9bb072": [nearest],
        "e538fb1493ea": [["dnstop", "dnsrecon", "ruby-dnsruby"]] * 2,
    }


def test_json_is_one_document_and_the_show_goes_to_stderr(json_demo):
    document = json.loads(json_demo.stdout)
    assert sorted(document) == [
        "downgrade",
        "indexes_left",
        "kept",
        "packages",
        "packages_unchanged",
        "redis_version",
        "revisions",
        "seconds",
    ]
    assert (document["packages"], document["packages_unchanged"], document["kept"]) == (1000, True, None)
    assert document["indexes_left"] == []
    assert document["downgrade"]["revisions"] == [scene.revision for scene in reversed(SCENES)]
    assert all(revision["documents"] == 1000 for revision in document["revisions"])
    assert document["revisions"][2]["question"]["query"].startswith(
        r"(@tags:{interface\:\:commandline})=>[KNN"
    )
    assert "7 of 7: " in json_demo.stderr


def test_quiet_says_nothing(quiet_demo):
    assert (quiet_demo.stdout, quiet_demo.stderr) == ("", "")


def test_keep_leaves_a_project_that_can_be_used(demo, redis_url):
    finished = demo("--keep", "-q")
    folder = Path(finished.stdout.rstrip("\n"))
    assert (folder / "README.md").is_file()
    assert not list(folder.rglob("__pycache__"))
    upgraded = subprocess.run(
        [ENTRY_POINT, "upgrade", "head", "--url", redis_url],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert upgraded.stdout.splitlines()[-1].startswith("Applied 7 revisions in ")


def test_keep_says_where_the_project_is(demo, place):
    (line,) = re.findall(
        r"^The example project is in (.*); its README.md", demo("--keep").stdout, re.MULTILINE
    )
    assert [Path(line)] == list(place.iterdir())


def test_no_line_is_wider_than_the_terminal(demo):
    finished = demo(FORCE_COLOR="1", COLUMNS="80", TERM="xterm")
    lines = re.split(r"[\r\n]", ESCAPE_SEQUENCE.sub("", finished.stdout))
    assert finished.returncode == 0
    assert [line for line in lines if len(line) > 80] == []


def test_settings_in_the_environment_are_those_of_another_project(quiet_demo):
    assert (quiet_demo.returncode, quiet_demo.stderr) == (0, "")


@pytest.mark.parametrize("option", [("--url", "redis://localhost:1"), ("--config", "redismigrate.toml")])
def test_a_server_or_a_project_of_ones_own_is_refused(demo, option):
    finished = demo(*option)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == (
        "Error: The demo brings its own server and its own project.\nLeave --url, --config and --env out.\n"
    )


@pytest.mark.parametrize(
    ("awaited", "signal_number"),
    [
        ("1,000 packages", signal.SIGTERM),
        ("4 of 7", signal.SIGINT),
        pytest.param("1,000 packages", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("4 of 7", signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_demo_leaves_nothing_behind(place, awaited, signal_number):
    with start(place, PYTHONUNBUFFERED="1") as process:
        assert process.stdout is not None
        assert any(awaited in line for line in iter(process.stdout.readline, "")), process.stderr.read()
        process.send_signal(signal_number)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "resume" not in err
    assert list(place.iterdir()) == []


def test_a_machine_without_a_server_is_told_how_to_get_one(demo, place):
    finished = demo(REDISMIGRATE_SERVER=str(place / "absent"))
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith("Error: ")
    assert "REDISMIGRATE_SERVER" in finished.stderr
