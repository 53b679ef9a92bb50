"""What crashes, writers and two releases do to a run, on a server that lacks what Redis Software lacks.

All of these are tests of other files, run as the user that `managed_server` makes, with the keys of every
script compared with those that it was given.
"""

from __future__ import annotations

import pytest
from test_crash import (  # noqa: F401
    test_a_downgrade_killed_at_every_step_boundary_ends_as_if_it_had_not_been,
    test_a_rollback_killed_at_every_step_can_be_repeated,
    test_an_upgrade_killed_at_every_step_boundary_ends_as_if_it_had_not_been,
    test_rollback_after_a_kill_at_any_step_leaves_the_server_as_before_the_revision,
)
from test_document_crash import (  # noqa: F401
    test_a_rewrite_killed_at_every_step_boundary_ends_as_if_it_had_not_been,
    test_a_rewrite_killed_at_random_moments_is_ended_or_undone_as_if_it_had_not_been,
    test_rollback_after_a_kill_at_any_step_leaves_the_documents_as_before,
)
from test_document_writers import (  # noqa: F401
    test_rollback_of_a_finished_run_loses_no_write,
    test_rollback_of_a_killed_run_loses_no_write,
)
from test_late_writers import (  # noqa: F401
    test_all_that_was_written_until_the_end_comes_back_as_it_was,
)
from test_managed_server import other, shop  # noqa: F401
from test_offline_scripts import (  # noqa: F401
    Cli,
    redis_cli,
    second_server,
    test_a_downgrade_script_leaves_what_a_downgrade_leaves,
    test_a_piped_script_leaves_what_an_upgrade_leaves,
    test_an_index_built_beside_is_swapped_in_when_the_script_is_piped_again,
)
from test_phases import (  # noqa: F401
    test_expand_stops_at_the_first_revision_that_needs_it_and_contract_ends_with_it,
    test_rollback_between_expand_and_contract_takes_the_new_index_away,
)
from test_random_changes import test_documents_become_what_a_model_says_and_come_back  # noqa: F401
from test_rollback_crash import (  # noqa: F401
    test_a_rollback_of_a_finished_downgrade_killed_at_every_step_ends_as_if_it_had_not_been,
    test_a_rollback_of_a_finished_upgrade_killed_at_every_step_ends_as_if_it_had_not_been,
)
from test_second_forms import (  # noqa: F401
    test_documents_move_to_another_prefix_with_search_up,
    test_rollback_of_a_finished_run_brings_documents_back,
    test_rollback_of_a_run_that_died_half_way_through_the_documents_leaves_nothing_behind,
    test_vectors_are_re_encoded_with_search_up_and_are_at_the_declared_path_at_the_end,
)
from test_two_releases import (  # noqa: F401
    test_a_deletion_that_was_seen_stands_in_both_forms,
    test_a_rollback_before_the_swap_leaves_owners_writes_under_the_old_keys,
    test_each_field_goes_where_it_was_not_written,
    test_renamed_fields_go_both_ways,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
