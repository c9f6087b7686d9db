// Access keys as JSON: written by hand, read strictly by a table of fields.
#include "auth/access_key.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <limits>

#include "core/glob.hpp"
#include "core/json_writer.hpp"

namespace kw::auth {

namespace {

namespace json = boost::json;

wall_time from_ms(std::int64_t ms) {
    return wall_time(std::chrono::milliseconds(ms));
}

// Readers return false when the value is not of the field's type.
bool read(const json::value& v, std::string& out) {
    if (!v.is_string()) return false;
    out.assign(v.get_string());
    return true;
}

bool read(const json::value& v, bool& out) {
    if (!v.is_bool()) return false;
    out = v.get_bool();
    return true;
}

bool read(const json::value& v, std::int64_t& out) {
    if (!v.is_int64() || v.get_int64() < 0) return false;
    out = v.get_int64();
    return true;
}

bool read(const json::value& v, wall_time& out) {
    std::int64_t ms = 0;
    constexpr std::int64_t last_ms = std::numeric_limits<std::int64_t>::max() / 1'000'000;
    if (!read(v, ms) || ms > last_ms) return false;
    out = from_ms(ms);
    return true;
}

bool read(const json::value& v, std::optional<wall_time>& out) {
    wall_time t;
    if (!read(v, t)) return false;
    out = t;
    return true;
}

bool read(const json::value& v, std::chrono::seconds& out) {
    std::int64_t s = 0;
    constexpr std::int64_t longest = std::int64_t{100} * 365 * 24 * 3'600;
    if (!read(v, s) || s < 0 || s > longest) return false;
    out = std::chrono::seconds(s);
    return true;
}

bool read(const json::value& v, std::optional<std::int64_t>& out) {
    return read(v, out.emplace());
}

bool read(const json::value& v, std::optional<std::chrono::seconds>& out) {
    return read(v, out.emplace());
}

bool read(const json::value& v, net::cidr& out) {
    if (!v.is_string()) return false;
    const auto network = net::cidr::parse(std::string_view(v.get_string()));
    if (network) out = *network;
    return network.has_value();
}

template <class T>
bool read(const json::value& v, std::vector<T>& out) {
    if (!v.is_array()) return false;
    out.clear();
    for (const json::value& item : v.get_array()) {
        if (!read(item, out.emplace_back())) return false;
    }
    return true;
}

bool read(const json::value& v, key_limits& out) {
    auto limits = limits_from_json(v);
    if (!limits) return false;
    out = std::move(*limits);
    return true;
}

bool read(const json::value& v, crypto::digest& out) {
    if (!v.is_string() || v.get_string().size() != 2 * out.size()) return false;
    const auto nibble = [](char c) {
        if (c >= '0' && c <= '9') return c - '0';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    };
    const std::string_view text = v.get_string();
    for (std::size_t i = 0; i < out.size(); ++i) {
        const int high = nibble(text[2 * i]);
        const int low = nibble(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out[i] = static_cast<std::uint8_t>(high * 16 + low);
    }
    return true;
}

bool read(const json::value& v, std::optional<crypto::digest>& out) {
    return read(v, out.emplace());
}

struct field {
    std::string_view name;
    bool (*read)(const json::value&, access_key&);
    bool required = false;
};

template <auto Member>
bool into(const json::value& v, access_key& key) {
    return read(v, key.*Member);
}

template <auto Member>
bool into_options(const json::value& v, access_key& key) {
    return read(v, key.options.edit().*Member);
}

constexpr field fields[] = {
    {"name", into<&access_key::name>},
    {"description", into<&access_key::description>},
    {"owner_name", into_options<&key_options::owner_name>},
    {"owner_email", into_options<&key_options::owner_email>},
    {"tags", into_options<&key_options::tags>},
    {"hash", into<&access_key::hash>, true},
    {"masked", into<&access_key::masked>},
    {"created_ms", into<&access_key::created>, true},
    {"expires_ms", into<&access_key::expires_at>},
    {"disabled", into<&access_key::disabled>},
    {"deleted", into<&access_key::deleted>},
    {"declared", into<&access_key::declared>},
    {"models_allow", into_options<&key_options::models_allow>},
    {"models_deny", into_options<&key_options::models_deny>},
    {"endpoints", into_options<&key_options::endpoints>},
    {"group", into_options<&key_options::group>},
    {"upstream_key", into_options<&key_options::upstream_key>},
    {"limits", into<&access_key::limits>},
    {"clients_allow", into_options<&key_options::clients_allow>},
    {"ips_allow", into_options<&key_options::ips_allow>},
    {"origins_allow", into_options<&key_options::origins_allow>},
    {"earlier_hash", into_options<&key_options::earlier_hash>},
    {"earlier_until_ms", into_options<&key_options::earlier_until>},
    {"expires_after_s", into_options<&key_options::expires_after>},
    {"queue_size", into_options<&key_options::queue_size>},
    {"queue_timeout_s", into_options<&key_options::queue_timeout>},
    {"permissions", into_options<&key_options::permissions>},
    {"lease", into_options<&key_options::lease>},
    {"holder", into_options<&key_options::holder>},
    {"multiplier_ppm", into<&access_key::multiplier_ppm>},
};

error refused(std::string_view what, std::string_view name) {
    return error(errc::invalid_argument,
                 "access key: " + std::string(what) + " field \"" + std::string(name) + "\"");
}

void write(json_writer& w, std::string_view name, const std::string& text) {
    if (!text.empty()) w.field(name, text);
}

void write(json_writer& w, std::string_view name, bool b) {
    if (b) w.field(name, true);
}

void write(json_writer& w, std::string_view name, const std::vector<std::string>& list) {
    if (list.empty()) return;
    w.key(name).begin_array();
    for (const std::string& item : list)
        w.value(item);
    w.end_array();
}

void write(json_writer& w, const key_options& o) {
    write(w, "owner_name", o.owner_name);
    write(w, "owner_email", o.owner_email);
    write(w, "tags", o.tags);
    write(w, "models_allow", o.models_allow);
    write(w, "models_deny", o.models_deny);
    write(w, "endpoints", o.endpoints);
    write(w, "group", o.group);
    write(w, "upstream_key", o.upstream_key);
    write(w, "clients_allow", o.clients_allow);
    if (!o.ips_allow.empty()) {
        w.key("ips_allow").begin_array();
        for (const net::cidr& network : o.ips_allow)
            w.value(network.to_string());
        w.end_array();
    }
    write(w, "origins_allow", o.origins_allow);
    if (o.earlier_hash) {
        w.field("earlier_hash", crypto::to_hex(*o.earlier_hash));
        w.field("earlier_until_ms", unix_ms(o.earlier_until));
    }
    if (o.expires_after.count() > 0)
        w.field("expires_after_s", std::int64_t{o.expires_after.count()});
    if (o.queue_size) w.field("queue_size", *o.queue_size);
    if (o.queue_timeout) w.field("queue_timeout_s", std::int64_t{o.queue_timeout->count()});
    write(w, "permissions", o.permissions);
    write(w, "lease", o.lease);
    if (o.holder) w.field("holder", crypto::to_hex(*o.holder));
}

}  // namespace

key_options& shared_options::edit() {
    auto own = std::make_shared<key_options>(*operator->());
    held_ = own;
    return *own;
}

void common_parts::share(access_key& key) {
    constexpr std::size_t most = 4'096;  // kinds of options; those beyond are not shared
    const auto one_of = [](auto& known, std::string text, auto& part) {
        if (const auto at = known.find(text); at != known.end())
            part = at->second;
        else if (known.size() < most)
            known.emplace(std::move(text), part);
    };
    std::string text;
    json_writer w(text);
    // These are no two keys'.
    if (key.options && !key.options->earlier_hash && !key.options->holder) {
        w.begin_object();
        write(w, *key.options);
        w.end_object();
        one_of(options_, text, key.options);
    }
    if (key.limits) {
        std::string list;
        json_writer to(list);
        write_limits(to, key.limits);
        one_of(limits_, std::move(list), key.limits);
    }
}

store::record to_record(const access_key& key) {
    store::record record{
        .kind = std::string(access_key_kind), .id = key.id, .revision = key.revision, .json = {}};
    json_writer w(record.json);
    w.begin_object();
    write(w, "name", key.name);
    write(w, "description", key.description);
    w.field("hash", crypto::to_hex(key.hash));
    write(w, "masked", key.masked);
    w.field("created_ms", unix_ms(key.created));
    if (key.expires_at) w.field("expires_ms", unix_ms(*key.expires_at));
    write(w, "disabled", key.disabled);
    write(w, "deleted", key.deleted);
    write(w, "declared", key.declared);
    if ((key.limits && !key.limits.by_default) || key.limits.none) {
        w.key("limits");
        write_limits(w, key.limits);
    }
    if (key.options) write(w, *key.options);
    if (key.multiplier_ppm != access_key{}.multiplier_ppm)
        w.field("multiplier_ppm", key.multiplier_ppm);
    w.end_object();
    return record;
}

result<access_key> access_key_from(const store::record& record) {
    if (record.kind != access_key_kind || record.id.empty())
        return error(errc::invalid_argument, "access key: not a record of this kind");
    boost::system::error_code ec;
    unsigned char room[4096];  // most records need no more
    json::monotonic_resource memory(room);
    const json::value parsed = json::parse(record.json, ec, &memory);
    if (ec || !parsed.is_object())
        return error(errc::invalid_argument, "access key: not a JSON object");
    const json::object& object = parsed.get_object();

    access_key key;
    key.id = record.id;
    key.revision = record.revision;
    for (const auto& item : object) {
        const std::string_view name(item.key().data(), item.key().size());
        const auto* known = std::ranges::find(fields, name, &field::name);
        if (known == std::end(fields)) return refused("unknown", name);
        if (!known->read(item.value(), key)) return refused("malformed", name);
    }
    for (const field& f : fields) {
        if (f.required && object.if_contains(f.name) == nullptr) return refused("missing", f.name);
    }
    return key;
}

bool may_use_model(const access_key& key, std::string_view model) noexcept {
    const auto matches = [&](const std::string& pattern) { return glob_match(pattern, model); };
    const key_options& o = *key.options;
    if (std::ranges::any_of(o.models_deny, matches)) return false;
    return o.models_allow.empty() || std::ranges::any_of(o.models_allow, matches);
}

bool may_use_endpoint(const access_key& key, std::string_view family) noexcept {
    const auto& known = key.options->endpoints;
    return known.empty() || std::ranges::find(known, family) != known.end();
}

bool has_permission(const access_key& key, std::string_view permission) noexcept {
    return key.options && std::ranges::find(key.options->permissions, permission) !=
                              key.options->permissions.end();
}

bool may_call_with(const access_key& key, std::string_view user_agent) noexcept {
    if (!key.options || key.options->clients_allow.empty()) return true;
    return std::ranges::any_of(key.options->clients_allow, [&](const std::string& pattern) {
        return glob_match(pattern, user_agent);
    });
}

bool may_call_from_page(const access_key& key, std::string_view origin) noexcept {
    if (origin.empty() || !key.options || key.options->origins_allow.empty()) return true;
    return std::ranges::find(key.options->origins_allow, origin) !=
           key.options->origins_allow.end();
}

bool may_call_from(const access_key& key, const net::ip_address& client) noexcept {
    if (!key.options || key.options->ips_allow.empty()) return true;
    return std::ranges::any_of(key.options->ips_allow,
                               [&](const net::cidr& network) { return network.contains(client); });
}

}  // namespace kw::auth
