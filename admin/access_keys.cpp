// Access keys: what clients present. The text of one is shown once, when it is made.
#include <algorithm>
#include <boost/json.hpp>

#include "admin/handlers.hpp"
#include "admin/limit_view.hpp"
#include "auth/authenticator.hpp"
#include "auth/key_text.hpp"
#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

const error no_such_key(errc::store_not_found);

// What the limits of these keys have used; empty where that is not known.
usage_by_key usage_of(const call& c, const std::vector<const auth::access_key*>& keys) {
    return c.services.admission == nullptr ? usage_by_key{}
                                           : peek_now(*c.services.admission, keys);
}

void write_key(json_writer& w, const auth::access_key& k, wall_time now, const secret* text,
               const usage_by_key& usage = {}) {
    w.begin_object().field("id", k.id);
    // The one place where a secret leaves: who made the key must learn it.
    if (text != nullptr) w.field("key", text->reveal());
    w.field("masked", k.masked)
        .field("name", k.name)
        .field("description", k.description)
        .field("owner_name", k.owner_name)
        .field("owner_email", k.owner_email);
    write_texts(w, "tags", k.tags);
    write_time(w, "created", k.created);
    write_time(w, "expires_at", k.expires_at);
    w.field("disabled", k.disabled)
        .field("expired", auth::expired(k, now))
        .field("declared", k.declared);
    write_texts(w, "models_allow", k.models_allow);
    write_texts(w, "models_deny", k.models_deny);
    write_texts(w, "endpoints", k.endpoints);
    w.field("group", k.group).field("upstream_key", k.upstream_key);
    w.key("multiplier").raw(format_factor(k.multiplier_ppm));
    w.key("limits");
    auth::write_limits(w, k.limits);
    if (const auto used = usage.find(k.id); used != usage.end()) {
        w.key("limit_usage");
        write_limit_usage(w, k.limits, used->second);
        w.field("running", used->second.leases);
    }
    w.field("revision", k.revision).end_object();
}

void check_texts(body_fields& in, const json::object& fields) {
    for (const auto& item : fields) {
        const std::string_view name(item.key().data(), item.key().size());
        const auto& v = item.value();
        if (name == "limits") continue;      // read by its own rules
        constexpr std::size_t most = 1'000;  // of a text and of a list
        const auto fits = [](const json::value& t) {
            return t.is_string() && t.get_string().size() <= most;
        };
        if (v.is_string() && !fits(v)) in.fault(name, "is longer than 1000 bytes");
        if (v.is_array() &&
            (v.get_array().size() > most || !std::ranges::all_of(v.get_array(), fits)))
            in.fault(name, "must be a list of at most 1000 short texts");
    }
}

// The body's fields as changes to the stored JSON.
result<json::object> read_changes(call& c, body_fields& in) {
    json::object out;
    in.copy(
        {"name", "description", "owner_name", "owner_email", "tags", "disabled", "models_allow",
         "models_deny", "endpoints", "group", "upstream_key", "expires_at", "multiplier", "limits"},
        out);
    check_texts(in, out);
    if (const auto* v = out.if_contains("expires_at")) {
        const auto at =
            v->is_string() ? parse_time(std::string_view(v->get_string())) : std::nullopt;
        if (!v->is_null() && !at) in.fault("expires_at", "must be a date or an RFC 3339 time");
        if (at) {
            out["expires_ms"] = unix_ms(*at);
        } else {
            out["expires_ms"] = nullptr;
        }
        out.erase("expires_at");
    }
    if (const auto* v = out.if_contains("multiplier")) {
        const auto ppm = v->is_null() ? std::optional<std::int64_t>(1'000'000) : parse_factor(*v);
        if (!ppm || *ppm > 1'000'000'000)
            in.fault("multiplier", "must be a number up to 1000 with at most six decimals");
        out["multiplier_ppm"] = ppm.value_or(0);
        out.erase("multiplier");
    }
    if (auto* v = out.if_contains("limits"); v != nullptr && !v->is_null()) {
        const auto limits = auth::limits_from_json(*v);
        if (!limits) in.fault("limits", "is refused: " + limits.error().context);
    }
    const auto names = [&](const char* field, auto known) {
        const auto* v = out.if_contains(field);
        if (v == nullptr || !v->is_string() || v->get_string().empty()) return;
        if (!known(std::string_view(v->get_string()))) in.fault(field, "names nothing that exists");
    };
    names("group", [&](std::string_view id) { return c.records.group(id).has_value(); });
    names("upstream_key", [&](std::string_view id) { return c.records.key(id) != nullptr; });
    return out;
}

result<reply> save(call& c, store::record& record, const json::object& changes,
                   const secret* text = nullptr) {
    auto object = parse_object(record.json);
    if (!object) return object.error();
    lay_over(*object, changes);
    record.json = json::serialize(*object);
    auto key = auth::access_key_from(record);
    if (!key) return key.error();
    std::optional<reply> refused;
    const auto written = write(c, record, refused);
    if (refused) return *refused;
    if (!written) return written.error();
    key->revision = *written;
    std::string data;
    json_writer w(data);
    write_key(w, *key, c.services.clock.wall(), text);
    return answer(data, key->revision, text == nullptr ? 200 : 201);
}

// The stored record, if it is still the one that was listed.
result<store::record> stored_record(call& c, const auth::access_key& key,
                                    std::optional<reply>& refused) {
    auto record = c.services.store.get(auth::access_key_kind, key.id);
    if (record && record->revision != key.revision) refused = conflict(record->revision);
    return record;
}

}  // namespace

result<reply> list_access_keys(call& c) {
    auto q = c.query();
    const auto text = q.text("q").value_or("");
    const auto disabled = q.choice("disabled", {"false", "true", "any"}, 2);
    const auto at = q.place();
    if (const auto ok = q.finish(); !ok) return ok.error();
    std::vector<const auth::access_key*> found;
    for (const auto& [id, key] : c.records.access_keys()) {
        if (key.deleted || (disabled != 2 && key.disabled != (disabled == 1))) continue;
        if (id.find(text) == std::string::npos && key.name.find(text) == std::string::npos &&
            key.description.find(text) == std::string::npos)
            continue;
        found.push_back(&key);
    }
    std::string data;
    json_writer w(data);
    w.begin_object().key("access_keys").begin_array();
    const auto first = std::min(found.size(), at.first());
    const std::vector<const auth::access_key*> shown(
        found.begin() + static_cast<std::ptrdiff_t>(first),
        found.begin() + static_cast<std::ptrdiff_t>(std::min(found.size(), first + at.limit)));
    const auto usage = usage_of(c, shown);
    for (const auto* key : shown)
        write_key(w, *key, c.services.clock.wall(), nullptr, usage);
    w.end_array();
    write_pagination(w, at, found.size());
    w.end_object();
    return answer(data);
}

result<reply> show_access_key(call& c) {
    const auto* key = c.records.access_key(c.id);
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
    const auto changes = read_changes(c, in);
    const auto name = in.text("name", 200);
    if (!name || name->empty()) in.fault("name", "is missing");
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!changes) return changes.error();
    const auto text = auth::make_key_text();
    auth::access_key key;
    key.id = make_id("ak_", c.services.clock.wall(), c.random);
    key.hash = auth::hash_key_text(text, c.services.pepper);
    key.masked = text.masked();
    key.created = c.services.clock.wall();
    auto record = auth::to_record(key);
    return save(c, record, *changes, &text);
}

result<reply> update_access_key(call& c) {
    const auto* key = c.records.access_key(c.id);
    if (key == nullptr) return no_such_key;
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    const auto changes = read_changes(c, in);
    const auto stale = is_stale(c, &in, key->revision);
    if (const auto ok = in.finish(); !ok) return ok.error();
    if (!changes) return changes.error();
    if (!stale) return stale.error();
    if (*stale) return conflict(key->revision);
    std::optional<reply> refused;
    auto record = stored_record(c, *key, refused);
    if (refused) return *refused;
    if (!record) return record.error();
    return save(c, *record, *changes);
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
    std::optional<reply> refused;
    auto record = stored_record(c, *key, refused);
    if (refused) return *refused;
    if (!record) return record.error();
    return save(c, *record, changes);
}

result<reply> delete_access_key(call& c) {
    const auto* key = c.records.access_key(c.id);
    if (key == nullptr) return no_such_key;
    const auto stale = is_stale(c, nullptr, key->revision);
    if (!stale) return stale.error();
    if (*stale) return conflict(key->revision);
    const auto erased = c.services.store.erase(auth::access_key_kind, c.id, key->revision);
    if (!erased) return erased.error();
    return answer(R"({"count":1})");
}

}  // namespace kw::admin
