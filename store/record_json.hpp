// The words and fields by which ledger records are told as JSON, wherever they are told.
#pragma once

#include <string_view>

#include "core/json_writer.hpp"
#include "store/types.hpp"

namespace kw::store {

[[nodiscard]] std::string_view to_string(usage_outcome outcome) noexcept;
[[nodiscard]] std::string_view to_string(exchange_end end) noexcept;

// Fields of an object that is open: who, with what and how it ended; no times and amounts.
template <class Text>
void write_facts(json_writer& w, const basic_ledger_record<Text>& r);
// Of an object that is open: each class; `total` is their readers' to add.
void write_classes(json_writer& w, const token_counts& t);

}  // namespace kw::store
