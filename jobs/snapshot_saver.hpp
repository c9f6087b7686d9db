// Keeps the sealed snapshot near to what is known: soon after a change, at most once a second, on a
// thread of its own, and at the end of the process.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>

#include "core/clock.hpp"
#include "core/crypto.hpp"
#include "core/metrics.hpp"
#include "jobs/side_thread.hpp"
#include "store/snapshot_file.hpp"

namespace kw::jobs {

// Control thread only; finish() by whoever ended that. What it refers to outlives it.
class snapshot_saver {
  public:
    // `take` gives what is known now; its records are handed out on the saver's thread.
    snapshot_saver(std::string path, const crypto::sealer& sealer,
                   std::function<store::snapshot()> take, const clock_source& clock,
                   metrics::registry& registry);

    // What is known is not what was saved.
    void note_change() noexcept { changed_ = true; }
    // Begins to save if there is something new and it is time. A save that took long is followed by
    // nine times as long a rest; one that failed is done again.
    void round();
    // Saves what is not saved yet. Blocks until it has been tried.
    void finish();

  private:
    void begin();
    void save(const store::snapshot& records);

    store::snapshot_file file_;  // the saver's thread alone
    const std::function<store::snapshot()> take_;
    const clock_source& clock_;
    metrics::counter& failures_;
    bool changed_ = false;

    std::mutex mutex_;  // of what follows
    std::condition_variable ended_;
    bool saving_ = false;
    bool failed_ = false;
    mono_time next_{};
    side_thread thread_{1};  // ends before all it works on
};

}  // namespace kw::jobs
