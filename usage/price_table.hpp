// Inside of price_table, shared by its builder and the importers. Not for other folders.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "usage/prices.hpp"

namespace kw::usage {

struct text_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const noexcept {
        return std::hash<std::string_view>()(s);
    }
};

struct price_table::impl {
    // Aliases share their model's place in prices.
    std::unordered_map<std::string, std::size_t, text_hash, std::equal_to<>> by_name;
    std::vector<model_price> prices;
    std::optional<model_price> fallback;
    std::string sources;  // hashed into the version at the end
    std::string version;
};

// What an importer found, before any of it is taken.
struct imported_prices {
    struct entry {
        std::vector<std::string> names;  // the name and its aliases
        model_price price;
    };
    std::vector<entry> models;
    std::optional<model_price> fallback;
};

[[nodiscard]] result<imported_prices> import_own(std::string_view json);
[[nodiscard]] result<imported_prices> import_litellm(std::string_view json);

// usage/builtin_prices.cpp, in our own format.
[[nodiscard]] std::string_view builtin_prices_json() noexcept;

}  // namespace kw::usage
