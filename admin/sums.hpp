// Cells of the books: adding them up, and how they look.
#pragma once

#include <string>

#include "admin/call.hpp"
#include "core/json_writer.hpp"
#include "store/types.hpp"

namespace kw::admin {

void add_sums(store::aggregate& sum, const store::aggregate& a);
// The members of an object that is open.
void write_sums(json_writer& w, const store::aggregate& a);
// What a person calls the subject; "" where there is no better word.
[[nodiscard]] std::string name_of_subject(const call& c, store::dimension by,
                                          const std::string& subject);

}  // namespace kw::admin
