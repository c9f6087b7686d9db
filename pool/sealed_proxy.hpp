// A group's egress proxy as its record holds it: sealed under the group's id when it has a login.
#pragma once

#include <string>
#include <string_view>

#include "core/crypto.hpp"
#include "core/error.hpp"
#include "pool/upstream_key.hpp"

namespace kw::pool {

// As it is when it has no login, or is sealed already.
[[nodiscard]] std::string seal_proxy(const std::string& url, const crypto::sealer& sealer,
                                     std::string_view group_id);
// errc::invalid_argument: sealed, and does not open.
[[nodiscard]] result<std::string> open_proxy(const std::string& stored,
                                             const crypto::sealer& sealer,
                                             std::string_view group_id);

// group_from_json() with the proxy in clear. One that does not open stays as it is: no proxy can be
// reached by that text, and the group's keys must not go without.
[[nodiscard]] result<group> stored_group(std::string_view json, const crypto::sealer& sealer);

}  // namespace kw::pool
