// Leases of upstream keys, as the operator sees and ends them.
#include "admin/handlers.hpp"
#include "admin/lease_desk.hpp"
#include "admin/listing.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

// A lease with the names that go with it.
struct row {
    lease_view view;
    std::string_view name;
    std::string_view alias;
    std::string_view group;
};

row named(const call& c, lease_view&& view) {
    row out{.view = std::move(view), .name = {}, .alias = {}, .group = {}};
    if (const auto* holder = c.records.access_key(out.view.lease.holder)) out.name = holder->name;
    if (const auto* key = c.records.key(out.view.upstream_key)) {
        out.alias = key->key.alias;
        out.group = key->key.group_id;
    }
    return out;
}

void write_lease(json_writer& w, const row& r) {
    const auto& lease = r.view.lease;
    w.begin_object()
        .field("id", lease.id)
        .field("access_key", lease.holder)
        .field("name", r.name)
        .field("upstream_key", r.view.upstream_key)
        .field("alias", r.alias)
        .field("group", r.group)
        .field("raw", lease.access_key.empty());
    write_time(w, "since", lease.since);
    write_time(w, "expires_at", lease.until);
    w.end_object();
}

}  // namespace

result<reply> list_leases(call& c) {
    auto q = c.query();
    const auto holder = q.text("access_key");
    const auto upstream_key = q.text("upstream_key");
    const auto group = q.text("group");
    const auto list = read_list(q, "expires_at");
    if (const auto ok = q.finish(); !ok) return ok.error();
    auto running =
        c.services.leases != nullptr ? c.services.leases->running() : std::vector<lease_view>();
    std::vector<row> found;
    for (auto& view : running) {
        auto r = named(c, std::move(view));
        const auto& lease = r.view.lease;
        if ((holder && lease.holder != *holder) ||
            (upstream_key && r.view.upstream_key != *upstream_key) || (group && r.group != *group))
            continue;
        if (list.finds({lease.id, r.name, r.alias, lease.holder, r.view.upstream_key}))
            found.push_back(std::move(r));
    }
    using text = const std::string&;
    const auto shown =
        page_of(found, list, column{"id", [](const row& r) -> text { return r.view.lease.id; }},
                column{"expires_at", [](const row& r) { return r.view.lease.until; }},
                column{"since", [](const row& r) { return r.view.lease.since; }},
                column{"access_key", [](const row& r) -> text { return r.view.lease.holder; }},
                column{"upstream_key", [](const row& r) -> text { return r.view.upstream_key; }},
                column{"group", &row::group});
    std::string data;
    json_writer w(data);
    w.begin_object().key("leases").begin_array();
    for (const auto& r : shown)
        write_lease(w, r);
    w.end_array();
    write_pagination(w, list.at, found.size());
    w.end_object();
    return answer(data);
}

result<reply> end_lease(call& c) {
    if (const auto ok = c.query().finish(); !ok) return ok.error();
    if (c.services.leases == nullptr) return error(errc::store_not_found);
    const auto done = c.services.leases->release(nullptr, c.id);
    if (!done)
        return error(done.error() == lease_desk::refusal::unknown ? errc::store_not_found
                                                                  : errc::store_unavailable);
    std::string data;
    json_writer w(data);
    w.begin_object().field("released", true).field("remaining", done->remaining).end_object();
    return answer(data);
}

}  // namespace kw::admin
