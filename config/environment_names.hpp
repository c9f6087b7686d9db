// Which variables of the environment are ours.
#pragma once

#include <string_view>

namespace kw::config {

// One that gives a setting its value: KEYWHEEL_…, or a name in common use such as ENCRYPTION_KEY.
// The keys of providers (OPENAI_API_KEY, …) are none of these.
[[nodiscard]] bool is_setting_variable(std::string_view name);

}  // namespace kw::config
