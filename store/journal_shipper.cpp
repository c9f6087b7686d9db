// The thread that ships every journal of the folder, with back-off while the store is away.
#include "store/journal_shipper.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/log.hpp"
#include "core/resources.hpp"
#include "store/journal_folder.hpp"
#include "store/shipping.hpp"

namespace kw::store {

struct journal_shipper::impl {
    impl(journal& f, store& t, const clock_source& c, const shipper_options& o)
        : from(f), to(t), clock(c), options(o) {
        for (auto& log : from.impl_->logs)
            journals.push_back(std::make_unique<shipping>(*log, options));
    }

    // One pass over all journals. A journal that cannot go on does not hold up the others, except
    // for a store that is away: that is the same for all.
    result<void> round(bool force) {
        result<void> outcome;
        for (auto j = journals.begin(); j != journals.end();) {
            auto& one = **j;
            auto done = step(one, force);
            if (!done) {
                outcome = done;
                if (done.error().code == errc::store_unavailable) break;
            }
            auto gone = done ? one.trim(clock.mono()) : result<bool>(false);
            if (!gone) outcome = gone.error();
            if (gone && *gone) {
                shipper_stats last;
                one.add_to(last, clock.mono());
                gone_recovered += last.recovered_starts;
                gone_shipped += last.shipped_records;
                j = journals.erase(j);
            } else {
                ++j;
            }
        }
        note(outcome);
        publish();
        return outcome;
    }

    result<void> step(shipping& one, bool force) {
        if (auto ready = one.prepare(); !ready) return ready;
        for (;;) {
            if (auto cut = one.cut(clock.mono(), force); !cut) return cut;
            const auto sent = one.send(to, clock.mono());
            publish();
            if (!sent) return sent.error();
            if (!*sent) break;
            if (stopping) return {};
        }
        return one.check(to, clock.mono());
    }

    void note(const result<void>& outcome) {
        if (!outcome) ++errors;
        if (outcome.has_value() == shipping_well) return;
        shipping_well = outcome.has_value();
        if (shipping_well)
            log::event(log::level::info, "journal.shipping_again");
        else
            log::event(
                log::level::warn, "journal.shipping_held_up",
                {{"err", to_string(outcome.error().code)}, {"reason", outcome.error().context}});
    }

    [[nodiscard]] std::uint64_t written() const noexcept {
        std::uint64_t ends = 0;
        for (const auto& log : from.impl_->logs)
            ends += log->end_entries();
        return ends;
    }

    void publish() {
        const auto ends = written();  // first: what comes meanwhile is then counted twice, not lost
        shipper_stats now;
        for (const auto& j : journals)
            j->add_to(now, clock.mono());
        now.recovered_starts += gone_recovered;
        now.shipped_records += gone_shipped;
        now.store_errors = errors;
        const std::lock_guard lock(stats_mutex);
        stats = now;
        stats_of = ends;
    }

    void run() {
        step_back();
        std::unique_lock wait(wake_mutex);
        auto backoff = options.min_backoff;
        while (!stopping) {
            wait.unlock();
            result<void> outcome;
            {
                const std::lock_guard lock(round_mutex);
                outcome = round(false);
            }
            wait.lock();
            const auto pause = outcome ? options.interval : std::max(options.interval, backoff);
            backoff = outcome ? options.min_backoff : std::min(backoff * 2, options.max_backoff);
            wake.wait_for(wait, pause, [this] { return stopping.load(); });
        }
    }

    [[nodiscard]] bool all_confirmed(
        const std::vector<std::pair<std::string, journal_position>>& targets) const {
        return std::all_of(journals.begin(), journals.end(), [&](const auto& j) {
            const auto t = std::find_if(targets.begin(), targets.end(),
                                        [&](const auto& x) { return x.first == j->log().id(); });
            return j->confirmed_up_to(t == targets.end() ? 0 : t->second);
        });
    }

    journal& from;
    store& to;
    const clock_source& clock;
    const shipper_options options;
    std::timed_mutex round_mutex;  // guards the journals
    std::vector<std::unique_ptr<shipping>> journals;
    std::uint64_t errors = 0;
    std::uint64_t gone_recovered = 0;  // of journals that are no more
    std::uint64_t gone_shipped = 0;
    bool shipping_well = true;
    std::mutex wake_mutex;
    std::condition_variable wake;
    std::atomic<bool> stopping{false};
    std::thread thread;
    mutable std::mutex stats_mutex;
    shipper_stats stats;
    std::uint64_t stats_of = 0;  // records that had been written by then
};

journal_shipper::journal_shipper(journal& from, store& to, const clock_source& clock,
                                 const shipper_options& options)
    : impl_(std::make_unique<impl>(from, to, clock, options)) {}

journal_shipper::~journal_shipper() {
    stop();
}

void journal_shipper::start() {
    if (impl_->thread.joinable()) return;
    impl_->stopping = false;
    impl_->thread = std::thread([i = impl_.get()] { i->run(); });
    ::pthread_setname_np(impl_->thread.native_handle(), "kw-shipper");
}

void journal_shipper::stop() {
    {
        const std::lock_guard lock(impl_->wake_mutex);
        impl_->stopping = true;
    }
    impl_->wake.notify_all();
    if (impl_->thread.joinable()) impl_->thread.join();
    impl_->stopping = false;
}

bool journal_shipper::flush(std::chrono::milliseconds timeout) {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    std::vector<std::pair<std::string, journal_position>> targets;
    for (const auto& log : impl_->from.impl_->logs)
        targets.emplace_back(log->id(), log->committed());
    auto pause = std::chrono::milliseconds(10);
    for (;;) {
        {
            const std::unique_lock lock(impl_->round_mutex, deadline);
            if (!lock) return false;
            const bool well = impl_->round(true).has_value();
            if (impl_->all_confirmed(targets)) return true;
            if (well) pause = std::chrono::milliseconds(1);
        }
        if (std::chrono::steady_clock::now() + pause >= deadline) return false;
        std::this_thread::sleep_for(pause);
        pause = std::min(pause * 2, impl_->options.max_backoff);
    }
}

result<void> journal_shipper::ship_once() {
    const std::lock_guard lock(impl_->round_mutex);
    return impl_->round(true);
}

shipper_stats journal_shipper::stats() const {
    const std::lock_guard lock(impl_->stats_mutex);
    auto now = impl_->stats;
    now.backlog_records += impl_->written() - impl_->stats_of;
    return now;
}

}  // namespace kw::store
