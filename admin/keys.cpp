// Upstream keys: lists, single records, changes of state, deletion.
#include <algorithm>
#include <boost/json.hpp>

#include "admin/handlers.hpp"
#include "admin/key_edit.hpp"
#include "admin/key_view.hpp"
#include "admin/listing.hpp"
#include "core/crypto.hpp"
#include "core/json_writer.hpp"
#include "pool/health.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

const error no_such_key(errc::store_not_found);

struct listed {
    const key_entry* entry;
    live_key live;
};

result<reply> count_of(std::size_t count) {
    return answer("{\"count\":" + std::to_string(count) + "}");
}

result<reply> delete_by_status(call& c, pool::key_status status) {
    std::vector<std::string> ids;
    for (const auto& [id, entry] : c.records.keys()) {
        if (look_at(c.services, entry.key).status == status) ids.push_back(id);
    }
    std::size_t count = 0;
    for (const auto& id : ids) {
        const auto erased = c.services.store.erase(key_kind, id, 0);
        if (erased) {
            ++count;
        } else if (erased.error().code != errc::store_not_found) {
            return erased.error();
        }
    }
    return count_of(count);
}

}  // namespace

result<reply> list_keys(call& c) {
    auto q = c.query();
    const auto status = q.text("status");
    const auto group = q.text("poolGroup");
    const auto list = read_list(q, "created");
    if (const auto ok = q.finish(); !ok) return ok.error();
    std::optional<pool::key_status> wanted;
    if (status && !(wanted = parse_status(*status)))
        return bad_field("status", "must be active, cooling, quarantined, banned or disabled");

    std::vector<listed> found;
    for (const auto& [id, entry] : c.records.keys()) {
        const auto& k = entry.key;
        if (group && k.group_id != *group) continue;
        if (!list.finds({k.id, k.alias, k.notes, k.account})) continue;
        const listed item{&entry, look_at(c.services, k)};
        if (!wanted || item.live.status == *wanted) found.push_back(item);
    }
    using text = const std::string&;
    const auto shown =
        page_of(found, list, column{"id", [](const listed& k) -> text { return k.entry->key.id; }},
                column{"alias", [](const listed& k) -> text { return k.entry->key.alias; }},
                column{"created", [](const listed& k) { return k.entry->key.created; }},
                column{"status", [](const listed& k) { return to_string(k.live.status); }},
                column{"uses", [](const listed& k) { return k.live.uses; }},
                column{"tokens", [](const listed& k) { return k.live.tokens; }},
                column{"last_used", [](const listed& k) { return k.live.last_used; }});

    std::string data;
    json_writer w(data);
    w.begin_object().key("keys").begin_array();
    for (const auto& item : shown)
        w.raw(key_json(c.services, *item.entry));
    w.end_array();
    write_pagination(w, list.at, found.size());
    w.end_object();
    return answer(data);
}

result<reply> show_key(call& c) {
    const auto* entry = c.records.key(c.id);
    if (entry == nullptr) return no_such_key;
    return answer(key_json(c.services, *entry), entry->revision);
}

result<reply> toggle_key(call& c) {
    const auto* entry = c.records.key(c.id);
    if (entry == nullptr) return no_such_key;
    const auto body = c.body();
    if (!body) return body.error();
    body_fields fields(*body);
    const auto word = fields.text("status");
    const auto stale = is_stale(c, &fields, entry->revision);
    if (const auto ok = fields.finish(); !ok) return ok.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(entry->revision);
    const auto now = look_at(c.services, entry->key).status;
    auto next = now == pool::key_status::active || now == pool::key_status::cooling
                    ? pool::key_status::disabled
                    : pool::key_status::active;
    if (word) {
        const auto named = parse_status(*word);
        if (!named || *named == pool::key_status::cooling ||
            *named == pool::key_status::quarantined)
            return bad_field("status", "must be active, disabled or banned");
        next = *named;
    }
    return rewrite_key(c, *entry, {}, next);
}

result<reply> move_key(call& c) {
    const auto* entry = c.records.key(c.id);
    if (entry == nullptr) return no_such_key;
    const auto body = c.body();
    if (!body) return body.error();
    body_fields fields(*body);
    const auto group = group_named(fields);
    const auto stale = is_stale(c, &fields, entry->revision);
    if (const auto ok = fields.finish(); !ok) return ok.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(entry->revision);
    if (!group) return bad_field("poolGroup", "is missing");
    if (const auto ok = need_group(c, *group); !ok) return ok.error();
    if (*group != entry->key.group_id && !entry->masked.empty() &&
        !c.records.key_with(*group, entry->fingerprint).empty())
        return refuse(409, "duplicate_key", "that group has the same key already");
    return rewrite_key(c, *entry, {{"group", *group}});
}

result<reply> note_key(call& c) {
    const auto* entry = c.records.key(c.id);
    if (entry == nullptr) return no_such_key;
    const auto body = c.body();
    if (!body) return body.error();
    body_fields fields(*body);
    const auto notes = fields.text("notes");
    const auto stale = is_stale(c, &fields, entry->revision);
    if (!notes) fields.fault("notes", "is missing");
    if (const auto ok = fields.finish(); !ok) return ok.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(entry->revision);
    return rewrite_key(c, *entry, {{"notes", *notes}});
}

result<reply> delete_key(call& c) {
    const auto* entry = c.records.key(c.id);
    if (entry == nullptr) return no_such_key;
    const auto stale = is_stale(c, nullptr, entry->revision);
    if (!stale) return stale.error();
    if (*stale) return conflict(entry->revision);
    const auto erased = c.services.store.erase(key_kind, c.id, entry->revision);
    if (!erased) return erased.error();
    return count_of(1);
}

result<reply> delete_disabled_keys(call& c) {
    return delete_by_status(c, pool::key_status::disabled);
}

result<reply> delete_banned_keys(call& c) {
    return delete_by_status(c, pool::key_status::banned);
}

}  // namespace kw::admin
