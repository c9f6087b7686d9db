// The master key that seals stored secrets: ids and progress, never a key.
#include <boost/json.hpp>

#include "admin/handlers.hpp"
#include "admin/values.hpp"
#include "auth/master_key.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

reply show(const auth::master_key_keeper& keys, std::uint16_t status) {
    const auto p = keys.progress();
    std::string data;
    json_writer w(data);
    w.begin_object()
        .field("active", p.active)
        .field("state", to_string(p.last.state))
        .field("from", p.last.from)
        .field("to", p.last.to);
    w.key("known").begin_array();
    for (const auto& id : p.known)
        w.value(id);
    w.end_array();
    w.field("total", p.last.total)
        .field("sealed", p.sealed)
        .field("remaining", p.remaining)
        .field("unreadable", p.unreadable)
        .field("reason", p.last.reason);
    const auto time = [&](std::string_view name, wall_time at) {
        w.key(name);
        at == wall_time{} ? w.null() : w.value(format_time(at));
    };
    time("started_at", p.last.started);
    time("ended_at", p.last.ended);
    w.end_object();
    return answer(data, {}, status);
}

result<auth::master_key_keeper*> keeper_of(const call& c) {
    if (c.services.master_keys == nullptr)
        return error(errc::invalid_argument, "the master key is fixed");
    return c.services.master_keys;
}

}  // namespace

result<reply> show_master_key(call& c) {
    if (const auto ok = c.query().finish(); !ok) return ok.error();
    const auto keeper = keeper_of(c);
    if (!keeper) return keeper.error();
    return show(**keeper, 200);
}

result<reply> rotate_master_key(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    if (const auto ok = body_fields(*body).finish(); !ok) return ok.error();
    const auto keeper = keeper_of(c);
    if (!keeper) return keeper.error();
    if (const auto begun = (*keeper)->begin(); !begun) return begun.error();
    return show(**keeper, 202);
}

}  // namespace kw::admin
