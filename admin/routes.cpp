// The table of all routes behind the check. A literal segment stands before {id} at its place.
#include <array>

#include "admin/handlers.hpp"

namespace kw::admin {
namespace {

constexpr std::array table{
    route{{"GET", "/admin/stats", "counts of keys by state, today's use"}, show_stats},
    route{{"GET", "/admin/health", "store, journal, workers, keys, version"}, show_health, false},
    route{{"GET", "/admin/prices", "the price table in force"}, list_prices, false},
    route{
        {"GET", "/admin/openapi.json", "this API as an OpenAPI 3.1 document"}, show_openapi, false},

    route{{"GET", "/admin/keys", "upstream keys: filter, search, sort, pages"}, list_keys},
    route{{"POST", "/admin/keys", "adds one upstream key"}, create_key},
    route{{"POST", "/admin/keys/batch", "adds many upstream keys"}, add_keys},
    route{{"POST", "/admin/keys/test-all", "begins a test of every upstream key"}, test_all_keys},
    route{{"GET", "/admin/keys/export", "the upstream keys as text, one a line", true},
          export_keys},
    route{{"DELETE", "/admin/keys/disabled", "deletes every disabled key"}, delete_disabled_keys},
    route{{"DELETE", "/admin/keys/banned", "deletes every banned key"}, delete_banned_keys},
    route{{"GET", "/admin/keys/{id}", "one upstream key"}, show_key},
    route{{"PUT", "/admin/keys/{id}", "changes the fields that are given"}, update_key},
    route{{"DELETE", "/admin/keys/{id}", "deletes an upstream key"}, delete_key},
    route{{"PATCH", "/admin/keys/{id}/toggle", "disables, enables, bans or unbans"}, toggle_key},
    route{{"PATCH", "/admin/keys/{id}/pool", "moves a key to another group"}, move_key},
    route{{"PATCH", "/admin/keys/{id}/notes", "replaces a key's notes"}, note_key},
    route{{"POST", "/admin/keys/{id}/test", "tests a key by a call to its upstream"}, test_key},
    route{{"GET", "/admin/tasks/{id}", "how far a test of all keys is"}, show_task, false},

    route{{"GET", "/admin/pool-groups", "groups with their counts"}, list_groups},
    route{{"POST", "/admin/pool-groups", "makes a group"}, create_group},
    route{{"GET", "/admin/pool-groups/{id}", "one group"}, show_group},
    route{{"PUT", "/admin/pool-groups/{id}", "changes the fields that are given"}, update_group},
    route{{"DELETE", "/admin/pool-groups/{id}", "deletes a group, moves its keys to `default`"},
          delete_group},

    route{{"GET", "/admin/access-keys", "access keys: search, pages"}, list_access_keys},
    route{{"POST", "/admin/access-keys", "makes an access key and shows its text once"},
          create_access_key},
    route{{"POST", "/admin/access-keys/batch", "makes many access keys"}, create_access_keys},
    route{{"PATCH", "/admin/access-keys/batch", "changes many access keys"}, update_access_keys},
    route{{"DELETE", "/admin/access-keys/batch", "deletes many access keys"}, delete_access_keys},
    route{{"GET", "/admin/access-keys/{id}", "one access key"}, show_access_key},
    route{{"PUT", "/admin/access-keys/{id}", "changes the fields that are given"},
          update_access_key},
    route{{"DELETE", "/admin/access-keys/{id}", "deletes an access key, or purges it"},
          delete_access_key},
    route{{"POST", "/admin/access-keys/{id}/restore", "brings back a deleted access key"},
          restore_access_key},
    route{{"POST", "/admin/access-keys/{id}/regenerate", "gives an access key another text"},
          regenerate_access_key},
    route{{"PATCH", "/admin/access-keys/{id}/toggle", "disables or enables"}, toggle_access_key},

    route{{"GET", "/admin/usage", "tokens and cost by subject and time"}, show_usage},
    route{{"GET", "/admin/requests", "the request log, newest first"}, list_requests, false},
    route{{"GET", "/admin/requests/{id}", "one request"}, show_request, false},
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
