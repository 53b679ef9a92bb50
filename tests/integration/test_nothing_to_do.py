"""An upgrade with nothing to do, as at every start of every pod, imports as little as it can."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Shop

# Runs `upgrade head` in a fresh interpreter and prints which packages that imported.
UPGRADE = """
import sys
from redismigrate.cli import main
try:
    main(["upgrade", "head"])
except SystemExit as ending:
    print(ending.code, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def test_an_upgrade_with_nothing_to_do_does_not_import_what_planning_needs(shop: Shop):
    shop.write(
        'op.create_index({"index": {"name": "products", "prefix": "p:"},'
        ' "fields": [{"name": "title", "type": "text"}]})',
        'op.drop_index("products")',
    )
    assert shop.run("upgrade", "head").code == 0
    result = subprocess.run(
        [sys.executable, "-c", UPGRADE], cwd=shop.folder, capture_output=True, text=True, check=True
    )
    assert result.stdout == "Nothing to do.\n"
    code, *packages = result.stderr.split()
    assert code == "0"
    assert set(packages) & {"numpy", "jinja2", "networkx", "rich"} == set()
