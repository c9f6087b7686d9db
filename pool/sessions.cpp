// A set-associative cache of atomics: workers that write at the same time lose at most a binding.
#include "pool/sessions.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace kw::pool {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr std::uint64_t upper = 0xffffffff00000000U;

std::uint64_t mixed(std::uint64_t h) noexcept {
    h = (h ^ (h >> 30U)) * 0xbf58476d1ce4e5b9U;
    h = (h ^ (h >> 27U)) * 0x94d049bb133111ebU;
    return h ^ (h >> 31U);
}

}  // namespace

std::uint32_t session_table::find(std::uint64_t id, std::int64_t now_ns) const noexcept {
    const bucket* all = buckets_.load(std::memory_order_acquire);
    if (all == nullptr) return slot_id::none;
    for (const entry& e : all[id & mask_].all) {
        const auto word = e.word.load(relaxed);
        if (((word ^ id) & upper) != 0 || e.until.load(relaxed) <= now_ns) continue;
        const auto slot = static_cast<std::uint32_t>(word);
        if (slot != 0) return slot - 1;
    }
    return slot_id::none;
}

void session_table::bind(std::uint64_t id, std::uint32_t slot, std::int64_t now_ns,
                         std::int64_t until_ns, std::size_t most) {
    bucket* all = buckets_.load(std::memory_order_acquire);
    if (all == nullptr) {
        make(most);
        all = buckets_.load(std::memory_order_acquire);
    }
    entry* place = nullptr;
    std::int64_t least = 0;
    for (entry& e : all[id & mask_].all) {
        const auto until = e.until.load(relaxed);
        if (((e.word.load(relaxed) ^ id) & upper) == 0 && until != 0) {
            place = &e;
            break;
        }
        if (place == nullptr || until < least) {
            place = &e;
            least = until;
        }
    }
    const std::uint64_t word = (id & upper) | (std::uint64_t{slot} + 1);
    if (place->word.load(relaxed) != word) place->word.store(word, relaxed);
    // Each request renews; a line that all workers read is not written for a few thousandths.
    const auto until = place->until.load(relaxed);
    if (until <= now_ns || until_ns < until || until_ns - until > (until_ns - now_ns) / 256)
        place->until.store(until_ns, relaxed);
}

void session_table::make(std::size_t most) {
    std::call_once(made_, [&] {
        const std::size_t count = std::bit_ceil(std::max<std::size_t>(1, (most + ways - 1) / ways));
        owned_ = std::make_unique<bucket[]>(count);
        mask_ = count - 1;
        buckets_.store(owned_.get(), std::memory_order_release);
    });
}

std::uint64_t session_hash(std::uint64_t seed, const char* text, std::size_t size) noexcept {
    std::uint64_t h = mixed(seed ^ (size * 0x9e3779b97f4a7c15U));
    for (; size >= 8; text += 8, size -= 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, text, 8);
        h = std::rotl((h ^ word) * 0x9fb21c651e98df25U, 29);
    }
    std::uint64_t rest = 0;
    if (size > 0) std::memcpy(&rest, text, size);
    return mixed(h ^ rest);
}

}  // namespace kw::pool
