// What an admin may do: each role may do all that the ones before it may.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kw::auth {

enum class role : std::uint8_t {
    viewer,     // reads
    operator_,  // changes keys, groups, access keys
    owner,      // admins, tokens, configuration, what shows secrets
};

inline constexpr std::array<std::string_view, 3> role_words = {"viewer", "operator", "owner"};

[[nodiscard]] constexpr std::string_view to_string(role r) noexcept {
    return role_words[static_cast<std::size_t>(r)];
}

[[nodiscard]] constexpr std::optional<role> parse_role(std::string_view word) noexcept {
    for (std::size_t i = 0; i < role_words.size(); ++i)
        if (role_words[i] == word) return static_cast<role>(i);
    return std::nullopt;
}

}  // namespace kw::auth
