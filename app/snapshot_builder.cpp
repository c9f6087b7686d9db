// Targets, aliases and prices of a snapshot.
#include "app/snapshot_builder.hpp"

#include <algorithm>

#include "core/json_writer.hpp"
#include "core/log.hpp"
#include "jobs/account_labels.hpp"
#include "net/url.hpp"
#include "store/data_dir.hpp"

namespace kw::app {
namespace {

constexpr std::size_t max_price_file = 32U << 20U;

std::string without_last_slash(std::string path) {
    while (path.ends_with('/'))
        path.pop_back();
    return path;
}

bool exempt_from_proxy(const std::string& host, const std::vector<std::string>& no_proxy) {
    return std::ranges::any_of(no_proxy, [&](std::string_view name) {
        if (name == "*") return true;
        if (name.starts_with('.')) name.remove_prefix(1);
        return host == name || (host.size() > name.size() && host.ends_with(name) &&
                                host[host.size() - name.size() - 1] == '.');
    });
}

// None: straight to the host.
result<std::optional<net::egress_proxy>> proxy_for(const config::upstream_settings& upstream,
                                                   const pool::group& group,
                                                   const std::string& host) {
    const secret text =
        group.egress_proxy.empty() ? upstream.egress_proxy : secret(group.egress_proxy);
    if (text.empty() || exempt_from_proxy(host, upstream.no_proxy))
        return std::optional<net::egress_proxy>();
    auto proxy = net::parse_egress_proxy(text);
    if (!proxy) return proxy.error();
    return std::optional(std::move(*proxy));
}

pool::policy_settings policy_of(const config::pool_settings& s) {
    pool::policy_settings p;
    p.ban_402 = s.ban_402;
    p.ban_401 = s.ban_401;
    p.automatic = s.auto_ban;
    p.rate_limit_cooldown = s.rate_limit_cooldown;
    p.upstream_cooldown = s.error_cooldown;
    p.overload_cooldown = s.overload_cooldown;
    return p;
}

result<std::shared_ptr<const pool::alias_table>> aliases_of(const config::settings& settings) {
    using config::fallback_cause;
    auto table = std::make_shared<pool::alias_table>();
    for (const auto& a : settings.aliases) {
        pool::model_alias alias;
        alias.name = a.alias;
        alias.target = {a.model, a.group};
        for (const std::string& text : a.fallbacks) {
            auto route = pool::parse_route(text);
            if (!route) return route.error();
            alias.fallbacks.push_back(std::move(*route));
        }
        const auto bit = [&](bool on, pool::fallback_cause c) {
            return static_cast<std::uint8_t>(on ? 1U << static_cast<unsigned>(c) : 0U);
        };
        const bool unavailable =
            a.on.has(fallback_cause::no_key) || a.on.has(fallback_cause::rate_limit) ||
            a.on.has(fallback_cause::upstream_error) || a.on.has(fallback_cause::timeout);
        alias.causes = static_cast<std::uint8_t>(
            bit(unavailable, pool::fallback_cause::unavailable) |
            bit(a.on.has(fallback_cause::context_length), pool::fallback_cause::context_length) |
            bit(a.on.has(fallback_cause::model), pool::fallback_cause::model_missing) |
            bit(a.on.has(fallback_cause::first_token), pool::fallback_cause::first_token));
        if (a.on.has(fallback_cause::context_length)) alias.larger = alias.fallbacks;
        if (a.first_token_timeout) alias.first_token_limit = *a.first_token_timeout;
        if (auto added = table->add(std::move(alias)); !added) return added.error();
    }
    return table;
}

}  // namespace

result<std::shared_ptr<net::tls_client_context>> snapshot_builder::tls_for(
    const std::string& ca_file, bool beside_system) {
    auto& context = tls_[std::pair(ca_file, beside_system)];
    if (!context) {
        auto made = net::tls_client_context::create(
            {.ca_file = ca_file, .verify = true, .beside_system = beside_system});
        if (!made) return made.error();
        context = std::move(*made);
    }
    return context;
}

result<std::shared_ptr<const proxy::upstream_target>> snapshot_builder::make_target(
    const config::settings& settings, const pool::upstream_key& key, const pool::group& group) {
    const auto& upstream = settings.upstream;
    auto base = net::parse_url(key.base_url.empty() ? group.base_url : key.base_url);
    if (!base) return base.error();
    auto target = std::make_shared<proxy::upstream_target>();
    target->connect.to.host = base->host;
    target->connect.to.port = base->port;
    if (base->tls) {
        auto tls = tls_for(group.tls_ca.empty() ? upstream.tls_ca : group.tls_ca);
        if (!tls) return tls.error();
        target->connect.to.tls = std::move(*tls);
    }
    auto proxy = proxy_for(upstream, group, base->host);
    if (!proxy) return proxy.error();
    target->connect.proxy = std::move(*proxy);
    const auto& t = group.timeouts;
    target->connect.connect_timeout =
        std::chrono::ceil<std::chrono::milliseconds>(t.connect.value_or(upstream.connect_timeout));
    target->connect.dns_timeout = upstream.dns_timeout;
    target->connect.tls_timeout =
        std::chrono::ceil<std::chrono::milliseconds>(t.tls.value_or(upstream.tls_timeout));
    target->limits.first_byte = t.first_byte.value_or(upstream.first_byte_timeout);
    target->limits.first_token = t.first_token.value_or(upstream.first_token_timeout);
    target->limits.idle = t.between_chunks.value_or(upstream.idle_timeout);
    target->limits.total = t.total.value_or(upstream.total_timeout);
    target->identity = net::identity_of(target->connect);
    target->base_path = without_last_slash(base->path);
    target->authority = base->authority();
    target->dialect =
        &proxy::provider_by_name(key.provider.empty() ? group.provider : key.provider);
    return target;
}

result<std::shared_ptr<const usage::price_table>> snapshot_builder::prices_for(
    const config::settings& settings) {
    usage::price_table_builder builder;
    builder.add_builtin();
    if (!settings.usage.price_file.empty()) {
        auto text = store::read_file(settings.usage.price_file, max_price_file);
        if (!text) return text.error();
        auto added = builder.add(*text);
        if (!added) return added.error();
    }
    if (!settings.prices.empty()) {
        std::string json;
        json_writer w(json);
        w.begin_object().field("format", "keywheel-prices-1").field("source", "configuration");
        w.field("as_of", "2026-01-01").key("models").begin_object();
        for (const auto& p : settings.prices) {
            w.key(p.model).begin_object();
            const auto price = [&](std::string_view name, std::optional<nanodollars> amount) {
                if (amount) w.field(name, format_dollars(*amount));
            };
            price("input", p.input);
            price("output", p.output);
            price("cached_read", p.cached_read);
            price("cache_write_5m", p.cache_write_5m);
            price("cache_write_1h", p.cache_write_1h);
            price("reasoning", p.reasoning);
            price("audio_in", p.audio_in);
            price("audio_out", p.audio_out);
            price("image_in", p.image_in);
            price("image_out", p.image_out);
            w.end_object();
        }
        w.end_object().end_object();
        auto added = builder.add_own(json);
        if (!added) return added.error();
    }
    if (settings.usage.default_input_price || settings.usage.default_output_price) {
        usage::model_price fallback;
        fallback.base.input = settings.usage.default_input_price.value_or(0);
        fallback.base.output = settings.usage.default_output_price.value_or(0);
        fallback.source = "configuration";
        builder.set_default(fallback);
    }
    return builder.build();
}

result<std::shared_ptr<const proxy::snapshot>> snapshot_builder::build(
    std::shared_ptr<const config::settings> settings, jobs::catalog& known, const secret& pepper,
    std::vector<secret> more_peppers, bool stale) {
    // Where only access keys changed, all that is made of upstream keys stays.
    const bool same_pool = last_ && last_->settings == settings && made_of_ == known.generation();
    const auto next =
        same_pool ? std::make_shared<proxy::snapshot>(*last_) : std::make_shared<proxy::snapshot>();
    next->pepper = pepper;
    next->more_peppers = std::move(more_peppers);
    next->stale = stale;
    auto aliases = aliases_of(*settings);
    if (!aliases) return aliases.error();
    next->aliases = std::move(*aliases);
    if (priced_for_ != settings) {
        auto prices = prices_for(*settings);
        if (!prices) return prices.error();
        prices_ = std::move(*prices);
        priced_for_ = settings;
    }
    next->prices = prices_;
    auto trusted = net::cidr_set::parse(settings->server.trusted_proxies);
    if (!trusted) return trusted.error();
    next->trusted_proxies = std::move(*trusted);
    next->policy = policy_of(settings->pool);
    next->access_keys = known.access_keys().table();
    if (same_pool) return last_ = next;

    std::vector<pool::group_ptr> groups;
    for (const auto& [id, group] : known.groups())
        groups.push_back(group);
    std::vector<pool::key_ptr> keys;
    auto targets = std::make_shared<proxy::target_table>();
    std::map<std::pair<std::string, std::string>, std::shared_ptr<const proxy::upstream_target>>
        made;
    for (const auto& [id, key] : known.keys()) {
        const auto group = known.groups().find(key->group_id);
        if (group == known.groups().end()) continue;
        auto& target = made[{group->first, key->base_url + '\n' + key->provider}];
        if (!target) {
            auto built = make_target(*settings, *key, *group->second);
            if (!built) {
                log::event(log::level::error, "upstream.unusable",
                           {{"key", key->alias},
                            {"group", key->group_id},
                            {"err", built.error().context}});
                continue;
            }
            target = std::move(*built);
        }
        targets->add(key.get(), target);
        keys.push_back(key);
    }
    if (const auto& id = settings->server.pass_through; !id.empty()) {
        const auto group = known.groups().find(id);
        auto target = group == known.groups().end()
                          ? result<std::shared_ptr<const proxy::upstream_target>>(
                                error(errc::invalid_argument, "there is no such group"))
                          : make_target(*settings, pool::upstream_key{}, *group->second);
        if (target)
            next->pass_through = {group->second, std::move(*target)};
        else
            log::event(log::level::error, "pass_through.unusable",
                       {{"group", id}, {"err", target.error().context}});
    }
    next->targets = std::move(targets);
    next->pool = pool::build(std::move(groups), std::move(keys), states_,
                             last_ ? last_->pool.get() : nullptr);
    next->accounts =
        std::make_shared<pool::account_table>(*next->pool, jobs::learned_accounts(known));
    next->settings = std::move(settings);
    made_of_ = known.generation();
    return last_ = next;
}

result<snapshot_builder::way_out> snapshot_builder::way_to(
    const config::upstream_settings& settings, const std::string& host, bool tls) {
    way_out out;
    if (tls) {
        auto context = tls_for(settings.tls_ca, true);
        if (!context) return context.error();
        out.tls = std::move(*context);
    }
    auto proxy = proxy_for(settings, {}, host);
    if (!proxy) return proxy.error();
    out.proxy = std::move(*proxy);
    return out;
}

result<jobs::probe_target> snapshot_builder::probe_target(const config::settings& settings,
                                                          const pool::upstream_key& key,
                                                          const pool::group& group) {
    jobs::probe_target to;
    const std::string base =
        without_last_slash(key.base_url.empty() ? group.base_url : key.base_url);
    const auto url = net::parse_url(base);
    if (!url) return url.error();
    const std::string& provider = key.provider.empty() ? group.provider : key.provider;
    if (provider == "anthropic") {
        to.url = base + (base.ends_with("/v1") ? "/models" : "/v1/models");
        to.header = "x-api-key";
    } else if (provider == "gemini") {
        to.url = base + "/v1beta/models";
        to.header = "x-goog-api-key";
    } else {
        to.url = base + (url->path == "/" ? "/v1/models" : "/models");
        to.header = "Authorization";
        to.value_prefix = "Bearer ";
    }
    const auto& upstream = settings.upstream;
    if (url->tls) {
        auto tls = tls_for(group.tls_ca.empty() ? upstream.tls_ca : group.tls_ca);
        if (!tls) return tls.error();
        to.tls = std::move(*tls);
    }
    auto proxy = proxy_for(upstream, group, url->host);
    if (!proxy) return proxy.error();
    to.proxy = std::move(*proxy);
    return to;
}

}  // namespace kw::app
