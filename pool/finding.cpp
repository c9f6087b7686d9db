// Reading a key's state, and its text form.
#include "pool/finding.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace kw::pool {
namespace {

constexpr std::uint32_t highest_level = 16;

template <class T, std::size_t N>
std::optional<T> named(const std::array<T, N>& all, std::string_view name) noexcept {
    for (const T one : all)
        if (to_string(one) == name) return one;
    return std::nullopt;
}

// What can be told: a person's word and a breaker's rest are not.
constexpr std::array told_statuses{key_status::active, key_status::cooling, key_status::quarantined,
                                   key_status::banned};
constexpr std::array told_reasons{block_reason::none,           block_reason::rate_limit,
                                  block_reason::upstream_fault, block_reason::overload,
                                  block_reason::credential,     block_reason::quota};

}  // namespace

std::optional<finding> finding_of(const key_state& s) noexcept {
    const auto reason = s.reason();
    if (reason == block_reason::admin) return std::nullopt;
    finding f;
    f.level = s.level.load(std::memory_order_relaxed);
    if (reason == block_reason::breaker || s.status() == key_status::active) return f;
    f.status = s.status();
    f.reason = reason;
    f.until = s.blocked_until.load(std::memory_order_relaxed);
    return f;
}

std::string to_text(const finding& f) {
    std::string out(to_string(f.status));
    out.append(" ").append(to_string(f.reason)).append(" ").append(std::to_string(f.level));
    return out;
}

std::optional<finding> parse_finding(std::string_view text,
                                     std::optional<std::chrono::nanoseconds> rest,
                                     mono_time now) noexcept {
    const auto first = text.find(' ');
    const auto second = text.find(' ', first == std::string_view::npos ? first : first + 1);
    if (second == std::string_view::npos) return std::nullopt;
    const auto status = named(told_statuses, text.substr(0, first));
    const auto reason = named(told_reasons, text.substr(first + 1, second - first - 1));
    finding f;
    const auto* const end = text.data() + text.size();
    const auto [at, ec] = std::from_chars(text.data() + second + 1, end, f.level);
    if (!status || !reason || ec != std::errc() || at != end) return std::nullopt;
    f.level = std::min(f.level, highest_level);
    if (*status == key_status::active) return f;
    if (*status == key_status::cooling) {
        if (!rest || rest->count() <= 0) return f;
        f.until = mono_ns(now) + rest->count();
    } else {
        f.until = forever;
    }
    f.status = *status;
    f.reason = *reason;
    return f;
}

}  // namespace kw::pool
