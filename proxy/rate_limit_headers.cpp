// Durations are written as OpenAI writes them: "350ms", "12s", "6m0s", "1h0m0s".
#include "proxy/rate_limit_headers.hpp"

#include <array>
#include <charconv>

#include "core/money.hpp"

namespace kw::proxy {
namespace {

void add_number(std::string& to, std::int64_t n) {
    std::array<char, 20> digits;
    const auto* const end = std::to_chars(digits.data(), digits.data() + digits.size(), n).ptr;
    to.append(digits.data(), static_cast<std::size_t>(end - digits.data()));
}

void add_reset(std::string& to, std::chrono::milliseconds in) {
    if (in < std::chrono::seconds(1)) {
        add_number(to, in.count());
        to += "ms";
        return;
    }
    const auto all = std::chrono::ceil<std::chrono::seconds>(in).count();
    if (all >= 3600) {
        add_number(to, all / 3600);
        to += 'h';
    }
    if (all >= 60) {
        add_number(to, all / 60 % 60);
        to += 'm';
    }
    add_number(to, all % 60);
    to += 's';
}

// The names of the three lines of a unit.
struct line_names {
    store::limit_unit unit;
    std::string_view limit;
    std::string_view remaining;
    std::string_view reset;
};
constexpr std::array names{
    line_names{store::limit_unit::requests, "x-ratelimit-limit-requests: ",
               "\r\nx-ratelimit-remaining-requests: ", "\r\nx-ratelimit-reset-requests: "},
    line_names{store::limit_unit::tokens, "x-ratelimit-limit-tokens: ",
               "\r\nx-ratelimit-remaining-tokens: ", "\r\nx-ratelimit-reset-tokens: "}};

std::string amount(const store::limit& l, std::int64_t n) {
    return l.unit == store::limit_unit::cost ? format_dollars(n) + " USD" : std::to_string(n);
}

}  // namespace

std::string make_rate_limit_lines(std::span<const store::limit> limits,
                                  std::span<const store::limit_state> states) {
    std::string out;
    out.reserve(256);
    for (const line_names& line : names) {
        const store::limit_state* nearest = nullptr;
        for (std::size_t i = 0; i < limits.size() && i < states.size(); ++i) {
            if (limits[i].unit != line.unit || limits[i].kind == store::limit_kind::concurrency)
                continue;
            if (nearest == nullptr || states[i].remaining() < nearest->remaining())
                nearest = &states[i];
        }
        if (nearest == nullptr) continue;
        out += line.limit;
        add_number(out, nearest->cap);
        out += line.remaining;
        add_number(out, nearest->remaining());
        out += line.reset;
        add_reset(out, nearest->reset_in);
        out += "\r\n";
    }
    return out;
}

std::string describe_refusal(const store::limit& limit, const store::limit_state& state) {
    std::string text = "This access key's limit of " + store::describe(limit) +
                       " is used up: " + amount(limit, state.used) + " of " +
                       amount(limit, limit.cap);
    if (state.reset_in.count() > 0) {
        text += ", all free again in ";
        add_reset(text, state.reset_in);
    }
    return text + ".";
}

error limit_error(const store::limit& limit, const store::limit_state& state) {
    errc code = errc::rate_limit_exceeded;
    if (limit.kind == store::limit_kind::budget) code = errc::insufficient_quota;
    if (limit.kind == store::limit_kind::concurrency) code = errc::concurrency_limit_exceeded;
    return error(code, describe_refusal(limit, state), error_source::downstream);
}

error unknown_limits() {
    return error(errc::store_unavailable,
                 "The limits of this access key cannot be checked now because the store is out of "
                 "reach; try again shortly.",
                 error_source::store);
}

}  // namespace kw::proxy
