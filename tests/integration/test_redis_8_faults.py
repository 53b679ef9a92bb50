"""What Redis 8 refuses half way, or takes otherwise than was meant; each test tries whether a server does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import redis
from servers import accepts

from redismigrate import commands
from redismigrate.errors import RunInterrupted
from redismigrate.execution.progress import Watcher
from redismigrate.redis_server.connection import Server
from redismigrate.redis_server.inspection import list_indexes, resolve_alias
from redismigrate.state import store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Shop

    from redismigrate.planning.plan import Step

CHANGE = "with op.index('products') as index:\n    "
DROP = "op.drop_index('products')"
DIMS = 4
VECTORS = np.random.default_rng(5).standard_normal((40, DIMS)).astype(np.float32)
WEIGHT_2, WEIGHT_1 = (CHANGE + f"index.alter_field('title', weight={weight})" for weight in (2, 1))


def creation(algorithm: str = "flat", metric: str = "cosine", **attributes: Any) -> str:
    vector = {"algorithm": algorithm, "dims": DIMS, "distance_metric": metric, **attributes}
    fields = [{"name": "title", "type": "text"}, {"name": "v", "type": "vector", "attrs": vector}]
    return f"op.create_index({{'index': {{'name': 'products', 'prefix': 'p:'}}, 'fields': {fields!r}}})"


def stock(shop: Shop, numbers: np.ndarray[Any, Any] = VECTORS) -> None:
    for number, vector in enumerate(numbers):
        shop.client.hset(f"p:{number}", mapping={"title": "shoe", "v": vector.tobytes()})


def succeeds(shop: Shop, *arguments: str) -> str:
    result = shop.run(*arguments)
    assert result.code == 0, (arguments, result.out, result.err)
    return result.out


# SVS-VAMANA


@pytest.mark.needs("svs-vamana")
@pytest.mark.parametrize(("first", "second"), [("flat", "svs-vamana"), ("svs-vamana", "hnsw")])
def test_svs_vamana_is_the_same_by_whichever_way_it_comes(shop: Shop, first: str, second: str):
    stock(shop)
    change = CHANGE + "index.alter_field('v', algorithm={!r})"
    shop.write(creation(first), DROP)
    shop.write(change.format(second), change.format(first))

    for arguments, code in ((("upgrade",), 0), (("downgrade", "-1"), 4), (("upgrade",), 0)):
        succeeds(shop, *arguments)
        assert shop.run("check").code == code  # 4: no drift, but the scripts are ahead
    assert shop.hits("products") == len(VECTORS)


@pytest.mark.needs("svs-vamana")
def test_a_compression_that_the_server_does_not_have_is_told(shop: Shop):
    shop.write(creation("svs-vamana", compression="LVQ4x8"), DROP)
    planned = shop.run("plan").out
    assert "note: open builds of Redis have no LVQ4x8 and silently keep 8 bits for a component" in planned

    told = succeeds(shop, "upgrade")

    is_open = b"GlobalSQ8" in shop.client.execute_command("FT.INFO", "products")[7][1]  # type: ignore[no-untyped-call]
    remark = "this server has no LVQ4x8: field v of index products is kept with 8 bits"
    assert (remark in told) == is_open
    succeeds(shop, "check")


# UINT8


@pytest.mark.parametrize("metric", ["cosine", "ip"])
@pytest.mark.parametrize("strategy", ["auto", "rebuild"])
def test_a_plan_to_uint8_is_blocked_by_negative_numbers_of_its_sample(shop: Shop, metric: str, strategy: Any):
    stock(shop)
    shop.strategy = strategy
    shop.write(creation(metric=metric), DROP)
    succeeds(shop, "upgrade")
    shop.write(CHANGE + "index.alter_field('v', datatype='uint8')")

    result = shop.run("plan")

    assert result.code == 6
    smallest, largest = f"{VECTORS.min():.6g}", f"{VECTORS.max():.6g}"
    assert f"UINT8 with {metric.upper()} needs vectors that are never negative" in result.out
    assert f"In a sample of 40 documents components are {smallest} to {largest}: use INT8" in result.out


@pytest.mark.parametrize(("metric", "numbers"), [("l2", VECTORS), ("cosine", np.abs(VECTORS))])
def test_numbers_that_uint8_can_hold_block_nothing(shop: Shop, metric: str, numbers: Any):
    stock(shop, numbers)
    shop.write(creation(metric=metric), DROP)
    succeeds(shop, "upgrade")
    shop.write(CHANGE + "index.alter_field('v', datatype='uint8')")

    assert "never negative" not in shop.run("plan").out


# Rights


@pytest.fixture
def limited(shop: Shop) -> Iterator[Callable[..., tuple[str, ...]]]:
    """Gives the options to run a command as a user who may use all but some keys."""
    execute: Any = shop.client.execute_command
    execute("FT.CREATE", "probe", "PREFIX", "1", "p:", "SCHEMA", "t", "TEXT")
    kwargs = {**shop.client.connection_pool.connection_kwargs, "username": "limited", "password": "pw"}
    rights = ("~{redismigrate*", "~redismigrate*", "~products*", "~probe*")

    def options(*more: str) -> tuple[str, ...]:
        execute("ACL", "SETUSER", "limited", "reset", "on", ">pw", "+@all", *rights, *more)
        return ("--url", shop.url.replace("unix://", "unix://limited:pw@"))

    options()
    pool = redis.ConnectionPool(connection_class=shop.client.connection_pool.connection_class, **kwargs)
    with redis.Redis.from_pool(pool) as probe:
        minds = not accepts(probe, "FT.INFO", "probe")
    execute("FT.DROPINDEX", "probe")
    if not minds:
        pytest.skip("this server lets everybody use an index")
    yield options
    execute("ACL", "DELUSER", "limited")


def test_an_index_that_its_maker_could_not_use_is_refused_before(shop: Shop, limited: Callable[..., Any]):
    shop.write(creation(), DROP)
    before = shop.content()
    says = "the Redis user may not read keys p:*, and this server lets nobody use an index"

    # A right to the prefix as a key, to write, or to one more letter is none to read the keys.
    for more in ((), ("~p:",), ("%W~p:*",), ("~p:[a-z]*",)):
        for command in ("plan", "upgrade"):
            result = shop.run(*limited(*more), command)
            assert result.code == 6, result.err
            assert says in result.out + result.err
            assert "grant ~p:* with ACL SETUSER" in result.out + result.err
        assert shop.content() == before

    # Who may run no script can have a plan all the same.
    assert shop.run(*limited("-eval"), "plan").code == 0
    succeeds(shop, *limited("%R~p:*"), "upgrade")


def test_a_new_prefix_that_its_maker_could_not_read_is_refused_before(
    shop: Shop, limited: Callable[..., Any]
):
    shop.write(creation(), DROP)
    succeeds(shop, *limited("~p:*"), "upgrade")
    shop.write(CHANGE + "index.set_options(prefixes=['p:', 'q:'])")
    before = shop.content()

    result = shop.run(*limited("~p:*"), "upgrade")

    assert (result.code, shop.content()) == (6, before)
    assert "may not read keys q:*" in result.err


@pytest.mark.parametrize(
    ("command", "is_chain"), [("upgrade", False), ("rollback", False), ("rollback", True)]
)
def test_a_right_that_was_taken_away_is_asked_for_before_a_run_goes_on(
    shop: Shop, limited: Callable[..., Any], command: str, is_chain: bool
):
    stop = "def stop(client):\n    if client.exists('stops'): raise KeyboardInterrupt"
    shop.client.set("stops", 1)
    if is_chain:
        shop.write(creation(), DROP)
    shop.write("op.run(stop)" if is_chain else f"{creation()}\nop.run(stop)", DROP, preamble=stop)
    assert shop.run(*limited("~p:*", "~stops"), "upgrade").code == 7
    before = shop.content()

    result = shop.run(*limited(), command)

    assert (result.code, shop.content()) == (1, before), result.err
    assert "may not read keys p:*, and this server lets nobody use an index" in result.err
    assert "Grant ~p:* with ACL SETUSER, or migrate as another user." in result.err
    succeeds(shop, *limited("~p:*"), "rollback")
    assert list_indexes(shop.client.execute_command) == ()


# Memory


class FullAt(Watcher):
    """Lets the server be over its maxmemory from a step on."""

    def __init__(self, client: redis.Redis, kind: str, *, undoing: bool = False) -> None:
        self.client, self.kind, self.undoing = client, kind, undoing
        self.is_undoing = self.was_full = False

    def undo_started(self, run: Any) -> None:
        self.is_undoing = True

    def step_started(self, step: Step) -> None:
        if step.kind == self.kind and self.is_undoing == self.undoing:
            self.client.config_set("maxmemory", 1)
            self.was_full = True


def interrupted_by_full(shop: Shop, run: Callable[[Watcher], object], kind: str, **options: Any) -> None:
    """Check that a run which meets a full server stops, says what to do, and leaves nothing between."""
    watcher = FullAt(shop.client, kind, **options)
    try:
        with pytest.raises(RunInterrupted) as caught:
            run(watcher)
    finally:
        shop.client.config_set("maxmemory", 0)
    assert watcher.was_full
    assert "more memory than its maxmemory" in caught.value.message
    assert "same command again" in caught.value.hint or "again: it goes on undoing" in caught.value.hint


def names_of(shop: Shop) -> dict[str, int]:
    """What each name finds; every one has to lead somewhere."""
    return {name: shop.hits(name) for name in ("products", "catalog", "theirs")}


@pytest.fixture(params=["one script", "each command on its own"])
def named(request: pytest.FixtureRequest, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """An index with an alias of ours and one of a user, on which every command of Search may be a script."""
    if request.param != "one script":
        monkeypatch.setattr(store, "LONGEST_SCRIPTED_COMMAND", 1)
    stock(shop)
    shop.write(creation() + "\nop.create_alias('catalog', 'products')", DROP)
    shop.write(WEIGHT_2, WEIGHT_1)
    succeeds(shop, "upgrade", "+1")
    shop.client.execute_command("FT.ALIASADD", "theirs", "products")  # type: ignore[no-untyped-call]
    shop.client.execute_command("SLOWLOG", "RESET")  # type: ignore[no-untyped-call]
    return shop


def project_of(shop: Shop) -> commands.Project:
    return commands.Project.load(shop.folder / "redismigrate.toml")


@pytest.mark.parametrize("kind", ["swap_alias", "record_revision", "create_index"])
def test_a_cutover_on_a_full_server_moves_no_name(named: Shop, kind: str):
    interrupted_by_full(
        named, lambda watcher: commands.upgrade(project_of(named), "head", watcher=watcher), kind
    )

    assert names_of(named) == dict.fromkeys(("products", "catalog", "theirs"), len(VECTORS))
    succeeds(named, "upgrade")
    succeeds(named, "check")
    assert (named.hits("products"), named.hits("catalog")) == (len(VECTORS),) * 2


def test_an_undo_on_a_full_server_goes_on_when_there_is_room(named: Shop):
    named.write(
        WEIGHT_2.replace("=2", "=3") + "\nop.run(fail)",
        WEIGHT_2,
        preamble="def fail(client): raise ValueError('no')",
    )
    succeeds(named, "upgrade", "+1")

    interrupted_by_full(
        named,
        lambda watcher: commands.upgrade(project_of(named), "head", watcher=watcher),
        "drop_index",
        undoing=True,
    )

    assert (named.hits("products"), named.hits("catalog")) == (len(VECTORS),) * 2
    result = named.run("upgrade")
    assert (result.code, "All that it had changed is undone" in result.err) == (1, True)
    assert named.run("check").code == 4
    assert len(list_indexes(named.client.execute_command)) == 1


def test_a_rollback_on_a_full_server_leaves_every_name_and_goes_on(named: Shop):
    run = commands.upgrade(project_of(named), "head").run
    target = resolve_alias(named.client.execute_command, "catalog")
    # A user has made an alias of his own since.
    named.client.execute_command("FT.ALIASUPDATE", "theirs", target)  # type: ignore[no-untyped-call]

    interrupted_by_full(
        named,
        lambda watcher: commands.rollback(project_of(named), run=run, watcher=watcher),
        "swap_alias",
        undoing=True,
    )

    assert names_of(named) == dict.fromkeys(("products", "catalog", "theirs"), len(VECTORS))
    succeeds(named, "rollback")
    assert (named.hits("products"), named.hits("catalog")) == (len(VECTORS),) * 2
    assert named.run("check").code == 4


@pytest.mark.parametrize(
    ("upgrade", "downgrade", "kind"),
    [
        (CHANGE + "index.add_field({'name': 'brand', 'type': 'tag'})", DROP, "alter_index"),
        ("op.set_synonyms('products', 'g', ['shoe', 'boot'])", DROP, "set_synonyms"),
        ("op.create_alias('new', 'products')", "op.drop_alias('new')", "set_alias"),
        (DROP, creation(), "drop_index"),
    ],
)
def test_other_changes_of_an_index_wait_for_room(shop: Shop, upgrade: str, downgrade: str, kind: str):
    stock(shop)
    shop.write(creation(), DROP)
    succeeds(shop, "upgrade")
    before = shop.content("new")["indexes"]
    shop.write(upgrade, downgrade)

    interrupted_by_full(
        shop, lambda watcher: commands.upgrade(project_of(shop), "head", watcher=watcher), kind
    )

    assert shop.content("new")["indexes"] == before
    assert resolve_alias(shop.client.execute_command, "new") is None
    succeeds(shop, "upgrade")
    succeeds(shop, "check")


def test_an_alias_that_a_user_has_moved_while_a_cutover_waited_for_room_stays_there(named: Shop):
    execute: Any = named.client.execute_command
    execute("FT.CREATE", "other", "PREFIX", "1", "o:", "SCHEMA", "t", "TEXT")
    project = project_of(named)
    interrupted_by_full(
        named, lambda watcher: commands.upgrade(project, "head", watcher=watcher), "record_revision"
    )
    execute("FT.ALIASUPDATE", "catalog", "other")

    result = named.run("upgrade")

    assert result.code == 3
    assert "Alias catalog was moved to index other by another client" in result.err
    assert resolve_alias(named.client.execute_command, "catalog") == "other"
    assert (named.hits("products"), named.hits("theirs")) == (len(VECTORS),) * 2
    assert sorted(list_indexes(named.client.execute_command)) == ["other", "products"]


def test_a_server_that_is_full_between_two_commands_is_put_right_by_the_same_command(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
):
    """Only where they are no script: too long for one, or for a cluster."""
    monkeypatch.setattr(store, "LONGEST_SCRIPTED_COMMAND", 1)
    stock(shop)
    shop.write(creation() + "\nop.create_alias('catalog', 'products')", DROP)
    shop.write(WEIGHT_2, WEIGHT_1)
    succeeds(shop, "upgrade", "+1")
    execute = Server.execute

    def fill(server: Server, *command: Any) -> Any:
        reply = execute(server, *command)
        if command == ("FT.DROPINDEX", b"products"):
            shop.client.config_set("maxmemory", 1)
        return reply

    with monkeypatch.context() as patched:
        patched.setattr(Server, "execute", fill)
        result = shop.run("upgrade")
    shop.client.config_set("maxmemory", 0)

    assert result.code == 7
    assert "more memory than its maxmemory" in result.err
    assert "Run the same command again" in result.err
    succeeds(shop, "upgrade")
    assert (shop.hits("products"), shop.hits("catalog")) == (len(VECTORS),) * 2
    assert len(list_indexes(shop.client.execute_command)) == 1
    succeeds(shop, "check")
