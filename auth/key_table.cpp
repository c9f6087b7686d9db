// Shards of open-addressed tables. The hash of a key is uniformly random to everyone without the
// pepper, so its own bits serve as shard, slot and fingerprint.
#include "auth/key_table.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/secret.hpp"

namespace kw::auth {

namespace {

constexpr std::size_t keys_a_shard = 256;
constexpr std::size_t max_shards = 4096;

std::uint32_t word(const crypto::digest& hash, std::size_t at) noexcept {
    std::uint32_t w;
    std::memcpy(&w, hash.data() + 4 * at, sizeof w);
    return w;
}

std::string_view text_of(const crypto::digest& hash) noexcept {
    return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

bool same(const crypto::digest& a, const crypto::digest& b) noexcept {
    return equal_constant_time(text_of(a), text_of(b));
}

void drop(std::vector<access_key>& keys, const crypto::digest& hash) {
    std::erase_if(keys, [&](const access_key& k) { return same(k.hash, hash); });
}

}  // namespace

key_table::shard::shard(std::vector<access_key> k) {
    keys.reserve(k.size());
    slots.resize(std::bit_ceil(2 * k.size() + 1));
    const std::size_t mask = slots.size() - 1;
    for (access_key& key : k) {
        if (const access_key* earlier = view{slots.data(), mask, keys.data()}.find(key.hash)) {
            keys[static_cast<std::size_t>(earlier - keys.data())] = std::move(key);
            continue;
        }
        std::size_t at = word(key.hash, 0) & mask;
        while (slots[at].second != 0)
            at = (at + 1) & mask;
        keys.push_back(std::move(key));
        slots[at] = {word(keys.back().hash, 1), static_cast<std::uint32_t>(keys.size())};
    }
}

const access_key* key_table::view::find(const crypto::digest& hash) const noexcept {
    const std::uint32_t print = word(hash, 1);
    for (std::size_t at = word(hash, 0) & mask; slots[at].second != 0; at = (at + 1) & mask) {
        if (slots[at].first != print) continue;
        const access_key& key = keys[slots[at].second - 1];
        if (same(key.hash, hash)) return &key;
    }
    return nullptr;
}

key_table::key_table() : key_table(std::vector<access_key>()) {}

key_table::key_table(std::vector<access_key> keys) {
    shards_.resize(
        std::min(max_shards, std::bit_ceil(std::max<std::size_t>(1, keys.size() / keys_a_shard))));
    views_.resize(shards_.size());
    std::vector<std::vector<access_key>> parts(shards_.size());
    for (access_key& key : keys)
        parts[shard_of(key.hash)].push_back(std::move(key));
    // Freed before the shards are made: at a million keys it counts.
    std::vector<access_key>().swap(keys);
    for (std::size_t i = 0; i < parts.size(); ++i)
        replace(i, std::move(parts[i]));
    for_each([this](const access_key& key) { note_earlier(key); });
    std::ranges::sort(earlier_);
}

std::size_t key_table::shard_of(const crypto::digest& hash) const noexcept {
    return word(hash, 2) & (shards_.size() - 1);
}

void key_table::replace(std::size_t at, std::vector<access_key> keys) {
    if (shards_[at]) size_ -= shards_[at]->keys.size();
    shards_[at] = std::make_shared<const shard>(std::move(keys));
    const shard& now = *shards_[at];
    size_ += now.keys.size();
    views_[at] = {now.slots.data(), now.slots.size() - 1, now.keys.data()};
}

const access_key* key_table::find(const crypto::digest& hash) const noexcept {
    return views_[shard_of(hash)].find(hash);
}

const access_key* key_table::find_earlier(const crypto::digest& hash) const noexcept {
    const auto at = std::ranges::lower_bound(earlier_, hash, {},
                                             &std::pair<crypto::digest, crypto::digest>::first);
    return at != earlier_.end() && same(at->first, hash) ? find(at->second) : nullptr;
}

void key_table::note_earlier(const access_key& key) {
    if (key.options && key.options->earlier_hash)
        earlier_.emplace_back(*key.options->earlier_hash, key.hash);
}

void key_table::forget_earlier(const crypto::digest& of) {
    std::erase_if(earlier_, [&](const auto& entry) { return entry.second == of; });
}

const access_key* key_table::find_id(std::string_view id) const noexcept {
    for (const auto& part : shards_) {
        for (const access_key& key : part->keys) {
            if (key.id == id) return &key;
        }
    }
    return nullptr;
}

key_table key_table::with(access_key key, const std::optional<crypto::digest>& old_hash) const {
    key_table next(*this);
    if (old_hash && *old_hash != key.hash) next = without(*old_hash);
    const std::size_t at = next.shard_of(key.hash);
    next.forget_earlier(key.hash);
    next.note_earlier(key);
    std::ranges::sort(next.earlier_);
    std::vector<access_key> keys = next.shards_[at]->keys;
    keys.push_back(std::move(key));  // replaces the one with its hash
    next.replace(at, std::move(keys));
    if (next.size_ < 4 * keys_a_shard * next.shards_.size() || next.shards_.size() == max_shards)
        return next;

    // Grown out of its number of shards.
    std::vector<access_key> all;
    all.reserve(next.size_);
    next.for_each([&](const access_key& k) { all.push_back(k); });
    return key_table(std::move(all));
}

key_table key_table::without(const crypto::digest& hash) const {
    key_table next(*this);
    if (find(hash) == nullptr) return next;
    const std::size_t at = shard_of(hash);
    std::vector<access_key> keys = shards_[at]->keys;
    drop(keys, hash);
    next.forget_earlier(hash);
    next.replace(at, std::move(keys));
    return next;
}

}  // namespace kw::auth
