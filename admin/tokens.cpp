// Tokens for programs: with a role, perhaps bound to some routes and to a time.
#include <algorithm>
#include <boost/json.hpp>

#include "admin/handlers.hpp"
#include "admin/listing.hpp"
#include "auth/admin_account.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

constexpr std::size_t max_routes = 100;

void write_token(json_writer& w, const auth::admin_token& t, wall_time now, const secret* text) {
    w.begin_object().field("id", t.id);
    // Who made it must learn it, now or never.
    if (text != nullptr) w.field("token", text->reveal());
    w.field("masked", t.masked).field("name", t.name).field("role", to_string(t.is));
    write_texts(w, "routes", t.routes);
    w.field("made_by", t.made_by);
    write_time(w, "created", t.created);
    write_time(w, "expires_at", t.expires);
    w.field("expired", t.expires && *t.expires <= now);
    w.field("revision", t.revision).end_object();
}

// Prefixes of routes that exist.
std::vector<std::string> read_routes(body_fields& in) {
    std::vector<std::string> out;
    const auto* v = in.take("routes");
    if (v == nullptr) return out;
    const auto* list = v->if_array();
    if (list == nullptr || list->size() > max_routes) {
        in.fault("routes", "must be a list of at most 100 paths");
        return out;
    }
    for (const auto& item : *list) {
        const auto* text = item.if_string();
        const std::string path = text == nullptr ? "" : std::string(*text);
        const bool known = std::ranges::any_of(
            route_table(), [&](const route& r) { return auth::within({path}, r.info.path); });
        if (path.empty() || !known) {
            in.fault("routes", "must hold beginnings of routes, as /admin/keys");
            return out;
        }
        out.push_back(path);
    }
    return out;
}

}  // namespace

result<reply> list_tokens(call& c) {
    auto q = c.query();
    const auto list = read_list(q, "id");
    const auto role = read_role(q);
    if (const auto ok = q.finish(); !ok) return ok.error();
    std::vector<const auth::admin_token*> found;
    for (const auto& [id, t] : c.records.tokens())
        if ((!role || t.is == *role) && list.finds({t.id, t.name})) found.push_back(&t);
    const auto shown = page_of(
        found, list, column{"id", [](const auto* t) -> const std::string& { return t->id; }},
        column{"name", [](const auto* t) -> const std::string& { return t->name; }},
        column{"role", [](const auto* t) { return to_string(t->is); }},
        column{"created", [](const auto* t) { return t->created; }},
        column{"expires_at", [](const auto* t) { return or_never(t->expires); }});
    std::string data;
    json_writer w(data);
    w.begin_object().key("tokens").begin_array();
    for (const auto* t : shown)
        write_token(w, *t, c.services.clock.wall(), nullptr);
    w.end_array();
    write_pagination(w, list.at, found.size());
    w.end_object();
    return answer(data);
}

result<reply> create_token(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    auth::admin_token t;
    t.name = in.text("name", 200).value_or("");
    if (t.name.empty()) in.fault("name", "is missing");
    if (const auto word = in.text("role")) {
        const auto role = auth::parse_role(*word);
        if (!role) in.fault("role", "must be viewer, operator or owner");
        t.is = role.value_or(auth::role::viewer);
    } else {
        in.fault("role", "is missing");
    }
    t.routes = read_routes(in);
    const auto now = c.services.clock.wall();
    if (const auto until = in.text("expires_at")) {
        t.expires = parse_time(*until);
        if (!t.expires || *t.expires <= now)
            in.fault("expires_at", "must be a date or an RFC 3339 time to come");
    }
    if (const auto ok = in.finish(); !ok) return ok.error();
    t.id = make_id("tok_", now, c.random);
    const auto text = auth::make_admin_text(auth::admin_text::token, t.id);
    t.hash = auth::hash_admin_text(text, c.services.pepper);
    t.masked = text.masked();
    t.made_by = c.what.who.name;
    t.created = now;
    std::optional<reply> refused;
    const auto written = write(c, auth::to_record(t), refused);
    if (refused) return *refused;
    if (!written) return written.error();
    t.revision = *written;
    std::string data;
    json_writer w(data);
    write_token(w, t, now, &text);
    return answer(data, t.revision, 201);
}

result<reply> delete_token(call& c) {
    const auto erased = c.services.store.erase(auth::admin_token_kind, c.id, 0);
    if (!erased) return erased.error();
    return answer(R"({"count":1})");
}

}  // namespace kw::admin
