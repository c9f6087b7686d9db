// Which node of a Redis Cluster holds which keys. A key's slot is the CRC16 of its hash tag; of the
// nodes only masters are talked to.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

#include "store/redis/connection.hpp"

namespace kw::store::redis {

inline constexpr std::size_t cluster_slots = 16'384;

[[nodiscard]] std::uint16_t slot_of(std::string_view key) noexcept;

// "MOVED 3999 host:port" and "ASK …"; the host may be empty: that of the node which says it.
struct redirection {
    bool ask = false;
    std::uint16_t slot = 0;
    place to;
};
[[nodiscard]] std::optional<redirection> read_redirection(std::string_view error_text);

// What the nodes last said. Any thread.
class cluster_map {
  public:
    static constexpr std::uint16_t nobody = std::numeric_limits<std::uint16_t>::max();
    struct view {
        std::vector<place> masters;
        std::array<std::uint16_t, cluster_slots> owner;  // index into masters, or nobody

        view() { owner.fill(nobody); }
        [[nodiscard]] const place* at(std::uint16_t slot) const noexcept {
            return owner[slot] == nobody ? nullptr : &masters[owner[slot]];
        }
    };

    // Null before the first refresh.
    [[nodiscard]] std::shared_ptr<const view> now() const;
    // Asks one node after the other until one tells. errc::store_unavailable.
    [[nodiscard]] result<std::shared_ptr<const view>> refresh(const target& of, deadline until);
    // One slot has another master, as the one before it says.
    void moved(std::uint16_t slot, const place& to);

    // The answer to CLUSTER SLOTS of the node `asked`.
    [[nodiscard]] static result<view> read(const reply& told, const place& asked);

  private:
    mutable std::mutex mutex_;
    std::shared_ptr<const view> view_;
    std::size_t first_ = 0;  // who is asked first: each in turn, as one may know less
};

}  // namespace kw::store::redis
