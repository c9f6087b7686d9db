// The built-in fault table and its evaluation.
#include "pool/fault_policy.hpp"

#include <algorithm>
#include <array>

#include "core/glob.hpp"

namespace kw::pool {
namespace {

using std::chrono::seconds;

constexpr std::string_view action_names[] = {"pass", "cooldown", "quarantine", "ban", "failover"};
constexpr std::string_view class_names[] = {"none",    "key",     "account", "model",
                                            "network", "request", "upstream"};
constexpr std::string_view transport_names[] = {"none",
                                                "dns",
                                                "connect",
                                                "connect_timeout",
                                                "tls",
                                                "tls_timeout",
                                                "egress_proxy",
                                                "stale_connection",
                                                "reset",
                                                "first_byte_timeout",
                                                "first_token_timeout",
                                                "idle_timeout",
                                                "total_timeout",
                                                "malformed",
                                                "stream_cut"};

template <class Enum, std::size_t N>
std::optional<Enum> by_name(const std::string_view (&names)[N], std::string_view name) noexcept {
    for (std::size_t i = 0; i < N; ++i) {
        if (names[i] == name) return static_cast<Enum>(i);
    }
    return std::nullopt;
}

fault_rule row(std::uint16_t status, std::string code, fault_action action, fault_class fault,
               bool after_threshold, bool retry, bool fallback) {
    fault_rule r;
    r.status_from = status;
    r.code = std::move(code);
    r.action = action;
    r.fault = fault;
    r.after_threshold = after_threshold;
    r.retry = retry;
    r.fallback = fallback;
    return r;
}

fault_rule broken(transport_failure t, fault_action action, fault_class fault, bool after_threshold,
                  bool retry) {
    fault_rule r = row(0, "", action, fault, after_threshold, retry, true);
    r.transport = t;
    return r;
}

std::vector<fault_rule> make_defaults() {
    using a = fault_action;
    using c = fault_class;
    using t = transport_failure;
    std::vector<fault_rule> v{
        // by error code first: the same status can mean very different things
        row(0, "insufficient_quota", a::ban, c::account, false, true, true),
        row(0, "billing_hard_limit_reached", a::ban, c::account, false, true, true),
        row(0, "billing_not_active", a::ban, c::account, false, true, true),
        row(0, "account_deactivated", a::ban, c::account, false, true, true),
        row(0, "context_length_exceeded", a::pass, c::model, false, false, true),
        row(0, "content_filter", a::pass, c::request, false, false, false),
        row(0, "content_policy_violation", a::pass, c::request, false, false, false),
        row(0, "unsupported_country_region_territory", a::pass, c::network, false, false, false),
        row(0, "model_not_found", a::failover, c::model, false, true, true),
        row(0, "overloaded_error", a::cooldown, c::upstream, false, true, true),
        row(401, "", a::quarantine, c::key, false, true, true),
        row(402, "", a::ban, c::account, false, true, true),
        row(403, "", a::pass, c::request, false, false, false),
        row(429, "", a::cooldown, c::key, false, true, true),
        row(529, "", a::cooldown, c::upstream, false, true, true),
        row(500, "", a::cooldown, c::upstream, true, true, true),
        row(502, "", a::cooldown, c::upstream, true, true, true),
        row(503, "", a::cooldown, c::upstream, true, true, true),
        row(504, "", a::cooldown, c::upstream, true, true, true),
        // the path to the upstream: no key is to blame, another group may do better
        broken(t::dns, a::failover, c::network, false, true),
        broken(t::connect, a::failover, c::network, false, true),
        broken(t::connect_timeout, a::failover, c::network, false, true),
        broken(t::tls, a::failover, c::network, false, true),
        broken(t::tls_timeout, a::failover, c::network, false, true),
        broken(t::egress_proxy, a::failover, c::network, false, true),
        broken(t::stale_connection, a::pass, c::network, false, true),
        broken(t::reset, a::cooldown, c::upstream, true, true),
        broken(t::malformed, a::cooldown, c::upstream, true, true),
        // may have been billed: no second try on the model, one fallback
        broken(t::first_byte_timeout, a::failover, c::upstream, false, false),
        broken(t::first_token_timeout, a::failover, c::upstream, false, false),
        broken(t::total_timeout, a::pass, c::upstream, false, false),
        broken(t::idle_timeout, a::pass, c::upstream, false, false),
        broken(t::stream_cut, a::pass, c::upstream, false, false),
    };
    v[v.size() - 1].fallback = v[v.size() - 2].fallback = v[v.size() - 3].fallback = false;
    return v;
}

bool lower_glob(std::string_view pattern, std::string_view text) {
    const auto lower = [](std::string_view s) {
        std::string out(s);
        for (char& ch : out) {
            if (ch >= 'A' && ch <= 'Z') ch = static_cast<char>(ch - 'A' + 'a');
        }
        return out;
    };
    return glob_match(lower(pattern), lower(text));
}

bool matches(const fault_rule& rule, const upstream_result& r) {
    if (rule.transport != r.transport) {
        // A rule without a transport speaks of answers only.
        return false;
    }
    if (rule.status_from != 0) {
        const auto to = rule.status_to == 0 ? rule.status_from : rule.status_to;
        if (r.status < rule.status_from || r.status > to) return false;
    }
    if (!rule.code.empty() && !(!r.code.empty() && glob_match(rule.code, r.code)) &&
        !(!r.type.empty() && glob_match(rule.code, r.type))) {
        return false;
    }
    return rule.message.empty() || lower_glob(rule.message, r.message);
}

std::optional<nanoseconds> told_wait(const limit_hints& h) {
    if (h.retry_after) return h.retry_after;
    // The limit that is used up says when it is back; without one, the later of the two.
    const bool no_requests = h.remaining_requests == 0;
    const bool no_tokens = h.remaining_tokens == 0;
    std::optional<nanoseconds> wait;
    if (h.reset_requests && (no_requests || !no_tokens)) wait = h.reset_requests;
    if (h.reset_tokens && (no_tokens || !no_requests)) {
        wait = std::max(wait.value_or(nanoseconds::zero()), *h.reset_tokens);
    }
    return wait;
}

}  // namespace

std::string_view to_string(fault_action a) noexcept {
    return action_names[static_cast<std::size_t>(a)];
}
std::string_view to_string(fault_class c) noexcept {
    return class_names[static_cast<std::size_t>(c)];
}
std::string_view to_string(transport_failure t) noexcept {
    return transport_names[static_cast<std::size_t>(t)];
}
std::optional<fault_action> parse_fault_action(std::string_view name) noexcept {
    return by_name<fault_action>(action_names, name);
}
std::optional<fault_class> parse_fault_class(std::string_view name) noexcept {
    return by_name<fault_class>(class_names, name);
}
std::optional<transport_failure> parse_transport_failure(std::string_view name) noexcept {
    return by_name<transport_failure>(transport_names, name);
}

errc to_errc(transport_failure t) noexcept {
    switch (t) {
        case transport_failure::none:
            return errc::ok;
        case transport_failure::dns:
            return errc::upstream_dns_error;
        case transport_failure::connect:
            return errc::upstream_connect_error;
        case transport_failure::connect_timeout:
            return errc::upstream_connect_timeout;
        case transport_failure::tls:
            return errc::upstream_tls_error;
        case transport_failure::tls_timeout:
            return errc::upstream_tls_timeout;
        case transport_failure::egress_proxy:
            return errc::egress_proxy_error;
        case transport_failure::stale_connection:
        case transport_failure::reset:
            return errc::upstream_reset;
        case transport_failure::first_byte_timeout:
            return errc::upstream_first_byte_timeout;
        case transport_failure::first_token_timeout:
            return errc::upstream_first_token_timeout;
        case transport_failure::idle_timeout:
            return errc::upstream_idle_timeout;
        case transport_failure::total_timeout:
            return errc::upstream_total_timeout;
        case transport_failure::malformed:
            return errc::upstream_malformed;
        case transport_failure::stream_cut:
            return errc::upstream_stream_cut;
    }
    return errc::internal;
}

std::span<const fault_rule> default_rules() {
    static const std::vector<fault_rule> rules = make_defaults();
    return rules;
}

verdict classify(const upstream_result& r, std::span<const fault_rule> overrides,
                 const policy_settings& settings) {
    verdict v;
    v.reason = to_errc(r.transport);
    v.status = r.status;
    v.retry_after = r.hints.retry_after;
    const auto hit = [&](std::span<const fault_rule> rules) -> const fault_rule* {
        const auto at = std::find_if(rules.begin(), rules.end(),
                                     [&](const fault_rule& rule) { return matches(rule, r); });
        return at == rules.end() ? nullptr : &*at;
    };
    const fault_rule* rule = hit(overrides);
    const bool own = rule != nullptr;
    v.success = r.transport == transport_failure::none && r.status >= 200 && r.status < 400;
    if (rule == nullptr && !v.success) rule = hit(default_rules());
    if (rule == nullptr) {
        if (!v.success && r.status >= 400 && r.status < 500) v.fault = fault_class::request;
        if (!v.success && r.status >= 500) v.fault = fault_class::upstream;
        return v;
    }
    v.success = false;
    v.action = rule->action;
    v.fault = rule->fault;
    v.after_threshold = rule->after_threshold;
    v.retry = rule->retry;
    v.fallback = rule->fallback;
    if (!own && r.status == 401 && settings.ban_401) v.action = fault_action::ban;
    if (!own && r.status == 402 && !settings.ban_402) v.action = fault_action::quarantine;
    if (v.action == fault_action::cooldown) {
        v.rate_limited = r.status == 429;
        v.duration = r.status == 429 ? settings.rate_limit_cooldown
                     : v.after_threshold
                         ? std::min<nanoseconds>(settings.upstream_cooldown, seconds(15))
                         : settings.overload_cooldown;
        const auto told = told_wait(r.hints);
        if (rule->duration) {
            v.duration = *rule->duration;
        } else if (told && (r.status == 429 || r.hints.retry_after)) {
            v.duration = *told;
            v.exact_duration = true;
        }
    }
    if (!settings.automatic && v.action != fault_action::pass) v.action = fault_action::failover;
    if (r.hints.should_retry == false && r.status != 429) v.retry = false;
    return v;
}

}  // namespace kw::pool
