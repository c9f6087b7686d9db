// Leases of upstream keys, as the operator sees and ends them.
#include <algorithm>

#include "admin/handlers.hpp"
#include "admin/lease_desk.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

void write_lease(json_writer& w, const call& c, const lease_view& view) {
    const auto* holder = c.records.access_key(view.lease.holder);
    const auto* key = c.records.key(view.upstream_key);
    w.begin_object()
        .field("id", view.lease.id)
        .field("access_key", view.lease.holder)
        .field("name", holder != nullptr ? holder->name : "")
        .field("upstream_key", view.upstream_key)
        .field("alias", key != nullptr ? key->key.alias : "")
        .field("group", key != nullptr ? key->key.group_id : "")
        .field("raw", view.lease.access_key.empty());
    write_time(w, "since", view.lease.since);
    write_time(w, "expires_at", view.lease.until);
    w.end_object();
}

}  // namespace

result<reply> list_leases(call& c) {
    auto q = c.query();
    const auto holder = q.text("access_key");
    const auto upstream_key = q.text("upstream_key");
    const auto group = q.text("group");
    const auto at = q.place();
    if (const auto ok = q.finish(); !ok) return ok.error();
    auto found =
        c.services.leases != nullptr ? c.services.leases->running() : std::vector<lease_view>();
    std::erase_if(found, [&](const lease_view& view) {
        const auto* key = c.records.key(view.upstream_key);
        return (holder && view.lease.holder != *holder) ||
               (upstream_key && view.upstream_key != *upstream_key) ||
               (group && (key == nullptr || key->key.group_id != *group));
    });
    std::ranges::sort(found, {}, [](const lease_view& v) {
        return std::pair(v.lease.until, std::string_view(v.lease.id));
    });
    std::string data;
    json_writer w(data);
    w.begin_object().key("leases").begin_array();
    for (std::size_t i = at.first(); i < std::min(found.size(), at.first() + at.limit); ++i)
        write_lease(w, c, found[i]);
    w.end_array();
    write_pagination(w, at, found.size());
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
