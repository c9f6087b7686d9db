// A ledger record as the event that outside billing reads from a Redis stream.
#pragma once

#include <string>
#include <string_view>

#include "store/types.hpp"

namespace kw::store::redis {

// Of the fields' names and meanings. Fields may be added to a version; one that changes its meaning
// or goes away makes the next.
inline constexpr std::string_view usage_event_version = "1";

// {"v":1,"id":…}: one line of JSON, about 800 bytes. No text of a client but the names of models.
[[nodiscard]] std::string usage_event(const ledger_record_view& record);

}  // namespace kw::store::redis
