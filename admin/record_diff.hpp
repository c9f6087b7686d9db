// What a change of a record did, field by field, without secrets: the values of fields that are
// known to hold none are shown, of all others only that they changed.
#pragma once

#include <string>
#include <string_view>

#include "core/json_writer.hpp"

namespace kw::admin {

// {"name": {"before": …, "after": …}, …} of the members in which the two differ. "" stands for a
// record that is not there; of one that is new or gone, empty fields are left out.
void write_record_diff(json_writer& w, std::string_view kind, std::string_view before,
                       std::string_view after);

}  // namespace kw::admin
