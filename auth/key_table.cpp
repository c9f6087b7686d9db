// Shards of open-addressed tables. The hash of a key is uniformly random to everyone without the
// pepper, so its own bits serve as shard and slot.
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

// Where a key with this hash is, or would be put. There is always a free slot.
template <class Slots>
std::size_t place_of(const Slots& slots, const crypto::digest& hash) noexcept {
    std::size_t at = (std::uint64_t{word(hash, 0)} * slots.size()) >> 32U;
    while (slots[at].key && !same(slots[at].hash, hash))
        at = at + 1 == slots.size() ? 0 : at + 1;
    return at;
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
    slots.resize(k.size() + k.size() / 2 + 1);
    // From the last one on, as the later of two with one hash stays.
    for (auto key = k.rbegin(); key != k.rend(); ++key) {
        slot& place = slots[place_of(slots, (*key)->hash)];
        if (place.key) continue;
        place = {(*key)->hash, key->get()};
        keys.push_back(std::move(*key));
    }
}

key_table::key_table() : key_table(std::vector<access_key_ptr>()) {}

key_table::key_table(std::vector<access_key> keys) : key_table(held(std::move(keys))) {}

key_table::key_table(const std::vector<access_key_ptr>& keys) {
    shards_.resize(
        std::min(max_shards, std::bit_ceil(std::max<std::size_t>(1, keys.size() / keys_a_shard))));
    slots_.resize(shards_.size());
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
    slots_[at] = now.slots;
}

const access_key* key_table::find(const crypto::digest& hash) const noexcept {
    const auto& slots = slots_[shard_of(hash)];
    return slots[place_of(slots, hash)].key;
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
