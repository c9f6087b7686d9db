// Documents of other programs as records of ours. What is read here is not trusted and not yet
// checked: every record goes through the checks of an import like those of an export.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "admin/transfer.hpp"

namespace kw::admin {

enum class import_format : std::uint8_t {
    automatic,
    keywheel,
    litellm,
    keys,
    key_pool,
    access_keys
};
[[nodiscard]] std::optional<import_format> parse_import_format(std::string_view word) noexcept;
[[nodiscard]] std::string_view to_string(import_format f) noexcept;

// A document as it came: text, and what it is as JSON, if it is.
struct import_source {
    std::string_view text;
    const boost::json::value* json = nullptr;
};
[[nodiscard]] import_format guess_format(const import_source& from);

// For ids and times of new records; a test gives its own.
struct import_makers {
    std::function<std::string(std::string_view prefix)> id;
    std::function<crypto::digest(const secret& text)> hash;  // of an access key's text
    std::function<secret()> text;                            // of a new access key
    std::function<std::optional<std::string>(const std::string& name)> variable;
    wall_time now{};
};

// An access key that got a text of ours: shown once.
struct made_text {
    std::string id;
    std::string name;
    secret text;
};

struct foreign_records {
    parcels records;
    std::vector<made_text> texts;
};

// errc::invalid_argument says why the document is not of this format; never quotes it. `group`:
// where keys go of which the document does not say it.
[[nodiscard]] result<foreign_records> read_foreign(import_format format, const import_source& from,
                                                   const std::string& group,
                                                   const import_makers& make);

inline constexpr std::size_t max_import_items = 100'000;

}  // namespace kw::admin
