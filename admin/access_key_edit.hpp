// What makes and changes access keys, one or many at a time.
#pragma once

#include "admin/call.hpp"
#include "auth/access_key.hpp"
#include "core/error.hpp"
#include "core/secret.hpp"
#include "store/types.hpp"

namespace boost::json {
class object;
}

namespace kw::admin {

// The body's fields as changes to the stored JSON; faults are left in `in`.
[[nodiscard]] result<boost::json::object> access_key_changes(call& c, body_fields& in);
// The record with the changes, and the key that it is then. One that is made, or whose end is
// changed, gets an end where there is none and the settings ask for one.
[[nodiscard]] result<auth::access_key> change_access_key(const call& c, store::record& record,
                                                         const boost::json::object& changes);
// A record that is not stored yet, for the key of this text.
[[nodiscard]] store::record new_access_key(call& c, const secret& text);

}  // namespace kw::admin
