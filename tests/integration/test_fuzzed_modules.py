"""Broken and hostile scripts, env.py, declared modules, clients and command lines: one clear error each.

The default run takes a small share of the mutations; `-m slow` takes many, as many as FUZZ_MUTATIONS says.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from command_tree import COMMANDS
from fuzzed_code import FILES, OF_STREAMS, PREAMBLE, expression, statement
from fuzzed_inputs import HOSTILE_TEXTS, mutated_bytes, mutated_text, mutations
from fuzzing import (
    LIMIT_SECONDS,
    Campaign,
    Outcome,
    documents_in,
    files_below,
    mutations_wanted,
    run_as_process,
    run_in_process,
)

if TYPE_CHECKING:
    import random

    import click

FIRST, SECOND = "000000000001", "000000000002"
PRODUCTS = """
op.create_index({
    "index": {"name": "products", "prefix": "p:"},
    "fields": [{"name": "title", "type": "text"}],
})
"""
SCRIPT = f'''"""second

Revision ID: {SECOND}
Create Date: 2026-11-20T10:07:00+00:00
"""
from redismigrate import Operations

{{preamble}}
revision = {SECOND!r}
down_revision = {FIRST!r}
branch_labels = ()
depends_on = ()
{{module}}

def fill(client):
    client.hset("p:0", "brand", "a")
{{function}}

def unfill(client):
    client.hdel("p:0", "brand")

def upgrade(op: Operations) -> None:
    with op.index("products") as index:
        index.add_field({{{{"name": "brand", "type": "tag"}}}})
    op.run(fill, unfill)
{{upgrade}}

def downgrade(op: Operations) -> None:
    with op.index("products") as index:
        index.drop_field("brand")
{{downgrade}}

{{end}}
'''
METADATA = (
    "revision", "down_revision", "branch_labels", "depends_on", "upgrade", "downgrade", "fill", "__doc__",
    "__file__", "__name__",
)  # fmt: skip
PARTS = ("preamble", "module", "function", "upgrade", "downgrade", "end")
GOOD = SCRIPT.format(**dict.fromkeys(PARTS, ""))
ENV = """
def client(settings, x):
    import redis
{client}
    return redis.Redis.from_url(settings.url)

def schemas(x):
{schemas}
    return [SCHEMA]

def include(kind, name):
{include}
    return True
"""
SLOW = pytest.mark.slow
TARGETS = ("scripts", "env.py", "declared modules", "client options", "command lines")


@pytest.fixture
def fuzzed(shop, monkeypatch):
    """The shop with documents and a first revision that is applied."""
    monkeypatch.setattr(sys, "argv", ["redismigrate"])
    shop.add_documents(5, title="a {n}")
    shop.write(PRODUCTS)
    result = shop.run("upgrade")
    assert result.code == 0, result.err
    return shop


@contextmanager
def watched(campaign: Campaign, fuzzed: Any, number: int) -> Iterator[None]:
    """Notes when a document is lost or something is written outside of the project; puts back the rest."""
    environment = dict(os.environ)
    modules = set(sys.modules)
    documents = documents_in(fuzzed.client)
    outside = set(files_below(fuzzed.folder.parent)) - set(files_under_shop(fuzzed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    for name in set(sys.modules) - modules:
        if not name.startswith(("redis", "numpy", "rich", "jinja2")):
            sys.modules.pop(name)
    os.environ.clear()
    os.environ.update(environment)
    lost = [key for key in documents if key not in documents_in(fuzzed.client)]
    if lost:
        campaign.add(number, f"documents are lost: {lost}")
    written = set(files_below(fuzzed.folder.parent)) - set(files_under_shop(fuzzed)) - outside
    if written:
        campaign.add(number, f"written outside of the project: {written}")


def files_under_shop(fuzzed: Any) -> list[str]:
    return [f"{fuzzed.folder.name}/{name}" for name in files_below(fuzzed.folder)] + [fuzzed.folder.name]


def put_back(fuzzed: Any) -> None:
    """Redis as it was when the first revision was applied, if it is not."""
    head = fuzzed.state("head")
    is_so = (
        head is not None
        and head["heads"] == [FIRST]
        and fuzzed.state("run") is None
        and fuzzed.client.execute_command("FT._LIST") == [b"products"]
        and len(fuzzed.client.keys("p:*")) == 5
    )
    if not is_so:
        fuzzed.client.flushall()
        fuzzed.add_documents(5, title="a {n}")
        result = fuzzed.run("upgrade", FIRST)
        assert result.code == 0, result.err


def judge(campaign: Campaign, number: int, outcome: Outcome, shown: object) -> None:
    if {"-v", "--verbose"}.intersection(outcome.arguments):
        # It asks for the traceback, which stands before the error.
        outcome = replace(outcome, err=outcome.err.replace("Traceback (most recent call last):", ""))
    if not campaign.judge(number, outcome, shown):
        print(f"{campaign.target}, mutation {number}: {outcome}", flush=True)  # before all are done
    if outcome.seconds > LIMIT_SECONDS:
        campaign.add(number, f"hang: {outcome.seconds:.0f} s", shown)
    if len(outcome.err) + len(outcome.out) > 100_000:
        campaign.add(number, "more than 100,000 characters are said", shown)


# --- scripts --------------------------------------------------------------------------------------------

ON_SCRIPTS = (
    ["upgrade"], ["upgrade"], ["--json", "upgrade"], ["-v", "upgrade"], ["plan"], ["history", "-r", ":"],
    ["check"], ["heads"], ["downgrade", "base"], ["upgrade", "--script"], ["show", "head"], ["current"],
    ["--json", "plan"], ["stamp", "head"], ["revision", "-m", "x", "--autogenerate"], ["status"], ["graph"],
    ["current", "--check-heads"],
)  # fmt: skip


def odd_script(rng: random.Random, more: tuple[str, ...] = ()) -> bytes:
    """A script that is broken or hostile in one or two places."""
    how = rng.random()
    if how < 0.1:
        return rng.choice(FILES) + rng.choice((b"", b"", GOOD.encode()))
    if how < 0.25:
        return mutated_bytes(GOOD.encode(), rng)
    parts = dict.fromkeys(PARTS, "") | {"preamble": PREAMBLE}
    for part in rng.sample(PARTS[1:], rng.choice((1, 1, 1, 2))):
        is_body = part in {"function", "upgrade", "downgrade"}
        if not is_body and rng.random() < 0.5:
            name = rng.choice(METADATA)
            parts[part] = f"{name} = {expression(rng)}"
        elif is_body and rng.random() < 0.4:
            parts[part] = f"    {call_of_op(rng)}" if part != "function" else f"    return {expression(rng)}"
        else:
            parts[part] = statement(rng, "    " if is_body else "", more)
    return SCRIPT.format(**parts).encode("utf-8", "surrogatepass")


def call_of_op(rng: random.Random) -> str:
    """A call of the operations with odd values."""
    odd = expression(rng)
    return rng.choice(
        (
            "op.create_index({0})", "op.drop_index({0})", "op.create_alias({0}, 'products')",
            "op.create_alias('a', {0})", "op.drop_alias({0})", "op.set_synonyms('products', 'g', {0})",
            "op.set_synonyms('products', {0}, ['a'])", "op.irreversible({0})", "op.assume_exclusive({0})",
            "op.expect({0}, count=1)", "op.expect('products', count={0})",
            "op.expect('products', query={0}, finds=1)", "op.expect('products', query='*', finds_keys={0})",
            "op.expect('products', knn={0}, finds=1)",
            "op.expect('products', knn={{'field': 'v', 'vector': {0}}}, finds=1)",
            "op.run({0})", "op.run(fill, {0})", "op.index({0})", "op.indexes({0})", "op.__init__({0})",
            "op.index('products').add_field({0})", "op._record({0})", "op.__class__ = type({0})",
            "with op.index('products') as i: i.add_field({0})",
            "with op.index('products') as i: i.add_field({{'name': {0}, 'type': 'tag'}})",
            "with op.index('products') as i: i.drop_field({0})",
            "with op.index('products') as i: i.alter_field({0}, weight=2)",
            "with op.index('products') as i: i.alter_field('title', weight={0})",
            "with op.index('products') as i: i.alter_field('title', phonetic={0})",
            "with op.index('products') as i: i.set_options(language={0})",
            "with op.index('products') as i: i.set_options(stopwords={0})",
            "with op.index('products') as i: i.set_options(prefixes={0})",
            "with op.index('products') as i: i.set_options(filter={0})",
            "with op.index('products') as i: i.rename_field({0}, 'x')",
            "with op.index('products') as i: i.rename_field('title', {0})",
            "with op.index('products') as i: i.rename_field('title', 't', {0})",
            "with op.index('products') as i: i.change_prefix('p:', {0})",
            "with op.index('products') as i: i.change_prefix({0}, 'q:')",
            "with op.index('products') as i: i.rename_to({0})",
        )
    ).format(odd)  # fmt: skip


def fuzz_scripts(fuzzed: Any, count: int, run: Callable[..., Outcome], more: tuple[str, ...] = ()) -> None:
    path = fuzzed.script(SECOND)
    with Campaign(f"scripts by {run.__name__}") as campaign:
        for number, rng in mutations(campaign.target, count):
            put_back(fuzzed)
            source = odd_script(rng, more)
            path.write_bytes(source)
            arguments = rng.choice(ON_SCRIPTS)
            with watched(campaign, fuzzed, number):
                outcome = run(arguments, fuzzed.folder)
                judge(campaign, number, outcome, differing(source))
            path.unlink()
            for written in path.parent.glob("*_x.py"):
                written.unlink()
        path.unlink(missing_ok=True)


def differing(source: bytes) -> str:
    """What of a script is not in the good one."""
    good = set((GOOD + PREAMBLE).split("\n"))
    return "\n".join(line for line in source.decode(errors="replace").split("\n") if line not in good)


def test_some_odd_scripts_end_in_one_error(fuzzed):
    fuzz_scripts(fuzzed, 25, run_in_process)


@SLOW
@pytest.mark.timeout(3_600)
def test_odd_scripts_end_in_one_error(fuzzed):
    fuzz_scripts(fuzzed, mutations_wanted(300), run_in_process)


@SLOW
@pytest.mark.timeout(3_600)
def test_scripts_that_close_or_replace_streams_end_in_one_error(fuzzed):
    fuzz_scripts(fuzzed, mutations_wanted(300) // 10, run_as_process, OF_STREAMS)


# --- env.py ---------------------------------------------------------------------------------------------

ON_ENV = (
    ["current"], ["check"], ["--json", "check"], ["plan"], ["upgrade"], ["-v", "current"], ["status"],
    ["revision", "-m", "x", "--autogenerate"], ["-x", "a=b", "current"], ["--url", "{url}", "check"],
)  # fmt: skip


def odd_env(rng: random.Random, more: tuple[str, ...] = ()) -> bytes:
    how = rng.random()
    good = PREAMBLE + ENV.format(client="", schemas="", include="")
    if how < 0.08:
        return rng.choice(FILES)
    if how < 0.16:
        return PREAMBLE.encode() + mutated_bytes(ENV.format(client="", schemas="", include="").encode(), rng)
    if how < 0.4:
        names = rng.choice(("client", "schemas", "include", "x", "__file__", "__name__"))
        odd = f"{names} = {expression(rng)}" if rng.random() < 0.5 else statement(rng, "", more)
        return f"{good}\n{odd}\n".encode("utf-8", "surrogatepass")
    parts = dict.fromkeys(("client", "schemas", "include"), "")
    for name in rng.sample(sorted(parts), rng.choice((1, 1, 2))):
        is_value = rng.random() < 0.6
        parts[name] = f"    return {expression(rng)}" if is_value else statement(rng, "    ", more)
    return (PREAMBLE + ENV.format(**parts)).encode("utf-8", "surrogatepass")


def fuzz_env(fuzzed: Any, count: int, run: Callable[..., Outcome], more: tuple[str, ...] = ()) -> None:
    path = fuzzed.folder / "migrations" / "env.py"
    good = PREAMBLE + ENV.format(client="", schemas="", include="")
    with Campaign(f"env.py by {run.__name__}") as campaign:
        for number, rng in mutations(campaign.target, count):
            put_back(fuzzed)
            source = odd_env(rng, more)
            path.write_bytes(source)
            arguments = [word.format(url=fuzzed.url) for word in rng.choice(ON_ENV)]
            with watched(campaign, fuzzed, number):
                outcome = run(arguments, fuzzed.folder)
                lines = set(good.split("\n"))
                shown = [line for line in source.decode(errors="replace").split("\n") if line not in lines]
                judge(campaign, number, outcome, "\n".join(shown))
            path.unlink()
            for written in (path.parent / "versions").glob("*_x.py"):
                written.unlink()


def test_some_odd_env_modules_end_in_one_error(fuzzed):
    fuzz_env(fuzzed, 25, run_in_process)


@SLOW
@pytest.mark.timeout(3_600)
def test_odd_env_modules_end_in_one_error(fuzzed):
    fuzz_env(fuzzed, mutations_wanted(300), run_in_process)


@SLOW
@pytest.mark.timeout(3_600)
def test_env_modules_that_close_or_replace_streams_end_in_one_error(fuzzed):
    fuzz_env(fuzzed, mutations_wanted(300) // 10, run_as_process, OF_STREAMS)


# --- declared modules -----------------------------------------------------------------------------------

ON_DECLARED = (["check"], ["--json", "check"], ["revision", "-m", "x", "--autogenerate"], ["-v", "check"])
ENTRIES = (
    "{0}", "{0}:", ":{0}", "{0}:NAME.x", "{0}:NAME.to_dict", "{0}:__dict__", "{0}:Bad", "{0}.x:NAME",
    "..{0}:NAME", "{0}:NAME:NAME", "{0}: NAME", "sys:modules", "os:environ", "builtins:object", "{0}:nowhere",
    "{0}:itself", "{0}:deep", "redismigrate:Operations", "{0}:__class__.__subclasses__", "a..b:c", ".:x",
)  # fmt: skip


def fuzz_declared(fuzzed: Any, count: int, run: Callable[..., Outcome], more: tuple[str, ...] = ()) -> None:
    configuration = fuzzed.folder / "redismigrate.toml"
    good = configuration.read_text()
    with Campaign(f"declared modules by {run.__name__}") as campaign:
        for number, rng in mutations(campaign.target, count):
            put_back(fuzzed)
            name = f"declared_{os.getpid()}_{number}"
            module = fuzzed.folder / f"{name}.py"
            if rng.random() < 0.1:
                source = rng.choice(FILES)
            else:
                odd = statement(rng, "", more) if rng.random() < 0.4 else ""
                source = f"{PREAMBLE}\nNAME = {expression(rng)}\n{odd}\n".encode("utf-8", "surrogatepass")
            module.write_bytes(source)
            entry = f"{name}:NAME"
            if rng.random() < 0.2:
                entry = rng.choice(ENTRIES).format(name)
            elif rng.random() < 0.1:
                entry = mutated_text(entry, rng).encode("utf-8", "replace").decode()
            entry = "".join(letter for letter in entry if letter.isprintable() and letter not in "'\"\\")
            configuration.write_text(f'{good}\nschemas = ["{entry}"]\n')
            arguments = rng.choice(ON_DECLARED)
            with watched(campaign, fuzzed, number):
                outcome = run(arguments, fuzzed.folder)
                shown = source.decode(errors="replace").removeprefix(PREAMBLE)
                judge(campaign, number, outcome, f"{entry}: {shown}")
            module.unlink()
            for written in (fuzzed.folder / "migrations" / "versions").glob("*_x.py"):
                written.unlink()
    configuration.write_text(good)


def test_some_odd_declared_modules_end_in_one_error(fuzzed):
    fuzz_declared(fuzzed, 25, run_in_process)


@SLOW
@pytest.mark.timeout(3_600)
def test_odd_declared_modules_end_in_one_error(fuzzed):
    fuzz_declared(fuzzed, mutations_wanted(300), run_in_process)


@SLOW
@pytest.mark.timeout(3_600)
def test_declared_modules_that_close_or_replace_streams_end_in_one_error(fuzzed):
    fuzz_declared(fuzzed, mutations_wanted(300) // 10, run_as_process, OF_STREAMS)


# --- clients and URLs -----------------------------------------------------------------------------------

OPTIONS = (
    "decode_responses", "protocol", "socket_timeout", "socket_connect_timeout", "socket_read_size",
    "encoding",
    "encoding_errors", "health_check_interval", "client_name", "lib_name", "lib_version", "max_connections",
    "retry", "retry_on_error", "retry_on_timeout", "single_connection_client", "username", "password", "db",
    "credential_provider", "redis_connect_func", "socket_keepalive", "socket_keepalive_options", "ssl",
    "host", "port", "unix_socket_path", "event_dispatcher", "driver_info", "parser_class", "command_packer",
    "connection_class", "ssl_cert_reqs", "ssl_ca_certs", "socket_type", "cache", "cache_config",
    "legacy_responses", "auto_close_connection_pool", "connection_pool", "nonsense",
)  # fmt: skip
OPTION_VALUES = (
    "True", "False", "None", "0", "-1", "3", "2", "1", "99999", "0.001", "-0.5", "1e400", "float('nan')",
    "''",
    "'x'", "'3'", "'utf-16'", "'ascii'", "'nowhere'", "'strict'", "'ignore'", "'a b'", "'é'", "'\\ud800'",
    "'a\\0b'", "'\\r\\nFLUSHALL\\r\\n'", "'x' * 100_000", "b'x'", "[]", "{}", "{1: 2}", "{'a': 'b'}",
    "[ValueError]", "[5]", "lambda *a: None", "lambda: fails()", "fails", "Bad()", "Silent", "Text('x')",
    "Number(3)", "10**30", "object", "redis.Redis", "redis.ConnectionPool", "redis.BlockingConnectionPool",
    "redis.backoff.NoBackoff()", "redis.retry.Retry(redis.backoff.ConstantBackoff(60), 9)",
    "redis.retry.Retry(None, 'x')", "redis.Connection", "redis.UnixDomainSocketConnection",
    "redis.SSLConnection", "types.SimpleNamespace(get_credentials=fails)",
    "types.SimpleNamespace(get_credentials=lambda: 5)", "redis.UsernamePasswordCredentialProvider(5, Bad())",
    "'/'", "'/nowhere'", "'.'", "'localhost'", "'256.256.256.256'", "'a' * 300 + '.com'", "'127.0.0.1:1'",
)  # fmt: skip
CLIENTS = (
    "redis.Redis.from_url(settings.url, {0}={1})", "redis.Redis.from_url(settings.url, {0}={1})",
    "redis.Redis.from_url(settings.url, {0}={1}, {2}={3})",
    "redis.Redis(connection_pool=redis.BlockingConnectionPool.from_url(settings.url, {0}={1}))",
    "redis.StrictRedis.from_url(settings.url, {0}={1})", "redis.Redis({0}={1}, port=1)",
    "redis.Redis(unix_socket_path='/', {0}={1})", "redis.Redis(port={1})", "redis.Redis(host={1})",
    "redis.asyncio.Redis.from_url(settings.url)", "redis.Redis", "redis",
    "redis.Redis.from_url(settings.url).ft()",
    "redis.Redis.from_url(settings.url).pipeline()", "redis.Redis.from_url(settings.url).pubsub()",
    "redis.Redis.from_url(settings.url).connection_pool", "redis.sentinel.Sentinel([('localhost', 1)])",
    "redis.sentinel.Sentinel([('localhost', {1})]).master_for('x', {0}={1})", "object.__new__(redis.Redis)",
    "object.__new__(redis.RedisCluster)", "unittest.mock.Mock(spec=redis.Redis)", "changed({0!r}, {1})",
    "unittest.mock.MagicMock(spec=redis.Redis)", "closed()", "type('R', (redis.Redis,), {{{0!r}: {1}}})()",
    "changed({0!r}, {1})", "redis.Redis.from_url({1})", "pooled({1})",
)  # fmt: skip
CLIENT_ENV = """
import redis, redis.asyncio, redis.sentinel, redis.backoff, redis.retry, unittest.mock
def client(settings, x):
    def changed(name, value):
        made = redis.Redis.from_url(settings.url)
        made.connection_pool.connection_kwargs[name] = value
        return made
    def closed():
        made = redis.Redis.from_url(settings.url)
        made.ping()
        made.close()
        made.connection_pool.disconnect()
        return made
    def pooled(value):
        made = redis.Redis.from_url(settings.url)
        made.connection_pool = value
        return made
    return {made}
"""
URLS = (
    "redis://{host}:{port}/{db}?{query}", "unix://{path}?{query}", "unix://{path}?db={db}&{query}",
    "rediss://{host}:{port}/{db}?{query}", "sentinel://{host}:{port}/{service}/{db}?{query}",
    "{good}&{query}",
    "redis://{user}:{user}@{host}:{port}/{db}", "{scheme}://{host}", "redis://{host}", "{good}?{query}",
    "sentinel://{host}:{port},{host}:{port}/{service}?{query}", "redis:{host}", "{host}", "{mutated}",
)  # fmt: skip
ODD_PARTS = (
    "", " ", "localhost", "127.0.0.1", "[::1]", "[::1", "::1", "é", "xn--", "a" * 300, "a." * 200, "%00",
    "\x01",
    "%zz", "/", ".", "..", "?", "#", "@", ":", "1", "-1", "99999", "65535", "0", "1e9", "9" * 4_301, "0x10",
    "\udcff", "\ud800", "\x1b[2J", "None", "localhost%00", "256.1.1.1", "0", "1", "x", "*", "%", "%25",
)  # fmt: skip


def odd_url(rng: random.Random, good: str) -> str:
    part = lambda: rng.choice(ODD_PARTS)  # noqa: E731 - each time another one
    query = "&".join(
        f"{rng.choice(OPTIONS)}={rng.choice((*ODD_PARTS, 'true', 'utf-16', '3'))}"
        for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 40)))
    )
    return rng.choice(URLS).format(
        host=part(), port=rng.choice(("1", "1", part())), db=rng.choice(("0", part())), query=query,
        path=rng.choice(("/", "/nowhere", "/dev/null", "/etc", "//", "/" + "a" * 200, part())), user=part(),
        service=part(), scheme=rng.choice(("redis", "rediss", "unix", "sentinel", "http", "", "REDIS")),
        good=good, mutated=mutated_text(good, rng).replace("\0", ""),
    )  # fmt: skip


def fuzz_clients(fuzzed: Any, count: int) -> None:
    path = fuzzed.folder / "migrations" / "env.py"
    with Campaign("client options") as campaign:
        for number, rng in mutations(campaign.target, count):
            put_back(fuzzed)
            arguments = list(
                rng.choice((["current"], ["check"], ["--json", "current"], ["status"], ["plan"]))
            )
            if rng.random() < 0.6:
                made = rng.choice(CLIENTS).format(
                    rng.choice(OPTIONS),
                    rng.choice(OPTION_VALUES),
                    rng.choice(OPTIONS),
                    rng.choice(OPTION_VALUES),
                )
                path.write_text(PREAMBLE + CLIENT_ENV.format(made=made))
                shown = made
            else:
                shown = odd_url(rng, fuzzed.url)
                arguments += ["--url", shown]
            with watched(campaign, fuzzed, number):
                judge(campaign, number, run_in_process(arguments, fuzzed.folder), shown)
            path.unlink(missing_ok=True)


def test_some_odd_clients_work_or_end_in_one_error(fuzzed):
    fuzz_clients(fuzzed, 40)


@SLOW
@pytest.mark.timeout(3_600)
def test_odd_clients_work_or_end_in_one_error(fuzzed):
    fuzz_clients(fuzzed, mutations_wanted(300))


# --- command lines --------------------------------------------------------------------------------------

# They run until they are told to end, or start a server.
_ENDLESS = {"demo", "server", "follow", "edit"}
WORDS = (
    *HOSTILE_TEXTS, *ODD_PARTS, "--", "-", "@file", "@/etc/passwd", "head", "heads", "base", "current", FIRST,
    SECOND, "+1", "-1", "+9999999999", "-9999999999", "head:+9999999999", "+" * 1000, "-" * 1000, "a@b@c",
    "@",
    "@head", "head@", "head@head", ":", "::", "base:head", "head:base", "a:b:c", "head-1", "head+1", "head+",
    "+0", "-0", "0", "00", FIRST[:4], f"{FIRST}+2", "label@+1", "x=y", "=", "=x", "x=", "a:b", "products",
    "products=x", "max-latency=5", "max-latency=off", "max-latency=nan", "paused=maybe", "nan", "inf", "-inf",
    "1e999", "0.5", "1_000", "\u0661", "\u00b2", "embedded://", "migrations", "redismigrate.toml",
    "/dev/null", "/",
    "nowhere/deep/x", "*.py", "[a-", "{a,b}", "$HOME", "~root", "\n", "\t", "a b", "--url", "--json", "-x",
)  # fmt: skip


def odd_command(rng: random.Random, url: str) -> list[str]:
    typed = rng.choice(sorted(COMMANDS.keys() - _ENDLESS))
    command: click.Command = COMMANDS[typed]
    words = typed.split()
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    for option in rng.sample(options, min(len(options), rng.choice((0, 1, 1, 2, 3)))):
        name = rng.choice(option.opts)
        if name in {"--watch", "--url", "--config", "--postpone-cutover"}:
            continue
        if getattr(option, "is_flag", False):
            words.append(name)
        elif rng.random() < 0.3:
            words.append(f"{name}={word(rng)}")
        else:
            words += [name, word(rng)]
    needed = [each for each in command.params if each.param_type_name == "argument"]
    words += [word(rng) for _ in range(len(needed) if rng.random() < 0.7 else rng.randrange(4))]
    if rng.random() < 0.15:
        words.insert(rng.randrange(len(words) + 1), word(rng))
    if rng.random() < 0.2:
        words.insert(rng.randrange(len(words) + 1), rng.choice(("--json", "-v", "-q", "--", "-x", "--env")))
    # What waits for a lock or a server that does not come is no fault.
    return [each for each in words if each not in {"--watch", "--postpone-cutover"} and "\0" not in each]


def word(rng: random.Random) -> str:
    text = rng.choice(WORDS).replace("\ud800", "\udcff")
    if rng.random() < 0.15:
        text = mutated_text(text, rng)
    # What the system hands over: bytes, as lone surrogates where they are no UTF-8, and no NUL.
    return text.replace("\0", "")[:100_000]


def fuzz_commands(fuzzed: Any, count: int, run: Callable[..., Outcome]) -> None:
    script = fuzzed.script(SECOND)
    versions = script.parent
    configuration = fuzzed.folder / "redismigrate.toml"
    good = configuration.read_text()
    first = fuzzed.script(FIRST).read_bytes()
    with Campaign(f"command lines by {run.__name__}") as campaign:
        for number, rng in mutations(campaign.target, count):
            for path in versions.glob("*"):
                if path.is_file() and path.name != f"{FIRST}.py":
                    path.unlink()
            configuration.write_text(good)
            fuzzed.script(FIRST).write_bytes(first)
            put_back(fuzzed)
            script.write_text(GOOD)
            arguments = odd_command(rng, fuzzed.url)
            with watched(campaign, fuzzed, number):
                try:
                    outcome = run(arguments, fuzzed.folder)
                except (ValueError, OSError):
                    continue  # not even the system takes it
                judge(campaign, number, outcome, arguments)
        script.unlink(missing_ok=True)


def test_some_odd_command_lines_end_in_one_error(fuzzed):
    fuzz_commands(fuzzed, 25, run_in_process)


@SLOW
@pytest.mark.timeout(3_600)
def test_odd_command_lines_end_in_one_error(fuzzed):
    fuzz_commands(fuzzed, mutations_wanted(300), run_in_process)


@SLOW
@pytest.mark.timeout(3_600)
def test_odd_command_lines_of_processes_end_in_one_error(fuzzed):
    fuzz_commands(fuzzed, mutations_wanted(300) // 10, run_as_process)
