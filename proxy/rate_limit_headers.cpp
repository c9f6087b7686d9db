// Durations are written as OpenAI writes them: "350ms", "12s", "6m0s", "1h0m0s".
#include "proxy/rate_limit_headers.hpp"

#include <array>

#include "core/money.hpp"

namespace kw::proxy {
namespace {

std::string format_reset(std::chrono::milliseconds in) {
    if (in < std::chrono::seconds(1)) return std::to_string(in.count()) + "ms";
    const auto all = std::chrono::ceil<std::chrono::seconds>(in).count();
    std::string text = std::to_string(all % 60) + "s";
    if (all >= 60) text.insert(0, std::to_string(all / 60 % 60) + "m");
    if (all >= 3600) text.insert(0, std::to_string(all / 3600) + "h");
    return text;
}

std::string amount(const store::limit& l, std::int64_t n) {
    return l.unit == store::limit_unit::cost ? format_dollars(n) + " USD" : std::to_string(n);
}

}  // namespace

std::string make_rate_limit_lines(std::span<const store::limit> limits,
                                  std::span<const store::limit_state> states) {
    std::string out;
    out.reserve(256);
    for (const auto unit : {store::limit_unit::requests, store::limit_unit::tokens}) {
        const store::limit_state* nearest = nullptr;
        for (std::size_t i = 0; i < limits.size() && i < states.size(); ++i) {
            if (limits[i].unit != unit || limits[i].kind == store::limit_kind::concurrency)
                continue;
            if (nearest == nullptr || states[i].remaining() < nearest->remaining())
                nearest = &states[i];
        }
        if (nearest == nullptr) continue;
        const auto line = [&](std::string_view name, const std::string& value) {
            out.append("x-ratelimit-").append(name).append("-").append(to_string(unit));
            out.append(": ").append(value).append("\r\n");
        };
        line("limit", std::to_string(nearest->cap));
        line("remaining", std::to_string(nearest->remaining()));
        line("reset", format_reset(nearest->reset_in));
    }
    return out;
}

std::string describe_refusal(const store::limit& limit, const store::limit_state& state) {
    std::string text = "This access key's limit of " + store::describe(limit) +
                       " is used up: " + amount(limit, state.used) + " of " +
                       amount(limit, limit.cap);
    if (state.reset_in.count() > 0) text += ", all free again in " + format_reset(state.reset_in);
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
