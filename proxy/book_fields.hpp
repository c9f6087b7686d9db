// What the books' notes of an exchange have alike: its start in the journal, the record at its end,
// the note of what is billed later.
#pragma once

#include "store/types.hpp"

namespace kw::proxy {

// Who asked, and whom.
template <class To>
void copy_parties(const store::ledger_record& from, To& to) {
    to.access_key_id = from.access_key_id;
    to.upstream_key_id = from.upstream_key_id;
    to.group_id = from.group_id;
    to.provider = from.provider;
    to.endpoint = from.endpoint;
}

}  // namespace kw::proxy
