// Shards, time buckets and the sums of a batch.
#include "store/ledger_batch.hpp"

#include <algorithm>
#include <boost/unordered/unordered_flat_map.hpp>
#include <chrono>
#include <iterator>
#include <tuple>
#include <utility>

#include "store/aggregate_fields.hpp"

namespace kw::store {
namespace {

using hours_since_epoch = std::chrono::sys_time<std::chrono::hours>;

constexpr std::int64_t max_tokens = 1'000'000'000'000;
constexpr nanodollars max_cost = 1'000'000'000'000'000;
constexpr std::string_view late_suffix = ".late";

struct cell_key {
    dimension by;
    span length;
    hours_since_epoch begin;
    std::string_view subject;
    friend bool operator==(const cell_key&, const cell_key&) = default;
    friend std::size_t hash_value(const cell_key& k) noexcept {
        return std::hash<std::string_view>{}(k.subject) ^
               (static_cast<std::size_t>(k.begin.time_since_epoch().count()) *
                0x9E3779B97F4A7C15U) ^
               (static_cast<std::size_t>(k.by) << 8U) ^ (static_cast<std::size_t>(k.length) << 16U);
    }
};

using cells = boost::unordered_flat_map<cell_key, aggregate>;

aggregate counts_of(const ledger_record_view& r) {
    aggregate one;
    if (!r.operator_cost && !is_late(r.id)) {
        one.requests = 1;
        one.errors = r.end == exchange_end::completed ? 0 : 1;
    }
    one.estimated = r.outcome == usage_outcome::estimated ? 1 : 0;
    one.unpriced = !r.cost && r.tokens.total() > 0 ? 1 : 0;
    one.tokens = r.tokens;
    one.cost = std::clamp(r.cost.value_or(0), -max_cost, max_cost);
    one.rated_cost = std::clamp(r.rated_cost.value_or(0), -max_cost, max_cost);
    if (one.estimated != 0) {
        one.estimated_input = one.tokens.input;
        one.estimated_output = one.tokens.output;
        one.estimated_cost = one.cost;
    }
    for (const auto& f : aggregate_fields)
        if (auto& n = f.of(one); f.is_tokens) n = std::clamp<std::int64_t>(n, 0, max_tokens);
    return one;
}

// Written out field by field, so that no call is left.
template <std::size_t... I>
void add(aggregate& to, const aggregate& from, std::index_sequence<I...>) noexcept {
    ((aggregate_fields[I].of(to) += aggregate_fields[I].of(from)), ...);
}

void add(aggregate& to, const aggregate& from) noexcept {
    add(to, from, std::make_index_sequence<std::size(aggregate_fields)>());
}

// What decides which cells a record counts in. Most records of a batch are alike in it.
struct place {
    hours_since_epoch hour;
    std::string_view access_key, upstream_key, group, provider, model;
    friend bool operator==(const place&, const place&) = default;
    friend std::size_t hash_value(const place& p) noexcept {
        const std::hash<std::string_view> of;
        std::size_t h = of(p.access_key);
        for (const auto part : {p.upstream_key, p.group, p.provider, p.model})
            h = h * 0x9E37'79B9'7F4A'7C15U + of(part);
        return h + static_cast<std::size_t>(p.hour.time_since_epoch().count());
    }
};

template <class T>
std::string padded(T number, std::size_t width) {
    auto text = std::to_string(number);
    if (text.size() < width) text.insert(0, width - text.size(), '0');
    return text;
}

}  // namespace

std::size_t shard_of(std::string_view access_key_id) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const char c : access_key_id)
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    return hash % shard_count;
}

std::string late_id(std::string_view exchange_id) {
    return std::string(exchange_id) + std::string(late_suffix);
}

bool is_late(std::string_view record_id) noexcept {
    return record_id.ends_with(late_suffix);
}

wall_time bucket_begin(span length, wall_time at) noexcept {
    using namespace std::chrono;
    const auto day = floor<days>(at);
    switch (length) {
        case span::hour:
            return floor<hours>(at);
        case span::day:
            return day;
        case span::month: {
            const year_month_day date(day);
            return sys_days(date.year() / date.month() / 1);
        }
        case span::all:
            break;
    }
    return {};
}

wall_time bucket_next(span length, wall_time at) noexcept {
    using namespace std::chrono;
    const auto begin = bucket_begin(length, at);
    switch (length) {
        case span::hour:
            return begin + hours(1);
        case span::day:
            return begin + days(1);
        case span::month: {
            const year_month_day date(floor<days>(begin));
            const auto month = date.year() / date.month() + months(1);
            return sys_days(month / 1);
        }
        case span::all:
            break;
    }
    return wall_time::max();
}

std::string bucket_name(span length, wall_time at) {
    using namespace std::chrono;
    if (length == span::all) return "all";
    const auto day = floor<days>(at);
    const year_month_day date(day);
    auto name = padded(static_cast<int>(date.year()), 4) + '-' +
                padded(static_cast<unsigned>(date.month()), 2);
    if (length == span::month) return name;
    name += '-' + padded(static_cast<unsigned>(date.day()), 2);
    if (length == span::hour) name += 'T' + padded(floor<hours>(at - day).count(), 2);
    return name;
}

std::vector<aggregate> sum_records(std::span<const ledger_record_view> records) {
    boost::unordered_flat_map<place, aggregate> places;
    for (const auto& r : records)
        // What a client merely asked for is no subject: it could make up any number of them.
        add(places[{std::chrono::floor<std::chrono::hours>(r.started),
                    r.operator_cost ? operator_subject : r.access_key_id, r.upstream_key_id,
                    r.group_id, r.provider, r.model_served}],
            counts_of(r));
    cells sums;
    for (const auto& [at, sum] : places) {
        const std::pair<dimension, std::string_view> subjects[] = {
            {dimension::all, {}},
            {dimension::access_key, at.access_key},
            {dimension::upstream_key, at.upstream_key},
            {dimension::group, at.group},
            {dimension::provider, at.provider},
            {dimension::model, at.model},
        };
        for (const auto& [by, subject] : subjects)
            add(sums[{by, span::hour, at.hour, subject}], sum);
    }
    // Longer spans are summed from the hours: few cells instead of every record again.
    std::vector<std::pair<cell_key, aggregate>> hours(sums.begin(), sums.end());
    for (const auto& [key, sum] : hours)
        for (const auto length : {span::day, span::month, span::all}) {
            const auto begin =
                std::chrono::floor<std::chrono::hours>(bucket_begin(length, wall_time(key.begin)));
            add(sums[{key.by, length, begin, key.subject}], sum);
        }
    std::vector<aggregate> out;
    out.reserve(sums.size());
    for (auto& [key, sum] : sums) {
        sum.by = key.by;
        sum.subject = key.subject;
        sum.length = key.length;
        sum.bucket = bucket_name(key.length, wall_time(key.begin));
        out.push_back(std::move(sum));
    }
    std::sort(out.begin(), out.end(), [](const aggregate& a, const aggregate& b) {
        return std::tie(a.length, a.bucket, a.by, a.subject) <
               std::tie(b.length, b.bucket, b.by, b.subject);
    });
    return out;
}

}  // namespace kw::store
