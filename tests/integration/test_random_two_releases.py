"""A bounded share of the random cases of two releases; see `random_two_releases` for how to run more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from random_two_releases import FIELD_SHARE, run_case

if TYPE_CHECKING:
    import redis

CASES_PER_TEST = 5
# A multiple of `FIELD_SHARE`: every test has one case about second fields.
assert CASES_PER_TEST % FIELD_SHARE == 0


def cases(first: int) -> range:
    return range(first, first + CASES_PER_TEST)


@pytest.mark.parametrize("first", [1])
def test_what_two_releases_have_written_is_kept(redis_url: str, client: redis.Redis, first: int) -> None:
    for seed in cases(first):
        run_case(seed, redis_url)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(100, 100 + 20 * CASES_PER_TEST, CASES_PER_TEST))
def test_what_two_releases_have_written_is_kept_in_many_cases(
    redis_url: str, client: redis.Redis, first: int
) -> None:
    for seed in cases(first):
        run_case(seed, redis_url)
