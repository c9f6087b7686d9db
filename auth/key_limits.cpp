// Reading and writing of limits, entry by entry.
#include "auth/key_limits.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <optional>

#include "config/settings.hpp"
#include "core/money.hpp"

namespace kw::auth {
namespace {

namespace json = boost::json;
using store::budget_period;
using store::limit;
using store::limit_kind;
using store::limit_unit;

constexpr std::string_view concurrent = "concurrent";

error refused(std::size_t index, std::string_view field, std::string_view remedy) {
    return error(errc::invalid_argument, "limits[" + std::to_string(index) + "]: \"" +
                                             std::string(field) + "\" " + std::string(remedy));
}

std::optional<budget_period> to_period(std::string_view word) {
    for (const auto p :
         {budget_period::day, budget_period::week, budget_period::month, budget_period::total})
        if (to_string(p) == word) return p;
    return std::nullopt;
}

std::optional<std::chrono::milliseconds> to_length(std::string_view text) {
    std::int64_t number = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    if (read.ec != std::errc() || number < 1 || number > 400LL * 24 * 3'600) return std::nullopt;
    const std::string_view unit = text.substr(static_cast<std::size_t>(read.ptr - text.data()));
    if (unit == "s") return std::chrono::seconds(number);
    if (unit == "m") return std::chrono::minutes(number);
    if (unit == "h") return std::chrono::hours(number);
    if (unit == "d") return std::chrono::days(number);
    return std::nullopt;
}

std::string format_length(std::chrono::milliseconds length) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(length).count();
    if (seconds % 86'400 == 0) return std::to_string(seconds / 86'400) + "d";
    if (seconds % 3'600 == 0) return std::to_string(seconds / 3'600) + "h";
    if (seconds % 60 == 0) return std::to_string(seconds / 60) + "m";
    return std::to_string(seconds) + "s";
}

std::string_view text_of(const json::object& o, std::string_view name) {
    const auto* v = o.if_contains(name);
    return v != nullptr && v->is_string() ? std::string_view(v->get_string()) : std::string_view();
}

result<limit> read_entry(std::size_t index, const json::value& entry) {
    constexpr std::string_view known[] = {"unit", "per", "cap", "window", "utc_offset_minutes"};
    if (!entry.is_object()) return refused(index, "", "must be an object");
    const json::object& o = entry.get_object();
    for (const auto& item : o) {
        const std::string_view name(item.key().data(), item.key().size());
        if (std::ranges::find(known, name) == std::end(known))
            return refused(index, name, "is unknown");
    }
    limit l;
    const std::string_view unit = text_of(o, "unit");
    if (unit == concurrent) {
        l.kind = limit_kind::concurrency;
        if (o.contains("per")) return refused(index, "per", "has no meaning with concurrent");
    } else if (unit == to_string(limit_unit::requests)) {
        l.unit = limit_unit::requests;
    } else if (unit == to_string(limit_unit::tokens)) {
        l.unit = limit_unit::tokens;
    } else if (unit == to_string(limit_unit::cost)) {
        l.unit = limit_unit::cost;
    } else {
        return refused(index, "unit", "must be requests, tokens, cost or concurrent");
    }

    const auto* cap = o.if_contains("cap");
    if (l.unit == limit_unit::cost) {
        const auto amount = cap != nullptr && cap->is_string()
                                ? parse_scaled_decimal(std::string_view(cap->get_string()), 9, true)
                                : std::nullopt;
        if (!amount || *amount < 1)
            return refused(index, "cap", "must be dollars as a text, such as \"12.50\"");
        l.cap = *amount;
    } else {
        if (cap == nullptr || !cap->is_int64() || cap->get_int64() < 1)
            return refused(index, "cap", "must be a whole number of at least 1");
        l.cap = cap->get_int64();
    }
    if (l.kind == limit_kind::concurrency) return l;

    const std::string_view per = text_of(o, "per");
    if (const auto period = to_period(per)) {
        l.kind = limit_kind::budget;
        l.period = *period;
    } else if (const auto length = to_length(per)) {
        l.length = *length;
    } else {
        return refused(index, "per",
                       "must be a length such as 60s, 5m, 1h, 7d, or day, week, month, total");
    }
    if (o.contains("window")) {
        const std::string_view window = text_of(o, "window");
        if (l.kind == limit_kind::budget || (window != "sliding" && window != "fixed"))
            return refused(index, "window", "must be sliding or fixed, beside a length");
        if (window == "fixed") l.kind = limit_kind::fixed;
    }
    if (const auto* offset = o.if_contains("utc_offset_minutes")) {
        constexpr std::int64_t most = 14 * 60;
        if (l.kind != limit_kind::budget || !offset->is_int64() || offset->get_int64() < -most ||
            offset->get_int64() > most)
            return refused(index, "utc_offset_minutes", "must be -840 to 840, beside a period");
        l.utc_offset = std::chrono::minutes(offset->get_int64());
    }
    return l;
}

std::vector<std::string_view> words_of(std::string_view text) {
    std::vector<std::string_view> out;
    while (!text.empty()) {
        const auto end = std::min(text.find(' '), text.size());
        if (end > 0) out.push_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

// "+01:00", "-00:30"
std::optional<std::int64_t> to_offset(std::string_view text) {
    const auto digit = [&](std::size_t at) { return text[at] >= '0' && text[at] <= '9'; };
    if (text.size() != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':' || !digit(1) ||
        !digit(2) || !digit(4) || !digit(5))
        return std::nullopt;
    const auto number = [&](std::size_t at) { return (text[at] - '0') * 10 + text[at + 1] - '0'; };
    const std::int64_t minutes = number(1) * 60 + number(4);
    return text[0] == '-' ? -minutes : minutes;
}

// A text's entry as it would stand in a list; none: it is no limit.
std::optional<json::object> entry_of(std::string_view text) {
    const auto words = words_of(text);
    if (words.size() < 2) return std::nullopt;
    json::object out;
    const auto unit = words[1];
    if (unit == "USD" || unit == "usd") {
        out = {{"unit", to_string(limit_unit::cost)}, {"cap", words[0]}};
    } else {
        std::int64_t cap = 0;
        const auto* end = words[0].data() + words[0].size();
        const auto read = std::from_chars(words[0].data(), end, cap);
        if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
        out = {{"unit", unit}, {"cap", cap}};
        if (unit == concurrent) return words.size() == 2 ? std::optional(out) : std::nullopt;
    }
    if (words.size() < 4 || words[2] != "per") return std::nullopt;
    out["per"] = words[3];
    for (const auto word : std::span(words).subspan(4)) {
        if (word.starts_with("utc")) {
            const auto offset = to_offset(word.substr(3));
            if (!offset) return std::nullopt;
            out["utc_offset_minutes"] = *offset;
        } else {
            out["window"] = word;
        }
    }
    return out;
}

}  // namespace

bool operator==(const key_limits& a, const key_limits& b) noexcept {
    if (a.by_default != b.by_default || a.none != b.none) return false;
    if (!a.set || !b.set) return a.set == b.set;
    return a.set->items() == b.set->items();
}

result<key_limits> limits_from_json(const json::value& list) {
    if (!list.is_array()) return error(errc::invalid_argument, "\"limits\" must be a list");
    std::vector<limit> limits;
    limits.reserve(list.get_array().size());
    for (const json::value& entry : list.get_array()) {
        auto l = read_entry(limits.size(), entry);
        if (!l) return l.error();
        limits.push_back(*l);
    }
    if (limits.empty()) return key_limits{.set = {}, .none = true};
    auto set = store::limit_set::make(std::move(limits));
    if (!set) return set.error();
    return key_limits{.set = std::move(*set)};
}

result<key_limits> limits_from_texts(std::span<const std::string> texts) {
    if (texts.empty()) return key_limits{};
    json::array list;
    if (texts.size() > 1 || texts.front() != "unlimited") {
        for (const auto& text : texts) {
            auto entry = entry_of(text);
            if (!entry)
                return error(errc::invalid_argument,
                             "write limits as 100 requests per 60s, 100000 tokens per 1h fixed, "
                             "12.50 USD per month or 10 concurrent");
            list.emplace_back(std::move(*entry));
        }
    }
    return limits_from_json(list);
}

// Texts that are wrong were refused when the settings were loaded.
key_limits default_limits(const config::limit_settings& settings) {
    auto texts = settings.defaults;
    if (settings.default_requests > 0)
        texts.push_back(
            std::to_string(settings.default_requests) + " requests per " +
            std::to_string(
                std::chrono::ceil<std::chrono::seconds>(settings.default_window).count()) +
            "s");
    auto limits = limits_from_texts(texts);
    return {.set = limits ? limits->set : nullptr, .by_default = true};
}

bool apply_default(key_limits& to, const key_limits& fallback) {
    if (to.none || (to.set && !to.by_default)) return false;
    const key_limits before = to;
    to.set = fallback.set;
    to.by_default = fallback.set != nullptr;
    return !(to == before);
}

void write_limit(json_writer& w, const limit& l) {
    if (l.kind == limit_kind::concurrency) {
        w.field("unit", concurrent).field("cap", l.cap);
        return;
    }
    w.field("unit", to_string(l.unit));
    w.field("per", l.kind == limit_kind::budget ? std::string(to_string(l.period))
                                                : format_length(l.length));
    if (l.unit == limit_unit::cost)
        w.field("cap", format_dollars(l.cap));
    else
        w.field("cap", l.cap);
    if (l.kind == limit_kind::fixed) w.field("window", to_string(l.kind));
    if (l.utc_offset.count() != 0) w.field("utc_offset_minutes", l.utc_offset.count());
}

void write_limits(json_writer& w, const key_limits& limits) {
    w.begin_array();
    if (limits) {
        for (const limit& l : limits.set->items()) {
            w.begin_object();
            write_limit(w, l);
            w.end_object();
        }
    }
    w.end_array();
}

}  // namespace kw::auth
