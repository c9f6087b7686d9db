// The audit trail and the refused credentials, for people to read.
#include <algorithm>
#include <boost/json.hpp>

#include "admin/doorman.hpp"
#include "admin/handlers.hpp"
#include "core/json_writer.hpp"
#include "store/store.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

constexpr std::size_t max_scanned = 20'000;  // entries that one call looks at
constexpr std::size_t max_limit = 1'000;

struct wanted {
    std::optional<std::string> actor;    // id or name
    std::optional<std::string> event;    // "change", "login", …
    std::optional<std::string> action;   // "PUT /admin/keys/{id}", or a part of the route
    std::optional<std::string> subject;  // its id or kind
    std::optional<std::string> source;
    std::optional<std::string> request_id;
    std::string text;  // anywhere
};

std::string_view text_of(const json::value* v) {
    const auto* s = v == nullptr ? nullptr : v->if_string();
    return s == nullptr ? std::string_view() : std::string_view(*s);
}

std::string_view member(const json::object& of, std::string_view name) {
    return text_of(of.if_contains(name));
}

std::string_view member(const json::object& of, std::string_view object, std::string_view name) {
    const auto* inner = of.if_contains(object);
    const auto* found = inner == nullptr ? nullptr : inner->if_object();
    return found == nullptr ? std::string_view() : text_of(found->if_contains(name));
}

bool is_or_any(const std::optional<std::string>& want, std::string_view is) {
    return !want || *want == is;
}

bool matches(const wanted& want, const std::string& text) {
    if (!want.text.empty() && text.find(want.text) == std::string::npos) return false;
    if (!want.actor && !want.event && !want.action && !want.subject && !want.source &&
        !want.request_id)
        return true;
    boost::system::error_code failed;
    const auto v = json::parse(text, failed);
    if (failed || !v.is_object()) return false;
    const auto& o = v.get_object();
    const auto action = std::string(member(o, "method")) + " " + std::string(member(o, "route"));
    return (!want.actor || *want.actor == member(o, "actor", "id") ||
            *want.actor == member(o, "actor", "name")) &&
           is_or_any(want.event, member(o, "event")) &&
           (!want.action || action.find(*want.action) != std::string::npos) &&
           (!want.subject || *want.subject == member(o, "subject", "id") ||
            *want.subject == member(o, "subject", "kind")) &&
           is_or_any(want.source, member(o, "source")) &&
           is_or_any(want.request_id, member(o, "request_id"));
}

// "<time>|<id>" of the entry after which the next page begins.
std::string cursor_after(const store::audit_entry& e) {
    return std::to_string(e.at.time_since_epoch().count()) + "|" + e.id;
}

}  // namespace

result<reply> list_audit(call& c) {
    auto q = c.query();
    wanted want;
    want.actor = q.text("actor");
    want.event = q.text("event");
    want.action = q.text("action");
    want.subject = q.text("subject");
    want.source = q.text("source");
    want.request_id = q.text("request_id");
    want.text = q.text("q").value_or("");
    store::audit_query ask;
    ask.from = q.time("from").value_or(wall_time());
    ask.to = q.time("to").value_or(wall_time::max());
    const auto limit = q.number("limit", 20, 1, max_limit);
    ask.page.cursor = q.text("cursor").value_or("");
    if (const auto ok = q.finish(); !ok) return ok.error();
    ask.page.limit = std::clamp<std::size_t>(limit * 4, 100, 1'000);

    std::string data;
    json_writer w(data);
    w.begin_object().key("entries").begin_array();
    std::size_t shown = 0;
    std::string next;
    for (std::size_t scanned = 0; shown < limit && scanned < max_scanned;) {
        const auto page = c.services.store.list_audit(ask);
        if (!page) return page.error();
        next = page->next;
        for (const auto& e : page->items) {
            ++scanned;
            if (!matches(want, e.json)) continue;
            w.begin_object().field("id", e.id);
            write_time(w, "at", e.at);
            w.key("entry").raw(e.json).end_object();
            if (++shown < limit) continue;
            if (&e != &page->items.back()) next = cursor_after(e);
            break;
        }
        if (next.empty()) break;
        ask.page.cursor = next;
    }
    w.end_array().key("pagination").begin_object().field("limit", limit).key("next");
    if (next.empty())
        w.null();
    else
        w.value(next);
    w.end_object().end_object();
    return answer(data);
}

result<reply> list_refusals(call& c) {
    auto q = c.query();
    const auto at = q.place();
    if (const auto ok = q.finish(); !ok) return ok.error();
    using row = std::pair<auth::refusal_book::place, auth::refusal_book::entry>;
    std::vector<row> rows(c.door.refusals().all().begin(), c.door.refusals().all().end());
    std::ranges::sort(rows,
                      [](const row& a, const row& b) { return a.second.last > b.second.last; });
    std::string data;
    json_writer w(data);
    w.begin_object().key("refusals").begin_array();
    for (std::size_t i = at.first(); i < std::min(rows.size(), at.first() + at.limit); ++i) {
        const auto& [place, e] = rows[i];
        w.begin_object().field("source", place.first).field("key", place.second);
        w.field("count", e.count);
        write_time(w, "first", e.first);
        write_time(w, "last", e.last);
        w.end_object();
    }
    w.end_array();
    write_pagination(w, at, rows.size());
    w.end_object();
    return answer(data);
}

}  // namespace kw::admin
