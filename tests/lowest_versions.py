"""Prints the lowest versions of its dependencies that pyproject.toml admits, as constraints for pip.

`python tests/lowest_versions.py [FILE]` reads pyproject.toml itself, so that what is declared is tested:
continuous integration and `tox -e lowest` install these and run the unit tests and the demonstration.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"
# Extras can't stand in constraints; what they add is no dependency of ours.
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?(?:>=|==)(?P<version>[0-9.]+)")


def lowest_versions(pyproject: str) -> list[str]:
    """`name==version` of every dependency, with the lowest version that is admitted.

    Args:
        pyproject: The text of pyproject.toml.
    """
    project = tomllib.loads(pyproject)["project"]
    lines = []
    for text in [*project["dependencies"], *project["optional-dependencies"]["embedded"]]:
        requirement = REQUIREMENT.fullmatch(text)
        if requirement is None:
            sys.exit(f"{text}: write name>=version, so that the lowest version is known.")
        lines.append(f"{requirement['name']}=={requirement['version']}")
    return lines


if __name__ == "__main__":
    constraints = "".join(f"{line}\n" for line in lowest_versions(PYPROJECT.read_text(encoding="utf-8")))
    if sys.argv[1:]:
        Path(sys.argv[1]).write_text(constraints, encoding="utf-8")
    else:
        print(constraints, end="")
