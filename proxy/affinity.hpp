// What an exchange knows of the objects that its request is about, once it is about any.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pool/pool_view.hpp"
#include "proxy/object_ids.hpp"

namespace kw::proxy {

struct object_work {
    object_route route;
    std::vector<object_ref> refs;
    std::string owner;                          // of what the request makes; "" : everybody
    std::string account;                        // whose keys alone are asked; "" : any
    std::vector<pool::account_member> members;  // of `account`
    bool pinned = false;                        // no other account has what is asked for
    std::vector<std::string_view> homes;        // to be tried one after another, if not pinned
    std::size_t next_home = 0;
    std::string home;  // the account where the owner's objects have gone so far; "" : none
    id_reader reader;
    std::unique_ptr<usage::late_reader> late;  // of an answer that may tell of long-lived work
    bool noted = false;    // the store knows, or soon will, what has been ordered
    bool unnoted = false;  // …and it cannot
    std::string told;      // the account that the last answer has named; "" : none
    // Accounts of which this process knows no key yet, each with the id of one.
    std::vector<std::pair<std::string, std::string>> stand_ins;
};

// An answer that an exchange has asked for by itself.
struct fetched {
    int status = 0;  // 0: there was none
    std::string body;
    std::string account;                      // as the answer, the operator or the key's id says
    const pool::upstream_key* key = nullptr;  // that was asked
};

}  // namespace kw::proxy
