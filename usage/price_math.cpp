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
    // What providers publish as the rule for all of their models.
    static const std::optional<tier_price> half{{.own = {}, .factor_ppm = million / 2}};
    if (tier == "batch") return p.batch ? p.batch : half;
    if (tier == "flex") return p.flex;
    if (tier == "priority") return p.priority;
    return standard;
}

}  // namespace

charge price_of(const model_price& price, const quantities& q, std::string_view service_tier,
                const multipliers& m) noexcept {
    const bool counted = q.tokens.total() > 0;
    const bool by_token = price.base != rates();
    if ((counted && !by_token) || (!counted && q.images > 0 && price.per_image == 0) ||
        (!counted && q.duration_ms > 0 && price.per_second == 0) ||
        (q.trained_tokens > 0 && price.training == 0))
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
    checked training;
    training.add(q.trained_tokens, price.training).times(million);
    const checked all = price_tokens(r, q.tokens).times(factor).plus(training).plus(extras);

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

}  // namespace kw::usage
