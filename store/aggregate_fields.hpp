// The counters of an aggregate as a table, so that stores, sums and tests treat them alike.
#pragma once

#include <cstdint>
#include <string_view>

#include "store/types.hpp"

namespace kw::store {

struct aggregate_field {
    char code;              // in Redis field names: never change one
    std::string_view name;  // SQLite's column
    bool is_tokens;
    std::int64_t& (*get)(aggregate&) noexcept;

    [[nodiscard]] std::int64_t& of(aggregate& a) const noexcept { return get(a); }
    [[nodiscard]] std::int64_t of(const aggregate& a) const noexcept {
        return get(const_cast<aggregate&>(a));  // only read
    }
};

inline constexpr aggregate_field aggregate_fields[] = {
    {'r', "requests", false, [](aggregate& a) noexcept -> std::int64_t& { return a.requests; }},
    {'e', "errors", false, [](aggregate& a) noexcept -> std::int64_t& { return a.errors; }},
    {'s', "estimated", false, [](aggregate& a) noexcept -> std::int64_t& { return a.estimated; }},
    {'u', "unpriced", false, [](aggregate& a) noexcept -> std::int64_t& { return a.unpriced; }},
    {'i', "input", true, [](aggregate& a) noexcept -> std::int64_t& { return a.tokens.input; }},
    {'o', "output", true, [](aggregate& a) noexcept -> std::int64_t& { return a.tokens.output; }},
    {'n', "reasoning", true,
     [](aggregate& a) noexcept -> std::int64_t& { return a.tokens.reasoning; }},
    {'c', "cached_read", true,
     [](aggregate& a) noexcept -> std::int64_t& { return a.tokens.cached_read; }},
    {'w', "cache_write_5m", true,
     [](aggregate& a) noexcept -> std::int64_t& { return a.tokens.cache_write_5m; }},
    {'h', "cache_write_1h", true,
     [](aggregate& a) noexcept -> std::int64_t& { return a.tokens.cache_write_1h; }},
    {'a', "audio_in", true,
     [](aggregate& a) noexcept -> std::int64_t& { return a.tokens.audio_in; }},
    {'b', "audio_out", true,
     [](aggregate& a) noexcept -> std::int64_t& { return a.tokens.audio_out; }},
    {'p', "image_in", true,
     [](aggregate& a) noexcept -> std::int64_t& { return a.tokens.image_in; }},
    {'q', "image_out", true,
     [](aggregate& a) noexcept -> std::int64_t& { return a.tokens.image_out; }},
    {'d', "cost", false, [](aggregate& a) noexcept -> std::int64_t& { return a.cost; }},
    {'f', "rated_cost", false, [](aggregate& a) noexcept -> std::int64_t& { return a.rated_cost; }},
    {'j', "estimated_input", true,
     [](aggregate& a) noexcept -> std::int64_t& { return a.estimated_input; }},
    {'k', "estimated_output", true,
     [](aggregate& a) noexcept -> std::int64_t& { return a.estimated_output; }},
    {'l', "estimated_cost", false,
     [](aggregate& a) noexcept -> std::int64_t& { return a.estimated_cost; }},
};

}  // namespace kw::store
