// The audit trail and the refused credentials, for people to read.
#include <boost/json.hpp>

#include "admin/doorman.hpp"
#include "admin/handlers.hpp"
#include "admin/listing.hpp"
#include "core/json_writer.hpp"
#include "store/store.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

constexpr std::size_t max_limit = 1'000;

struct wanted {
    std::optional<std::string> actor;    // id or name
    std::optional<std::string> event;    // "change", "login", …
    std::optional<std::string> action;   // "PUT /admin/keys/{id}", or a part of the route
    std::optional<std::string> subject;  // its id or kind
    std::optional<std::string> source;
    std::optional<std::string> request_id;
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
    store::audit_query ask;
    ask.from = q.time("from").value_or(wall_time());
    ask.to = q.time("to").value_or(wall_time::max());
    const auto list = read_log(q, "-at", 20, max_limit);
    if (const auto ok = q.finish(); !ok) return ok.error();
    using row = store::audit_entry;
    const auto page = log_page<row>(
        list, true,
        [&](const store::page_request& at) {
            ask.page = at;
            return c.services.store.list_audit(ask);
        },
        [&](const row& e) { return list.finds({e.id, e.json}) && matches(want, e.json); },
        column{"id", &row::id}, column{"at", &row::at});
    if (!page) return page.error();
    std::string data;
    json_writer w(data);
    w.begin_object().key("entries").begin_array();
    for (const auto& e : page->items) {
        w.begin_object().field("id", e.id);
        write_time(w, "at", e.at);
        w.key("entry").raw(e.json).end_object();
    }
    w.end_array();
    write_next(w, list.limit, page->next);
    w.end_object();
    return answer(data);
}

result<reply> list_refusals(call& c) {
    auto q = c.query();
    const auto source = q.text("source");
    const auto list = read_list(q, "-last");
    if (const auto ok = q.finish(); !ok) return ok.error();
    using row = std::pair<auth::refusal_book::place, auth::refusal_book::entry>;
    std::vector<row> rows(c.door.refusals().all().begin(), c.door.refusals().all().end());
    std::erase_if(rows, [&](const row& r) {
        return (source && r.first.first != *source) || !list.finds({r.first.first, r.first.second});
    });
    using text = const std::string&;
    const auto shown =
        page_of(rows, list, column{"", [](const row& r) -> const auto& { return r.first; }},
                column{"last", [](const row& r) { return r.second.last; }},
                column{"first", [](const row& r) { return r.second.first; }},
                column{"count", [](const row& r) { return r.second.count; }},
                column{"source", [](const row& r) -> text { return r.first.first; }},
                column{"key", [](const row& r) -> text { return r.first.second; }});
    std::string data;
    json_writer w(data);
    w.begin_object().key("refusals").begin_array();
    for (const auto& [place, e] : shown) {
        w.begin_object().field("source", place.first).field("key", place.second);
        w.field("count", e.count);
        write_time(w, "first", e.first);
        write_time(w, "last", e.last);
        w.end_object();
    }
    w.end_array();
    write_pagination(w, list.at, rows.size());
    w.end_object();
    return answer(data);
}

}  // namespace kw::admin
