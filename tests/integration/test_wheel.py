"""The wheel, installed into a fresh virtual environment, has all that the commands need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from redismigrate.history.templates import known_templates
from redismigrate.packaged import packaged_folder
from redismigrate.redis_server.server_binary import find_server_binary

CHECKOUT = Path(__file__).parents[2]
FOLDERS = ("redismigrate", "migrations_template", "alembic_style_example")
FILES = ("pyproject.toml", "README.md", "LICENSE")
UPGRADE = """def upgrade(op: Operations) -> None:
    op.create_index(
        {
            "index": {"name": "products", "prefix": "product:", "storage_type": "hash"},
            "fields": [{"name": "brand", "type": "tag"}],
        }
    )


def downgrade(op: Operations) -> None:
    op.drop_index("products")
"""


@dataclass(frozen=True)
class Installed:
    """The wheel in its virtual environment.

    Attributes:
        wheel: The wheel.
        programs: Where the environment's programs are.
    """

    wheel: Path
    programs: Path

    def run(self, *command: str, cwd: Path) -> str:
        """Run one of the environment's programs, which has to succeed, and return what it prints."""
        # Where the server is counts; that it may come from an extra of the environment of the tests does not.
        server = {"REDISMIGRATE_SERVER": str(find_server_binary().executable)}
        finished = subprocess.run(
            [self.programs / command[0], *command[1:]],
            cwd=cwd,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | server,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built from a copy of the checkout, which stays as it is, and installed with its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "checkout"
    for name in FOLDERS:
        shutil.copytree(CHECKOUT / name, copy / name)
    for name in FILES:
        shutil.copyfile(CHECKOUT / name, copy / name)
    # What a working checkout is full of.
    (copy / "alembic_style_example" / "__pycache__").mkdir(exist_ok=True)
    (copy / "alembic_style_example" / "__pycache__" / "search.cpython-311.pyc").touch()
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    pip = [programs / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder, copy], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", wheel], check=True)
    return Installed(wheel, programs)


def test_a_checkout_has_the_templates_and_the_example_beside_the_package():
    assert packaged_folder("_templates", "migrations_template", "templates").is_dir()
    assert (packaged_folder("_example", "alembic_style_example", "example") / "README.md").is_file()
    assert [template.name for template in known_templates()] == ["generic", "guided"]


@pytest.mark.slow
def test_the_wheel_ships_the_templates_and_the_example_and_no_byte_code(installed):
    names = zipfile.ZipFile(installed.wheel).namelist()
    assert "redismigrate/_templates/generic/script.py.j2" in names
    assert "redismigrate/_example/data/packages_minilm384.npy" in names
    assert "redismigrate/_example/migrations/versions/51e8d0987b4c_create_the_index_of_packages.py" in names
    assert "redismigrate/py.typed" in names
    assert [name for name in names if "cache" in name or name.startswith(("tests", "docs"))] == []
    packages = {name.partition("/")[0] for name in names}
    assert packages == {"redismigrate", f"{installed.wheel.name.partition('-py3')[0]}.dist-info"}


@pytest.mark.slow
def test_the_wheel_tells_pytest_where_the_plugin_is(installed, tmp_path):
    program = (
        "from importlib.metadata import entry_points\n"
        "print(*(point.value for point in entry_points(group='pytest11', name='redismigrate')))"
    )
    assert installed.run("python", "-c", program, cwd=tmp_path).split() == ["redismigrate.testing.plugin"]


@pytest.mark.slow
def test_a_new_user_gets_from_init_to_an_index_and_back(installed, tmp_path, redis_url):
    def redismigrate(*arguments: str) -> str:
        return installed.run("redismigrate", *arguments, cwd=tmp_path)

    templates = redismigrate("list-templates").splitlines()
    assert [line.split()[0] for line in templates] == ["generic", "guided"]
    redismigrate("init", "migrations", "--url", redis_url)
    redismigrate("revision", "-m", "create index")
    (script,) = (tmp_path / "migrations" / "versions").glob("*_create_index.py")
    source = script.read_text()
    script.write_text(source[: source.index("def upgrade")] + UPGRADE)
    assert redismigrate("upgrade", "head").splitlines()[-1].startswith("Applied 1 revision in ")
    assert "index products: brand tag" in redismigrate("current")
    assert redismigrate("downgrade", "base").splitlines()[-1].startswith("Undid 1 revision in ")
    assert "nothing is applied" in redismigrate("current")


@pytest.mark.slow
def test_the_installed_demo_leaves_its_example_alone(installed, tmp_path):
    where = "import redismigrate; print(redismigrate.__path__[0])"
    package = Path(installed.run("python", "-c", where, cwd=tmp_path).strip())
    assert CHECKOUT not in package.parents
    before = content(package / "_example")
    shown = installed.run("redismigrate", "demo", cwd=tmp_path)
    assert re.search(r"^Undid 7 revisions in ", shown, re.MULTILINE)
    assert content(package / "_example") == before


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
