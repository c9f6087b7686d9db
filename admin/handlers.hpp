// The handlers of all routes, and the table that names them. They are only reached through the
// gate in admin_api.cpp.
#pragma once

#include <span>

#include "admin/call.hpp"

namespace kw::admin {

using handler = result<reply> (*)(call&);

struct route {
    route_info info;
    handler run = nullptr;
    bool records = true;   // wants the catalogue level with the store
    bool reveals = false;  // its answer holds secrets: an entry of the audit trail comes first
    std::size_t most = admin_api::max_body;
};
[[nodiscard]] std::span<const route> route_table();

// status.cpp
result<reply> show_stats(call& c);
result<reply> show_health(call& c);
result<reply> list_prices(call& c);
// keys.cpp
result<reply> list_keys(call& c);
result<reply> show_key(call& c);
result<reply> create_key(call& c);
result<reply> update_key(call& c);
result<reply> toggle_key(call& c);
result<reply> move_key(call& c);
result<reply> note_key(call& c);
result<reply> delete_key(call& c);
result<reply> delete_disabled_keys(call& c);
result<reply> delete_banned_keys(call& c);
// key_batch.cpp
result<reply> add_keys(call& c);
// key_tests.cpp
result<reply> test_key(call& c);
result<reply> test_all_keys(call& c);
result<reply> list_tasks(call& c);
result<reply> show_task(call& c);
// key_export.cpp
result<reply> export_keys(call& c);
// openapi.cpp
result<reply> show_openapi(call& c);
// groups.cpp
result<reply> list_groups(call& c);
result<reply> show_group(call& c);
result<reply> create_group(call& c);
result<reply> update_group(call& c);
result<reply> delete_group(call& c);
// access_keys.cpp
result<reply> list_access_keys(call& c);
result<reply> show_access_key(call& c);
result<reply> create_access_key(call& c);
result<reply> update_access_key(call& c);
result<reply> toggle_access_key(call& c);
result<reply> delete_access_key(call& c);
result<reply> restore_access_key(call& c);
result<reply> regenerate_access_key(call& c);
// access_key_batch.cpp
result<reply> create_access_keys(call& c);
result<reply> update_access_keys(call& c);
result<reply> delete_access_keys(call& c);
// config.cpp
result<reply> show_config(call& c);
result<reply> update_config(call& c);
result<reply> reset_config(call& c);
// config_versions.cpp
result<reply> list_config_versions(call& c);
result<reply> show_config_version(call& c);
result<reply> rollback_config(call& c);
// login.cpp
result<reply> log_in(call& c);
result<reply> log_out(call& c);
result<reply> show_me(call& c);
result<reply> change_my_password(call& c);
// admins.cpp
result<reply> list_admins(call& c);
result<reply> show_admin(call& c);
result<reply> create_admin(call& c);
result<reply> update_admin(call& c);
result<reply> delete_admin(call& c);
// tokens.cpp
result<reply> list_tokens(call& c);
result<reply> create_token(call& c);
result<reply> delete_token(call& c);
// audit.cpp
result<reply> list_audit(call& c);
result<reply> list_refusals(call& c);
// notifications.cpp
result<reply> list_channels(call& c);
result<reply> show_channel(call& c);
result<reply> create_channel(call& c);
result<reply> update_channel(call& c);
result<reply> delete_channel(call& c);
result<reply> test_channel(call& c);
// leases.cpp
result<reply> list_leases(call& c);
result<reply> end_lease(call& c);
// master_key.cpp
result<reply> show_master_key(call& c);
result<reply> rotate_master_key(call& c);
// queue.cpp
result<reply> show_queue(call& c);
// export.cpp
result<reply> export_all(call& c);
result<reply> export_csv(call& c);
// import.cpp
result<reply> import_all(call& c);
// usage.cpp
result<reply> show_usage(call& c);
// token_usage.cpp
result<reply> show_trend(call& c);
result<reply> show_token_usage(call& c);
result<reply> show_token_summary(call& c);
result<reply> clean_up_books(call& c);
result<reply> sync_quotas(call& c);
// caches.cpp
result<reply> show_caches(call& c);
// live_log.cpp
result<reply> stream_log(call& c);
// request_log.cpp
result<reply> list_requests(call& c);
result<reply> show_request(call& c);

}  // namespace kw::admin
