//! What a user of Kubernetes is promised, on a real one of three nodes. All of these tests need a cluster: they start one
//! on this machine and share it, in this order, so that each finds what the one before left.

mod changes;
mod chat;
mod dashboard;
mod experiments;
mod faults;
mod files;
mod in_sync;
mod kinds;
mod messages;
mod operator;
mod routes;
mod serving;
mod shared;

use std::process::ExitCode;

use holdfast_e2e::suite::{self, Test};
use shared::Shared;

const TESTS: &[Test<Shared>] = &[
    ("needs_cluster_operator_and_three_members_are_ready_within_15_seconds", serving::installed),
    ("needs_cluster_a_write_through_one_pod_is_read_through_another", serving::written_here_read_there),
    ("needs_cluster_the_dashboard_of_any_pod_shows_all_members", dashboard::shows_all),
    ("needs_cluster_messages_are_appended_and_read_through_the_services", messages::through_services),
    ("needs_cluster_files_are_back_on_a_member_whose_pod_and_volume_were_deleted", files::volume_emptied),
    ("needs_cluster_an_invalid_store_is_refused_by_the_api_server", serving::invalid_refused),
    ("needs_cluster_a_crashed_leader_is_replaced_within_a_second", faults::leader_crashed),
    ("needs_cluster_a_deleted_leader_hands_over", faults::leader_deleted),
    ("needs_cluster_the_store_needs_no_operator_to_fail_over", faults::operator_away),
    ("needs_cluster_a_changed_setting_restarts_nobody", changes::setting_changed),
    ("needs_cluster_a_changed_template_restarts_one_member_at_a_time", changes::template_changed),
    ("needs_cluster_three_members_become_five_and_three_again", changes::scaled),
    ("needs_cluster_the_leaders_node_is_cut_off_and_comes_back", faults::node_cut),
    ("needs_cluster_all_pods_deleted_at_once_come_back_with_all_data", faults::all_deleted),
    ("needs_cluster_the_operator_exports_what_is_drawn_of_it", operator::metrics),
    ("needs_cluster_a_deleted_store_leaves_only_its_volumes", changes::deleted),
    ("needs_cluster_a_member_with_checkpoints_comes_back_from_the_last", kinds::checkpointing),
    ("needs_cluster_an_application_runs_beside_its_member", kinds::application),
    ("needs_cluster_an_experiment_completes_although_the_lab_is_killed", experiments::completes),
    ("needs_cluster_pods_are_deleted_and_members_paused_in_experiments", experiments::other_failures),
    ("needs_cluster_a_deleted_experiment_leaves_nothing", experiments::cancelled),
    ("needs_cluster_an_experiment_leaves_the_store_of_a_stranger_alone", experiments::stranger),
    ("needs_cluster_the_protocols_routes_work_on_pods", routes::every_route),
    ("needs_cluster_experiments_and_requests_take_turns_and_a_killed_lab_leaves_nothing", routes::in_turn),
    ("needs_cluster_three_members_in_sync_survive_two_faults", in_sync::two_faults),
    ("needs_cluster_members_in_sync_are_drained_one_after_the_other", in_sync::drained),
    ("needs_cluster_a_primary_that_is_cut_off_acknowledges_nothing", in_sync::primary_cut_off),
    ("needs_cluster_a_deleted_lease_is_told_and_only_a_person_starts_again", in_sync::authority_deleted),
    ("needs_cluster_a_crowd_in_the_chat_loses_nothing_when_the_leader_dies", chat::crowd),
    ("needs_cluster_a_crowd_in_the_chat_in_sync_loses_nothing_with_two_of_three", chat::crowd_in_sync),
    ("needs_cluster_helm_installs_tests_and_uninstalls", operator::helm),
];

fn main() -> ExitCode {
    suite::run(TESTS, Shared::start, Shared::stop)
}
