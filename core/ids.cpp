// Identifiers and the generator behind them.
#include "core/ids.hpp"

#include <algorithm>
#include <span>

#include "core/crypto.hpp"

namespace kw {

namespace {

// Crockford's base32 in lower case: no i, l, o, u, and in ASCII order, so that text sorts as
// numbers do.
constexpr std::string_view alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::size_t time_chars = 8;                 // 40 bits of milliseconds: 34 years
constexpr std::size_t random_chars = 13;              // 64 bits
constexpr std::int64_t epoch_ms = 1'735'689'600'000;  // 2025-01-01T00:00:00Z

void append_base32(std::string& out, std::uint64_t number, std::size_t chars) {
    for (std::size_t i = chars; i-- > 0;)
        out += alphabet[(number >> (5 * i)) & 31];
}

}  // namespace

random_source::random_source() : state_(0) {
    std::uint8_t bytes[sizeof state_];
    crypto::random_bytes(bytes);
    for (const auto byte : bytes)
        state_ = (state_ << 8) | byte;
}

// SplitMix64 (Steele, Lea, Flood 2014).
std::uint64_t random_source::next() noexcept {
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

// Lemire's multiplication: the high half is uniform once the few low halves that would make some
// results likelier are drawn again.
std::uint64_t random_source::below(std::uint64_t bound) noexcept {
    __extension__ using wide = unsigned __int128;
    wide product = static_cast<wide>(next()) * bound;
    if (static_cast<std::uint64_t>(product) < bound) {
        const std::uint64_t threshold = (0 - bound) % bound;
        while (static_cast<std::uint64_t>(product) < threshold) {
            product = static_cast<wide>(next()) * bound;
        }
    }
    return static_cast<std::uint64_t>(product >> 64);
}

std::string make_id(std::string_view prefix, wall_time now, random_source& random) {
    std::string id;
    id.reserve(prefix.size() + time_chars + random_chars);
    id += prefix;
    const auto ms = std::max<std::int64_t>(unix_ms(now) - epoch_ms, 0);
    append_base32(id, static_cast<std::uint64_t>(ms), time_chars);
    append_base32(id, random.next(), random_chars);
    return id;
}

}  // namespace kw
