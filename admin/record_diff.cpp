// The fields of each kind of record that may be shown, and the comparison of two versions.
#include "admin/record_diff.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <initializer_list>

namespace kw::admin {
namespace {

namespace json = boost::json;

constexpr std::size_t longest_value = 1'000;  // bytes of JSON

struct shown_fields {
    std::string_view kind;
    std::initializer_list<std::string_view> names;
};

// A field that is missing here shows as "***": who adds a field to a record decides.
const shown_fields shown[] = {
    {"upstream_key",
     {"id",         "alias",      "notes",    "group",     "provider",     "base_url",     "models",
      "account",    "weight_ppm", "status",   "reason",    "caps",         "quota_tokens", "quota",
      "max_leases", "created_ms", "declared", "last_test", "organization", "project"}},
    {"group",
     {"id",
      "name",
      "priority",
      "strategy",
      "strategy_settings",
      "provider",
      "base_url",
      "models",
      "on_disconnect",
      "include_usage",
      "tls_ca",
      "timeouts",
      "fault_rules",
      "multiplier_ppm",
      "organization",
      "project",
      "retry",
      "automatic",
      "max_leases",
      "lease_raw",
      "sessions",
      "session_lifetime_ms",
      "description"}},
    {"access_key",
     {"name",
      "description",
      "owner_name",
      "owner_email",
      "tags",
      "masked",
      "created_ms",
      "expires_ms",
      "disabled",
      "deleted",
      "declared",
      "models_allow",
      "models_deny",
      "endpoints",
      "group",
      "upstream_key",
      "limits",
      "multiplier_ppm",
      "clients_allow",
      "ips_allow",
      "origins_allow",
      "expires_after_s",
      "earlier_until_ms",
      "queue_size",
      "queue_timeout_s",
      "permissions",
      "lease"}},
    {"notification_channel",
     {"id", "name", "type", "disabled", "events", "content_type", "chat", "user", "from", "to"}},
    {"lease_book", {"leases"}},
    // Settings that are secrets are never stored.
    {"config", {"version", "at_ms", "by", "action", "values"}},
    {"config_version", {"version", "at_ms", "by", "action", "values"}},
    {"admin", {"name", "email", "role", "disabled", "created_ms", "password_changed_ms"}},
    {"admin_token", {"name", "role", "routes", "masked", "made_by", "created_ms", "expires_ms"}},
};

bool may_show(std::string_view kind, std::string_view name) {
    for (const auto& s : shown)
        if (s.kind == kind) return std::ranges::find(s.names, name) != s.names.end();
    return false;
}

bool is_empty(const json::value& v) {
    switch (v.kind()) {
        case json::kind::null:
            return true;
        case json::kind::bool_:
            return !v.get_bool();
        case json::kind::int64:
            return v.get_int64() == 0;
        case json::kind::string:
            return v.get_string().empty();
        case json::kind::array:
            return v.get_array().empty();
        case json::kind::object:
            return std::ranges::all_of(v.get_object(),
                                       [](const auto& item) { return is_empty(item.value()); });
        default:
            return false;
    }
}

json::object object_of(std::string_view text) {
    boost::system::error_code failed;
    auto v = json::parse(text, failed);
    return failed || !v.is_object() ? json::object() : std::move(v.get_object());
}

void write_side(json_writer& w, std::string_view side, const json::value* v, bool show) {
    w.key(side);
    if (v == nullptr) {
        w.null();
    } else if (!show) {
        w.value("***");
    } else if (const auto text = json::serialize(*v); text.size() <= longest_value) {
        w.raw(text);
    } else {
        w.value("(" + std::to_string(text.size()) + " bytes)");
    }
}

}  // namespace

void write_record_diff(json_writer& w, std::string_view kind, std::string_view before,
                       std::string_view after) {
    const auto was = object_of(before);
    const auto is = object_of(after);
    const bool one_sided = before.empty() || after.empty();
    w.begin_object();
    const auto tell = [&](std::string_view name, const json::value* from, const json::value* to) {
        if (one_sided && is_empty(from != nullptr ? *from : *to)) return;
        const bool show = may_show(kind, name);
        w.key(name).begin_object();
        write_side(w, "before", from, show);
        write_side(w, "after", to, show);
        w.end_object();
    };
    for (const auto& item : was) {
        const auto* to = is.if_contains(item.key());
        if (to == nullptr || *to != item.value())
            tell({item.key().data(), item.key().size()}, &item.value(), to);
    }
    for (const auto& item : is)
        if (!was.contains(item.key()))
            tell({item.key().data(), item.key().size()}, nullptr, &item.value());
    w.end_object();
}

}  // namespace kw::admin
