// Carries the journal to the store: fixes numbered batches durably, sends each until it is
// confirmed, replays identically after a restart, and books what a dead process left unfinished.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "core/clock.hpp"
#include "store/journal.hpp"
#include "store/store.hpp"

namespace kw::store {

struct shipper_options {
    std::chrono::milliseconds interval{250};     // between two batches of a slow trickle
    std::size_t max_records = 512;               // of one journal in one go
    std::chrono::milliseconds min_backoff{100};  // after the store failed
    std::chrono::milliseconds max_backoff{3'000};
    std::chrono::minutes keep{10};  // confirmed segments, for a failover's replay
    std::chrono::seconds check{5};  // how often the store's numbers are compared
    // What a dead process left, when the store holds it: its reservations may still be counted. On
    // the thread that ships; the same records may come again.
    std::function<void(std::span<const ledger_record_view>)> recovered;
};

// Any thread may read it.
struct shipper_stats {
    std::uint64_t backlog_records = 0;  // in the journal, not confirmed
    std::uint64_t backlog_bytes = 0;
    std::chrono::milliseconds oldest_unconfirmed{};  // 0: none
    std::uint64_t shipped_records = 0;
    std::uint64_t store_errors = 0;
    std::uint64_t recovered_starts = 0;  // booked `estimated` after a process died
    std::uint64_t corrupt_entries = 0;   // skipped: power was lost
    std::uint64_t lost_batches = 0;      // the store lost them and the journal no longer has them
};

// Owns one thread from start() to stop(). The journal, the store and the clock outlive it.
class journal_shipper {
  public:
    journal_shipper(journal& from, store& to, const clock_source& clock,
                    const shipper_options& options = {});
    ~journal_shipper();  // stops
    journal_shipper(const journal_shipper&) = delete;
    journal_shipper& operator=(const journal_shipper&) = delete;

    void start();
    // Ends the thread after the call in hand; ships nothing more.
    void stop();
    // Ships what has been written up to now; true if all of it was confirmed in time. Any thread
    // (not a worker), with or without start().
    [[nodiscard]] bool flush(std::chrono::milliseconds timeout);
    // One round, on the caller's thread, for programs without the thread (tests, tools): recovers,
    // cuts, sends, trims. errc::store_unavailable when the store did not confirm.
    result<void> ship_once();

    [[nodiscard]] shipper_stats stats() const;

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace kw::store
