// Times, factors, money and pages as text and JSON.
#include "admin/values.hpp"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <charconv>

#include "store/record_json.hpp"

namespace kw::admin {
namespace {

// Reads fixed-width decimal numbers off the front; a miss is remembered.
class time_reader {
  public:
    explicit time_reader(std::string_view text) : text_(text) {}
    int number(std::size_t width) {
        if (text_.size() < width) return fail();
        int value = 0;
        for (const char c : text_.substr(0, width)) {
            if (c < '0' || c > '9') return fail();
            value = value * 10 + (c - '0');
        }
        text_.remove_prefix(width);
        return value;
    }
    bool skip(std::string_view any_of) {
        if (text_.empty() || any_of.find(text_[0]) == std::string_view::npos) return false;
        text_.remove_prefix(1);
        return true;
    }
    void expect(std::string_view any_of) { ok_ = skip(any_of) && ok_; }
    std::chrono::nanoseconds fraction() {
        std::int64_t value = 0;
        std::int64_t unit = 100'000'000;
        const auto before = text_.size();
        for (; !text_.empty() && text_[0] >= '0' && text_[0] <= '9'; text_.remove_prefix(1)) {
            value += (text_[0] - '0') * unit;
            unit /= 10;
        }
        if (text_.size() == before) fail();
        return std::chrono::nanoseconds(value);
    }
    [[nodiscard]] char front() const noexcept { return text_.empty() ? '\0' : text_[0]; }
    [[nodiscard]] bool done() const noexcept { return ok_ && text_.empty(); }
    int fail() {
        ok_ = false;
        return 0;
    }

  private:
    std::string_view text_;
    bool ok_ = true;
};

}  // namespace

std::optional<wall_time> parse_time(std::string_view text) {
    time_reader in(text);
    const int year = in.number(4);
    in.expect("-");
    const int month = in.number(2);
    in.expect("-");
    const int day = in.number(2);
    const std::chrono::year_month_day date{std::chrono::year(year),
                                           std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    if (!date.ok() || year < 1970 || year > 2200) return std::nullopt;
    wall_time at = std::chrono::sys_days(date);
    if (in.done()) return at;
    in.expect("Tt ");
    const int hour = in.number(2);
    in.expect(":");
    const int minute = in.number(2);
    in.expect(":");
    const int second = in.number(2);
    if (hour > 23 || minute > 59 || second > 60) return std::nullopt;
    at += std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second);
    if (in.skip(".")) at += in.fraction();
    if (const char sign = in.front(); sign == '+' || sign == '-') {
        in.skip("+-");
        const int hours = in.number(2);
        in.expect(":");
        const int minutes = in.number(2);
        if (hours > 23 || minutes > 59) return std::nullopt;
        const auto offset = std::chrono::hours(hours) + std::chrono::minutes(minutes);
        at += sign == '+' ? -offset : offset;
    } else {
        in.expect("Zz");
    }
    if (!in.done()) return std::nullopt;
    return at;
}

std::string format_time(wall_time t) {
    const auto days = std::chrono::floor<std::chrono::days>(t);
    const std::chrono::year_month_day date(days);
    const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::milliseconds>(t - days));
    auto out = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                           static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                           clock.hours().count(), clock.minutes().count(), clock.seconds().count());
    if (const auto ms = clock.subseconds().count(); ms != 0) out += fmt::format(".{:03}", ms);
    return out + 'Z';
}

std::optional<std::int64_t> parse_factor(const boost::json::value& v) {
    std::string text;
    if (v.is_string()) {
        text = v.get_string();
    } else if (v.is_number()) {
        char buffer[32];
        const auto end = std::to_chars(buffer, buffer + sizeof buffer, v.to_number<double>()).ptr;
        text.assign(buffer, end);
    } else {
        return std::nullopt;
    }
    return parse_scaled_decimal(text, 6, true);
}

std::string format_factor(std::int64_t ppm) {
    return format_dollars(ppm * 1000);  // the same decimal notation, three more places
}

void write_money(json_writer& w, std::string_view name, std::optional<nanodollars> amount) {
    w.key(name);
    if (!amount) {
        w.null();
        return;
    }
    w.begin_object().field("nanodollars", *amount);
    w.field("dollars", format_dollars(*amount)).end_object();
}

void write_tokens(json_writer& w, std::string_view name, const store::token_counts& t) {
    w.key(name).begin_object().field("total", t.total());
    store::write_classes(w, t);
    w.end_object();
}

void write_time(json_writer& w, std::string_view name, const std::optional<wall_time>& t) {
    w.key(name);
    if (t) {
        w.value(format_time(*t));
    } else {
        w.null();
    }
}

void write_texts(json_writer& w, std::string_view name, const std::vector<std::string>& texts) {
    w.key(name).begin_array();
    for (const auto& t : texts)
        w.value(t);
    w.end_array();
}

void write_value(json_writer& w, const boost::json::value& v) {
    if (const auto* o = v.if_object()) {
        w.begin_object();
        for (const auto& [name, member] : *o) {
            w.key(std::string_view(name.data(), name.size()));
            write_value(w, member);
        }
        w.end_object();
    } else if (const auto* a = v.if_array()) {
        w.begin_array();
        for (const auto& item : *a)
            write_value(w, item);
        w.end_array();
    } else if (const auto* s = v.if_string()) {
        w.value(std::string_view(s->data(), s->size()));
    } else if (const auto* i = v.if_int64()) {
        w.value(*i);
    } else if (const auto* u = v.if_uint64()) {
        w.value(*u);
    } else if (const auto* d = v.if_double()) {
        w.value(*d);
    } else if (const auto* b = v.if_bool()) {
        w.value(*b);
    } else {
        w.null();
    }
}

void write_pagination(json_writer& w, const page_place& at, std::size_t total) {
    w.key("pagination")
        .begin_object()
        .field("page", at.page)
        .field("limit", at.limit)
        .field("total", total)
        .field("total_pages", (total + at.limit - 1) / at.limit)
        .end_object();
}

}  // namespace kw::admin
