// What sessions and passwords need in several handlers.
#pragma once

#include <functional>
#include <string>

#include "admin/call.hpp"
#include "auth/admin_account.hpp"
#include "core/json_writer.hpp"
#include "core/secret.hpp"

namespace kw::admin {

// Reads a password that is to be set; a fault is left in `in`.
[[nodiscard]] secret new_password(body_fields& in, std::string_view name);

// The answer comes when the password has been hashed on the helper thread, by `then` on the control
// thread, or at once where too many wait already.
void hash_aside(call& c, secret password, std::function<reply(const std::string& hash)> then);

// Changes an account as it is stored now, under an act of its own, and again when somebody else
// changed it meanwhile. `change` answers false to leave it. The account as written.
[[nodiscard]] result<auth::admin_account> change_account(
    const admin_services& services, const act& what, std::string_view event, const std::string& id,
    const std::function<bool(auth::admin_account&)>& change);

void write_admin(json_writer& w, const auth::admin_account& a, wall_time now, bool sessions);

}  // namespace kw::admin
