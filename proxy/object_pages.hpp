// Pages of lists of objects: taken apart without changing a byte of an item, merged in order. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace kw::proxy {

struct list_item {
    std::string json;  // as it came
    std::string id;
    std::int64_t created = 0;
};

struct list_page {
    bool valid = false;
    bool more = false;
    std::vector<list_item> items;
};
// {"data":[{"id":…,"created_at":…},…],"has_more":…}; anything else is not valid.
[[nodiscard]] list_page read_page(std::string_view body);

// What a client asks of a list.
struct list_query {
    std::string after;
    std::string before;
    std::size_t limit = 20;
    bool ascending = false;
    std::string rest;  // what concerns none of these, as it came
};
// path: of the collection, which says what holds where nothing is asked.
[[nodiscard]] list_query read_list_query(std::string_view path, std::string_view query);

// One account's part of a list.
struct list_source {
    std::string account;
    std::string cursor;   // of the last item that was taken; "" : none
    std::string fetched;  // of the last item that was read
    std::deque<list_item> ahead;
    bool more = true;  // there is more to be read
    bool out = false;  // it cannot be read
};

// The source with the item that comes next; null: none has any.
[[nodiscard]] list_source* next_source(std::vector<list_source>& all, bool ascending) noexcept;

// Its first item, taken from all that have it: keys of one account may not be known as such.
[[nodiscard]] list_item take_item(std::vector<list_source>& all, list_source& from);

[[nodiscard]] std::string write_page(const std::vector<list_item>& items, bool more);

}  // namespace kw::proxy
