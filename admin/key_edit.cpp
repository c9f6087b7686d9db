// Making and changing the records of upstream keys.
#include "admin/key_edit.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "admin/handlers.hpp"
#include "admin/key_view.hpp"
#include "core/crypto.hpp"
#include "core/ids.hpp"
#include "pool/health.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

constexpr std::string_view duplicate_code = "duplicate_key";

std::string_view record_word(pool::key_status s) noexcept {
    switch (s) {
        case pool::key_status::disabled:
            return to_string(pool::admin_status::disabled);
        case pool::key_status::banned:
            return to_string(pool::admin_status::banned);
        default:
            return to_string(pool::admin_status::enabled);
    }
}

// The fields of a body that both POST and PUT take, as changes to the stored JSON.
struct key_changes {
    json::object stored;
    std::optional<secret> value;
    std::optional<std::string> group;
    std::optional<pool::key_status> status;
};

result<key_changes> read_changes(call& c, body_fields& in) {
    key_changes out;
    in.copy({"alias", "notes", "provider", "base_url", "models", "account", "caps", "quota_tokens",
             "max_leases", "organization", "project", "reason"},
            out.stored);
    if (const auto* weight = in.take("weight")) {
        if (const auto ppm = parse_factor(*weight)) {
            out.stored["weight_ppm"] = *ppm;
        } else {
            in.fault("weight", "must be a number above 0 with at most six decimals");
        }
    }
    out.group = group_named(in);
    if (out.group) out.stored["group"] = *out.group;
    if (const auto word = in.text("status")) {
        out.status = parse_status(*word);
        if (!out.status || *out.status == pool::key_status::cooling ||
            *out.status == pool::key_status::quarantined)
            in.fault("status", "must be active, disabled or banned");
    }
    if (auto text = in.text("key", 16384)) {
        if (!usable_value(*text)) in.fault("key", "must be 8 to 512 visible ASCII characters");
        out.value = secret(std::move(*text));
    }
    if (const auto* url = out.stored.if_contains("base_url");
        url != nullptr && url->is_string() && !url->get_string().empty()) {
        auto checked = checked_base_url(c, std::string(url->get_string()));
        if (!checked) return checked.error();
        out.stored["base_url"] = *checked;
    }
    // Both are shown to others; a paste into the wrong field must not lay the key open.
    for (const auto name : {"alias", "notes"}) {
        const auto* text = out.stored.if_contains(name);
        if (out.value && text != nullptr && text->is_string() &&
            std::string_view(text->get_string()).find(out.value->reveal()) !=
                std::string_view::npos)
            in.fault(name, "must not hold the key");
    }
    return out;
}

// "upstream key: weight_ppm is out of range" in the names of the API.
error renamed(error e) {
    if (const auto at = e.context.find("weight_ppm"); at != std::string::npos)
        e.context.replace(at, 10, "weight");
    return e;
}

}  // namespace

bool usable_value(std::string_view text) noexcept {
    return text.size() >= 8 && text.size() <= 512 &&
           std::ranges::all_of(text, [](char ch) { return ch > ' ' && ch < 0x7f; });
}

std::optional<std::string> group_named(body_fields& body) {
    auto one = body.text("poolGroup", 64);
    auto other = body.text("group", 64);
    if (one && other && *one != *other) body.fault("group", "contradicts poolGroup");
    return one ? one : other;
}

result<void> need_group(call& c, const std::string& id) {
    if (c.records.group(id)) return {};
    if (id != default_group) return bad_field("poolGroup", "names no group: make it first");
    pool::group made;
    made.id = made.name = id;
    made.base_url = "https://api.openai.com/v1";
    const auto put = c.services.store.put({std::string(group_kind), id, 0, pool::to_json(made)});
    // Another replica may have been faster.
    if (!put && put.error().code != errc::store_conflict) return put.error();
    return {};
}

pool::upstream_key new_key(call& c, std::string_view group) {
    pool::upstream_key key;
    key.id = make_id("uk_", c.services.clock.wall(), c.random);
    key.group_id = group;
    key.alias = key.group_id + '-' + key.id.substr(key.id.size() - 6);
    key.created = c.services.clock.wall();
    return key;
}

void set_live(call& c, const std::string& id, pool::key_status status) {
    if (const auto slot = c.services.states.find(id))
        c.services.health.set_status(*slot, status, c.services.clock.mono(),
                                     c.services.clock.wall());
}

result<reply> rewrite_key(call& c, const key_entry& entry, const json::object& changes,
                          std::optional<pool::key_status> status) {
    // The stored JSON is changed, not the decoded key: a secret that does not open with this
    // master key stays as it is.
    auto stored = c.services.store.get(key_kind, entry.key.id);
    if (!stored) return stored.error();
    if (stored->revision != entry.revision) return conflict(stored->revision);
    auto object = parse_object(stored->json);
    if (!object) return object.error();
    lay_over(*object, changes);
    if (status) {
        (*object)["status"] = record_word(*status);
        if (!changes.contains("reason")) (*object)["reason"] = "";
    }
    stored->json = json::serialize(*object);
    if (const auto valid = pool::key_from_json(stored->json, c.services.sealer); !valid)
        return renamed(valid.error());
    std::optional<reply> refused;
    const auto written = write(c, *stored, refused);
    if (refused) return *refused;
    if (!written) return written.error();
    if (status) set_live(c, entry.key.id, *status);
    if (const auto synced = c.records.sync(); !synced) return synced.error();
    return show_key(c);
}

result<reply> create_key(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    auto changes = read_changes(c, in);
    if (changes && !changes->value) in.fault("key", "is missing");
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!changes) return changes.error();
    const std::string group = changes->group.value_or(std::string(default_group));
    const auto same = c.records.key_with(group, c.records.fingerprint(*changes->value));
    if (!same.empty())
        return refuse(409, duplicate_code, "the group has this key already: " + same);
    if (const auto ok = need_group(c, group); !ok) return ok.error();

    auto key = new_key(c, group);
    key.value = std::move(*changes->value);
    auto object = parse_object(pool::to_json(key, c.services.sealer));
    if (!object) return object.error();
    lay_over(*object, changes->stored);
    if (changes->status) (*object)["status"] = record_word(*changes->status);
    store::record record{std::string(key_kind), key.id, 0, json::serialize(*object)};
    if (const auto valid = pool::key_from_json(record.json, c.services.sealer); !valid)
        return renamed(valid.error());
    std::optional<reply> refused;
    const auto written = write(c, record, refused);
    if (refused) return *refused;
    if (!written) return written.error();
    if (const auto synced = c.records.sync(); !synced) return synced.error();
    c.id = key.id;
    auto shown = show_key(c);
    if (shown) shown->status = 201;
    return shown;
}

result<reply> update_key(call& c) {
    const auto* entry = c.records.key(c.id);
    if (entry == nullptr) return error(errc::store_not_found);
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    auto changes = read_changes(c, in);
    const auto stale = is_stale(c, &in, entry->revision);
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!changes) return changes.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(entry->revision);

    const std::string group = changes->group.value_or(entry->key.group_id);
    if (changes->group) {
        if (const auto ok = need_group(c, group); !ok) return ok.error();
    }
    const auto value = changes->value ? c.records.fingerprint(*changes->value) : entry->fingerprint;
    const auto same = c.records.key_with(group, value);
    if (!same.empty() && same != c.id && (changes->value || changes->group))
        return refuse(409, duplicate_code, "the group has this key already: " + same);
    if (changes->value) {
        changes->stored["sealed"] = c.services.sealer.seal(*changes->value, c.id);
        // What was found out about the old value says nothing of the new one.
        if (!changes->status && entry->key.status == pool::admin_status::enabled)
            changes->status = pool::key_status::active;
    }
    return rewrite_key(c, *entry, changes->stored, changes->status);
}

}  // namespace kw::admin
