// What the routes of groups and the import have in common.
#pragma once

#include <string>
#include <string_view>

#include "admin/call.hpp"

namespace kw::admin {

// An egress proxy's URL may hold a password: shown as "***".
[[nodiscard]] std::string without_password(std::string_view url);
[[nodiscard]] result<void> check_egress_proxy(const call& c, const std::string& text);
// 1 to 64 letters, digits, '-', '_' or '.'.
[[nodiscard]] bool good_group_id(std::string_view id) noexcept;

}  // namespace kw::admin
