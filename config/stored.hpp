// What the admin API sets at run time: which settings it may set, and the record that holds them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/loader.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"

namespace kw::config {

// The record in the store, and those of the versions before it.
inline constexpr std::string_view stored_kind = "config";
inline constexpr std::string_view stored_id = "settings";
inline constexpr std::string_view version_kind = "config_version";

struct settings_version {
    std::uint64_t number = 0;  // 0: nothing was ever set
    wall_time at{};
    std::string by;      // who, and from where
    std::string action;  // "change", "reset", "rollback to 3", "import"
    stored_settings values;
};

[[nodiscard]] std::string to_json(const settings_version& v);
// Members that are not known are passed over: a newer release may have written them.
// errc::invalid_argument: not such a record.
[[nodiscard]] result<settings_version> version_from_json(std::string_view json);

// Why the API may not set this setting ("is a secret …"); "" if it may. A key that is no setting's
// "is not a known setting".
[[nodiscard]] std::string_view why_not_stored(std::string_view key);

// One setting for a person or a page that edits it.
struct setting_info {
    std::string key;
    std::string value;  // masked if secret
    std::string origin;
    std::string type;
    std::string help;
    bool needs_restart = false;
    std::string locked;  // why the API may not set it; "" if it may
};
[[nodiscard]] std::vector<setting_info> list_settings(const loaded& from);
// The same texts for what may be set, as it would be stored; a list's one by one.
[[nodiscard]] std::vector<std::string> value_texts(const settings& from, std::string_view key);

}  // namespace kw::config
