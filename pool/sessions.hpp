// Which key a client's session is served by, so that its requests find what the upstream has cached
// for it. One table for all workers of a process; bounded, without locks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "pool/key_state.hpp"

namespace kw::pool {

// Sessions are told apart by 56 bits of their ids: two that share them share a key, no more. What
// does not fit pushes out what would end first among eight.
class session_table {
  public:
    // Any thread. The index of a slot; slot_id::none: not known, or it has ended. The key may be
    // gone, and another have its slot: as good as any.
    [[nodiscard]] std::uint32_t find(std::uint64_t id, std::int64_t now_ns) const noexcept;
    // Any thread. `most` counts at the first call, which makes the table.
    void bind(std::uint64_t id, std::uint32_t slot, std::int64_t now_ns, std::int64_t until_ns,
              std::size_t most);

  private:
    static constexpr std::size_t ways = 8;
    struct entry {
        std::atomic<std::uint64_t> word{0};  // id's upper half, slot's index + 1
        std::atomic<std::int64_t> until{0};
    };
    struct alignas(64) bucket {
        entry all[ways];
    };

    void make(std::size_t most);

    std::atomic<bucket*> buckets_{nullptr};
    std::size_t mask_ = 0;
    std::unique_ptr<bucket[]> owned_;
    std::once_flag made_;
};

// Of a session's name; `seed` tells access keys and kinds of names apart.
[[nodiscard]] std::uint64_t session_hash(std::uint64_t seed, const char* text,
                                         std::size_t size) noexcept;

}  // namespace kw::pool
