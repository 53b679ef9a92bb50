"""What the migrations do to searches. `pytest --test-redismigrate` adds the plugin's own tests."""

from __future__ import annotations

from search import similar_packages

from redismigrate.testing import MigrationRunner

SPLITS_TAGS = "9c1b2cd5abc3"
SEARCHES_ALONG_A_GRAPH = "2f5a5e4caf09"
# Most packages have this tag, and hardly one has it alone.
TAG = r"@tags:{role\:\:program}"


def test_tags_are_found_once_they_are_split_at_bars(redismigrate_runner: MigrationRunner) -> None:
    redismigrate_runner.migrate_up_before(SPLITS_TAGS)
    redismigrate_runner.insert_sample_documents()
    unsplit = redismigrate_runner.search("packages", TAG).total
    redismigrate_runner.migrate_up_one()
    assert redismigrate_runner.search("packages", TAG).total > 5 * unsplit


def test_the_graph_finds_the_neighbours_that_comparing_all_vectors_finds(
    redismigrate_runner: MigrationRunner,
) -> None:
    redismigrate_runner.migrate_up_before(SEARCHES_ALONG_A_GRAPH)
    redismigrate_runner.insert_sample_documents()
    package = next(iter(redismigrate_runner.documents("packages"))).removeprefix("package:")
    exact = similar_packages(redismigrate_runner.client, package)
    redismigrate_runner.migrate_up_one()
    assert similar_packages(redismigrate_runner.client, package) == exact


def test_the_merge_can_be_taken_back_and_applied_again(redismigrate_runner: MigrationRunner) -> None:
    redismigrate_runner.roundtrip("head")
