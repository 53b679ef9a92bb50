"""What broken and hostile code of others did to commands, case by case: one error that names the file."""

from __future__ import annotations

import os
import signal
import time
import uuid

import pytest
from fuzzed_code import PREAMBLE

PRODUCTS = """
op.create_index({
    "index": {"name": "products", "prefix": "p:"},
    "fields": [{"name": "title", "type": "text"}],
})
"""
REVISION = "000000000001"
WHOLE = """revision = "000000000001"
down_revision = None
def upgrade(op): pass
def downgrade(op): pass
"""
RAISED = [
    ("raise Own", "Own"),
    ("raise SystemExit(0)", "SystemExit: 0"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ("raise GeneratorExit", "GeneratorExit"),
    ("raise StopIteration", "StopIteration"),
    ("raise Silent", "Silent: its text can't be shown"),
    ("raise Exits", "Exits: its text can't be shown"),
    ("raise Loud", "Loud: \\x1b[2J"),
    ("raise Nameless('a')", "Nameless: a"),
    ("raise SyntaxError(5)", "SyntaxError: 5"),
    ("raise ValueError(10**5000)", "ValueError: its text can't be shown"),
]
ODD_SCHEMAS = (
    "Endless()", "{**SCHEMA, 'fields': Endless()}", "itself", "deep", "Bad()", "Props()",
    "ToDict(fails)",
    "(x for x in iter(int, 1))", "{**SCHEMA, 'fields': [{'name': 'a', 'type': Bad()}]}", "Names(a=1)",
    "{**SCHEMA, 'fields': [{'name': 'v', 'type': 'vector', 'attrs': {'dims': 10**5000}}]}",
)  # fmt: skip
ODD_OPTIONS = (
    "port=99999", "client_name='a b'", "client_name=fails",
    "credential_provider=Bad()", "redis_connect_func=fails", "health_check_interval='x'",
    "username=Bad()",
    "socket_read_size='x'", "host='a' * 300", "host='a\\0b'", "db=-1", "max_connections='x'",
)  # fmt: skip
STREAMS = [
    "sys.stdout.close(); sys.stderr.close()",
    "os.close(1); os.close(2); sys.stdout = sys.stderr = None",
    "sys.stdout.write = sys.stderr.write = fails",
    "sys.__stdout__.detach(); sys.__stderr__.detach()",
]


def env(shop, source):
    (shop.folder / "migrations" / "env.py").write_text(PREAMBLE + source)


def declare(shop, source):
    """Write a module whose NAME is declared; returns how it is entered."""
    # Modules stay in this process: another name each time.
    name = f"declared_{uuid.uuid4().hex}"
    configuration = shop.folder / "redismigrate.toml"
    configuration.write_text(f'{configuration.read_text()}schemas = ["{name}:NAME"]\n')
    (shop.folder / f"{name}.py").write_text(PREAMBLE + source)
    return f"{name}:NAME"


def refused(shop, *arguments, code=8, says=()):
    """As `Shop.refuses`, but quick: nothing is compared."""
    result = shop.run(*arguments)
    assert result.code == code, (says, result.out, result.err)
    assert "Traceback" not in result.err
    for text in says:
        assert text in result.err


def test_whatever_a_script_raises_is_told_with_its_file(shop):
    shop.write("raise Own", preamble=PREAMBLE, revision=REVISION, down_revision=None)
    shop.refuses("upgrade", code=8, says=(f"{shop.script(REVISION)}:", "Own"))
    for statement, says in RAISED:
        for upgrade, preamble in ((statement, PREAMBLE), ("pass", f"{PREAMBLE}\n{statement}")):
            shop.write(upgrade, preamble=preamble, revision=REVISION, down_revision=None)
            refused(shop, "upgrade", says=(f"Error: {shop.script(REVISION)}", says))


def test_whatever_env_raises_is_told_with_its_file_and_line(shop):
    for statement, says in RAISED:
        for source in (statement, f"def client(settings, x):\n    {statement}\n"):
            env(shop, source)
            refused(shop, "current", says=("env.py, line ", says))


def test_whatever_a_declared_module_raises_is_told_with_its_entry(shop):
    configuration = (shop.folder / "redismigrate.toml").read_text()
    for statement, says in RAISED:
        (shop.folder / "redismigrate.toml").write_text(configuration)
        entry = declare(shop, statement)
        refused(shop, "check", says=(f"Error: schemas: '{entry}'", says))


def test_whatever_a_function_of_a_script_raises_undoes_the_revision_but_an_interruption(shop):
    for statement, says in RAISED:
        if says == "KeyboardInterrupt":
            continue  # leaves the run to be taken up, see test_behind_our_back.py
        fill = f"{PREAMBLE}\ndef fill(client):\n    {statement}\n"
        shop.write("op.run(fill)", preamble=fill, revision=REVISION, down_revision=None)
        refused(shop, "upgrade", code=1, says=(f"raised {says}",))
        assert shop.state("run") is None


@pytest.mark.slow_beyond(2)
@pytest.mark.parametrize("statement", STREAMS)
def test_streams_that_a_script_closes_are_there_for_the_result(shop, statement):
    shop.write(PRODUCTS, preamble=f"{PREAMBLE}\n{statement}")
    done = shop.run_process("upgrade", "--json")
    assert (done.code, done.json["result"]) == (0, "done")
    env(shop, f"{statement}\nraise Own('told')")
    refused = shop.run_process("current")
    assert (refused.code, refused.err.count("Own: told")) == (8, 1)


@pytest.mark.parametrize(
    "source",
    [
        b"x = " + b"1+" * 20_000 + b"1\n",
        b"x = " + b"(" * 20_000 + b")" * 20_000 + b"\n",
        b"x = " + b"-" * 20_000 + b"1\n",
        b"# coding: nowhere\n",
        b"# coding: hex\nff\n",
        b"\0",
    ],
)
def test_a_script_that_python_can_not_read_is_told(shop, source):
    shop.script(REVISION).write_bytes(source)
    shop.refuses("upgrade", code=8, says=("", f"{REVISION}.py"))


@pytest.mark.parametrize("source", [b"'a' + " * 20_000 + b"'b'", b"[" + b"'a', " * 50_000 + b"]"])
def test_the_digest_of_a_long_line_takes_no_square_of_its_length(shop, source):
    begin = time.process_time()
    shop.script(REVISION).write_bytes(b"x = " + source + b"\n" + WHOLE.encode())
    shop.run("heads")
    assert time.process_time() - begin < 20  # as a square it would be minutes


@pytest.mark.parametrize(
    "value", ["10**5000", "Bad()", "Text('a b')", "Row((1,))", "itself", "deep", "Names()"]
)
@pytest.mark.parametrize("name", ["revision", "down_revision", "branch_labels", "depends_on"])
def test_metadata_of_odd_types_are_told(shop, name, value):
    if (name, value) != ("revision", "Text('a')"):
        shop.script(REVISION).write_text(f"{PREAMBLE}\n{WHOLE}\n{name} = {value}\n")
        shop.refuses("heads", code=8, says=("", f"{REVISION}.py"))


@pytest.mark.parametrize("value", ["dict", "max", "looped", "Bad()", "functools.partial(Bad)"])
def test_functions_of_odd_kinds_are_told(shop, value):
    shop.script(REVISION).write_text(f"{PREAMBLE}\n{WHOLE}\nupgrade = {value}\n")
    shop.refuses("upgrade", code=8, says=("", f"{REVISION}.py"))


@pytest.mark.parametrize(
    "call",
    [
        "op.irreversible(lambda: 1)",
        "op.set_synonyms('products', 'g', iter(lambda: 'a', 'b'))",
        "op.index('products').__enter__().set_options(stopwords=(x for x in iter(int, 1)))",
        "raise AttributeError(name=5, obj=Bad())",
        "raise type('E', (__import__('redismigrate.errors').errors.ScriptError,), {'exit_code': 77})('a')",
    ],
)
def test_values_that_are_none_or_have_no_end_are_told(shop, call):
    shop.write(f"{PRODUCTS}{call}\n", preamble=PREAMBLE)
    shop.refuses("upgrade", code=8, says=("", f"{REVISION}.py:"))


def test_a_docstring_of_many_blanks_takes_no_square_of_them(shop):
    text = f'"""a\n\nCreate Date: a{" " * 100_000}b\n"""\n{WHOLE}'
    shop.script(REVISION).write_text(text)
    begin = time.process_time()
    assert shop.run("-q", "heads").code == 0
    assert time.process_time() - begin < 20  # as a square it would be minutes


def test_a_traceback_that_python_can_not_print_is_told_as_far_as_it_goes(shop):
    entry = declare(shop, "__name__ = Bad()\nraise type('E', (Exception,), {'__str__': fails})('a')")
    told = shop.run("-v", "check")
    assert (told.code, told.err.count(f"Error: schemas: '{entry}'")) == (8, 1)


@pytest.mark.parametrize("kind", ["loop", "dangling link", "pipe", "link to a device"])
@pytest.mark.parametrize("name", ["versions/a.py", "env.py"])
def test_what_can_not_be_read_as_a_file_is_no_missing_file(shop, kind, name):
    path = shop.folder / "migrations" / name
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"loop": path, "dangling link": "nowhere", "link to a device": "/dev/zero"}[kind])
    shop.refuses("check", code=8, says=(f"{path} can't be read: it is ",))


@pytest.mark.parametrize("name", ["versions", ""])
def test_a_folder_that_is_a_link_in_a_circle_is_told(shop, name):
    folder = shop.folder / "migrations" / name
    folder.rename(shop.folder / "moved")
    folder.symlink_to(folder)
    shop.refuses("heads", code=8, says=("The folder of migration scripts ",))


def test_declared_schemas_of_odd_types_are_told(shop):
    configuration = (shop.folder / "redismigrate.toml").read_text()
    for value in ODD_SCHEMAS:
        (shop.folder / "redismigrate.toml").write_text(configuration)
        entry = declare(shop, f"NAME = {value}")
        refused(shop, "check", says=(f"{entry}",))


@pytest.mark.parametrize("way", ["declared", "env"])
def test_a_module_that_clears_the_import_path_takes_nothing_else_along(shop, way):
    shop.write(PRODUCTS)
    shop.run("upgrade")
    if way == "declared":
        declare(shop, "sys.path.clear()\nNAME = SCHEMA")
    else:
        env(shop, "sys.path.clear()\ndef schemas(x): return [SCHEMA]")
    assert shop.run("revision", "-m", "x", "--autogenerate").code == 0


def test_options_that_no_connection_can_be_made_with_are_told(shop):
    for option in ODD_OPTIONS:
        name, value = option.split("=", 1)
        env(
            shop,
            "import redis\ndef client(settings, x):\n    made = redis.Redis.from_url(settings.url)\n"
            f"    made.connection_pool.connection_kwargs[{name!r}] = {value}\n    return made\n",
        )
        refused(shop, "current", says=("Error: ",))


@pytest.mark.parametrize(
    "options",
    [
        "decode_responses=True", "protocol=3", "socket_timeout=0", "socket_connect_timeout=-1",
        "encoding='utf-16'",
        "socket_connect_timeout='x'", "encoding_errors='ignore'", "single_connection_client=True",
        "retry=redis.retry.Retry(redis.backoff.ConstantBackoff(60), 9)", "retry_on_error=[5]",
    ],
)  # fmt: skip
def test_options_that_are_not_ours_to_take_over_do_no_harm(shop, options):
    shop.write(PRODUCTS)
    env(
        shop,
        "import redis, redis.backoff, redis.retry\ndef client(settings, x):\n"
        f"    made = redis.Redis.from_url(settings.url, {options})\n    made.close()\n    return made\n",
    )
    assert shop.run("upgrade").code == 0
    assert shop.run("current", "--json").json["heads"] == [REVISION]


@pytest.mark.parametrize("odd", ["redis.asyncio.Redis()", "object.__new__(redis.Redis)", "redis", "Bad()"])
def test_what_is_no_client_is_told(shop, odd):
    env(shop, f"import redis, redis.asyncio\ndef client(settings, x): return {odd}\n")
    shop.refuses("current", code=8, says=(f"{shop.folder / 'migrations' / 'env.py'}: what client() returns",))


@pytest.mark.parametrize("where", ["import", "upgrade", "function"])
def test_ctrl_c_while_code_of_others_runs_is_an_interruption(shop, where):
    wait = "import time; print('waits', flush=True); time.sleep(30)"
    if where == "function":
        shop.write("op.run(fill)", preamble=f"def fill(client):\n    {wait}\n")
    else:
        shop.write(wait if where == "upgrade" else "pass", preamble=wait if where == "import" else "")
    with shop.process("upgrade") as process:
        while "waits" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == (7 if where == "function" else 1)
    assert ("was interrupted" if where == "function" else "Error: Interrupted.") in err
