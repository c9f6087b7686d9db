// What an exchange knows of the objects that its request is about, once it is about any.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
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
};

// An answer that an exchange has asked for by itself.
struct fetched {
    int status = 0;  // 0: there was none
    std::string body;
};

}  // namespace kw::proxy
