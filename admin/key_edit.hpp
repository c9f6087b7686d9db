// What creating, changing and importing upstream keys have in common.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "admin/call.hpp"
#include "pool/key_state.hpp"

namespace kw::admin {

// A provider's key that can be sent in a header: 8 to 512 visible ASCII characters.
[[nodiscard]] bool usable_value(std::string_view text) noexcept;

// Where a new or moved key goes: errc::invalid_argument for a group that does not exist; the group
// `default` is made when it is first needed.
[[nodiscard]] result<void> need_group(call& c, const std::string& id);

// `poolGroup` or `group`, one of them.
[[nodiscard]] std::optional<std::string> group_named(body_fields& body);

// A key with its id, alias and time of creation.
[[nodiscard]] pool::upstream_key new_key(call& c, std::string_view group);

// To the running pool, after the record was written.
void set_live(call& c, const std::string& id, pool::key_status status);

// Stores another version of a record and answers with it. `change` alters the stored JSON.
[[nodiscard]] result<reply> rewrite_key(call& c, const key_entry& entry,
                                        const boost::json::object& changes,
                                        std::optional<pool::key_status> status = {});

}  // namespace kw::admin
