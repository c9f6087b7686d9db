// Compares what the process sees of itself with the operators' thresholds, and tells when one is
// crossed: once, until it is well again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "config/settings.hpp"
#include "core/clock.hpp"
#include "core/incidents.hpp"
#include "core/metrics.hpp"
#include "jobs/notifier.hpp"
#include "store/admission.hpp"
#include "store/limits.hpp"
#include "store/store.hpp"

namespace kw::jobs {

// As of one moment.
struct readings {
    struct group {
        std::string id;
        std::size_t usable = 0;
        std::size_t total = 0;  // without those that a person disabled
    };
    struct quota {
        std::string key;
        double remaining = 0;
        double allowance = 0;
    };
    std::vector<group> groups;
    std::vector<quota> quotas;
    std::int64_t requests = 0;  // since the start
    std::int64_t errors = 0;    // of these, with 5xx
    metrics::histogram::totals first_tokens;
    std::span<const double> first_token_bounds;
    store::store_health store;
    std::optional<double> free_disk;  // shares, from 0 to 1
    std::optional<double> memory;
    std::chrono::nanoseconds cpu_time{};
    double cpus = 1;
    std::optional<wall_time> certificate_ends;
};

// A threshold that is crossed, of one subject: told once. Of a budget each period is one of its
// own.
struct crossed {
    config::notice_kind kind = config::notice_kind::test;
    std::string subject;
    bool shared = false;  // seen by the other replicas, too
    friend auto operator<=>(const crossed& a, const crossed& b) noexcept {
        return std::tie(a.kind, a.subject) <=> std::tie(b.kind, b.subject);
    }
    friend bool operator==(const crossed& a, const crossed& b) noexcept {
        return std::tie(a.kind, a.subject) == std::tie(b.kind, b.subject);
    }
};
struct crossing {
    crossed what;
    bool now = false;  // else it is well again
};

// Control thread only. The clock outlives it.
class watcher {
  public:
    watcher(const clock_source& clock, std::function<void(notice)> tell)
        : clock_(clock), tell_(std::move(tell)) {}

    // Every second or so.
    void look(const readings& now, const config::notification_settings& by);
    // What was noticed since the last time, but for budgets.
    void notice_all(const std::vector<incidents::item>& all,
                    const config::notification_settings& by);
    // How an access key's limits stand now; true: one of its budgets is near its end.
    bool look_at_budgets(const std::string& key_id, const std::string& name,
                         std::span<const store::limit> limits,
                         std::span<const store::limit_state> states,
                         const config::notification_settings& by);
    void forget_budgets(const std::string& key_id);
    // It was told of before this process began.
    void restore(crossed what) { raised_.insert(std::move(what)); }
    // What was crossed or became well since the last call, oldest first.
    [[nodiscard]] std::vector<crossing> take_crossings() { return std::exchange(crossings_, {}); }
    // How many budgets of that period are near their end.
    [[nodiscard]] std::size_t near_end(store::budget_period period) const;

  private:
    struct sample {
        mono_time at{};
        std::int64_t requests = 0;
        std::int64_t errors = 0;
        std::vector<std::uint64_t> first_tokens;
        std::chrono::nanoseconds cpu_time{};
    };
    struct source {
        mono_time since{};
        std::uint64_t refused = 0;
        bool told = false;
    };
    // `subject`: "" for the notice's own.
    void raise(bool now, notice n, std::string subject = {});
    // Of the subjects that begin so.
    template <class Gone>
    void forget(config::notice_kind kind, std::string_view prefix, const Gone& gone);
    void clear_missing(config::notice_kind kind, const std::set<std::string>& seen);
    void look_at_rates(const readings& now, const config::notification_settings& by);

    const clock_source& clock_;
    std::function<void(notice)> tell_;
    std::set<crossed> raised_;
    std::vector<crossing> crossings_;  // of what is kept in the store; bounded
    std::deque<sample> samples_;
    std::map<std::string, source> sources_;
    std::map<std::pair<std::string, std::string>, store::budget_period> near_;  // key, cell
};

// The value that so large a share of these observations does not exceed, in seconds; 0: there are
// none.
[[nodiscard]] double quantile(std::span<const std::uint64_t> buckets,
                              std::span<const double> bounds, double share) noexcept;

}  // namespace kw::jobs
