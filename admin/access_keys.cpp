// Access keys: what clients present. The text of one is shown once, when it is made.
#include <algorithm>
#include <boost/json.hpp>

#include "admin/access_key_edit.hpp"
#include "admin/handlers.hpp"
#include "admin/limit_view.hpp"
#include "admin/listing.hpp"
#include "auth/authenticator.hpp"
#include "auth/key_text.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

const error no_such_key(errc::store_not_found);

// What the limits of these keys have used; empty where that is not known.
usage_by_key usage_of(const call& c, const std::vector<const auth::access_key*>& keys) {
    return c.services.admission == nullptr ? usage_by_key{} : peek_now(*c.services.admission, keys);
}

void write_key(json_writer& w, const auth::access_key& k, wall_time now, const secret* text,
               const usage_by_key& usage = {}) {
    w.begin_object().field("id", k.id);
    // The one place where a secret leaves: who made the key must learn it.
    if (text != nullptr) w.field("key", text->reveal());
    w.field("masked", k.masked)
        .field("name", k.name)
        .field("description", k.description)
        .field("owner_name", k.options->owner_name)
        .field("owner_email", k.options->owner_email);
    write_texts(w, "tags", k.options->tags);
    write_time(w, "created", k.created);
    write_time(w, "expires_at", k.expires_at);
    w.field("disabled", k.disabled)
        .field("deleted", k.deleted)
        .field("expired", auth::expired(k, now))
        .field("declared", k.declared);
    write_texts(w, "models_allow", k.options->models_allow);
    write_texts(w, "models_deny", k.options->models_deny);
    write_texts(w, "endpoints", k.options->endpoints);
    write_texts(w, "permissions", k.options->permissions);
    write_texts(w, "clients_allow", k.options->clients_allow);
    write_texts(w, "origins_allow", k.options->origins_allow);
    w.key("ips_allow").begin_array();
    for (const auto& network : k.options->ips_allow)
        w.value(network.to_string());
    w.end_array();
    const auto after = k.options->expires_after.count();
    if (after > 0)
        w.field("expires_after_seconds", std::int64_t{after});
    else
        w.key("expires_after_seconds").null();
    const auto own = [&](std::string_view name, const std::optional<std::int64_t>& value) {
        if (value)
            w.field(name, *value);
        else
            w.key(name).null();
    };
    own("queue_size", k.options->queue_size);
    const auto timeout = k.options->queue_timeout;
    own("queue_timeout_seconds",
        timeout ? std::optional<std::int64_t>(timeout->count()) : std::nullopt);
    const bool earlier = k.options->earlier_hash && k.options->earlier_until > now;
    write_time(w, "earlier_key_until",
               earlier ? std::optional(k.options->earlier_until) : std::nullopt);
    w.field("group", k.options->group).field("upstream_key", k.options->upstream_key);
    w.key("multiplier").raw(format_factor(k.multiplier_ppm));
    w.key("limits");
    auth::write_limits(w, k.limits);
    w.field("limits_from", k.limits.by_default         ? "default"
                           : k.limits || k.limits.none ? "own"
                                                       : "nothing");
    if (const auto used = usage.find(k.id); used != usage.end()) {
        w.key("limit_usage");
        write_limit_usage(w, k.limits, used->second);
        // Where requests alone are counted nothing is kept of one that runs.
        if (k.limits && k.limits.set->counts_only())
            w.key("running").null();
        else
            w.field("running", used->second.leases);
    }
    w.field("revision", k.revision).end_object();
}

result<reply> save(call& c, store::record& record, const json::object& changes,
                   const secret* text = nullptr, std::uint16_t status = 200) {
    auto key = change_access_key(c, record, changes);
    if (!key) return key.error();
    std::optional<reply> refused;
    const auto written = write(c, record, refused);
    if (refused) return *refused;
    if (!written) return written.error();
    key->revision = *written;
    std::string data;
    json_writer w(data);
    write_key(w, *key, c.services.clock.wall(), text);
    return answer(data, key->revision, status);
}

// The stored record, if it is still the one that was listed.
result<store::record> stored_record(call& c, const auth::access_key& key,
                                    std::optional<reply>& refused) {
    auto record = c.services.store.get(auth::access_key_kind, key.id);
    if (record && record->revision != key.revision) refused = conflict(record->revision);
    return record;
}

// Changes that the body does not name.
result<reply> change(call& c, const auth::access_key& key, const json::object& changes,
                     const secret* text = nullptr) {
    std::optional<reply> refused;
    auto record = stored_record(c, key, refused);
    if (refused) return *refused;
    if (!record) return record.error();
    return save(c, *record, changes, text);
}

}  // namespace

result<reply> list_access_keys(call& c) {
    auto q = c.query();
    const auto disabled = q.choice("disabled", {"false", "true", "any"}, 2);
    const auto deleted = q.choice("deleted", {"false", "true", "any"}, 0);
    const auto list = read_list(q, "id");
    if (const auto ok = q.finish(); !ok) return ok.error();
    std::vector<const auth::access_key*> found;
    found.reserve(c.services.access_keys.all().size());
    c.records.each_access_key([&](const auth::access_key& key) {
        if (disabled != 2 && key.disabled != (disabled == 1)) return;
        if (deleted != 2 && key.deleted != (deleted == 1)) return;
        const auto& o = *key.options;
        if (!list.finds({key.id, key.name, key.description, o.owner_name, o.owner_email}) &&
            std::ranges::none_of(o.tags, [&](const auto& tag) { return list.finds({tag}); }))
            return;
        found.push_back(&key);
    });
    // Those without an end come last.
    const auto page = page_of(
        found, list, column{"id", [](const auto* k) -> const std::string& { return k->id; }},
        column{"name", [](const auto* k) -> const std::string& { return k->name; }},
        column{"created", [](const auto* k) { return k->created; }},
        column{"expires_at", [](const auto* k) { return or_never(k->expires_at); }});
    const std::vector<const auth::access_key*> shown(page.begin(), page.end());
    std::string data;
    json_writer w(data);
    w.begin_object().key("access_keys").begin_array();
    const auto usage = usage_of(c, shown);
    for (const auto* key : shown)
        write_key(w, *key, c.services.clock.wall(), nullptr, usage);
    w.end_array();
    write_pagination(w, list.at, found.size());
    w.end_object();
    return answer(data);
}

result<reply> show_access_key(call& c) {
    const auto* key = c.records.any_access_key(c.id);
    if (key == nullptr) return no_such_key;
    std::string data;
    json_writer w(data);
    const auto usage = usage_of(c, {key});
    write_key(w, *key, c.services.clock.wall(), nullptr, usage);
    return answer(data, key->revision);
}

result<reply> create_access_key(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto changes = access_key_changes(c, in);
    const auto name = in.text("name", 200);
    if (!name || name->empty()) in.fault("name", "is missing");
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!changes) return changes.error();
    const auto text = auth::make_key_text();
    auto record = new_access_key(c, text);
    return save(c, record, *changes, &text, 201);
}

result<reply> update_access_key(call& c) {
    const auto* key = c.records.access_key(c.id);
    if (key == nullptr) return no_such_key;
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto changes = access_key_changes(c, in);
    const auto stale = is_stale(c, &in, key->revision);
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!changes) return changes.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(key->revision);
    return change(c, *key, *changes);
}

result<reply> toggle_access_key(call& c) {
    const auto* key = c.records.access_key(c.id);
    if (key == nullptr) return no_such_key;
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    json::object changes;
    in.copy({"disabled"}, changes);
    const auto stale = is_stale(c, &in, key->revision);
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(key->revision);
    if (changes.empty()) changes["disabled"] = !key->disabled;
    return change(c, *key, changes);
}

// A deleted key is unknown to clients and can be restored; a purged one is gone. Its books stay.
result<reply> delete_access_key(call& c) {
    auto q = c.query();
    const bool purge = q.choice("purge", {"false", "true"}, 0) == 1;
    if (const auto ok = q.finish(); !ok) return ok.error();
    const auto* key = purge ? c.records.any_access_key(c.id) : c.records.access_key(c.id);
    if (key == nullptr) return no_such_key;
    const auto stale = is_stale(c, nullptr, key->revision);
    if (!stale) return stale.error();
    if (*stale) return conflict(key->revision);
    if (purge) {
        const auto erased = c.services.store.erase(auth::access_key_kind, c.id, key->revision);
        if (!erased) return erased.error();
    } else {
        auto done = change(c, *key, {{"deleted", true}});
        if (!done || done->status != 200) return done;
    }
    return answer(R"({"count":1})");
}

result<reply> restore_access_key(call& c) {
    const auto* key = c.records.any_access_key(c.id);
    if (key == nullptr) return no_such_key;
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto stale = is_stale(c, &in, key->revision);
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(key->revision);
    return change(c, *key, {{"deleted", nullptr}});
}

result<reply> regenerate_access_key(call& c) {
    constexpr std::uint64_t longest_grace = std::uint64_t{7} * 24 * 3600;
    const auto* key = c.records.access_key(c.id);
    if (key == nullptr) return no_such_key;
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto grace = in.whole("grace_seconds").value_or(0);
    if (grace > longest_grace) in.fault("grace_seconds", "must be at most 604800, seven days");
    const auto stale = is_stale(c, &in, key->revision);
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(key->revision);
    if (key->declared)
        return error(errc::invalid_argument,
                     "this key is declared in the configuration: give it another text there");
    const auto text = auth::make_key_text();
    json::object changes{
        {"hash", crypto::to_hex(auth::hash_key_text(text, c.services.pepper))},
        {"masked", text.masked()},
        {"earlier_hash", nullptr},
        {"earlier_until_ms", nullptr},
    };
    if (grace > 0) {
        const auto until = c.services.clock.wall() + std::chrono::seconds(grace);
        changes["earlier_hash"] = crypto::to_hex(key->hash);
        changes["earlier_until_ms"] = unix_ms(until);
    }
    return change(c, *key, changes, &text);
}

}  // namespace kw::admin
