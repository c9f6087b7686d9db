// Shards of open-addressed tables. The hash of a key is uniformly random to everyone without the
// pepper, so its own bits serve as shard, slot and fingerprint.
#include "auth/key_table.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

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

void drop(std::vector<access_key_ptr>& keys, const crypto::digest& hash) {
    std::erase_if(keys, [&](const access_key_ptr& k) { return same(k->hash, hash); });
}

std::vector<access_key_ptr> held(std::vector<access_key> keys) {
    std::vector<access_key_ptr> out;
    out.reserve(keys.size());
    for (access_key& key : keys)
        out.push_back(std::make_shared<const access_key>(std::move(key)));
    return out;
}

}  // namespace

key_table::shard::shard(std::vector<access_key_ptr> k) {
    keys.reserve(k.size());
    slots.resize(std::bit_ceil(2 * k.size() + 1));
    const std::size_t mask = slots.size() - 1;
    for (access_key_ptr& key : k) {
        std::size_t at = word(key->hash, 0) & mask;
        const std::uint32_t print = word(key->hash, 1);
        const auto is_this = [&] {
            return slots[at].first == print && same(keys[slots[at].second - 1]->hash, key->hash);
        };
        while (slots[at].second != 0 && !is_this())
            at = (at + 1) & mask;
        if (slots[at].second != 0) {
            keys[slots[at].second - 1] = std::move(key);
            continue;
        }
        keys.push_back(std::move(key));
        slots[at] = {print, static_cast<std::uint32_t>(keys.size())};
    }
}

const access_key* key_table::view::find(const crypto::digest& hash) const noexcept {
    const std::uint32_t print = word(hash, 1);
    for (std::size_t at = word(hash, 0) & mask; slots[at].second != 0; at = (at + 1) & mask) {
        if (slots[at].first != print) continue;
        const access_key* key = keys[slots[at].second - 1].get();
        if (same(key->hash, hash)) return key;
    }
    return nullptr;
}

key_table::key_table() : key_table(std::vector<access_key_ptr>()) {}

key_table::key_table(std::vector<access_key> keys) : key_table(held(std::move(keys))) {}

key_table::key_table(const std::vector<access_key_ptr>& keys) {
    shards_.resize(
        std::min(max_shards, std::bit_ceil(std::max<std::size_t>(1, keys.size() / keys_a_shard))));
    views_.resize(shards_.size());
    std::vector<std::vector<access_key_ptr>> parts(shards_.size());
    for (auto& part : parts)
        part.reserve(keys.size() / shards_.size() + 1);
    for (const access_key_ptr& key : keys) {
        parts[shard_of(key->hash)].push_back(key);
        note_earlier(*key);
    }
    for (std::size_t i = 0; i < parts.size(); ++i)
        replace(i, std::move(parts[i]));
    std::ranges::sort(earlier_);
}

std::size_t key_table::shard_of(const crypto::digest& hash) const noexcept {
    return word(hash, 2) & (shards_.size() - 1);
}

void key_table::replace(std::size_t at, std::vector<access_key_ptr> keys) {
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

key_table key_table::with(std::span<const key_change> changes) const {
    key_table next(*this);
    std::map<std::size_t, std::vector<access_key_ptr>> parts;
    const auto part_of = [&](const crypto::digest& hash) -> std::vector<access_key_ptr>& {
        const auto [at, first] = parts.try_emplace(shard_of(hash));
        if (first) at->second = shards_[at->first]->keys;
        return at->second;
    };
    const auto take_out = [&](const crypto::digest& hash) {
        drop(part_of(hash), hash);
        next.forget_earlier(hash);
    };
    for (const key_change& c : changes) {
        if (c.gone) take_out(*c.gone);
        if (!c.come) continue;
        take_out(c.come->hash);
        part_of(c.come->hash).push_back(c.come);
        next.note_earlier(*c.come);
    }
    std::ranges::sort(next.earlier_);
    for (auto& [at, keys] : parts)
        next.replace(at, std::move(keys));
    if (next.size_ < 4 * keys_a_shard * next.shards_.size() || next.shards_.size() == max_shards)
        return next;

    // Grown out of its number of shards.
    std::vector<access_key_ptr> all;
    all.reserve(next.size_);
    for (const auto& part : next.shards_)
        all.insert(all.end(), part->keys.begin(), part->keys.end());
    return key_table(all);
}

key_table key_table::with(access_key key, const std::optional<crypto::digest>& old_hash) const {
    const key_change one{old_hash, std::make_shared<const access_key>(std::move(key))};
    return with(std::span(&one, 1));
}

key_table key_table::without(const crypto::digest& hash) const {
    const key_change one{hash, nullptr};
    return with(std::span(&one, 1));
}

}  // namespace kw::auth
