// Upstream keys: lists, single records, changes of state, deletion.
#include <algorithm>
#include <boost/json.hpp>
#include <tuple>

#include "admin/handlers.hpp"
#include "admin/key_edit.hpp"
#include "admin/key_view.hpp"
#include "core/crypto.hpp"
#include "core/json_writer.hpp"
#include "pool/health.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

const error no_such_key(errc::store_not_found);

char lower(char c) noexcept {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool contains(std::string_view text, std::string_view lower_part) {
    return !std::ranges::search(text, lower_part, {}, lower).empty() || lower_part.empty();
}

struct listed {
    const key_entry* entry;
    live_key live;
};

void sort_keys(std::vector<listed>& keys, std::size_t by, bool descending) {
    const auto less = [by](const listed& a, const listed& b) {
        const auto& x = a.entry->key;
        const auto& y = b.entry->key;
        switch (by) {
            case 1:
                return std::tie(x.alias, x.id) < std::tie(y.alias, y.id);
            case 2:
                return std::tie(x.created, x.id) < std::tie(y.created, y.id);
            case 3:
                return std::tie(a.live.status, x.id) < std::tie(b.live.status, y.id);
            case 4:
                return std::tie(a.live.uses, x.id) < std::tie(b.live.uses, y.id);
            case 5:
                return std::tie(a.live.tokens, x.id) < std::tie(b.live.tokens, y.id);
            case 6:
                return std::tie(a.live.last_used, x.id) < std::tie(b.live.last_used, y.id);
            default:
                return x.id < y.id;
        }
    };
    std::ranges::sort(keys, less);
    if (descending) std::ranges::reverse(keys);
}

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
    auto text = q.text("q").value_or("");
    auto order = q.text("sort").value_or("created");
    const auto at = q.place();
    if (const auto ok = q.finish(); !ok) return ok.error();
    std::optional<pool::key_status> wanted;
    if (status && !(wanted = parse_status(*status)))
        return bad_field("status", "must be active, cooling, quarantined, banned or disabled");
    const bool descending = order.starts_with('-');
    if (descending) order.erase(0, 1);
    static constexpr std::string_view orders[] = {"id",   "alias",  "created",  "status",
                                                  "uses", "tokens", "last_used"};
    const auto* by = std::ranges::find(orders, order);
    if (by == std::end(orders))
        return bad_field("sort",
                         "must be id, alias, created, status, uses, tokens or last_used, with - "
                         "before it for the reverse");
    std::ranges::transform(text, text.begin(), lower);

    std::vector<listed> found;
    for (const auto& [id, entry] : c.records.keys()) {
        const auto& k = entry.key;
        if (group && k.group_id != *group) continue;
        if (!contains(k.id, text) && !contains(k.alias, text) && !contains(k.notes, text) &&
            !contains(k.account, text))
            continue;
        const listed item{&entry, look_at(c.services, k)};
        if (!wanted || item.live.status == *wanted) found.push_back(item);
    }
    sort_keys(found, static_cast<std::size_t>(by - orders), descending);

    std::string data;
    json_writer w(data);
    w.begin_object().key("keys").begin_array();
    for (auto i = at.first(); i < std::min(found.size(), at.first() + at.limit); ++i)
        w.raw(key_json(c.services, *found[i].entry));
    w.end_array();
    write_pagination(w, at, found.size());
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
