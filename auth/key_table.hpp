// All access keys, found by the hash of their text: an immutable table that workers share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "auth/access_key.hpp"

namespace kw::auth {

using access_key_ptr = std::shared_ptr<const access_key>;

// One key on its way from a generation to the next.
struct key_change {
    std::optional<crypto::digest> gone;  // where it was before; none: it was not there
    access_key_ptr come;                 // null: it is gone
};

// Built on the control thread, then read by any thread without a lock. What find() returns lives
// as long as some table that shares its shard: an exchange holds the shared_ptr of its table.
// Shards (256 keys each on average) are shared between generations, so that a change to one key
// of a million copies one shard and not the table; the keys themselves are shared by all.
class key_table {
  public:
    key_table();  // empty
    // Of two keys with one hash the later one stays.
    explicit key_table(const std::vector<access_key_ptr>& keys);
    explicit key_table(std::vector<access_key> keys);

    // nullptr: unknown. Deleted, disabled and expired keys are found, too; judging is the
    // authenticator's. The final comparison takes constant time.
    [[nodiscard]] const access_key* find(const crypto::digest& hash) const noexcept;
    // The key whose text before the last one has this hash; its end is to be judged, too.
    [[nodiscard]] const access_key* find_earlier(const crypto::digest& hash) const noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    // The next generation; changes in the order in which they came.
    [[nodiscard]] key_table with(std::span<const key_change> changes) const;
    // The same of one key. `old_hash` is where the key was before, if it was there (the hash
    // changes when a key is made anew).
    [[nodiscard]] key_table with(access_key key,
                                 const std::optional<crypto::digest>& old_hash) const;
    [[nodiscard]] key_table without(const crypto::digest& hash) const;

    // All keys, in no particular order.
    template <class Each>
    void for_each(Each&& each) const {
        for (const auto& part : shards_) {
            for (const access_key_ptr& key : part->keys)
                each(*key);
        }
    }

  private:
    // With the whole hash: in a big table each step on the way to the key would be a cache miss.
    struct slot {
        crypto::digest hash;
        const access_key* key = nullptr;  // null: free
    };

    struct shard {
        std::vector<access_key_ptr> keys;
        std::vector<slot> slots;  // open addressing, at most two thirds full
        explicit shard(std::vector<access_key_ptr> k);
    };

    [[nodiscard]] std::size_t shard_of(const crypto::digest& hash) const noexcept;
    void replace(std::size_t at, std::vector<access_key_ptr> keys);
    void note_earlier(const access_key& key);
    void forget_earlier(const crypto::digest& of);

    std::vector<std::shared_ptr<const shard>> shards_;  // a power of two
    std::vector<std::span<const slot>> slots_;          // of each shard: spares find() a cache miss
    // Hash of an earlier text, hash of the key's own; sorted. Few keys have one.
    std::vector<std::pair<crypto::digest, crypto::digest>> earlier_;
    std::size_t size_ = 0;
};

}  // namespace kw::auth
