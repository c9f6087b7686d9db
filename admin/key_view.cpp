// The live state of keys, put beside their records.
#include "admin/key_view.hpp"

#include <boost/json.hpp>

#include "core/json_writer.hpp"

namespace kw::admin {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;

pool::key_status status_of(pool::admin_status s) noexcept {
    switch (s) {
        case pool::admin_status::enabled:
            return pool::key_status::active;
        case pool::admin_status::disabled:
            return pool::key_status::disabled;
        case pool::admin_status::banned:
            return pool::key_status::banned;
    }
    return pool::key_status::active;
}

}  // namespace

live_key look_at(const admin_services& services, const pool::upstream_key& key) {
    live_key out;
    out.status = status_of(key.status);
    const auto slot = services.states.find(key.id);
    const auto* s = slot ? services.states.get(*slot) : nullptr;
    if (s == nullptr) return out;
    const auto now = pool::mono_ns(services.clock.mono());
    const auto wall = services.clock.wall();
    // The record's word goes first: the pool may not have been rebuilt with it yet.
    if (key.status == pool::admin_status::enabled) {
        out.status = s->status();
        out.block = s->reason();
        const auto until = s->blocked_until.load(relaxed);
        if (until > now && until != pool::forever)
            out.until = wall + std::chrono::nanoseconds(until - now);
    } else {
        out.block = pool::block_reason::admin;
    }
    if (const auto paced = s->paced() ? s->paced_until(now) : 0; paced > now)
        out.paced_until = wall + std::chrono::nanoseconds(paced - now);
    if (const auto last = s->last_used.load(relaxed); last > 0)
        out.last_used = wall - std::chrono::nanoseconds(now - last);
    out.in_flight = s->in_flight.load(relaxed);
    out.uses = s->uses.load(relaxed);
    out.successes = s->successes.load(relaxed);
    out.failures = s->failures.load(relaxed);
    out.tokens = s->tokens.load(relaxed);
    out.success_rate = static_cast<double>(s->success.load(relaxed));
    out.tested = s->tested();
    return out;
}

std::string key_json(const admin_services& services, const key_entry& entry) {
    const auto& k = entry.key;
    const auto live = look_at(services, k);
    std::string out;
    json_writer w(out);
    w.begin_object()
        .field("id", k.id)
        .field("alias", k.alias)
        .field("notes", k.notes)
        .field("group", k.group_id)
        .field("key", entry.masked)
        .field("provider", k.provider)
        .field("base_url", k.base_url);
    write_texts(w, "models", k.models);
    w.field("organization", k.organization).field("project", k.project);
    w.field("account", k.account).key("weight").raw(format_factor(k.weight_ppm));
    w.key("caps")
        .begin_object()
        .field("concurrency", k.caps.concurrency)
        .field("rpm", k.caps.rpm)
        .field("tpm", k.caps.tpm)
        .field("tokens_per_day", k.caps.tokens_per_day)
        .end_object();
    w.key("quota_tokens");
    if (k.quota_tokens) {
        w.value(*k.quota_tokens);
    } else {
        w.null();
    }
    w.key("quota");
    const auto quota = services.quota_of ? services.quota_of(k.id) : std::string();
    boost::system::error_code failed;
    const auto told = boost::json::parse(quota, failed);
    if (failed || !told.is_object()) {
        w.null();
    } else {
        w.begin_object();
        for (const auto& item : told.get_object()) {
            const std::string_view name(item.key().data(), item.key().size());
            if (name == "at_ms" && item.value().is_int64()) {
                write_time(w, "last_sync",
                           wall_time(std::chrono::milliseconds(item.value().get_int64())));
            } else {
                w.key(name);
                write_value(w, item.value());
            }
        }
        w.end_object();
    }
    w.key("max_leases");
    if (k.max_leases)
        w.value(*k.max_leases);
    else
        w.null();
    w.field("declared", k.declared).field("last_test", to_string(k.last_test));
    w.field("status", to_string(live.status));
    // A person's words where there are some, else what the pool found.
    w.field("reason", k.reason.empty() ? to_string(live.block) : std::string_view(k.reason));
    write_time(w, "until", live.until);
    write_time(w, "paced_until", live.paced_until);
    write_time(w, "last_used", live.last_used);
    write_time(w, "created", k.created);
    w.field("in_flight", live.in_flight)
        .field("uses", live.uses)
        .field("successes", live.successes)
        .field("failures", live.failures)
        .field("tokens", live.tokens)
        .field("success_rate", live.success_rate)
        .field("tested", live.tested)
        .field("revision", entry.revision)
        .end_object();
    return out;
}

void key_counts::add(const live_key& k) noexcept {
    ++by_status[static_cast<std::size_t>(k.status)];
    ++total;
    in_flight += k.in_flight;
    uses += k.uses;
    tokens += k.tokens;
}

void key_counts::write(json_writer& w) const {
    w.field("total", total);
    for (std::size_t i = 0; i < status_count; ++i)
        w.field(to_string(static_cast<pool::key_status>(i)), by_status[i]);
}

std::optional<pool::key_status> parse_status(std::string_view word) {
    if (word == "enabled") return pool::key_status::active;
    for (std::size_t i = 0; i < status_count; ++i) {
        const auto s = static_cast<pool::key_status>(i);
        if (to_string(s) == word) return s;
    }
    return std::nullopt;
}

}  // namespace kw::admin
