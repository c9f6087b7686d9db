// One save at a time; the control thread only takes and looks.
#include "jobs/snapshot_saver.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "core/log.hpp"

namespace kw::jobs {

namespace {

using namespace std::chrono_literals;

constexpr auto shortest_rest = 1s;
constexpr int rest_for_work = 9;

}  // namespace

snapshot_saver::snapshot_saver(std::string path, const crypto::sealer& sealer,
                               std::function<store::snapshot()> take, const clock_source& clock,
                               metrics::registry& registry)
    : file_(std::move(path), sealer),
      take_(std::move(take)),
      clock_(clock),
      failures_(registry.counter("keywheel_snapshot_save_failures_total",
                                 "Times that the sealed snapshot could not be saved.")) {}

void snapshot_saver::round() {
    {
        const std::lock_guard lock(mutex_);
        changed_ = changed_ || std::exchange(failed_, false);
        if (!changed_ || saving_ || clock_.mono() < next_) return;
    }
    begin();
}

void snapshot_saver::finish() {
    const auto wait = [this] {
        std::unique_lock lock(mutex_);
        ended_.wait(lock, [this] { return !saving_; });
    };
    wait();
    changed_ = changed_ || failed_;
    if (!changed_) return;
    begin();
    wait();
}

void snapshot_saver::begin() {
    auto work = [this, records = take_()] { save(records); };
    const std::lock_guard lock(mutex_);
    saving_ = thread_.run(std::move(work));
    changed_ = !saving_;
}

void snapshot_saver::save(const store::snapshot& records) {
    const auto began = clock_.mono();
    const auto saved = [&]() -> result<void> {
        try {
            return file_.save(records);
        } catch (const std::exception& e) {  // no memory: the end must not wait for ever
            return error(errc::internal, e.what());
        }
    }();
    if (!saved) {
        failures_.add();
        log::event(log::level::error, "snapshot.not_saved", {{"err", saved.error().context}});
    }
    const auto now = clock_.mono();
    const std::lock_guard lock(mutex_);
    saving_ = false;
    failed_ = !saved;
    next_ = now + std::max<mono_time::duration>(shortest_rest, rest_for_work * (now - began));
    ended_.notify_all();
}

}  // namespace kw::jobs
