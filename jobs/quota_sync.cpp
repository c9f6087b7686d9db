// When a key is asked for, what its answer means, and where that goes.
#include "jobs/quota_sync.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdlib>

#include "core/json_writer.hpp"
#include "core/log.hpp"

namespace kw::jobs {
namespace {

namespace json = boost::json;

// A reading older than so many intervals says nothing any more.
constexpr int stale_intervals = 3;

// Numbers as texts, too: providers write money so.
std::optional<double> number_at(const json::value& in, const std::string& pointer) {
    if (pointer.empty()) return std::nullopt;
    boost::system::error_code failed;
    const auto* v = in.find_pointer(pointer, failed);
    if (failed || v == nullptr) return std::nullopt;
    std::optional<double> out;
    if (v->is_number()) out = v->to_number<double>();
    if (v->is_string()) {
        const std::string text(v->get_string());
        char* end = nullptr;
        const double n = std::strtod(text.c_str(), &end);
        if (!text.empty() && *end == '\0') out = n;
    }
    if (out && !std::isfinite(*out)) out.reset();
    return out;
}

std::int64_t as_tokens(double amount, std::int64_t tokens_per_unit) {
    constexpr double most = 9e15;
    return static_cast<std::int64_t>(
        std::clamp(amount * static_cast<double>(tokens_per_unit), -most, most));
}

void write(json_writer& w, std::string_view name, const std::optional<double>& amount) {
    if (amount) w.field(name, *amount);
}

}  // namespace

result<quota_reading> read_quota(std::string_view body, const pool::quota_source& by) {
    boost::system::error_code failed;
    const auto v = json::parse(body, failed);
    if (failed) return error(errc::upstream_malformed, "not JSON");
    quota_reading out{number_at(v, by.allowance), number_at(v, by.used),
                      number_at(v, by.remaining)};
    if (!out.remaining && out.allowance && out.used) out.remaining = *out.allowance - *out.used;
    if (!out.allowance && !out.used && !out.remaining)
        return error(errc::upstream_malformed, "nothing of it where it should be");
    return out;
}

quota_sync::quota_sync(store::store& store, const catalog& known, pool::state_table& states,
                       const clock_source& clock, caller call, random_source random)
    : store_(store),
      catalog_(known),
      states_(states),
      clock_(clock),
      call_(std::move(call)),
      random_(random) {}

const pool::quota_source* quota_sync::source_of(const pool::upstream_key& key) const {
    const auto group = catalog_.groups().find(key.group_id);
    if (group == catalog_.groups().end() || group->second->quota.url.empty() || key.value.empty() ||
        key.status != pool::admin_status::enabled)
        return nullptr;
    return &group->second->quota;
}

void quota_sync::run_due(const quota_settings& settings) {
    take_in(settings);
    plan(settings);
    start(settings);
}

// What this and other replicas have been told reaches the pool.
void quota_sync::take_in(const quota_settings& settings) {
    for (const store::record* r : catalog_.of_kind(pool::quota_kind)) {
        auto& known = readings_[r->id];
        if (known.revision == r->revision) continue;
        known = {.revision = r->revision, .at_ms = 0, .remaining = {}, .allowance = {}};
        boost::system::error_code failed;
        const auto v = json::parse(r->json, failed);
        if (failed || !v.is_object()) continue;
        if (const auto* at = v.get_object().if_contains("at_ms"); at != nullptr && at->is_int64())
            known.at_ms = at->get_int64();
        known.remaining = number_at(v, "/remaining");
        known.allowance = number_at(v, "/allowance");
    }
    const auto now_ms = unix_ms(clock_.wall());
    for (const auto& [id, known] : readings_) {
        const auto key = catalog_.keys().find(id);
        const auto slot = states_.find(id);
        auto* state = slot ? states_.get(*slot) : nullptr;
        if (key == catalog_.keys().end() || state == nullptr) continue;
        const auto* source = source_of(*key->second);
        const bool fresh = settings.interval.count() == 0 ||
                           now_ms - known.at_ms < stale_intervals * settings.interval.count();
        const auto left = source != nullptr && fresh && known.remaining
                              ? as_tokens(*known.remaining, source->tokens_per_unit)
                              : pool::unknown_amount;
        const auto before = state->told_left.load(std::memory_order_relaxed);
        if (before == left) continue;
        pool::set_told_quota(*state, *key->second, left);
        states_.bump_epoch();
    }
}

void quota_sync::plan(const quota_settings& settings) {
    std::erase_if(due_, [&](const auto& d) { return !catalog_.keys().contains(d.first); });
    if (settings.interval.count() == 0) return;
    const auto now = clock_.mono();
    const auto now_ms = unix_ms(clock_.wall());
    const auto later = [&](std::chrono::milliseconds by) {
        const auto most = static_cast<std::size_t>(settings.jitter.count()) + 1;
        return now + by + std::chrono::milliseconds(random_.below(most));
    };
    for (const auto& [id, key] : catalog_.keys()) {
        if (source_of(*key) == nullptr) continue;
        const auto at = due_.find(id);
        if (at != due_.end() && at->second > now) continue;
        // Another replica may have asked meanwhile.
        const auto known = readings_.find(id);
        const auto age = std::chrono::milliseconds(
            known == readings_.end() ? settings.interval.count() : now_ms - known->second.at_ms);
        if (age >= std::chrono::milliseconds(0) && age < settings.interval) {
            due_[id] = later(settings.interval - age);
            continue;
        }
        if (at == due_.end()) {
            // Not all at once after a start.
            due_[id] = later(std::chrono::milliseconds(0));
            continue;
        }
        due_[id] = later(settings.interval);
        if (queued_.insert(id).second) queue_.push_back(id);
    }
}

std::size_t quota_sync::sync_all() {
    std::size_t count = 0;
    for (const auto& [id, key] : catalog_.keys()) {
        if (source_of(*key) == nullptr) continue;
        ++count;
        if (queued_.insert(id).second) queue_.push_back(id);
    }
    return count;
}

void quota_sync::start(const quota_settings& settings) {
    const auto most = std::clamp<std::size_t>(settings.parallel, 1, max_parallel);
    for (std::size_t i = 0; i < most && !queue_.empty(); ++i) {
        if (busy_[i]) continue;
        busy_[i] = true;
        workers_[i].reset();
        workers_[i].start("quota", work(i));
    }
}

net::task<void> quota_sync::work(std::size_t place) {
    while (!queue_.empty()) {
        const std::string id = queue_.front();
        queue_.pop_front();
        queued_.erase(id);
        const auto body = co_await call_(id);
        const auto key = catalog_.keys().find(id);
        const auto* source = key == catalog_.keys().end() ? nullptr : source_of(*key->second);
        if (source != nullptr)
            note(id, body ? read_quota(*body, *source) : result<quota_reading>(body.error()));
    }
    busy_[place] = false;
}

void quota_sync::note(const std::string& key_id, const result<quota_reading>& got) {
    if (!got) {
        log::event(log::level::warn, "quota.not_told",
                   {{"id", key_id}, {"reason", got.error().context}});
        return;
    }
    const auto* before = catalog_.find(pool::quota_kind, key_id);
    store::record r{.kind = std::string(pool::quota_kind),
                    .id = key_id,
                    .revision = before == nullptr ? 0 : before->revision,
                    .json = {}};
    json_writer w(r.json);
    w.begin_object().field("at_ms", unix_ms(clock_.wall()));
    write(w, "allowance", got->allowance);
    write(w, "used", got->used);
    write(w, "remaining", got->remaining);
    w.end_object();
    // On a conflict another replica has a reading as new as this one.
    if (const auto put = store_.put(r); !put && put.error().code != errc::store_conflict)
        log::event(log::level::warn, "quota.not_stored",
                   {{"id", key_id}, {"reason", put.error().context}});
}

std::vector<quota_sync::told_quota> quota_sync::told() const {
    std::vector<told_quota> out;
    for (const auto& [id, r] : readings_)
        if (r.remaining && r.allowance && catalog_.keys().contains(id))
            out.push_back({id, *r.remaining, *r.allowance});
    return out;
}

std::string quota_sync::describe(const std::string& key_id) const {
    const auto* r = catalog_.find(pool::quota_kind, key_id);
    return r == nullptr ? std::string() : r->json;
}

}  // namespace kw::jobs
