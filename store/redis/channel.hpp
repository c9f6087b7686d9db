// A way to Redis that looks after itself: it is made when needed, loads the scripts, and after a
// failure refuses at once until its back-off is over.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "store/redis/link.hpp"
#include "store/redis/scripts.hpp"
#include "store/store.hpp"

namespace kw::store::redis {

// Errors that pass by themselves or by the operator's doing: the data is safe with us meanwhile.
[[nodiscard]] bool means_not_now(std::string_view error_text) noexcept;

// A Cluster is moving the slot: its keys are apart, and a step on several of them must wait.
[[nodiscard]] bool means_shard_moves(std::string_view error_text) noexcept;

// Shared by a store's channels; any thread.
class health_board {
  public:
    // Quiet: of a second connection to a server whose loss another board logs.
    health_board(const clock_source& clock, std::string server, bool quiet = false);
    // `who`: a channel. One that failed is down until it is answered itself: of a Cluster each may
    // need other nodes.
    void answered(const void* who, std::optional<std::chrono::microseconds> latency = std::nullopt);
    void failed(const void* who, const error& why);
    [[nodiscard]] store_health now() const;

  private:
    const clock_source& clock_;
    const std::string server_;
    const bool quiet_;
    mutable std::mutex mutex_;
    store_health health_;
    std::vector<const void*> failing_;
};

class channel {
  public:
    channel(const target& to, const redis_options& options, health_board& board);

    // Any thread; one call at a time, waiting at most the call timeout for the one before.
    // Replies of the server that mean "not now" (loading, read-only, full) are store_unavailable.
    [[nodiscard]] result<std::vector<reply>> call(const pipeline& commands);
    // The same commands, which have no key, to every master of a Cluster.
    [[nodiscard]] result<std::vector<std::vector<reply>>> call_all(const pipeline& commands);
    // Adds EVALSHA of a script to a pipeline; call() loads scripts that the server has forgotten.
    void add_script(pipeline& to, script which, std::span<const std::string> keys,
                    std::span<const std::string> arguments);
    // For the feed: the socket once subscribed, else -1.
    [[nodiscard]] int subscribe(const std::string& name);
    void drain();
    // Another number after each time that another server process was met; never 0.
    [[nodiscard]] std::uint64_t server() const noexcept { return server_.load(); }

  private:
    result<void> ready(deadline until);
    result<void> greet(deadline until);
    error give_up(error why);
    // The same, without saying that the store is down.
    error close_for_now(error why);
    [[nodiscard]] error refused(std::string_view text) const;

    const redis_options& options_;
    health_board& board_;
    std::timed_mutex mutex_;
    link link_;
    connection* subscribed_ = nullptr;
    std::chrono::milliseconds backoff_;
    std::chrono::steady_clock::time_point not_before_{};
    std::array<std::string, all_scripts.size()> hashes_;
    std::string run_id_;
    std::atomic<std::uint64_t> server_{1};
    error last_;
};

}  // namespace kw::store::redis
