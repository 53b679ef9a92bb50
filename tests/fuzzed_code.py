"""Python that is broken or hostile, for the fuzz tests of scripts, env.py, declared modules and clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuzzed_inputs import HOSTILE_TEXTS

if TYPE_CHECKING:
    import random

# What the expressions and statements below name.
PREAMBLE = """
import sys, os, functools, types, enum, signal

class Own(BaseException): pass
class Meta(type):
    @property
    def __name__(cls): raise Own("name")
class Silent(Exception):
    def __str__(self): raise Own("str")
    __repr__ = __str__
class Exits(Exception):
    def __str__(self): sys.exit(9)
    __repr__ = __str__
class Says(Exception):
    def __str__(self): return 5
class Loud(Exception):
    def __str__(self): return "\\x1b[2J\\nError: forged\\n" + "x" * 3_000_000
class Nameless(Exception, metaclass=Meta): pass
class Bad:
    def __getattribute__(self, name): raise Own(name)
    def __str__(self): raise Own("str")
    __repr__ = __eq__ = __hash__ = __bool__ = __iter__ = __len__ = __call__ = __str__
class Hashless:
    def __eq__(self, other): raise Silent
    def __hash__(self): raise Silent
class Text(str):
    def __eq__(self, other): raise Silent
    def __hash__(self): raise Silent
    def __str__(self): raise Silent
    __repr__ = __format__ = __str__
class Number(int):
    def __repr__(self): raise Silent
    __str__ = __index__ = __int__ = __bool__ = __repr__
class Names(dict):
    def items(self): raise Silent
    def keys(self): raise Own
    def __iter__(self): raise Exits
class Endless(dict):
    def items(self):
        while True: yield "a", dict(SCHEMA)
    def keys(self): return {"a"}
class Row(tuple):
    def __iter__(self): raise Own
class Props:
    @property
    def to_dict(self): raise Own
class ToDict:
    def __init__(self, value): self.value = value
    def to_dict(self): return self.value() if callable(self.value) else self.value
class Kind(enum.Enum):
    a = "hash"
def fails(*_): raise Own("called")
def yields(*_):
    yield 1
async def waits(*_): pass
looped = lambda op: None
looped.__wrapped__ = looped
itself = []
itself.append(itself)
deep = []
for _ in range(5000): deep = [deep]
SCHEMA = {"index": {"name": "products", "prefix": "p:"}, "fields": [{"name": "title", "type": "text"}]}
"""
EXPRESSIONS = (
    "None", "True", "0", "-1", "10**5000", "1e400", "float('nan')", "1j", "...", "NotImplemented", "object()",
    "object", "type", "Own", "Own()", "Silent()", "Bad()", "Hashless()", "Text('a')", "Text('000000000002')",
    "Number(5)", "Names(a=1)", "Endless()", "Endless(a=1)", "Row((1, 2))", "Row()", "Props()", "ToDict(5)",
    "ToDict(fails)", "ToDict(SCHEMA)", "ToDict(Bad())", "ToDict(Names())", "Kind.a", "fails", "yields",
    "waits", "yields()", "(x for x in iter(int, 1))", "looped", "itself", "deep", "sys", "sys.modules",
    "functools.partial(fails)", "functools.partial(Bad)", "print", "dict", "max", "b'a'", "b'\\xff'",
    "bytearray(b'a')", "memoryview(b'a')", "'\\ud800'", "'\\udcff'", "'a\\0b'", "'\\x1b[2J'", "''", "' '",
    "'head'", "'base'", "'a' * 1_000_000", "'\\u202e'", "'é'", "('a',) * 5000", "[None]", "[[]]", "{}",
    "{'a': None}", "{None: 1}", "{1, 2}", "{Kind.a: SCHEMA}", "SCHEMA", "[SCHEMA]", "[SCHEMA, SCHEMA]",
    "{'products': SCHEMA}", "{**SCHEMA, 'fields': itself}", "{**SCHEMA, 'fields': Endless()}",
    "{**SCHEMA, 'fields': [Bad()]}", "{**SCHEMA, 'fields': [{'name': Text('a'), 'type': 'text'}]}",
    "{**SCHEMA, 'fields': [{'name': 'a', 'type': Bad()}]}", "{**SCHEMA, 'fields': [{'name': 'a'}] * 3}",
    "{**SCHEMA, 'fields': [{'name': 'a', 'type': 'tag', 'attrs': {'separator': Bad()}}]}",
    "{**SCHEMA, 'fields': [{'name': 'v', 'type': 'vector', 'attrs': {'dims': 10**5000}}]}",
    "{**SCHEMA, 'fields': [{'name': 'v', 'type': 'vector', 'attrs': {'dims': Number(5)}}]}",
    "{**SCHEMA, 'index': {'name': Text('products')}}", "{**SCHEMA, 'index': {'name': '\\x1b[2J'}}",
    "{**SCHEMA, 'index': {'name': 'a\\nb'}}", "{**SCHEMA, 'index': {'name': 'a', 'prefix': itself}}",
    "{**SCHEMA, 'index': Names()}", "{**SCHEMA, Text('x'): 1}", "{**SCHEMA, Bad: 1}",
    "{**SCHEMA, 'index': {'name': 'a', 'prefix': [Text('p:')]}}", "{**SCHEMA, 'version': Bad()}",
    "{**SCHEMA, 'index': {'name': 'a', 'storage_type': Kind.a}}",
    "{**SCHEMA, 'index': {'name': 'a', 'storage_type': Bad()}}", "types.SimpleNamespace(to_dict=fails)",
    "types.SimpleNamespace(to_dict=lambda: SCHEMA)", "types.ModuleType('a')", "property(fails)",
)  # fmt: skip
STATEMENTS = (
    "raise Own", "raise Own('a', 'b')", "raise SystemExit", "raise SystemExit(0)", "raise SystemExit(Bad())",
    "sys.exit('text')", "raise KeyboardInterrupt", "raise GeneratorExit", "raise StopIteration",
    "raise StopAsyncIteration", "raise Silent", "raise Exits", "raise Says", "raise Loud", "raise Nameless",
    "raise BaseExceptionGroup('a', [Own(), Silent()])", "raise ExceptionGroup('a', [Loud()])",
    "raise SyntaxError(5)", "raise SyntaxError('a', ('f', 'x', Bad(), 5))", "raise OSError(5)",
    "raise OSError(5, Bad())", "raise UnicodeDecodeError('utf-8', b'a', 0, 1, 'no')", "raise MemoryError",
    "raise RecursionError", "raise AttributeError(name=5, obj=Bad())", "raise ImportError(name=Bad())",
    "raise NameError(name=Bad())", "raise KeyError(Bad())", "raise Loud from Silent()", "raise Bad()",
    "raise 5", "assert False, Bad()", "raise ValueError(10**5000)", "raise ValueError('\\ud800')",
    "(lambda f: f(f))(lambda f: f(f))", "[0][5]", "None.x", "undefined", "import nowhere", "from . import a",
    "import redismigrate.nowhere", "sys.path.clear()", "sys.path = None", "sys.path.append(5)",
    "sys.setrecursionlimit(sys.getrecursionlimit() // 2)", "os.chdir('/')", "sys.modules.pop(__name__, 0)",
    "__name__ = Bad()", "globals().clear()", "globals()[Hashless] = 5", "__builtins__ = {}",
    "upgrade = downgrade = client = schemas = include = Bad()",
    "signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "exec('1' + '+1' * 20000)", "eval('(' * 500 + ')' * 500)", "eval('[' * 90 + ']' * 90)",
    "warnings = __import__('warnings'); warnings.warn(Loud())", "sys.stdout.write(5)",
    "os.environ['REDISMIGRATE_URL'] = 'x'", "raise type('Error: ' * 9, (Exception,), {})('a')",
    "raise type('\\x1b[2J', (Own,), {})('a')", "del sys.argv[:]", "sys.argv = None", "os.umask(0o777 & 0o22)",
    "from redismigrate.errors import *", "raise __import__('redismigrate').errors.UsageError(5)",
    "raise __import__('redismigrate.errors').errors.PlanBlocked(None, Bad())",
    "raise type('E', (__import__('redismigrate.errors').errors.ScriptError,), {'exit_code': 77})('a')",
    "raise __import__('redis').ConnectionError(Bad())",
    "raise __import__('redis').ResponseError('WRONGTYPE')",
    "raise type('E', (__import__('redis').RedisError,), {'__str__': fails})('a')",
    "raise __import__('click').Abort", "raise __import__('click').exceptions.Exit(9)",
    "raise __import__('click').UsageError('a')",
)  # fmt: skip
# What closes or replaces streams would take those of the test along.
OF_STREAMS = (
    "sys.stdout.close()", "sys.stderr.close()", "sys.stdout = None", "sys.stderr = None",
    "sys.stdout = sys.stderr = Bad()", "sys.stdout = open('/dev/full', 'w'); print('a' * 100_000)",
    "os.close(1)", "os.close(2)", "os.close(1); os.close(2)", "os.close(0)", "sys.stdin.close()",
    "sys.stdout.detach()", "sys.stdout = sys.stderr = sys.__stdout__ = None", "sys.excepthook = fails",
    "sys.stdout.close(); sys.stderr.close(); raise Own", "os.close(1); raise Silent",
    "sys.stderr.close(); raise SystemExit(0)", "sys.stdout.reconfigure(encoding='utf-16')",
    "sys.stderr.reconfigure(encoding='ascii', errors='strict')", "print('\\ud800', file=sys.stderr)",
    "import io; sys.stdout = io.StringIO()", "import io; sys.stderr = io.TextIOWrapper(io.BytesIO())",
    "os.dup2(os.open('/dev/null', 0), 1)", "sys.stdout.flush = fails", "sys.stdout.write = fails",
    "os.kill(os.getpid(), signal.SIGINT)", "os.kill(os.getpid(), signal.SIGTERM)",
    "raise KeyboardInterrupt", "sys.tracebacklimit = Bad()",
)  # fmt: skip
_EMPTY = b"""revision = "000000000002"
down_revision = "000000000001"
def upgrade(op): pass
def downgrade(op): pass
"""
# Whole files in place of one.
FILES = (
    b"", b"\0", b"\xff\xfe\0", b"# coding: nowhere\n", b"# coding: rot13\n", b"# coding: hex\n",
    b"# coding: utf-16\nx = 1\n", b"# coding: idna\nx = 1\n", b"# coding: punycode\n\xff\n",
    b"# coding: zlib\n", b"# coding: undefined\n", b"# coding: utf-7\n+AGE-\n", b"# coding: \xff\n",
    b"# coding: unicode_escape\nx = '\\ud800'\n", b"\xef\xbb\xbf# coding: latin-1\n", b"x = '\xff'\n",
    b"x = " + b"1+" * 20_000 + b"1\n", b"x = " + b"'a'+" * 20_000 + b"'b'\n",
    b"x = " + b"-" * 20_000 + b"1\n",
    b"x = " + b"(" * 20_000 + b")" * 20_000 + b"\n", b"x = " + b"[" * 150 + b"]" * 150 + b"\n",
    b"x = " + b"a." * 20_000 + b"b\n", b"x = " + b"not " * 20_000 + b"1\n", b"x = " + b"f(" * 5_000,
    b"x = " + b"lambda: " * 5_000 + b"1\n", b"x = " + b"1 if 1 else " * 5_000 + b"1\n",
    b"".join(b" " * level + b"if 1:\n" for level in range(200)), b"x = " + b"9" * 5_000 + b"\n",
    b"revision = " + b"9" * 4_000 + b"\ndown_revision = None\n", b"revision = -" * 900 + b"1\n",
    b"revision = " + b"(" * 190 + b"1," + b")" * 190 + b"\ndown_revision = None\n",
    b"revision = 'a' 'b'\ndown_revision = " + b"'a'+" * 20_000 + b"'b'\n",
    b"x = [" + b"'a', " * 60_000 + b"]\n", b"x = f'" + b"{1}" * 20_000 + b"'\n", b"\x0c" * 9_000 + b"x = 1\n",
    b'"""a\n\nCreate Date: a' + b" " * 100_000 + b'b"""\nrevision = "a"\ndown_revision = None\n',
    b'"""\\ud800"""\n' + _EMPTY, b'"""\x1b[2J\nError: forged"""\n' + _EMPTY,
    b"\r\r\r", b"\\\n" * 9_000, b"#" * 900_000, b"'" * 9_001, b'"""' * 9_001, b"x = 1;" * 50_000 + b"\n",
)  # fmt: skip


def expression(rng: random.Random) -> str:
    """An odd value, or several of them in something."""
    odd = repr(rng.choice(HOSTILE_TEXTS)) if rng.random() < 0.25 else rng.choice(EXPRESSIONS)
    around = rng.choice(
        ("{0}",) * 6 + ("[{0}]", "({0},)", "{{'a': {0}}}", "lambda *a: {0}", "[{0}, {1}]", "ToDict({0})")
    )
    return around.format(odd, rng.choice(EXPRESSIONS))


def statement(rng: random.Random, indent: str = "", more: tuple[str, ...] = ()) -> str:
    """An odd statement, alone or in what code does around it."""
    odd = rng.choice(STATEMENTS + more * 3)
    around = rng.choice(
        ("{0}",) * 6
        + (
            "try: None.x\nexcept Exception:\n    {0}",
            "try:\n    {0}\nfinally:\n    {1}",
            "import contextlib\nwith contextlib.suppress(BaseException):\n    {1}\n{0}",
            "{0}\n{1}",
        )
    )
    text = around.format(odd, rng.choice(STATEMENTS))
    return "\n".join(f"{indent}{line}" for line in text.split("\n"))
