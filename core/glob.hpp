// Patterns of model names: `*` stands for any run of characters, all else for itself.
#pragma once

#include <string_view>

namespace kw {

// Whole-text match, case-sensitive, linear in text × stars.
[[nodiscard]] bool glob_match(std::string_view pattern, std::string_view text) noexcept;

}  // namespace kw
