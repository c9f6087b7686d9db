// Declared groups, upstream keys and access keys, compared with the stored ones.
#include "jobs/seed.hpp"

#include <set>

#include "auth/authenticator.hpp"
#include "auth/key_text.hpp"
#include "core/json_writer.hpp"
#include "core/log.hpp"
#include "pool/declared.hpp"

namespace kw::jobs {
namespace {

// The declaration as it was last applied, beside the record that people may edit.
constexpr std::string_view declared_kind = "declared";

// A conflict means that another replica wrote first: the next refresh brings its version.
result<void> write(store::store& to, store::record r) {
    auto put = to.put(r);
    if (!put && put.error().code != errc::store_conflict) return put.error();
    return {};
}

std::optional<pool::nanoseconds> optional_ns(config::milliseconds value) {
    return pool::nanoseconds(value);
}

// Writes what is declared unless that is what was applied last: then what people have made of the
// record since stays. True: written.
result<bool> apply_declaration(std::string_view kind, const std::string& id,
                               const std::string& json, const catalog& known,
                               const seed_context& with) {
    std::string wrapped;
    json_writer(wrapped).begin_object().field(kind, json).end_object();
    const store::record* last = known.find(declared_kind, id);
    if (last != nullptr && last->json == wrapped && known.revision_of(kind, id) != 0) return false;
    auto put = write(with.store, {std::string(kind), id, known.revision_of(kind, id), json});
    if (!put) return put.error();
    put = write(with.store, {std::string(declared_kind), id, last ? last->revision : 0, wrapped});
    if (!put) return put.error();
    return true;
}

result<void> seed_groups(const config::settings& settings, const catalog& known,
                         const seed_context& with) {
    for (const auto& declared : settings.groups) {
        auto written = apply_declaration(group_kind, declared.id, pool::to_json(to_group(declared)),
                                         known, with);
        if (!written) return written.error();
        if (*written)
            log::event(log::level::info, "group.declared",
                       {{"group", declared.id}, {"base_url", declared.base_url}});
    }
    return {};
}

result<void> seed_keys(const config::settings& settings, const catalog& known,
                       const seed_context& with) {
    std::vector<pool::declared_key> declared;
    for (const auto& g : settings.groups) {
        for (const secret& value : g.keys) {
            pool::declared_key k;
            k.group_id = g.id;
            k.value = value;
            declared.push_back(std::move(k));
        }
    }
    std::vector<pool::upstream_key> stored;
    stored.reserve(known.keys().size());
    for (const auto& [id, key] : known.keys())
        stored.push_back(*key);
    crypto::hmac_sha256 fingerprint(with.pepper);
    const pool::declared_diff diff =
        pool::diff_declared(declared, stored, fingerprint, with.clock.wall(), with.random);
    const auto apply = [&](const std::vector<pool::upstream_key>& keys,
                           std::string_view event) -> result<void> {
        for (const auto& key : keys) {
            auto put = write(with.store, {std::string(upstream_key_kind), key.id,
                                          known.revision_of(upstream_key_kind, key.id),
                                          pool::to_json(key, with.sealer)});
            if (!put) return put;
            log::event(log::level::info, event,
                       {{"key", key.alias}, {"id", key.id}, {"group", key.group_id}});
        }
        return {};
    };
    if (auto done = apply(diff.to_add, "key.declared"); !done) return done;
    if (auto done = apply(diff.to_replace, "key.replaced"); !done) return done;
    return apply(diff.to_disable, "key.no_longer_declared");
}

result<void> declare_access_key(const auth::access_key& key, const catalog& known,
                                const seed_context& with) {
    auto written =
        apply_declaration(auth::access_key_kind, key.id, auth::to_record(key).json, known, with);
    if (!written) return written.error();
    return {};
}

// The id follows from the hash, so that every replica and every start means the same record.
auth::access_key declared_access_key(const secret& text, const seed_context& with) {
    auth::access_key key;
    key.hash = auth::hash_key_text(text, with.pepper);
    key.id = "ak_" + crypto::to_hex(std::span(key.hash).first(10));
    key.masked = text.masked();
    key.declared = true;
    key.created = wall_time{};
    return key;
}

// What few declared keys say.
void take_over(const config::access_key_settings& d, auth::access_key& key) {
    // Checked when the settings were loaded, as the networks were.
    if (auto limits = auth::limits_from_texts(d.limits)) key.limits = std::move(*limits);
    auth::key_options options;
    options.owner_name = d.owner_name;
    options.owner_email = d.owner_email;
    options.tags = d.tags;
    options.models_allow = d.models_allow;
    options.models_deny = d.models_deny;
    options.endpoints = d.endpoints;
    options.group = d.group;
    options.upstream_key = d.upstream_key;
    options.clients_allow = d.clients_allow;
    options.permissions = d.permissions;
    options.origins_allow = d.origins_allow;
    for (const auto& text : d.ips_allow)
        if (const auto network = net::cidr::parse(text)) options.ips_allow.push_back(*network);
    if (d.expires_after)
        options.expires_after = std::chrono::ceil<std::chrono::seconds>(*d.expires_after);
    if (d.queue_size) options.queue_size = *d.queue_size;
    if (d.queue_timeout)
        options.queue_timeout = std::chrono::ceil<std::chrono::seconds>(*d.queue_timeout);
    if (!(options == auth::key_options{})) key.options.edit() = std::move(options);
}

result<void> seed_access_keys(const config::settings& settings, const catalog& known,
                              const seed_context& with) {
    std::set<std::string> declared;
    std::size_t number = 0;
    for (const secret& text : settings.auth.access_keys) {
        auth::access_key key = declared_access_key(text, with);
        key.name = "declared-" + std::to_string(++number);
        declared.insert(key.id);
        if (auto put = declare_access_key(key, known, with); !put) return put;
    }
    for (const auto& d : settings.access_keys) {
        auth::access_key key = declared_access_key(d.key, with);
        key.name = d.name;
        key.description = d.description;
        key.expires_at = d.expires_at;
        key.disabled = d.disabled;
        key.multiplier_ppm = d.multiplier.value;
        take_over(d, key);
        declared.insert(key.id);
        if (auto put = declare_access_key(key, known, with); !put) return put;
    }
    // One that is declared no more is disabled, never forgotten: its books stay readable.
    for (const auto& key : known.access_keys().all()) {
        if (!key->declared || key->disabled || declared.contains(key->id)) continue;
        auth::access_key ended = *key;
        ended.disabled = true;
        if (auto put = declare_access_key(ended, known, with); !put) return put;
        log::event(log::level::info, "access_key.no_longer_declared", {{"id", key->id}});
    }
    return {};
}

}  // namespace

pool::group to_group(const config::group_settings& g) {
    pool::group out;
    out.id = g.id;
    out.name = g.name.empty() ? g.id : g.name;
    out.priority = static_cast<std::int32_t>(g.priority);
    out.strategy = g.pool.strategy;
    out.settings.freshness_limit = g.pool.freshness;
    out.provider = g.provider;
    out.base_url = g.base_url;
    out.models = g.models;
    out.on_disconnect = g.disconnect.policy == config::disconnect_policy::drain
                            ? pool::disconnect_policy::drain
                            : pool::disconnect_policy::cancel;
    out.include_usage = g.include_usage;
    out.tls_ca = g.upstream.tls_ca;
    out.timeouts.connect = optional_ns(g.upstream.connect_timeout);
    out.timeouts.tls = optional_ns(g.upstream.tls_timeout);
    out.timeouts.first_byte = optional_ns(g.upstream.first_byte_timeout);
    out.timeouts.first_token = optional_ns(g.upstream.first_token_timeout);
    out.timeouts.between_chunks = optional_ns(g.upstream.idle_timeout);
    out.timeouts.total = optional_ns(g.upstream.total_timeout);
    out.multiplier_ppm = static_cast<std::uint32_t>(g.multiplier.value);
    out.retry = g.pool.retry;
    out.automatic = g.pool.auto_ban;
    if (g.max_leases > 0) out.max_leases = g.max_leases;
    out.lease_raw = g.lease_raw;
    out.sessions = static_cast<pool::session_policy>(g.pool.sessions);
    out.session_lifetime = g.pool.session_lifetime;
    out.quota = {.url = g.quota_url,
                 .remaining = g.quota_remaining,
                 .allowance = g.quota_allowance,
                 .used = g.quota_used,
                 .tokens_per_unit = g.quota_tokens_per_unit};
    return out;
}

result<void> seed(const config::settings& settings, const catalog& known,
                  const seed_context& with) {
    if (auto done = seed_groups(settings, known, with); !done) return done;
    if (auto done = seed_keys(settings, known, with); !done) return done;
    return seed_access_keys(settings, known, with);
}

result<secret> make_access_key(const std::string& name, const seed_context& with) {
    secret text = auth::make_key_text();
    auth::access_key key;
    key.id = make_id("ak_", with.clock.wall(), with.random);
    key.name = name;
    key.hash = auth::hash_key_text(text, with.pepper);
    key.masked = text.masked();
    key.created = with.clock.wall();
    auto put = with.store.put(auth::to_record(key));
    if (!put) return put.error();
    return text;
}

}  // namespace kw::jobs
