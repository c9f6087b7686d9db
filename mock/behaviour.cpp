// The table of faults, and how header text and model names are read by it.
#include "mock/behaviour.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <span>
#include <vector>

namespace kw::mock {
namespace {

using args = std::span<const std::string_view>;

std::int64_t number(args a, std::size_t i, std::int64_t otherwise = 0) {
    if (i >= a.size()) return otherwise;
    std::int64_t n = otherwise;
    std::from_chars(a[i].data(), a[i].data() + a[i].size(), n);
    return n;
}

int small(args a, std::size_t i, int otherwise = 0) {
    return static_cast<int>(std::clamp<std::int64_t>(number(a, i, otherwise), 0, 1'000'000'000));
}

std::uint64_t large(args a, std::size_t i, std::uint64_t otherwise = 0) {
    return static_cast<std::uint64_t>(
        std::max<std::int64_t>(0, number(a, i, static_cast<std::int64_t>(otherwise))));
}

std::string text(args a, std::size_t i) {
    return i < a.size() ? std::string(a[i]) : std::string();
}

void refuse(behaviour& b, int status, const char* code = "") {
    b.status = status;
    b.code = code;
}

void cut(behaviour& b, args a, ending how) {
    b.cut_after = small(a, 0);
    b.how = how;
}

std::string http_date(std::int64_t seconds_ahead) {
    const std::time_t at = std::time(nullptr) + seconds_ahead;
    std::tm parts{};
    ::gmtime_r(&at, &parts);
    std::array<char, 64> out{};
    const auto n = std::strftime(out.data(), out.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    return {out.data(), n};
}

struct fault {
    std::string_view name;
    std::size_t max_args;
    bool text_args;  // a model's name may give words, not only numbers
    void (*apply)(behaviour&, args);
};

constexpr auto faults = std::to_array<fault>({
    {"pace", 1, false, [](behaviour& b, args a) { b.pace_ms = small(a, 0); }},
    {"tokens", 1, false, [](behaviour& b, args a) { b.tokens = small(a, 0); }},
    {"delay", 1, false, [](behaviour& b, args a) { b.delay_ms = small(a, 0); }},
    {"first", 1, false, [](behaviour& b, args a) { b.first_ms = small(a, 0); }},
    {"status", 1, false, [](behaviour& b, args a) { refuse(b, small(a, 0, 500)); }},
    {"retry_after", 1, false,
     [](behaviour& b, args a) { b.headers.emplace_back("retry-after", text(a, 0)); }},
    {"retry_after_ms", 1, false,
     [](behaviour& b, args a) { b.headers.emplace_back("retry-after-ms", text(a, 0)); }},
    {"retry_after_date", 1, false,
     [](behaviour& b, args a) { b.headers.emplace_back("retry-after", http_date(number(a, 0))); }},
    {"reset_after", 1, true,
     [](behaviour& b, args a) {
         b.headers.emplace_back("x-ratelimit-remaining-requests", "0");
         b.headers.emplace_back("x-ratelimit-remaining-tokens", "0");
         b.headers.emplace_back("x-ratelimit-reset-requests", text(a, 0));
         b.headers.emplace_back("x-ratelimit-reset-tokens", text(a, 0));
     }},
    {"should_retry", 1, true,
     [](behaviour& b, args a) { b.headers.emplace_back("x-should-retry", text(a, 0)); }},
    {"quota", 0, false, [](behaviour& b, args) { refuse(b, 429, "insufficient_quota"); }},
    {"invalid_key", 0, false, [](behaviour& b, args) { refuse(b, 401, "invalid_api_key"); }},
    {"deactivated", 0, false, [](behaviour& b, args) { refuse(b, 401, "account_deactivated"); }},
    {"context_length", 0, false,
     [](behaviour& b, args) { refuse(b, 400, "context_length_exceeded"); }},
    {"model_missing", 0, false, [](behaviour& b, args) { refuse(b, 404, "model_not_found"); }},
    {"content_filter", 0, false, [](behaviour& b, args) { b.content_filter = true; }},
    {"content_filter_400", 0, false, [](behaviour& b, args) { refuse(b, 400, "content_filter"); }},
    {"refuse_prefill", 0, false, [](behaviour& b, args) { b.refuse_prefill = true; }},
    {"html", 1, false,
     [](behaviour& b, args a) {
         refuse(b, small(a, 0, 502));
         b.html = true;
     }},
    {"reset", 0, false, [](behaviour& b, args) { b.reset = true; }},
    {"close", 0, false, [](behaviour& b, args) { b.close = true; }},
    {"reset_at", 1, false,
     [](behaviour& b, args a) {
         b.bytes_allowed = large(a, 0);
         b.bytes_then_reset = true;
     }},
    {"close_at", 1, false, [](behaviour& b, args a) { b.bytes_allowed = large(a, 0); }},
    {"cut", 1, false, [](behaviour& b, args a) { cut(b, a, ending::fin); }},
    {"cut_reset", 1, false, [](behaviour& b, args a) { cut(b, a, ending::rst); }},
    {"cut_clean", 1, false, [](behaviour& b, args a) { cut(b, a, ending::clean); }},
    {"silent", 0, false, [](behaviour& b, args) { b.silent = true; }},
    {"stall", 2, false,
     [](behaviour& b, args a) {
         b.stall_after = small(a, 0);
         b.stall_ms = small(a, 1, 30'000);
     }},
    {"hang", 1, false,
     [](behaviour& b, args a) {
         b.stall_after = small(a, 0);
         b.hang = true;
     }},
    {"bad_json", 1, false, [](behaviour& b, args a) { b.bad_json_after = small(a, 0); }},
    {"no_done", 0, false, [](behaviour& b, args) { b.no_done = true; }},
    {"no_done_hang", 0, false,
     [](behaviour& b, args) {
         b.no_done = true;
         b.hang_at_end = true;
     }},
    {"no_usage", 0, false, [](behaviour& b, args) { b.no_usage = true; }},
    {"usage_last", 0, false, [](behaviour& b, args) { b.usage_last = true; }},
    {"error_event", 1, false, [](behaviour& b, args a) { b.error_after = small(a, 0); }},
    {"bom", 0, false, [](behaviour& b, args) { b.bom = true; }},
    {"crlf", 0, false, [](behaviour& b, args) { b.crlf = true; }},
    {"comments", 0, false, [](behaviour& b, args) { b.comments = true; }},
    {"slices", 1, false, [](behaviour& b, args a) { b.slices = large(a, 0, 1); }},
    {"huge_event", 1, false, [](behaviour& b, args a) { b.huge_event = large(a, 0, 1U << 20); }},
    {"malformed", 1, true, [](behaviour& b, args a) { b.malformed = text(a, 0); }},
    {"endless_headers", 0, false, [](behaviour& b, args) { b.endless_headers = true; }},
    {"endless_1xx", 0, false, [](behaviour& b, args) { b.endless_1xx = true; }},
    {"big", 1, false, [](behaviour& b, args a) { b.big = large(a, 0, 1ULL << 30); }},
    {"stop_reading", 1, false, [](behaviour& b, args a) { b.stop_reading = large(a, 0); }},
    {"early", 1, false, [](behaviour& b, args a) { b.early = small(a, 0, 413); }},
    {"keep_alive", 1, false, [](behaviour& b, args a) { b.keep_alive = small(a, 0, 1); }},
    {"conn_close", 0, false, [](behaviour& b, args) { b.conn_close = true; }},
    {"once", 0, false, [](behaviour& b, args) { b.first_n = 1; }},
    {"times", 1, false, [](behaviour& b, args a) { b.first_n = number(a, 0, 1); }},
    {"for", 1, false, [](behaviour& b, args a) { b.for_ms = number(a, 0); }},
    {"every", 1, false, [](behaviour& b, args a) { b.every = std::max<std::int64_t>(1, number(a, 0)); }},
    {"ok", 0, false, [](behaviour& b, args) { b.ok = true; }},
});

const fault* find_fault(std::string_view name) {
    const auto* it = std::ranges::find(faults, name, &fault::name);
    return it == faults.end() ? nullptr : it;
}

std::vector<std::string_view> split(std::string_view text, char by) {
    std::vector<std::string_view> out;
    while (true) {
        const auto at = text.find(by);
        auto part = text.substr(0, at);
        while (part.starts_with(' '))
            part.remove_prefix(1);
        while (part.ends_with(' '))
            part.remove_suffix(1);
        out.push_back(part);
        if (at == std::string_view::npos) return out;
        text.remove_prefix(at + 1);
    }
}

constexpr auto scenarios = std::to_array<std::string_view>({
    "status;429,retry_after;2,once",
    "status;429",
    "status;500,once",
    "status;503",
    "reset,once",
    "silent",
    "first;20000",
    "cut;40",
    "stall;20;30000",
    "bad_json;10",
    "no_done",
    "context_length",
    "content_filter",
    "cut;40",
    "status;503,for;60000",
    "status;503",
});

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool parse_scenario(std::string_view model, behaviour& into) {
    if (model.size() < 3 || model[0] != 's' || !is_digit(model[1]) || !is_digit(model[2])) {
        return false;
    }
    if (model.size() > 3 && model[3] != '-') return false;
    const auto digit = [](char c) { return static_cast<std::size_t>(c - '0'); };
    const std::size_t n = digit(model[1]) * 10 + digit(model[2]);
    if (n < 1 || n > scenarios.size()) return false;
    const auto suffix = model.substr(std::min<std::size_t>(4, model.size()));
    const bool healthy = suffix.starts_with("fallback") || suffix.starts_with("large");
    const bool known =
        parse_faults("tokens;60,pace;5", into) && (healthy || parse_faults(scenarios[n - 1], into));
    if (healthy && n == 14) into.refuse_prefill = true;
    if (!healthy && n == 15 && !suffix.empty() && is_digit(suffix[0])) {
        const std::array<std::string_view, 1> time{suffix};
        into.for_ms = number(time, 0);
    }
    return known;
}

}  // namespace

behaviour behaviour::healthy() const {
    behaviour out;
    out.pace_ms = pace_ms;
    out.tokens = tokens;
    return out;
}

bool parse_faults(std::string_view text, behaviour& into) {
    for (const auto part : split(text, ',')) {
        if (part.empty()) continue;
        const auto words = split(part, ';');
        const fault* f = find_fault(words[0]);
        if (!f) return false;
        f->apply(into, args(words).subspan(1));
    }
    return true;
}

bool parse_model(std::string_view model, behaviour& into) {
    // A provider's prefix, as in "openai/mock-cut-4".
    if (const auto slash = model.rfind('/'); slash != std::string_view::npos) {
        model.remove_prefix(slash + 1);
    }
    if (parse_scenario(model, into)) return true;
    if (!model.starts_with("mock-")) return false;
    const auto words = split(model.substr(5), '-');
    for (std::size_t i = 0; i < words.size();) {
        const fault* f = find_fault(words[i++]);
        if (!f) continue;
        std::size_t n = 0;
        while (n < f->max_args && i + n < words.size() && !words[i + n].empty() &&
               (f->text_args || is_digit(words[i + n][0]))) {
            ++n;
        }
        f->apply(into, args(words).subspan(i, n));
        i += n;
    }
    return true;
}

}  // namespace kw::mock
