"""Random cases of two releases that write both forms of documents while a revision comes and goes.

`python tests/integration/random_two_releases.py --cases 2000 --seed 1` runs many in a row, on a server of its
own. All choices of a case follow from its seed; how processes race does not.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from random_commands import Commands
from random_forms import FormsCase
from random_moves import MovingCase
from random_second_fields import FieldCase

from redismigrate.redis_server.embedded import EmbeddedServer

# Every so many cases one is about vectors in second fields, and so many after it are about other forms.
FIELD_SHARE, FORMS_SHARE = 5, 2
# How often is told how far it is.
TOLD_CASES = 50


def kind_of(seed: int) -> type[FieldCase | FormsCase | MovingCase]:
    """What the case of a seed is about."""
    place = seed % FIELD_SHARE
    if place == 0:
        return FieldCase
    return FormsCase if place <= FORMS_SHARE else MovingCase


def run_case(seed: int, url: str) -> Commands:
    """One case; it raises what is wrong with its story as a note."""
    logging.getLogger("redismigrate").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        case = kind_of(seed)(seed, url, Path(folder))
        try:
            case.go()
        except BaseException as error:
            error.add_note("\n".join([f"seed {seed}", *case.story]))
            raise
        finally:
            case.client.close()
    return case


def _tell(cases: int, kills: int, started: float, failures: Counter[str]) -> None:
    """How far it is. Kills in cases that fail aren't counted."""
    seconds = time.monotonic() - started
    failed = sum(failures.values())
    print(f"{cases} cases with {kills} kills in {seconds:.0f} s, {failed} failed", flush=True)


def main() -> int:
    """Run cases in a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep-going", action="store_true", help="Go on after a case that fails.")
    parser.add_argument("--verbose", action="store_true", help="Tell the story of a case that fails.")
    arguments = parser.parse_args()
    failures: Counter[str] = Counter()
    started, kills = time.monotonic(), 0
    with EmbeddedServer() as server:
        for done, seed in enumerate(range(arguments.seed, arguments.seed + arguments.cases)):
            try:
                kills += run_case(seed, server.url).kills
            except Exception as error:  # noqa: BLE001 - whatever it is, it is to be told and repeated
                failures[str(error).partition("\n")[0][:100]] += 1
                print(f"seed {seed}, case {done + 1}: {type(error).__name__}: {error}", flush=True)
                if arguments.verbose:
                    print("\n".join(error.__notes__))
                    traceback.print_exception(error.with_traceback(error.__traceback__))
                print(f"  again: python {sys.argv[0]} --cases 1 --seed {seed} --verbose", flush=True)
                if not arguments.keep_going:
                    break
            if not (done + 1) % TOLD_CASES:
                _tell(done + 1, kills, started, failures)
    _tell(done + 1, kills, started, failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
