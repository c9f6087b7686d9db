// All access keys, found by the hash of their text: an immutable table that workers share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "auth/access_key.hpp"

namespace kw::auth {

// Built on the control thread, then read by any thread without a lock. What find() returns lives
// as long as some table that shares its shard: an exchange holds the shared_ptr of its table.
// Shards (256 keys each on average) are shared between generations, so that a change to one key
// of a million copies one shard and not the table.
class key_table {
  public:
    key_table();  // empty
    // Of two keys with one hash the later one stays.
    explicit key_table(std::vector<access_key> keys);

    // nullptr: unknown. Deleted, disabled and expired keys are found, too; judging is the
    // authenticator's. The final comparison takes constant time.
    [[nodiscard]] const access_key* find(const crypto::digest& hash) const noexcept;
    // The key whose text before the last one has this hash; its end is to be judged, too.
    [[nodiscard]] const access_key* find_earlier(const crypto::digest& hash) const noexcept;
    // By id: a scan over all keys, for the control thread.
    [[nodiscard]] const access_key* find_id(std::string_view id) const noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    // The next generation. `old_hash` is where the key was before, if it was there (the hash
    // changes when a key is made anew).
    [[nodiscard]] key_table with(access_key key,
                                 const std::optional<crypto::digest>& old_hash) const;
    [[nodiscard]] key_table without(const crypto::digest& hash) const;

    // All keys, in no particular order.
    template <class Each>
    void for_each(Each&& each) const {
        for (const auto& part : shards_) {
            for (const access_key& key : part->keys)
                each(key);
        }
    }

  private:
    struct shard {
        std::vector<access_key> keys;
        // Open addressing, at most half full: 32 bits of the hash, and index + 1 (0: free).
        std::vector<std::pair<std::uint32_t, std::uint32_t>> slots;
        explicit shard(std::vector<access_key> k);
    };

    // Where a shard's parts lie.
    struct view {
        const std::pair<std::uint32_t, std::uint32_t>* slots = nullptr;
        std::size_t mask = 0;
        const access_key* keys = nullptr;
        [[nodiscard]] const access_key* find(const crypto::digest& hash) const noexcept;
    };

    [[nodiscard]] std::size_t shard_of(const crypto::digest& hash) const noexcept;
    void replace(std::size_t at, std::vector<access_key> keys);
    void note_earlier(const access_key& key);
    void forget_earlier(const crypto::digest& of);

    std::vector<std::shared_ptr<const shard>> shards_;  // a power of two
    std::vector<view> views_;                           // of each shard: spares find() a cache miss
    // Hash of an earlier text, hash of the key's own; sorted. Few keys have one.
    std::vector<std::pair<crypto::digest, crypto::digest>> earlier_;
    std::size_t size_ = 0;
};

}  // namespace kw::auth
