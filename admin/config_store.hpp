// The stored settings and their versions, as the handlers read and write them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "admin/call.hpp"
#include "config/stored.hpp"

namespace kw::admin {

struct stored_config {
    config::settings_version version;
    std::uint64_t revision = 0;  // of the record; 0: there is none
};
// A record that this release cannot read counts as one that sets nothing.
[[nodiscard]] result<stored_config> read_config(call& c);

// A version by its number; 0 is the one that sets nothing. errc::store_not_found.
[[nodiscard]] result<config::settings_version> read_version(call& c, std::uint64_t number);

// The settings that they would be; errc::invalid_argument names what is wrong, in the caller's
// words where `names` has them. What was stored before and cannot be read here stays as it is.
[[nodiscard]] result<config::loaded> check_config(
    call& c, const config::stored_settings& before, const config::stored_settings& after,
    const std::map<std::string, std::string>& names = {});

// Stores the next version and lets it take effect here. A conflict's answer lies in `refused`.
[[nodiscard]] result<void> write_config(call& c, const stored_config& before,
                                        config::stored_settings values, std::string action,
                                        std::optional<reply>& refused);

// What differs, by key; a side that sets nothing has no value.
struct config_change {
    std::string key;
    std::optional<std::vector<std::string>> before;
    std::optional<std::vector<std::string>> after;
};
[[nodiscard]] std::vector<config_change> changes_between(const config::stored_settings& before,
                                                         const config::stored_settings& after);

// The settings with what has just changed: the answer of everything that sets some.
[[nodiscard]] result<reply> config_answer(call& c, const config::stored_settings* before);

// Versions before this many are forgotten.
inline constexpr std::uint64_t max_versions = 200;

}  // namespace kw::admin
