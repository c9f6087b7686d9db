// Requests that wait until their access key has a slot again: one line for each access key, first
// come, first served; and what became of those who waited. It knows who is first and that
// something may be free; asking the admission is the owner's of a place.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/clock.hpp"

namespace kw::metrics {
class registry;
}

namespace kw::auth {

// entered = success + timeout + cancelled + refused + waiting.
struct line_stats {
    std::uint64_t entered = 0;
    std::uint64_t success = 0;    // got their slot
    std::uint64_t timeout = 0;    // waited as long as they may
    std::uint64_t cancelled = 0;  // the client went away
    std::uint64_t refused = 0;    // sent away: another limit, the store away, a stop
    std::uint64_t rejected = 0;   // did not enter: the line was full
    std::uint64_t waiting = 0;    // now
    // Of those that got their slot; to a fifth.
    std::chrono::milliseconds p50{0};
    std::chrono::milliseconds p90{0};
    std::chrono::milliseconds p99{0};
};

// The lines of one process, for all its workers. Any thread may call anything; no call waits for
// more than a short lock. Outlives every place in it.
class waiting_lines {
  public:
    enum class end : std::uint8_t { success, timeout, cancelled, refused };
    class place;

    // The registry outlives it.
    explicit waiting_lines(metrics::registry& registry);
    ~waiting_lines();
    waiting_lines(const waiting_lines&) = delete;
    waiting_lines& operator=(const waiting_lines&) = delete;

    // Taken before the admission is asked, given to enter(): so a slot that is freed in between is
    // not missed.
    [[nodiscard]] std::uint32_t mark(std::string_view id) const noexcept;
    // Whoever comes then has to line up, too.
    [[nodiscard]] bool anyone_waits(const std::string& id) const;
    // At the end of the line; nullopt: `size` wait for this key already, or `all` in the process,
    // or as many for this key as places of the process are free, so that there is room for others.
    // wake is called with a lock held, from any thread, when a look() is worth it: it must be short
    // and call nothing of this class.
    [[nodiscard]] std::optional<place> enter(const std::string& id, std::size_t size,
                                             std::size_t all, std::uint32_t mark, mono_time now,
                                             std::function<void()> wake);
    // A slot of this access key was given back in this process.
    void freed(const std::string& id);

    // How many processes share the limits: with others, some of the slots that are freed here are
    // left to whoever asks next, so that a busy line here does not keep theirs waiting.
    void set_replicas(std::uint64_t count) noexcept { replicas_.store(count); }
    // Who is first asks again after so long even without a sign, as a slot may be freed elsewhere.
    // Longer with many lines, so that all lines together ask at most 500 times a second.
    [[nodiscard]] std::chrono::milliseconds poll_pause() const noexcept;

    // What it is likely to take to get a slot: the median wait, 1 s at least and 60 s at most.
    [[nodiscard]] std::chrono::milliseconds likely_wait(const std::string& id) const;
    [[nodiscard]] line_stats total() const;
    // By access key, of those that have ever waited (the last 8,192 or so), in order of their ids.
    [[nodiscard]] std::vector<std::pair<std::string, line_stats>> by_key() const;

  private:
    struct waiting {
        std::function<void()> wake;
        mono_time since{};
    };
    struct line;
    struct shard;
    static constexpr std::size_t shard_count = 16;
    static constexpr std::size_t mark_count = 256;
    static constexpr std::size_t keys_per_shard = 512;

    [[nodiscard]] shard& shard_of(std::string_view id) const noexcept;
    void leave(const std::string& id, const std::shared_ptr<waiting>& who, end how, bool more_free,
               mono_time now);
    void count(std::string_view what, const std::string& id);

    metrics::registry& registry_;
    std::unique_ptr<std::array<shard, shard_count>> shards_;
    std::array<std::atomic<std::uint32_t>, mark_count> marks_{};
    std::atomic<std::size_t> waiting_{0};
    std::atomic<std::size_t> lines_{0};
    std::atomic<std::uint64_t> replicas_{1};
    struct sums;
    std::unique_ptr<sums> total_;
};

// One who waits. Left behind without leave(), it counts as cancelled.
class waiting_lines::place {
  public:
    place(place&& other) noexcept = default;
    place& operator=(place&&) = delete;
    ~place();

    enum class turn : std::uint8_t {
        behind,  // others are first
        first,   // ask when the pause is over
        now,     // ask: a slot may be free. Said once for each sign.
    };
    [[nodiscard]] turn look();
    // more_free: who comes next may find a slot, too; with other processes it is left to them.
    void leave(end how, bool more_free, mono_time now);

  private:
    friend class waiting_lines;
    place(waiting_lines& of, std::string id, std::shared_ptr<waiting> self)
        : of_(&of), id_(std::move(id)), self_(std::move(self)) {}

    waiting_lines* of_;
    std::string id_;
    std::shared_ptr<waiting> self_;  // null: left
};

}  // namespace kw::auth
