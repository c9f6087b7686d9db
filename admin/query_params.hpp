// The query parameters of each route: what the gate lets through, handlers read and the OpenAPI
// document shows.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace kw::admin {

enum class param_type : std::uint8_t { text, number, time, word };

struct query_param {
    std::string_view name;
    std::string_view what;
    param_type is = param_type::text;
    std::string_view words = {};  // of a word: "hour,day"
};

// None: the route takes no parameter.
[[nodiscard]] std::span<const query_param> query_params(std::string_view method,
                                                        std::string_view path) noexcept;

}  // namespace kw::admin
