// The journal: what a worker writes down of each exchange before the client sees the last byte, so
// that a kill -9 loses nothing. One writer per worker over preallocated, mapped segment files; the
// append path makes no system call. The shipper (journal_shipper.hpp) carries it to the store.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/money.hpp"
#include "store/types.hpp"

namespace kw::store {

// What a power loss may take: at most a second, nothing, or what the kernel had not written.
// A kill -9 takes nothing under any of them. `always` makes every append wait for the disk.
enum class fsync_policy : std::uint8_t { everysec, always, no };

struct journal_options {
    std::string folder;  // made with mode 0700; one process at a time
    fsync_policy fsync = fsync_policy::everysec;
    std::uint32_t segment_bytes = 2U << 20U;  // 64 KiB … 1 GiB; two are resident per writer
    std::uint64_t max_bytes = 1ULL << 30U;    // of all segments in the folder; then it is full
};

// Written before an upstream is asked. If the process dies before the end, the exchange is booked
// as `estimated` with the reserved amounts. A later start with the same id replaces the earlier.
struct exchange_start {
    std::string_view id;
    std::string_view access_key_id;
    std::string_view upstream_key_id;
    std::string_view group_id;
    std::string_view provider;
    std::string_view endpoint;
    std::string_view model;
    wall_time started;
    std::int64_t input_tokens = 0;  // reserved
    std::int64_t output_tokens = 0;
    nanodollars cost = -1;  // reserved; -1: no price known
    nanodollars rated_cost = -1;
    bool stream = false;
};

class journal_log;
class journal_segment;
enum class entry_type : std::uint8_t;

// One worker's end of the journal. Belongs to the `journal`; one thread only.
class journal_writer {
  public:
    explicit journal_writer(journal_log& log);
    ~journal_writer();
    journal_writer(const journal_writer&) = delete;
    journal_writer& operator=(const journal_writer&) = delete;

    // errc::ok, or errc::journal_unavailable: full or unwritable; nothing was written. When space
    // runs out, starts are refused first: what is left is kept for the ends of running exchanges.
    // again: the exchange has a start already, of an earlier try.
    [[nodiscard]] errc append_start(const exchange_start& start, bool again = false);
    // started: it ends an exchange that had a start. Refused ones have none, and get no room from
    // what is kept for the others.
    [[nodiscard]] errc append_end(const ledger_record& record, bool started = true);
    // Whether a start would be accepted now: ask before a key is chosen.
    [[nodiscard]] bool writable() const noexcept;

  private:
    friend class journal_log;
    void resume(journal_segment& segment, std::uint32_t offset) noexcept;
    [[nodiscard]] bool has_room(std::size_t payload) const noexcept;
    [[nodiscard]] errc append_raw(entry_type type, std::string_view payload) noexcept;

    journal_log& log_;
    journal_segment* segment_ = nullptr;
    std::uint32_t offset_ = 0;
    std::uint64_t running_ = 0;  // starts without an end, for the reserve
    ledger_record scratch_;      // keeps its texts' capacity from one start to the next
    std::string buffer_;
};

// The journal folder: its lock, the writers, earlier processes' journals, and the keeper thread
// that makes segments ahead and calls fdatasync. Outlives its writers' threads and the shipper.
class journal {
  public:
    // errc::journal_unavailable: the folder cannot be made, or another process holds it. A full
    // disk does not fail here: the writers are then not writable until there is room.
    [[nodiscard]] static result<std::unique_ptr<journal>> open(const journal_options& options,
                                                               std::size_t writers);
    ~journal();
    journal(const journal&) = delete;
    journal& operator=(const journal&) = delete;

    [[nodiscard]] journal_writer& writer(std::size_t index) noexcept;
    // Whether every writer can write; any thread.
    [[nodiscard]] bool healthy() const noexcept;
    // Bytes of all segment files in the folder; any thread.
    [[nodiscard]] std::uint64_t disk_bytes() const noexcept;

  private:
    friend class journal_shipper;
    struct impl;
    explicit journal(std::unique_ptr<impl> i) noexcept;
    std::unique_ptr<impl> impl_;
};

}  // namespace kw::store
