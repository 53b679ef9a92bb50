"""The optional `env.py` of a project: what it supplies, and how its mistakes are told."""

from __future__ import annotations

import sys

import pytest

from redismigrate.commands.environment_module import load_env
from redismigrate.commands.project import Project
from redismigrate.errors import ConfigurationError, UsageError


@pytest.fixture
def project_folder(tmp_path):
    folder = tmp_path / "shop"
    (folder / "migrations" / "versions").mkdir(parents=True)
    (folder / "redismigrate.toml").write_text('script_location = "migrations"\n')
    return folder


def write(project_folder, source):
    (project_folder / "migrations" / "env.py").write_text(source)


def load(project_folder, **x):
    return Project.load(project_folder / "redismigrate.toml", x=x)


def test_without_a_file_nothing_is_supplied_and_every_index_is_included(project_folder):
    env = load(project_folder).env_module
    assert not any(env.supplies(name) for name in ("client", "schemas", "include"))
    assert env.includes("index", "products")


def test_functions_are_called_with_the_settings_and_the_values_of_x(project_folder):
    write(
        project_folder,
        "def client(settings, x):\n    return settings.project, x\n"
        "def schemas(x):\n    return [x['tenant']]\n"
        "def include(kind, name):\n    return (kind, name) == ('index', 'products')\n",
    )
    project = load(project_folder, tenant="acme")
    env = project.env_module
    assert env.make_client(project.settings, project.x) == ("shop", {"tenant": "acme"})
    assert env.declared_schemas(project.x) == ["acme"]
    assert [env.includes("index", name) for name in ("products", "others")] == [True, False]


def test_it_is_imported_once_and_finds_the_modules_of_the_application(project_folder):
    (project_folder / "shop_of_env_py.py").write_text("imports = []\n")
    write(
        project_folder,
        "import shop_of_env_py\nshop_of_env_py.imports.append(1)\n"
        "def schemas(x):\n    from shop_of_env_py import imports\n    return len(imports)\n",
    )
    before = list(sys.path)
    project = load(project_folder)
    assert [project.env_module.declared_schemas({}) for _ in range(2)] == [1, 1]
    assert sys.path == before
    del sys.modules["shop_of_env_py"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "x = 1\nraise ValueError('no')\n",
            ", line 2: the script fails when it is imported (ValueError: no).",
        ),
        ("def client(:\n", ", line 1: the script is not valid Python (SyntaxError: invalid syntax)."),
        ("import sys\nsys.exit(3)\n", ", line 2: the script fails when it is imported (SystemExit: 3)."),
        ("client = 5\n", ": client is no function."),
    ],
)
def test_a_file_that_can_not_be_imported_is_told_with_its_line(project_folder, source, says):
    write(project_folder, source)
    path = project_folder / "migrations" / "env.py"
    with pytest.raises(ConfigurationError) as caught:
        load_env(path.parent)
    assert caught.value.message == f"{path}{says}"
    assert caught.value.exit_code == 8


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def schemas(x):\n    return x['tenant']\n", ", line 2: schemas() fails (KeyError: 'tenant')."),
        ("\ndef schemas():\n    pass\n", ", line 2: schemas() fails (TypeError: schemas() takes 0 "),
        ("def schemas(x):\n    raise SystemExit('gone')\n", ", line 2: schemas() fails (SystemExit: gone)."),
        ("schemas = open\n", ": schemas() fails (TypeError: "),
    ],
)
def test_a_function_that_fails_is_told_with_its_line(project_folder, source, says):
    write(project_folder, source)
    with pytest.raises(ConfigurationError) as caught:
        load(project_folder).env_module.declared_schemas({})
    assert caught.value.message.startswith(f"{project_folder / 'migrations' / 'env.py'}{says}")
    assert caught.value.hint == "Correct env.py."


def test_a_filter_without_an_answer_is_refused(project_folder):
    write(project_folder, "def include(kind, name):\n    name == 'products'\n")
    with pytest.raises(
        ConfigurationError,
        match=r"line 1: include\(\) returns None for index products, neither True nor False",
    ):
        load(project_folder).env_module.includes("index", "products")


def test_values_that_no_file_reads_are_refused(project_folder):
    with pytest.raises(UsageError) as caught:
        load(project_folder, tenant="acme")
    assert (
        caught.value.message == f"-x is for {project_folder / 'migrations' / 'env.py'}, which does not exist."
    )
    assert caught.value.hint == "Write it, or leave -x out."
