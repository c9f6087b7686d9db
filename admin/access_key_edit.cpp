// Reading the fields of access keys from a body; what is stored changes by laying them over it.
#include "admin/access_key_edit.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "auth/authenticator.hpp"
#include "auth/key_text.hpp"
#include "config/settings.hpp"
#include "net/address.hpp"

namespace kw::admin {
namespace {

namespace json = boost::json;

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

}  // namespace

result<json::object> access_key_changes(call& c, body_fields& in) {
    json::object out;
    in.copy({"name", "description", "owner_name", "owner_email", "tags", "disabled", "models_allow",
             "models_deny", "endpoints", "group", "upstream_key", "expires_at", "multiplier",
             "limits", "clients_allow", "ips_allow", "origins_allow", "permissions"},
            out);
    check_texts(in, out);
    const auto longest = c.services.settings()->auth.max_lifetime;
    constexpr std::string_view too_long = "is later than auth.max_lifetime lets an access key live";
    if (const auto* v = out.if_contains("expires_at")) {
        const auto at =
            v->is_string() ? parse_time(std::string_view(v->get_string())) : std::nullopt;
        if (!v->is_null() && !at) in.fault("expires_at", "must be a date or an RFC 3339 time");
        if (at && longest.count() > 0 && *at > c.services.clock.wall() + longest)
            in.fault("expires_at", too_long);
        if (at) {
            out["expires_ms"] = unix_ms(*at);
        } else {
            out["expires_ms"] = nullptr;
        }
        out.erase("expires_at");
    }
    if (const auto* v = in.take("expires_after_seconds")) {
        constexpr std::int64_t most = std::int64_t{10} * 365 * 24 * 3600;
        const auto seconds = v->is_int64() ? v->get_int64() : 0;
        if (seconds < 1 || seconds > most)
            in.fault("expires_after_seconds", "must be a whole number of seconds, up to ten years");
        else if (longest.count() > 0 && std::chrono::seconds(seconds) > longest)
            in.fault("expires_after_seconds", too_long);
        out["expires_after_s"] = seconds;
    } else if (in.given("expires_after_seconds")) {
        out["expires_after_s"] = nullptr;
    }
    if (const auto* v = in.take("queue_size")) {
        if (!v->is_int64() || v->get_int64() < 0 || v->get_int64() > 100'000)
            in.fault("queue_size", "must be a whole number up to 100000");
        out["queue_size"] = *v;
    } else if (in.given("queue_size")) {
        out["queue_size"] = nullptr;
    }
    if (const auto* v = in.take("queue_timeout_seconds")) {
        if (!v->is_int64() || v->get_int64() < 1 || v->get_int64() > 3600)
            in.fault("queue_timeout_seconds", "must be a whole number of seconds, up to an hour");
        out["queue_timeout_s"] = *v;
    } else if (in.given("queue_timeout_seconds")) {
        out["queue_timeout_s"] = nullptr;
    }
    if (const auto* v = out.if_contains("ips_allow"); v != nullptr && v->is_array()) {
        const auto network = [](const json::value& t) {
            return t.is_string() && net::cidr::parse(std::string_view(t.get_string()));
        };
        if (!std::ranges::all_of(v->get_array(), network))
            in.fault("ips_allow", "must hold addresses and networks like 10.0.0.0/8");
    }
    if (const auto* v = out.if_contains("permissions"); v != nullptr && v->is_array()) {
        const auto known = [](const json::value& t) {
            return t.is_string() && std::string_view(t.get_string()) == auth::permission_lease;
        };
        if (!std::ranges::all_of(v->get_array(), known))
            in.fault("permissions", "may hold \"lease\" and nothing else");
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

result<auth::access_key> change_access_key(const call& c, store::record& record,
                                           const json::object& changes) {
    auto object = parse_object(record.json);
    if (!object) return object.error();
    lay_over(*object, changes);
    const auto settings = c.services.settings();
    const auto longest = settings->auth.max_lifetime;
    const auto* declared = object->if_contains("declared");
    const bool bounded = longest.count() > 0 && (declared == nullptr || *declared != true) &&
                         (record.revision == 0 || changes.contains("expires_ms") ||
                          changes.contains("expires_after_s"));
    if (bounded && !object->contains("expires_ms") && !object->contains("expires_after_s"))
        (*object)["expires_ms"] = unix_ms(c.services.clock.wall() + longest);
    record.json = json::serialize(*object);
    auto key = auth::access_key_from(record);
    if (key) auth::apply_default(key->limits, auth::default_limits(settings->limits));
    return key;
}

store::record new_access_key(call& c, const secret& text) {
    auth::access_key key;
    key.id = make_id("ak_", c.services.clock.wall(), c.random);
    key.hash = auth::hash_key_text(text, c.services.pepper);
    key.masked = text.masked();
    key.created = c.services.clock.wall();
    return auth::to_record(key);
}

}  // namespace kw::admin
