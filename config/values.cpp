// Parsing and printing of single values, one overload for each type of slot.
#include "config/values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <limits>

namespace kw::config {

namespace {

constexpr std::size_t max_secret_file = 64 * kib;
constexpr std::uint64_t ten_years_ms = 3650ULL * 86'400 * 1000;
constexpr std::uint64_t largest_size = 1024 * gib;

struct unit {
    std::string_view suffix;
    std::uint64_t factor;
};
// Largest first: the first that divides is the one to print.
constexpr std::array<unit, 5> duration_units = {
    {{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}, {"ms", 1}}};
constexpr std::array<unit, 4> size_units = {{{"GiB", gib}, {"MiB", mib}, {"KiB", kib}, {"B", 1}}};

[[nodiscard]] std::string_view trim(std::string_view text) noexcept {
    constexpr std::string_view blanks = " \t\r\n";
    const auto first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

[[nodiscard]] std::vector<std::string_view> split(std::string_view text) {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
        const auto end = std::min(text.find_first_of(",\n"), text.size());
        if (const auto part = trim(text.substr(0, end)); !part.empty()) parts.push_back(part);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return parts;
}

[[nodiscard]] std::optional<std::uint64_t> to_number(std::string_view text) noexcept {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return number;
}

// "10s": a whole number and one of the units. None: neither, or too large for 64 bits.
template <std::size_t N>
[[nodiscard]] std::optional<std::uint64_t> to_quantity(std::string_view text,
                                                       const std::array<unit, N>& units) noexcept {
    const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto number = to_number(text.substr(0, digits));
    const auto suffix = trim(text.substr(digits));
    for (const auto& u : units) {
        if (suffix != u.suffix || !number) continue;
        if (*number > std::numeric_limits<std::uint64_t>::max() / u.factor) return std::nullopt;
        return *number * u.factor;
    }
    return std::nullopt;
}

template <std::size_t N>
[[nodiscard]] std::string quantity_text(std::uint64_t number, const std::array<unit, N>& units) {
    for (const auto& u : units) {
        if (number != 0 && number % u.factor == 0) {
            return fmt::format("{}{}", number / u.factor, u.suffix);
        }
    }
    return "0" + std::string(units.back().suffix);
}

[[nodiscard]] std::string duration_text(std::uint64_t ms) {
    return quantity_text(ms, duration_units);
}
[[nodiscard]] std::string size_text(std::uint64_t bytes) {
    return quantity_text(bytes, size_units);
}

[[nodiscard]] std::string joined(std::span<const std::string_view> words, std::string_view before) {
    return fmt::format("{}{}", before, fmt::join(words, ", "));
}

[[nodiscard]] std::optional<std::size_t> index_of(std::span<const std::string_view> words,
                                                  std::string_view word) noexcept {
    const auto found = std::find(words.begin(), words.end(), word);
    if (found == words.end()) return std::nullopt;
    return static_cast<std::size_t>(found - words.begin());
}

[[nodiscard]] std::optional<wall_time> to_time(std::string_view text) noexcept {
    // "2027-01-31" and then nothing, or "T12:00:00Z".
    const auto number = [text](std::size_t from, std::size_t count) -> int {
        const auto n = to_number(text.substr(from, count));
        return n ? static_cast<int>(*n) : -1;
    };
    if ((text.size() != 10 && text.size() != 20) || text[4] != '-' || text[7] != '-') {
        return std::nullopt;
    }
    const int y = number(0, 4);
    const int m = number(5, 2);
    const int d = number(8, 2);
    if (y < 1970 || m < 0 || d < 0) return std::nullopt;
    const std::chrono::year_month_day date{std::chrono::year(y),
                                           std::chrono::month(static_cast<unsigned>(m)),
                                           std::chrono::day(static_cast<unsigned>(d))};
    if (!date.ok() || y > 2200) return std::nullopt;
    wall_time time = std::chrono::sys_days(date);
    if (text.size() == 20) {
        const int hour = number(11, 2);
        const int minute = number(14, 2);
        const int second = number(17, 2);
        if (text[10] != 'T' || text[13] != ':' || text[16] != ':' || text[19] != 'Z' || hour < 0 ||
            hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) {
            return std::nullopt;
        }
        time +=
            std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second);
    }
    return time;
}

[[nodiscard]] std::string time_text(wall_time t) {
    const auto days = std::chrono::floor<std::chrono::days>(t);
    const std::chrono::year_month_day date(days);
    const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::seconds>(t - days));
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                       static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                       clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

struct parser {
    const field& f;
    std::string_view text;
    secret_resolver& secrets;

    template <class Int>
    verdict whole_number(Int* out) const {
        const std::uint64_t max = f.max != 0 ? f.max : std::numeric_limits<Int>::max();
        const auto number = index_of(f.words, text) ? std::uint64_t{0} : to_number(text);
        if (!number) {
            return fault{"is not a whole number",
                         fmt::format("write one from {} to {}", f.min, max)};
        }
        if (*number < f.min || *number > max) {
            return fault{"is out of range",
                         fmt::format("write a number from {} to {}", f.min, max)};
        }
        *out = static_cast<Int>(*number);
        return std::nullopt;
    }

    verdict operator()(std::uint16_t* out) const { return whole_number(out); }
    verdict operator()(std::uint32_t* out) const { return whole_number(out); }
    verdict operator()(std::optional<std::uint32_t>* out) const {
        return whole_number(&out->emplace());
    }

    verdict operator()(bool* out) const {
        constexpr std::string_view yes[] = {"true", "yes", "on", "1"};
        constexpr std::string_view no[] = {"false", "no", "off", "0"};
        std::string lower(text);
        for (char& c : lower) {
            if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
        }
        const bool is_yes = index_of(yes, lower).has_value();
        if (!is_yes && !index_of(no, lower)) {
            return fault{"is neither true nor false", "write true or false"};
        }
        *out = is_yes;
        return std::nullopt;
    }

    verdict operator()(std::size_t* out) const {
        const std::uint64_t max = f.max != 0 ? f.max : largest_size;
        const auto plain = to_number(text);
        const auto bytes = plain ? plain : to_quantity(text, size_units);
        if (!bytes) return fault{"is not a size", "write bytes, or a number with KiB, MiB or GiB"};
        if (*bytes < f.min || *bytes > max) {
            return fault{"is out of range", fmt::format("write a size from {} to {}",
                                                        size_text(f.min), size_text(max))};
        }
        *out = *bytes;
        return std::nullopt;
    }

    verdict operator()(milliseconds* out) const {
        const std::uint64_t max = f.max != 0 ? f.max : ten_years_ms;
        const auto ms = text == "0" ? std::uint64_t{0} : to_quantity(text, duration_units);
        if (!ms) {
            return fault{"is not a duration", "write a whole number with ms, s, m, h or d: 10s"};
        }
        if (*ms < f.min || *ms > max) {
            return fault{"is out of range", fmt::format("write a duration from {} to {}",
                                                        duration_text(f.min), duration_text(max))};
        }
        *out = milliseconds(*ms);
        return std::nullopt;
    }

    verdict operator()(std::optional<milliseconds>* out) const { return (*this)(&out->emplace()); }

    verdict operator()(std::string* out) const {
        if (text.find('\0') != std::string_view::npos) {
            return fault{"holds a NUL character", "remove it"};
        }
        *out = text;
        return std::nullopt;
    }

    verdict operator()(secret* out) const { return secrets.resolve(text, *out); }

    verdict operator()(std::vector<std::string>* out) const {
        for (const auto part : split(text))
            out->emplace_back(part);
        return std::nullopt;
    }

    // A reference stands for as many secrets as it holds.
    verdict operator()(std::vector<secret>* out) const {
        for (const auto part : split(text)) {
            secret whole;
            if (auto bad = secrets.resolve(part, whole)) return bad;
            for (const auto one : split(whole.reveal()))
                out->emplace_back(std::string(one));
        }
        return std::nullopt;
    }

    verdict operator()(choice out) const {
        const auto index = index_of(f.words, text);
        if (!index) return fault{"is not a known word", joined(f.words, "write one of ")};
        *out.value = static_cast<std::uint8_t>(*index);
        return std::nullopt;
    }

    verdict operator()(flags* out) const {
        for (const auto part : split(text)) {
            const auto index = index_of(f.words, part);
            if (!index) return fault{"holds an unknown word", joined(f.words, "write some of ")};
            out->bits |= 1U << *index;
        }
        return std::nullopt;
    }

    verdict operator()(ppm* out) const {
        const auto value = parse_scaled_decimal(text, 6, true);
        if (!value) return fault{"is not a factor", "write a decimal as 1.25"};
        out->value = *value;
        return std::nullopt;
    }

    verdict operator()(std::optional<nanodollars>* out) const {
        *out = parse_scaled_decimal(text, 9, true);
        if (!*out) return fault{"is not an amount", "write dollars as a decimal, as 2.50"};
        return std::nullopt;
    }

    verdict operator()(std::optional<wall_time>* out) const {
        *out = to_time(text);
        if (!*out) {
            return fault{"is not a date or time", "write it as 2027-01-31 or 2027-01-31T12:00:00Z"};
        }
        return std::nullopt;
    }
};

struct formatter {
    const field& f;

    std::string operator()(const bool* v) const { return *v ? "true" : "false"; }
    std::string operator()(const std::uint16_t* v) const { return std::to_string(*v); }
    std::string operator()(const std::uint32_t* v) const {
        return *v == 0 && !f.words.empty() ? std::string(f.words[0]) : std::to_string(*v);
    }
    std::string operator()(const std::optional<std::uint32_t>* v) const {
        return *v ? std::to_string(**v) : "";
    }
    std::string operator()(const std::size_t* v) const { return size_text(*v); }
    std::string operator()(const milliseconds* v) const {
        return duration_text(static_cast<std::uint64_t>(v->count()));
    }
    std::string operator()(const std::optional<milliseconds>* v) const {
        return *v ? (*this)(&**v) : "";
    }
    std::string operator()(const std::string* v) const { return *v; }
    std::string operator()(const secret* v) const { return v->empty() ? "" : v->masked(); }
    std::string operator()(const std::vector<std::string>* v) const {
        return fmt::format("{}", fmt::join(*v, ", "));
    }
    std::string operator()(const std::vector<secret>* v) const {
        std::string text;
        for (const auto& s : *v) {
            if (!text.empty()) text += ", ";
            text += s.masked();
        }
        return text;
    }
    std::string operator()(choice v) const { return std::string(f.words[*v.value]); }
    std::string operator()(const flags* v) const {
        std::string text;
        for (std::size_t i = 0; i < f.words.size(); ++i) {
            if ((v->bits >> i & 1U) == 0) continue;
            if (!text.empty()) text += ", ";
            text += f.words[i];
        }
        return text;
    }
    std::string operator()(const ppm* v) const { return format_dollars(v->value * 1000); }
    std::string operator()(const std::optional<nanodollars>* v) const {
        return *v ? format_dollars(**v) : "";
    }
    std::string operator()(const std::optional<wall_time>* v) const {
        return *v ? time_text(**v) : "";
    }
};

struct namer {
    const field& f;

    template <class Int>
    std::string whole_number() const {
        const std::uint64_t max = f.max != 0 ? f.max : std::numeric_limits<Int>::max();
        return fmt::format("whole number, {} to {}", f.min, max);
    }
    std::string operator()(const bool*) const { return "true or false"; }
    std::string operator()(const std::uint16_t*) const { return whole_number<std::uint16_t>(); }
    std::string operator()(const std::uint32_t*) const { return whole_number<std::uint32_t>(); }
    std::string operator()(const std::optional<std::uint32_t>*) const {
        return whole_number<std::uint32_t>();
    }
    std::string operator()(const std::size_t*) const { return "size"; }
    std::string operator()(const milliseconds*) const { return "duration"; }
    std::string operator()(const std::optional<milliseconds>*) const { return "duration"; }
    std::string operator()(const std::string*) const { return "text"; }
    std::string operator()(const secret*) const { return "secret"; }
    std::string operator()(const std::vector<std::string>*) const { return "list"; }
    std::string operator()(const std::vector<secret>*) const { return "list of secrets"; }
    std::string operator()(choice) const { return fmt::format("`{}`", fmt::join(f.words, "`, `")); }
    std::string operator()(const flags*) const {
        return fmt::format("list of `{}`", fmt::join(f.words, "`, `"));
    }
    std::string operator()(const ppm*) const { return "decimal"; }
    std::string operator()(const std::optional<nanodollars>*) const { return "dollars"; }
    std::string operator()(const std::optional<wall_time>*) const { return "date or time"; }
};

}  // namespace

verdict secret_resolver::resolve(std::string_view text, secret& out) {
    constexpr std::string_view env_prefix = "env:";
    constexpr std::string_view file_prefix = "file:";
    if (text.starts_with(env_prefix)) {
        const auto name = text.substr(env_prefix.size());
        const auto found = env_.find(name);
        if (found == env_.end() || found->second.empty()) {
            return fault{"names an environment variable that is not set",
                         "set it, or name another as env:NAME"};
        }
        out = secret(std::string(trim(found->second)));
    } else if (text.starts_with(file_prefix)) {
        const std::string path(text.substr(file_prefix.size()));
        std::ifstream file(path, std::ios::binary);
        std::string content(max_secret_file + 1, '\0');
        file.read(content.data(), static_cast<std::streamsize>(content.size()));
        content.resize(static_cast<std::size_t>(file.gcount()));
        const secret guard(std::move(content));  // wiped when it goes
        if (!file.eof()) {
            return fault{"names a secret file that cannot be read or is over 64 KiB",
                         "check its path and permissions, and that it is a file"};
        }
        files_.push_back(path);
        out = secret(std::string(trim(guard.reveal())));
    } else {
        out = secret(std::string(text));
    }
    if (out.empty()) return fault{"is an empty secret", "write the secret, env:NAME or file:PATH"};
    return std::nullopt;
}

bool is_list(const slot& s) noexcept {
    return std::holds_alternative<std::vector<std::string>*>(s) ||
           std::holds_alternative<std::vector<secret>*>(s) || std::holds_alternative<flags*>(s);
}

void clear_list(slot s) noexcept {
    if (auto** strings = std::get_if<std::vector<std::string>*>(&s)) (*strings)->clear();
    if (auto** secrets = std::get_if<std::vector<secret>*>(&s)) (*secrets)->clear();
    if (auto** set = std::get_if<flags*>(&s)) (*set)->bits = 0;
}

verdict append_value(const field& f, slot into, std::string_view text, secret_resolver& secrets) {
    return std::visit(parser{f, trim(text), secrets}, into);
}

verdict parse_value(const field& f, slot into, std::string_view text, secret_resolver& secrets) {
    clear_list(into);
    return append_value(f, into, text, secrets);
}

std::string format_value(const field& f, const slot& value) {
    return std::visit(formatter{f}, value);
}

bool equal_values(const slot& a, const slot& b) {
    return std::visit(
        [&b]<class T>(T x) {
            const T y = std::get<T>(b);
            if constexpr (std::is_same_v<T, choice>) {
                return *x.value == *y.value;
            } else {
                return *x == *y;
            }
        },
        a);
}

std::string type_name(const field& f, const slot& value) {
    return std::visit(namer{f}, value);
}

}  // namespace kw::config
