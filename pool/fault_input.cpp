// Reads what an upstream says about a fault: waits, rate-limit headers, the error object.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "pool/fault_policy.hpp"

namespace kw::pool {
namespace {

constexpr nanoseconds longest_wait = std::chrono::days(31);
constexpr std::size_t max_text = 512;

std::string_view trim(std::string_view s) noexcept {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t'))
        s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t'))
        s.remove_suffix(1);
    return s;
}

bool digits(std::string_view s, int& out) noexcept {
    if (s.empty() || !std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; }))
        return false;
    return std::from_chars(s.data(), s.data() + s.size(), out).ec == std::errc{};
}

// Takes "12" or "1.5" off the front.
bool take_number(std::string_view& s, double& out) noexcept {
    std::size_t n = 0;
    while (n < s.size() && ((s[n] >= '0' && s[n] <= '9') || s[n] == '.'))
        ++n;
    if (n == 0 || n > 18) return false;
    const auto [end, ec] = std::from_chars(s.data(), s.data() + n, out, std::chars_format::fixed);
    if (ec != std::errc{} || end != s.data() + n) return false;
    s.remove_prefix(n);
    return true;
}

std::optional<wall_time> make_time(int y, int mo, int d, int h, int mi, int s) noexcept {
    const std::chrono::year_month_day date{std::chrono::year(y),
                                           std::chrono::month(static_cast<unsigned>(mo)),
                                           std::chrono::day(static_cast<unsigned>(d))};
    if (!date.ok() || y < 1970 || y > 2200 || h > 23 || mi > 59 || s > 60) return std::nullopt;
    return wall_time(std::chrono::sys_days(date)) + std::chrono::hours(h) +
           std::chrono::minutes(mi) + std::chrono::seconds(s);
}

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::optional<wall_time> http_date(std::string_view s) noexcept {
    constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (s.size() != 29 || s.substr(3, 2) != ", " || s.substr(25) != " GMT" || s[7] != ' ' ||
        s[11] != ' ' || s[16] != ' ' || s[19] != ':' || s[22] != ':') {
        return std::nullopt;
    }
    const auto month = months.find(s.substr(8, 3));
    int d = 0, y = 0, h = 0, mi = 0, sec = 0;
    if (month == std::string_view::npos || month % 3 != 0 || !digits(s.substr(5, 2), d) ||
        !digits(s.substr(12, 4), y) || !digits(s.substr(17, 2), h) ||
        !digits(s.substr(20, 2), mi) || !digits(s.substr(23, 2), sec)) {
        return std::nullopt;
    }
    return make_time(y, static_cast<int>(month / 3) + 1, d, h, mi, sec);
}

// "2026-01-01T00:00:10Z", with any fraction and Z or an offset.
std::optional<wall_time> rfc3339(std::string_view s) noexcept {
    int y = 0, mo = 0, d = 0, h = 0, mi = 0, sec = 0;
    if (s.size() < 20 || s[4] != '-' || s[7] != '-' || (s[10] != 'T' && s[10] != 't') ||
        s[13] != ':' || s[16] != ':' || !digits(s.substr(0, 4), y) || !digits(s.substr(5, 2), mo) ||
        !digits(s.substr(8, 2), d) || !digits(s.substr(11, 2), h) || !digits(s.substr(14, 2), mi) ||
        !digits(s.substr(17, 2), sec)) {
        return std::nullopt;
    }
    auto rest = s.substr(19);
    if (rest.front() == '.') {
        rest.remove_prefix(1);
        while (!rest.empty() && rest.front() >= '0' && rest.front() <= '9')
            rest.remove_prefix(1);
    }
    auto t = make_time(y, mo, d, h, mi, sec);
    if (!t || rest == "Z" || rest == "z") return rest.empty() ? std::nullopt : t;
    int oh = 0, om = 0;
    if (rest.size() != 6 || (rest[0] != '+' && rest[0] != '-') || rest[3] != ':' ||
        !digits(rest.substr(1, 2), oh) || !digits(rest.substr(4, 2), om)) {
        return std::nullopt;
    }
    const auto offset = std::chrono::minutes(oh * 60 + om);
    return rest[0] == '+' ? *t - offset : *t + offset;
}

std::optional<nanoseconds> bounded(double ns) noexcept {
    if (!std::isfinite(ns) || ns < 0) return std::nullopt;
    return ns >= static_cast<double>(longest_wait.count())
               ? longest_wait
               : nanoseconds(static_cast<std::int64_t>(ns));
}

void append_utf8(std::string& out, unsigned cp) {
    const auto put = [&](unsigned byte) { out.push_back(static_cast<char>(byte)); };
    if (cp < 0x80) {
        put(cp);
    } else if (cp < 0x800) {
        put(0xC0 | cp >> 6);
        put(0x80 | (cp & 0x3F));
    } else {
        put(0xE0 | cp >> 12);
        put(0x80 | ((cp >> 6) & 0x3F));
        put(0x80 | (cp & 0x3F));
    }
}

// Walks JSON text that may end anywhere and collects the string members that matter.
class body_walker {
  public:
    explicit body_walker(std::string_view text) : s_(text) {}

    error_details run() {
        std::string key;
        while (i_ < s_.size()) {
            const char c = s_[i_];
            if (c == '{' || c == '[') {
                if (in_error_ < 0 && c == '{' && key == "error") in_error_ = depth_ + 1;
                ++depth_;
                ++i_;
                key.clear();
            } else if (c == '}' || c == ']') {
                if (depth_ == in_error_) break;
                --depth_;
                ++i_;
                key.clear();
            } else if (c == '"') {
                std::string text = string();
                skip_space();
                if (i_ < s_.size() && s_[i_] == ':') {
                    ++i_;
                    key = std::move(text);
                } else {
                    take(key, text);
                    key.clear();
                }
            } else {
                if (c == ',') key.clear();
                ++i_;
            }
        }
        return std::move(found_);
    }

  private:
    void skip_space() {
        while (i_ < s_.size() &&
               (s_[i_] == ' ' || s_[i_] == '\n' || s_[i_] == '\r' || s_[i_] == '\t')) {
            ++i_;
        }
    }

    // Members of the error object count; those of the outermost object too, until one comes.
    void take(const std::string& key, const std::string& text) {
        if (in_error_ > 0 ? depth_ != in_error_ : depth_ > 2) return;
        const bool inside = in_error_ > 0;
        const auto put = [&](std::string& field) {
            if (field.empty() || inside) field = text;
        };
        if (key == "code") put(found_.code);
        if (key == "type" || key == "status") put(found_.type);
        if (key == "message" || (key == "error" && !inside)) put(found_.message);
    }

    std::string string() {
        std::string out;
        ++i_;
        while (i_ < s_.size() && s_[i_] != '"') {
            char c = s_[i_++];
            if (c == '\\' && i_ < s_.size()) {
                c = s_[i_++];
                if (c == 'u') {
                    unsigned cp = 0;
                    const auto hex = s_.substr(i_, 4);
                    if (std::from_chars(hex.data(), hex.data() + hex.size(), cp, 16).ptr ==
                            hex.data() + 4 &&
                        out.size() < max_text) {
                        append_utf8(out, cp);
                    }
                    i_ = std::min(i_ + 4, s_.size());
                    continue;
                }
                if (c == 'n' || c == 'r' || c == 't' || c == 'b' || c == 'f') c = ' ';
            }
            if (out.size() < max_text) out.push_back(c);
        }
        if (i_ < s_.size()) ++i_;
        return out;
    }

    std::string_view s_;
    std::size_t i_ = 0;
    int depth_ = 0;
    int in_error_ = -1;
    error_details found_;
};

}  // namespace

std::optional<nanoseconds> parse_wait(std::string_view text, wall_time now) noexcept {
    text = trim(text);
    if (text.empty()) return std::nullopt;
    auto date = http_date(text);
    if (!date) date = rfc3339(text);
    if (date) return std::clamp<nanoseconds>(*date - now, nanoseconds::zero(), longest_wait);
    double total = 0;
    bool bare = false;
    while (!text.empty()) {
        double n = 0;
        if (bare || !take_number(text, n)) return std::nullopt;
        double unit = 1e9;
        if (text.starts_with("ms")) {
            unit = 1e6;
            text.remove_prefix(2);
        } else if (text.starts_with("us")) {
            unit = 1e3;
            text.remove_prefix(2);
        } else if (text.starts_with("ns")) {
            unit = 1;
            text.remove_prefix(2);
        } else if (!text.empty()) {
            switch (text.front()) {
                case 'd':
                    unit = 86400e9;
                    break;
                case 'h':
                    unit = 3600e9;
                    break;
                case 'm':
                    unit = 60e9;
                    break;
                case 's':
                    break;
                default:
                    return std::nullopt;
            }
            text.remove_prefix(1);
        } else {
            bare = true;  // plain seconds, alone
            if (total != 0) return std::nullopt;
        }
        total += n * unit;
    }
    return bounded(total);
}

bool read_limit_header(limit_hints& hints, std::string_view name, std::string_view value,
                       wall_time now) noexcept {
    value = trim(value);
    if (name == "retry-after" || name == "retry-after-ms") {
        std::optional<nanoseconds> wait;
        if (name == "retry-after") {
            if (hints.retry_after) return true;  // the finer header was read already
            wait = parse_wait(value, now);
        } else {
            double ms = 0;
            auto rest = value;
            if (take_number(rest, ms) && rest.empty()) wait = bounded(ms * 1e6);
        }
        if (!wait) return false;
        hints.retry_after = wait;
        return true;
    }
    if (name == "x-should-retry") {
        if (value != "true" && value != "false") return false;
        hints.should_retry = value == "true";
        return true;
    }
    bool remaining = false;
    if (name.starts_with("x-ratelimit-")) {
        name.remove_prefix(12);
        if (name.starts_with("remaining-")) {
            remaining = true;
            name.remove_prefix(10);
        } else if (name.starts_with("reset-")) {
            name.remove_prefix(6);
        } else {
            return false;
        }
    } else if (name.starts_with("anthropic-ratelimit-")) {
        name.remove_prefix(20);
        if (name.ends_with("-remaining")) {
            remaining = true;
            name.remove_suffix(10);
        } else if (name.ends_with("-reset")) {
            name.remove_suffix(6);
        } else {
            return false;
        }
    } else {
        return false;
    }
    const bool requests = name == "requests";
    if (!requests && name != "tokens") return false;
    if (remaining) {
        std::int64_t n = 0;
        const auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), n);
        if (ec != std::errc{} || end != value.data() + value.size() || n < 0) return false;
        (requests ? hints.remaining_requests : hints.remaining_tokens) = n;
        return true;
    }
    const auto wait = parse_wait(value, now);
    if (!wait) return false;
    (requests ? hints.reset_requests : hints.reset_tokens) = wait;
    return true;
}

error_details read_error_body(std::string_view prefix) {
    return body_walker(prefix).run();
}

}  // namespace kw::pool
