// Ledger records as bytes: what the journal keeps and what the request log stores. One format for
// all stores, versioned, at most max_encoded_record bytes each.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "store/types.hpp"

namespace kw::store {

// Texts longer than their field's limit are cut (at a whole UTF-8 character), so that a client
// cannot make a record large by asking for a model with a long name.
inline constexpr std::size_t max_encoded_record = 2048;

// Appends the record to out. Any thread; allocates only in out.
void encode(const ledger_record& record, std::string& out);

// Reads exactly one record from the whole of bytes; nullopt for anything else: cut short, extra
// bytes, unknown version, enumerators out of range. Never reads out of bounds, never throws but
// for want of memory. A version that is older than ours stays readable.
[[nodiscard]] std::optional<ledger_record> decode(std::string_view bytes);
// The same; its texts are views into bytes, and nothing is allocated.
[[nodiscard]] std::optional<ledger_record_view> decode_view(std::string_view bytes) noexcept;

// Whose record it is, without reading the rest: views into bytes. nullopt: not a record of ours; a
// record that peek reads may yet be refused by decode.
struct record_names {
    std::string_view id;
    std::string_view access_key_id;
};
[[nodiscard]] std::optional<record_names> peek(std::string_view bytes) noexcept;

}  // namespace kw::store
