"""What the tests share: the path to the example's programs, and packages to migrate."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[1]
PACKAGES = 20

sys.path.insert(0, str(EXAMPLE))


@pytest.fixture
def redismigrate_documents() -> dict[str, dict[str, dict[str, Any]]]:
    """The first packages of `data/`; the plugin makes bytes of embeddings as the index wants them."""
    with gzip.open(EXAMPLE / "data" / "packages.jsonl.gz", "rt", encoding="utf-8") as lines:
        packages = [json.loads(line) for line, _ in zip(lines, range(PACKAGES), strict=False)]
    embeddings = np.load(EXAMPLE / "data" / "packages_minilm384.npy")
    return {
        "packages": {
            f"package:{package['name']}": {
                **package,
                "tags": "|".join(package["tags"]),
                "embedding": embedding,
            }
            for package, embedding in zip(packages, embeddings, strict=False)
        }
    }
