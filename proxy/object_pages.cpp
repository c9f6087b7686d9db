// Reading and writing pages of lists.
#include "proxy/object_pages.hpp"

#include <algorithm>
#include <charconv>

#include "core/json_writer.hpp"
#include "usage/scan_bytes.hpp"

namespace kw::proxy {
namespace {

// One value's end in JSON text that begins with it; npos: it has none.
std::size_t value_end(std::string_view text) {
    const char* p = text.data();
    const char* const end = p + text.size();
    std::size_t depth = 0;
    while (p != end) {
        if (*p == '"') {
            p = usage::find_string_end(p + 1, end);
            if (p == end) return std::string_view::npos;
        } else if (*p == '{' || *p == '[') {
            ++depth;
        } else if (*p == '}' || *p == ']') {
            if (depth == 0) return static_cast<std::size_t>(p - text.data());
            --depth;
        } else if (*p == ',' && depth == 0) {
            return static_cast<std::size_t>(p - text.data());
        }
        ++p;
        if (depth == 0 && (p[-1] == '"' || p[-1] == '}' || p[-1] == ']'))
            return static_cast<std::size_t>(p - text.data());
    }
    return depth == 0 ? text.size() : std::string_view::npos;
}

std::string_view trimmed(std::string_view text) {
    const auto blank = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
    while (!text.empty() && blank(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && blank(text.back()))
        text.remove_suffix(1);
    return text;
}

// Calls sink(key, value) for each member of an object; false: it is none.
template <class Sink>
bool each_member(std::string_view object, Sink&& sink) {
    object = trimmed(object);
    if (object.size() < 2 || object.front() != '{' || object.back() != '}') return false;
    object = trimmed(object.substr(1, object.size() - 2));
    while (!object.empty()) {
        if (object.front() != '"') return false;
        const auto key_end = value_end(object);
        if (key_end == std::string_view::npos || key_end < 2) return false;
        const auto key = object.substr(1, key_end - 2);
        object = trimmed(object.substr(key_end));
        if (object.empty() || object.front() != ':') return false;
        object = trimmed(object.substr(1));
        const auto end = value_end(object);
        if (end == std::string_view::npos || end == 0) return false;
        sink(key, trimmed(object.substr(0, end)));
        object = trimmed(object.substr(end));
        if (object.empty()) break;
        if (object.front() != ',') return false;
        object = trimmed(object.substr(1));
    }
    return true;
}

bool read_item(std::string_view text, list_item& into) {
    into.json = text;
    return each_member(text,
                       [&](std::string_view key, std::string_view value) {
                           if (key == "id" && value.size() > 2 && value.front() == '"')
                               into.id = value.substr(1, value.size() - 2);
                           if (key == "created_at" || key == "created")
                               std::from_chars(value.data(), value.data() + value.size(),
                                               into.created);
                       }) &&
           !into.id.empty();
}

bool read_items(std::string_view array, std::vector<list_item>& into) {
    if (array.size() < 2 || array.front() != '[' || array.back() != ']') return false;
    array = trimmed(array.substr(1, array.size() - 2));
    while (!array.empty()) {
        const auto end = value_end(array);
        list_item item;
        if (end == std::string_view::npos || !read_item(array.substr(0, end), item)) return false;
        into.push_back(std::move(item));
        array = trimmed(array.substr(end));
        if (array.empty()) break;
        if (array.front() != ',') return false;
        array = trimmed(array.substr(1));
    }
    return true;
}

}  // namespace

list_page read_page(std::string_view body) {
    list_page page;
    bool data = false;
    bool good = true;
    const bool object = each_member(body, [&](std::string_view key, std::string_view value) {
        if (key == "data") {
            data = true;
            good = good && read_items(value, page.items);
        }
        if (key == "has_more") page.more = value == "true";
    });
    page.valid = object && data && good;
    if (page.items.empty()) page.more = false;
    return page;
}

list_query read_list_query(std::string_view path, std::string_view query) {
    list_query q;
    const bool files = path.ends_with("/files");
    q.limit = files ? 10'000 : 20;
    q.ascending = path.ends_with("/evals") || path.ends_with("/chat/completions");
    while (!query.empty()) {
        const auto amp = std::min(query.find('&'), query.size());
        const std::string_view pair = query.substr(0, amp);
        query.remove_prefix(std::min(amp + 1, query.size()));
        const auto equals = std::min(pair.find('='), pair.size());
        const std::string_view name = pair.substr(0, equals);
        const std::string_view value = pair.substr(std::min(equals + 1, pair.size()));
        if (name == "after") {
            q.after = value;
        } else if (name == "before") {
            q.before = value;
        } else if (name == "limit") {
            std::size_t number = 0;
            std::from_chars(value.data(), value.data() + value.size(), number);
            q.limit = std::clamp<std::size_t>(number, 1, files ? 10'000 : 100);
        } else {
            if (name == "order") q.ascending = value == "asc";
            if (!q.rest.empty()) q.rest += '&';
            q.rest += pair;
        }
    }
    return q;
}

list_source* next_source(std::vector<list_source>& all, bool ascending) noexcept {
    list_source* best = nullptr;
    for (list_source& s : all) {
        if (s.ahead.empty()) continue;
        const auto created = s.ahead.front().created;
        if (best == nullptr || (ascending ? created < best->ahead.front().created
                                          : created > best->ahead.front().created))
            best = &s;
    }
    return best;
}

list_item take_item(std::vector<list_source>& all, list_source& from) {
    list_item item = std::move(from.ahead.front());
    from.ahead.pop_front();
    from.cursor = item.id;
    for (list_source& s : all) {
        if (s.ahead.empty() || s.ahead.front().id != item.id) continue;
        s.ahead.pop_front();
        s.cursor = item.id;
    }
    return item;
}

std::string write_page(const std::vector<list_item>& items, bool more) {
    std::string out = "{\"object\":\"list\",\"data\":[";
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (i > 0) out += ',';
        out += items[i].json;
    }
    out += "],\"first_id\":";
    const auto id = [&](const list_item* item) {
        if (item == nullptr) {
            out += "null";
        } else {
            append_json_string(out, item->id);
        }
    };
    id(items.empty() ? nullptr : &items.front());
    out += ",\"last_id\":";
    id(items.empty() ? nullptr : &items.back());
    out += ",\"has_more\":";
    out += more ? "true}" : "false}";
    return out;
}

}  // namespace kw::proxy
