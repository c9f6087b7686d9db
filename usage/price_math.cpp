// Exact arithmetic on prices: no binary floating point, one rounding an amount.
#include <algorithm>
#include <limits>
#include <numeric>

#include "usage/prices.hpp"

namespace kw::usage {
namespace {

__extension__ using wide = __int128;

constexpr std::int64_t million = 1'000'000;

// A sum that gives up for good when it would overflow.
class checked {
  public:
    checked& add(std::int64_t count, std::int64_t each) noexcept {
        bad_ |= __builtin_add_overflow(sum_, static_cast<wide>(count) * each, &sum_);
        return *this;
    }
    checked& times(std::int64_t factor) noexcept {
        bad_ |= __builtin_mul_overflow(sum_, static_cast<wide>(factor), &sum_);
        return *this;
    }
    checked& plus(const checked& other) noexcept {
        bad_ |= other.bad_ || __builtin_add_overflow(sum_, other.sum_, &sum_);
        return *this;
    }
    // Half up.
    [[nodiscard]] std::optional<nanodollars> divided_by(wide divisor) const noexcept {
        wide rounded = 0;
        if (bad_ || sum_ < 0 || __builtin_add_overflow(sum_, divisor / 2, &rounded))
            return std::nullopt;
        rounded /= divisor;
        if (rounded > std::numeric_limits<nanodollars>::max()) return std::nullopt;
        return static_cast<nanodollars>(rounded);
    }

  private:
    wide sum_ = 0;
    bool bad_ = false;
};

std::int64_t either(std::int64_t own, std::int64_t fallback) noexcept {
    return own >= 0 ? own : fallback;
}

// Takes up to n from rest.
std::int64_t take(std::int64_t& rest, std::int64_t n) noexcept {
    n = std::clamp<std::int64_t>(n, 0, rest);
    rest -= n;
    return n;
}

checked price_tokens(const rates& r, const store::token_counts& t) noexcept {
    const std::int64_t input = std::max<std::int64_t>(r.input, 0);
    const std::int64_t output = std::max<std::int64_t>(r.output, 0);
    const std::int64_t write = either(r.cache_write_5m, input);
    checked sum;
    std::int64_t rest = std::max<std::int64_t>(t.input, 0);
    sum.add(take(rest, t.cached_read), either(r.cached_read, input))
        .add(take(rest, t.cache_write_5m), write)
        .add(take(rest, t.cache_write_1h), either(r.cache_write_1h, write))
        .add(take(rest, t.audio_in), either(r.audio_in, input))
        .add(take(rest, t.image_in), either(r.image_in, input))
        .add(rest, input);
    rest = std::max<std::int64_t>(t.output, 0);
    sum.add(take(rest, t.reasoning), either(r.reasoning, output))
        .add(take(rest, t.audio_out), either(r.audio_out, output))
        .add(take(rest, t.image_out), either(r.image_out, output))
        .add(rest, output);
    return sum;
}

const std::optional<tier_price>& tier_of(const model_price& p, std::string_view tier) noexcept {
    static const std::optional<tier_price> standard;
    if (tier == "batch") return p.batch;
    if (tier == "flex") return p.flex;
    if (tier == "priority") return p.priority;
    return standard;
}

constexpr bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

}  // namespace

charge price_of(const model_price& price, const quantities& q, std::string_view service_tier,
                const multipliers& m) noexcept {
    const bool counted = q.tokens.total() > 0;
    const bool by_token = price.base != rates();
    if ((counted && !by_token) || (!counted && q.images > 0 && price.per_image == 0) ||
        (!counted && q.duration_ms > 0 && price.per_second == 0))
        return {};

    const std::optional<tier_price>& tier = tier_of(price, service_tier);
    const bool is_long = price.long_threshold > 0 && q.tokens.input > price.long_threshold;
    const rates& r = tier && tier->own ? *tier->own : is_long ? price.long_context : price.base;
    const std::int64_t factor = tier && !tier->own ? tier->factor_ppm : million;

    // Tokens are counted in nano-dollars per million, the factor in millionths, durations in
    // milliseconds: everything in 10^-12 nano-dollars.
    checked extras;
    extras.add(1, price.per_request).add(q.searches, price.per_search);
    if (!counted) extras.add(q.images, price.per_image);
    extras.add(q.characters, price.per_character).times(1000);
    if (!counted) extras.add(q.duration_ms, price.per_second);
    extras.times(1'000'000'000);
    const checked all = price_tokens(r, q.tokens).times(factor).plus(extras);

    constexpr wide unit = static_cast<wide>(million) * million;
    charge c;
    c.cost = all.divided_by(unit);
    // Shortened fractions keep the product far from 128 bits.
    const auto gcd = [](std::int64_t ppm) { return std::gcd(ppm, million); };
    const std::int64_t g = gcd(m.group_ppm);
    const std::int64_t a = gcd(m.access_key_ppm);
    checked rated = all;
    rated.times(m.group_ppm / g).times(m.access_key_ppm / a);
    c.rated = rated.divided_by(unit * (million / g) * (million / a));
    return c;
}

std::optional<std::int64_t> parse_scaled_decimal(std::string_view text, int scale,
                                                 bool exact) noexcept {
    constexpr std::size_t max_digits = 40;
    constexpr int max_exponent = 100;
    char digits[max_digits];
    std::size_t count = 0;
    std::size_t i = 0;
    int point = scale;  // the value is digits × 10^point
    bool any = false;
    const auto digit = [&](char c) {
        any = true;
        if (count == 0 && c == '0') return true;
        if (count == max_digits) return false;
        digits[count++] = c;
        return true;
    };
    for (; i < text.size() && is_digit(text[i]); ++i)
        if (!digit(text[i])) return std::nullopt;
    if (i < text.size() && text[i] == '.') {
        const std::size_t start = ++i;
        for (; i < text.size() && is_digit(text[i]); ++i, --point)
            if (!digit(text[i])) return std::nullopt;
        if (i == start) return std::nullopt;
    }
    if (!any) return std::nullopt;
    if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
        const bool minus = ++i < text.size() && text[i] == '-';
        if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
        int exponent = 0;
        const std::size_t start = i;
        for (; i < text.size() && is_digit(text[i]); ++i)
            exponent = std::min(exponent * 10 + (text[i] - '0'), max_exponent);
        if (i == start) return std::nullopt;
        point += minus ? -exponent : exponent;
    }
    if (i != text.size()) return std::nullopt;

    while (count > 0 && digits[count - 1] == '0')
        --count, ++point;
    if (count == 0) return 0;
    bool round_up = false;
    if (point < 0) {
        if (exact) return std::nullopt;
        const auto drop = static_cast<std::size_t>(-point);
        if (drop > count) return 0;
        round_up = digits[count - drop] >= '5';
        count -= drop;
        point = 0;
    }
    std::int64_t value = 0;
    for (std::size_t d = 0; d < count; ++d)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digits[d] - '0', &value))
            return std::nullopt;
    for (; point > 0; --point)
        if (__builtin_mul_overflow(value, 10, &value)) return std::nullopt;
    if (round_up && __builtin_add_overflow(value, 1, &value)) return std::nullopt;
    return value;
}

}  // namespace kw::usage
