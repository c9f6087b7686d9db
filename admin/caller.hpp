// Who calls the admin API, as the doorman found out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "auth/role.hpp"
#include "core/secret.hpp"

namespace kw::admin {

enum class caller_kind : std::uint8_t { nobody, admin_key, session, token };

struct caller {
    caller_kind kind = caller_kind::nobody;
    std::string id;    // the admin's or the token's
    std::string name;  // for people
    auth::role is = auth::role::viewer;
    std::vector<std::string> routes;  // of a token: prefixes of paths; empty: all
    std::string session_id;
    secret session_text;
    bool by_cookie = false;
};

// What an entry of the audit trail says besides the change itself.
struct act {
    caller who;
    std::string method;
    std::string route;
    std::string subject;  // what stood for {id} in the path
    std::string source;
    std::string request_id;
};

}  // namespace kw::admin
