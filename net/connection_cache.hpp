// Idle upstream connections of one loop, the most recently used taken first.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "net/loop.hpp"
#include "net/stream.hpp"
#include "net/task.hpp"

namespace kw::net {

// Small number that stands for an endpoint's identity within one connection_cache.
using endpoint_id = std::uint32_t;

// The loop's thread only. A connection whose peer closes it or sends something unasked is closed at
// once; one that idles too long is closed by a sweep every second.
class connection_cache {
  public:
    struct options {
        std::size_t max_idle_per_endpoint = 256;
        std::size_t max_idle = 4096;  // beyond it the oldest goes
        std::chrono::seconds idle_timeout{60};
    };
    struct counters {
        std::uint64_t reused = 0;   // take() gave one
        std::uint64_t missed = 0;   // take() had none: the caller opens a new one
        std::uint64_t dropped = 0;  // closed by the peer while idle
        std::uint64_t expired = 0;  // idled too long, or made room
    };

    connection_cache(loop& on, const options& opts);
    connection_cache(const connection_cache&) = delete;
    connection_cache& operator=(const connection_cache&) = delete;
    ~connection_cache();

    // The number for an identity (identity_of() in connector.hpp); the same one ever after.
    [[nodiscard]] endpoint_id id_for(std::string_view identity);

    // A live idle connection, detached from any waiter; null: none.
    [[nodiscard]] std::unique_ptr<stream> take(endpoint_id id) noexcept;
    // Keeps a connection whose last exchange ended cleanly, or closes it when it is not fit (unread
    // bytes, closed by the peer) or the endpoint has its fill. Detaches it.
    void put(endpoint_id id, std::unique_ptr<stream> s);
    // Closes all idle ones, e.g. at a graceful stop or after an endpoint's settings changed.
    void clear(endpoint_id id) noexcept;
    void clear() noexcept;

    [[nodiscard]] std::size_t idle() const noexcept { return idle_; }
    [[nodiscard]] const counters& counts() const noexcept { return counters_; }

  private:
    static constexpr std::uint32_t none = UINT32_MAX;
    // Each node is in two lists: its endpoint's (newest first) and that of all (oldest first).
    struct node {
        std::unique_ptr<stream> connection;
        mono_time since{};
        endpoint_id id = 0;
        std::uint32_t newer = none, older = none;          // within the endpoint
        std::uint32_t all_newer = none, all_older = none;  // within the cache
    };
    struct endpoint_list {
        std::uint32_t newest = none;
        std::size_t count = 0;
    };

    std::unique_ptr<stream> unlink(std::uint32_t index) noexcept;
    void on_event(std::uint32_t index) noexcept;
    task<void> sweep();

    loop& loop_;
    options options_;
    counters counters_;
    struct text_hash : std::hash<std::string_view> {
        using is_transparent = void;
    };
    std::unordered_map<std::string, endpoint_id, text_hash, std::equal_to<>> ids_;
    std::vector<endpoint_list> endpoints_;
    std::vector<node> nodes_;
    std::vector<std::uint32_t> free_nodes_;
    std::uint32_t oldest_ = none, newest_ = none;
    std::size_t idle_ = 0;
    owned_root sweeper_;
};

}  // namespace kw::net
