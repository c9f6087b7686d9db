// Accounts of admins. Nobody but an owner sees or changes them; no password ever comes back.
#include <boost/json.hpp>

#include "admin/handlers.hpp"
#include "admin/listing.hpp"
#include "admin/login.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

const error no_such_admin(errc::store_not_found);

const auth::admin_account* find(const call& c) {
    const auto at = c.records.admins().find(c.id);
    return at == c.records.admins().end() ? nullptr : &at->second;
}

reply shown(const auth::admin_account& a, wall_time now, std::uint16_t status = 200) {
    std::string data;
    json_writer w(data);
    write_admin(w, a, now, true);
    return answer(data, a.revision, status);
}

struct changes {
    std::optional<std::string> email;
    std::optional<auth::role> is;
    std::optional<bool> disabled;
    secret password;

    void apply(auth::admin_account& a) const {
        if (email) a.email = *email;
        if (is) a.is = *is;
        if (disabled) a.disabled = *disabled;
        if (a.disabled) a.sessions.clear();
    }
};

changes read_changes(body_fields& in) {
    changes out;
    out.email = in.text("email", 256);
    if (const auto word = in.text("role")) {
        out.is = auth::parse_role(*word);
        if (!out.is) in.fault("role", "must be viewer, operator or owner");
    }
    if (const auto* v = in.take("disabled")) {
        if (v->is_bool())
            out.disabled = v->get_bool();
        else
            in.fault("disabled", "must be true or false");
    }
    out.password = new_password(in, "password");
    return out;
}

}  // namespace

result<reply> list_admins(call& c) {
    auto q = c.query();
    const auto list = read_list(q, "id");
    const auto disabled = q.choice("disabled", {"false", "true", "any"}, 2);
    const auto role = read_role(q);
    if (const auto ok = q.finish(); !ok) return ok.error();
    std::vector<const auth::admin_account*> found;
    for (const auto& [id, a] : c.records.admins()) {
        if (disabled != 2 && a.disabled != (disabled == 1)) continue;
        if ((!role || a.is == *role) && list.finds({a.id, a.name, a.email})) found.push_back(&a);
    }
    using text = const std::string&;
    const auto shown =
        page_of(found, list, column{"id", [](const auto* a) -> text { return a->id; }},
                column{"name", [](const auto* a) -> text { return a->name; }},
                column{"email", [](const auto* a) -> text { return a->email; }},
                column{"role", [](const auto* a) { return to_string(a->is); }},
                column{"created", [](const auto* a) { return a->created; }});
    std::string data;
    json_writer w(data);
    w.begin_object().key("admins").begin_array();
    for (const auto* a : shown)
        write_admin(w, *a, c.services.clock.wall(), false);
    w.end_array();
    write_pagination(w, list.at, found.size());
    w.end_object();
    return answer(data);
}

result<reply> show_admin(call& c) {
    const auto* a = find(c);
    if (a == nullptr) return no_such_admin;
    return shown(*a, c.services.clock.wall());
}

result<reply> create_admin(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto name = in.text("name", 64);
    const auto given = read_changes(in);
    if (!name)
        in.fault("name", "is missing");
    else if (!auth::valid_admin_name(*name))
        in.fault("name", "must be 1 to 64 letters, digits or . _ - @");
    if (given.password.empty()) in.fault("password", "is missing");
    if (const auto ok = in.finish(); !ok) return ok.error();
    auth::admin_account a;
    a.id = auth::admin_id(*name);
    a.name = *name;
    a.created = c.services.clock.wall();
    a.password_changed = a.created;
    given.apply(a);
    if (c.records.admins().contains(a.id))
        return refuse(409, "duplicate_admin", "there is an admin of that name");
    auto what = c.what;
    what.subject = a.id;
    hash_aside(c, given.password,
               [services = &c.services, what, a](const std::string& hash) -> reply {
                   auto made = a;
                   made.password = hash;
                   const trail::scope traced(services->store, what);
                   const auto written = services->store.put(auth::to_record(made));
                   if (!written && written.error().code == errc::store_conflict)
                       return refuse(409, "duplicate_admin", "there is an admin of that name");
                   if (!written) return refuse(written.error());
                   made.revision = *written;
                   return shown(made, services->clock.wall(), 201);
               });
    return reply();
}

result<reply> update_admin(call& c) {
    const auto* a = find(c);
    if (a == nullptr) return no_such_admin;
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto given = read_changes(in);
    const auto stale = is_stale(c, &in, a->revision);
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(a->revision);
    // Sessions come and go without the caller's knowing, so what is laid over is the stored
    // account.
    const auto save = [services = &c.services, what = c.what, given,
                       id = c.id](const std::string* hash) -> reply {
        const auto written =
            change_account(*services, what, "change", id, [&](auth::admin_account& to) {
                given.apply(to);
                if (hash != nullptr) {
                    to.password = *hash;
                    to.password_changed = services->clock.wall();
                    to.sessions.clear();
                }
                return true;
            });
        return written ? shown(*written, services->clock.wall()) : refuse(written.error());
    };
    if (given.password.empty()) {
        c.traced = true;
        return save(nullptr);
    }
    hash_aside(c, given.password, [save](const std::string& hash) { return save(&hash); });
    return reply();
}

result<reply> delete_admin(call& c) {
    if (find(c) == nullptr) return no_such_admin;
    const auto erased = c.services.store.erase(auth::admin_kind, c.id, 0);
    if (!erased) return erased.error();
    return answer(R"({"count":1})");
}

}  // namespace kw::admin
