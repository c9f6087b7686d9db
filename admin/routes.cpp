// The table of all routes behind the check. A literal segment stands before {id} at its place.
#include <array>

#include "admin/handlers.hpp"

namespace kw::admin {
namespace {

using enum auth::role;

constexpr std::array table{
    route{{"GET", "/admin/stats", viewer, "counts of keys by state, today's use"}, show_stats},
    route{{"GET", "/admin/health", viewer, "store, journal, workers, keys, version"},
          show_health,
          false},
    route{{"GET", "/admin/prices", viewer, "the price table in force"}, list_prices, false},
    route{{"GET", "/admin/openapi.json", viewer, "this API as an OpenAPI 3.1 document"},
          show_openapi,
          false},

    route{{"GET", "/admin/keys", viewer, "upstream keys: filter, search, sort, pages"}, list_keys},
    route{{"POST", "/admin/keys", operator_, "adds one upstream key"}, create_key},
    route{{"POST", "/admin/keys/batch", operator_, "adds many upstream keys"}, add_keys},
    route{{"POST", "/admin/keys/test-all", operator_, "begins a test of every upstream key"},
          test_all_keys},
    route{{"GET", "/admin/keys/export", owner, "the upstream keys as text, one a line", true},
          export_keys,
          true,
          true},
    route{{"DELETE", "/admin/keys/disabled", operator_, "deletes every disabled key"},
          delete_disabled_keys},
    route{{"DELETE", "/admin/keys/banned", operator_, "deletes every banned key"},
          delete_banned_keys},
    route{{"GET", "/admin/keys/{id}", viewer, "one upstream key"}, show_key},
    route{{"PUT", "/admin/keys/{id}", operator_, "changes the fields that are given"}, update_key},
    route{{"DELETE", "/admin/keys/{id}", operator_, "deletes an upstream key"}, delete_key},
    route{{"PATCH", "/admin/keys/{id}/toggle", operator_, "disables, enables, bans or unbans"},
          toggle_key},
    route{{"PATCH", "/admin/keys/{id}/pool", operator_, "moves a key to another group"}, move_key},
    route{{"PATCH", "/admin/keys/{id}/notes", operator_, "replaces a key's notes"}, note_key},
    route{{"POST", "/admin/keys/{id}/test", operator_, "tests a key by a call to its upstream"},
          test_key},
    route{
        {"GET", "/admin/tasks", viewer, "tests of all keys: those that run, the latest that ended"},
        list_tasks,
        false},
    route{{"GET", "/admin/tasks/{id}", viewer, "how far a test of all keys is"}, show_task, false},

    route{{"GET", "/admin/pool-groups", viewer,
           "groups with their counts: filter, search, sort, pages"},
          list_groups},
    route{{"POST", "/admin/pool-groups", operator_, "makes a group"}, create_group},
    route{{"GET", "/admin/pool-groups/{id}", viewer, "one group"}, show_group},
    route{{"PUT", "/admin/pool-groups/{id}", operator_, "changes the fields that are given"},
          update_group},
    route{{"DELETE", "/admin/pool-groups/{id}", operator_,
           "deletes a group, moves its keys to `default`"},
          delete_group},

    route{{"GET", "/admin/access-keys", viewer, "access keys: filter, search, sort, pages"},
          list_access_keys},
    route{{"POST", "/admin/access-keys", operator_, "makes an access key and shows its text once"},
          create_access_key},
    route{{"POST", "/admin/access-keys/batch", operator_, "makes many access keys"},
          create_access_keys},
    route{{"PATCH", "/admin/access-keys/batch", operator_, "changes many access keys"},
          update_access_keys},
    route{{"DELETE", "/admin/access-keys/batch", operator_, "deletes many access keys"},
          delete_access_keys},
    route{{"GET", "/admin/access-keys/{id}", viewer, "one access key"}, show_access_key},
    route{{"PUT", "/admin/access-keys/{id}", operator_, "changes the fields that are given"},
          update_access_key},
    route{{"DELETE", "/admin/access-keys/{id}", operator_, "deletes an access key, or purges it"},
          delete_access_key},
    route{
        {"POST", "/admin/access-keys/{id}/restore", operator_, "brings back a deleted access key"},
        restore_access_key},
    route{{"POST", "/admin/access-keys/{id}/regenerate", operator_,
           "gives an access key another text"},
          regenerate_access_key},
    route{{"PATCH", "/admin/access-keys/{id}/toggle", operator_, "disables or enables"},
          toggle_access_key},

    route{{"GET", "/admin/config", viewer, "the settings in force, and where each came from"},
          show_config,
          false},
    route{
        {"PUT", "/admin/config", owner, "sets the settings that are given"}, update_config, false},
    route{{"POST", "/admin/config/reset", owner, "forgets what was set here, all or some"},
          reset_config,
          false},
    route{{"GET", "/admin/config/versions", viewer, "what was set when and by whom"},
          list_config_versions,
          false},
    route{{"GET", "/admin/config/versions/{id}", viewer, "one version, and what it changed"},
          show_config_version,
          false},
    route{{"POST", "/admin/config/versions/{id}/rollback", owner, "sets what a version had set"},
          rollback_config,
          false},
    route{{"GET", "/admin/master-key", operator_, "which master key seals, and who takes over"},
          show_master_key,
          false},
    route{{"POST", "/admin/master-key/rotate", owner, "lets the configured master key take over"},
          rotate_master_key,
          false},
    route{{"GET", "/admin/notifications", viewer,
           "receivers of notifications: filter, search, sort, pages"},
          list_channels,
          false},
    route{{"POST", "/admin/notifications", operator_, "makes a receiver of notifications"},
          create_channel,
          false},
    route{{"GET", "/admin/notifications/{id}", viewer, "one receiver of notifications"},
          show_channel,
          false},
    route{{"PUT", "/admin/notifications/{id}", operator_, "changes the fields that are given"},
          update_channel,
          false},
    route{{"DELETE", "/admin/notifications/{id}", operator_, "deletes a receiver of notifications"},
          delete_channel,
          false},
    route{{"POST", "/admin/notifications/{id}/test", operator_, "sends a receiver a test"},
          test_channel,
          false},
    route{{"GET", "/admin/leases", viewer,
           "leases of upstream keys that go on: filter, search, sort, pages"},
          list_leases},
    route{{"DELETE", "/admin/leases/{id}", operator_, "ends a lease"}, end_lease},
    route{
        {"GET", "/admin/queue", viewer, "requests that wait for a slot, in all and by access key"},
        show_queue},

    route{{"POST", "/admin/login", viewer, "begins a session", false, true}, log_in},
    route{{"POST", "/admin/logout", viewer, "ends the session that calls"}, log_out},
    route{{"GET", "/admin/me", viewer, "who calls, and with which rights"}, show_me},
    route{{"PUT", "/admin/me/password", viewer, "changes one's own password"}, change_my_password},
    route{{"GET", "/admin/admins", owner, "admins: filter, search, sort, pages"}, list_admins},
    route{{"POST", "/admin/admins", owner, "makes an admin"}, create_admin},
    route{{"GET", "/admin/admins/{id}", owner, "one admin with the open sessions"}, show_admin},
    route{{"PUT", "/admin/admins/{id}", owner, "changes the fields that are given"}, update_admin},
    route{{"DELETE", "/admin/admins/{id}", owner, "deletes an admin and ends the sessions"},
          delete_admin},
    route{{"GET", "/admin/tokens", owner, "tokens for programs: filter, search, sort, pages"},
          list_tokens},
    route{{"POST", "/admin/tokens", owner, "makes a token and shows its text once"}, create_token},
    route{{"DELETE", "/admin/tokens/{id}", owner, "revokes a token"}, delete_token},
    route{{"GET", "/admin/audit", viewer, "the audit trail, newest first"}, list_audit, false},
    route{{"GET", "/admin/refusals", owner, "refused credentials by source, of this process"},
          list_refusals,
          false},

    route{
        {"POST", "/admin/export", owner, "groups, keys, access keys and settings as one document"},
        export_all,
        true,
        true},
    route{{"GET", "/admin/export/csv", owner, "upstream keys or access keys as CSV", true},
          export_csv},
    route{{"POST", "/admin/import", owner, "takes an export, or lists of other gateways"},
          import_all,
          true,
          false,
          admin_api::max_import},

    route{{"GET", "/admin/usage", viewer, "tokens and cost by subject and time"}, show_usage},
    route{{"GET", "/admin/stats/trend", viewer, "requests, tokens and cost by hour or day"},
          show_trend,
          false},
    route{{"GET", "/admin/token/usage", viewer, "what each upstream key has used"},
          show_token_usage},
    route{{"GET", "/admin/token/summary", viewer, "what was used today, this month and ever"},
          show_token_summary},
    route{{"POST", "/admin/token/cleanup", operator_, "removes what retention keeps no longer"},
          clean_up_books,
          false},
    route{{"POST", "/admin/token/sync", operator_, "asks providers what is left of their keys"},
          sync_quotas,
          false},
    route{{"GET", "/admin/cache/stats", viewer, "what is kept at hand, and how well it serves"},
          show_caches},
    route{
        {"GET", "/admin/requests", viewer, "the request log, newest first"}, list_requests, false},
    route{{"GET", "/admin/requests/{id}", viewer, "one request"}, show_request, false},
    route{{"GET", "/admin/logs/stream", viewer, "this process's log as it is written, as events",
           false, false, true},
          stream_log,
          false},
};

constexpr auto infos = [] {
    std::array<route_info, table.size()> out{};
    for (std::size_t i = 0; i < table.size(); ++i)
        out[i] = table[i].info;
    return out;
}();

}  // namespace

std::span<const route> route_table() {
    return table;
}

std::span<const route_info> admin_api::routes() {
    return infos;
}

}  // namespace kw::admin
