// What the pool has used: over time, by upstream key, in short; and the clean-up of old books.
#include <algorithm>
#include <boost/json.hpp>
#include <map>

#include "admin/handlers.hpp"
#include "admin/listing.hpp"
#include "admin/sums.hpp"
#include "core/json_writer.hpp"
#include "store/store.hpp"

namespace kw::admin {
namespace {

using std::chrono::days;
using std::chrono::floor;
using std::chrono::hours;

constexpr std::size_t max_points = 1'000;   // of one trend
constexpr std::size_t max_cells = 100'000;  // that one question may cover
constexpr int max_sweeps = 50;              // of a clean-up asked for: each is short by itself

result<std::vector<store::aggregate>> all_cells(call& c, store::usage_query ask) {
    std::vector<store::aggregate> cells;
    ask.page.limit = 10'000;
    do {
        auto page = c.services.store.usage(ask);
        if (!page) return page.error();
        std::ranges::move(page->items, std::back_inserter(cells));
        ask.page.cursor = page->next;
        if (cells.size() > max_cells)
            return error(errc::invalid_argument, "too many cells: ask for less of them");
    } while (!ask.page.cursor.empty());
    return cells;
}

// "2026-01-31T05", as the books call it.
std::string bucket_name(wall_time begin, bool hourly) {
    return format_time(begin).substr(0, hourly ? 13 : 10);
}

// The books' query for the bucket that now lies in.
store::usage_query now_in(const call& c, store::span length) {
    store::usage_query ask;
    ask.length = length;
    const auto today = floor<days>(c.services.clock.wall());
    ask.from = today;
    if (length == store::span::month) {
        const std::chrono::year_month_day date(today);
        ask.from = std::chrono::sys_days(date.year() / date.month() / 1);
    }
    return ask;
}

void write_sums_of(json_writer& w, std::string_view name,
                   const std::vector<store::aggregate>& cells) {
    store::aggregate sum;
    for (const auto& cell : cells)
        add_sums(sum, cell);
    w.key(name).begin_object();
    write_sums(w, sum);
    w.end_object();
}

}  // namespace

// Every bucket has its point, also one in which nothing was asked.
result<reply> show_trend(call& c) {
    auto q = c.query();
    const bool hourly = q.choice("span", {"hour", "day"}, 0) == 0;
    const wall_time now = c.services.clock.wall();
    const auto step = hourly ? hours(1) : hours(24);
    const auto begin_of = [&](wall_time t) {
        return hourly ? wall_time(floor<hours>(t)) : wall_time(floor<days>(t));
    };
    const wall_time to = q.time("to").value_or(begin_of(now) + step);
    const wall_time from = begin_of(q.time("from").value_or(to - step * (hourly ? 24 : 30)));
    store::usage_query ask;
    ask.length = hourly ? store::span::hour : store::span::day;
    ask.from = from;
    ask.to = to;
    int subjects = 0;
    const std::pair<std::string, store::dimension> filters[] = {
        {"access_key", store::dimension::access_key},
        {"upstream_key", store::dimension::upstream_key},
        {"group", store::dimension::group},
        {"provider", store::dimension::provider},
        {"model", store::dimension::model}};
    for (const auto& [name, by] : filters) {
        if (auto subject = q.text(name)) {
            ask.by = by;
            ask.subject = std::move(subject);
            ++subjects;
        }
    }
    if (const auto ok = q.finish(); !ok) return ok.error();
    if (subjects > 1)
        return error(
            errc::invalid_argument,
            "only one of access_key, upstream_key, group, provider and model can be named");
    if (from >= to) return bad_field("from", "must be before `to`");
    if ((to - from) / step >= static_cast<std::int64_t>(max_points))
        return bad_field("from", "is more than 1,000 points before `to`");

    const auto cells = all_cells(c, ask);
    if (!cells) return cells.error();
    std::map<std::string_view, const store::aggregate*> by_bucket;
    for (const auto& cell : *cells)
        by_bucket[cell.bucket] = &cell;
    std::string data;
    json_writer w(data);
    w.begin_object().field("span", hourly ? "hour" : "day");
    write_time(w, "from", from);
    write_time(w, "to", to);
    write_sums_of(w, "totals", *cells);
    w.key("trend").begin_array();
    const store::aggregate nothing;
    for (wall_time at = from; at < to; at += step) {
        const std::string bucket = bucket_name(at, hourly);
        const auto found = by_bucket.find(bucket);
        w.begin_object().field("bucket", bucket);
        write_sums(w, found == by_bucket.end() ? nothing : *found->second);
        w.end_object();
    }
    w.end_array().end_object();
    return answer(data);
}

// The figures are the books' and always fresh: forceRefresh is taken, and changes nothing.
result<reply> show_token_usage(call& c) {
    auto q = c.query();
    const auto period = q.choice("period", {"day", "month", "all"}, 1);
    (void)q.choice("forceRefresh", {"false", "true", "0", "1", ""}, 0);
    const auto group = q.text("poolGroup");
    const auto list = read_list(q, "-tokens");
    if (const auto ok = q.finish(); !ok) return ok.error();
    constexpr store::span spans[] = {store::span::day, store::span::month, store::span::all};
    auto ask = now_in(c, spans[period]);
    ask.by = store::dimension::upstream_key;
    const auto cells = all_cells(c, ask);
    if (!cells) return cells.error();
    std::map<std::string_view, const store::aggregate*> by_key;
    for (const auto& cell : *cells)
        by_key[cell.subject] = &cell;

    struct row {
        const std::string* id;
        const pool::upstream_key* key;
        const store::aggregate* used;
    };
    const store::aggregate nothing;
    std::vector<row> rows;
    std::vector<store::aggregate> all;
    for (const auto& [id, entry] : c.records.keys()) {
        if (group && entry.key.group_id != *group) continue;
        if (!list.finds({id, entry.key.alias})) continue;
        const auto found = by_key.find(id);
        rows.push_back({&id, &entry.key, found == by_key.end() ? &nothing : found->second});
        all.push_back(*rows.back().used);
    }
    using text = const std::string&;
    const auto shown =
        page_of(rows, list, column{"id", [](const row& r) -> text { return *r.id; }},
                column{"tokens", [](const row& r) { return r.used->tokens.total(); }},
                column{"alias", [](const row& r) -> text { return r.key->alias; }},
                column{"group", [](const row& r) -> text { return r.key->group_id; }},
                column{"requests", [](const row& r) { return r.used->requests; }},
                column{"cost", [](const row& r) { return r.used->cost; }});
    std::string data;
    json_writer w(data);
    w.begin_object().field("period", period == 0 ? "day" : period == 1 ? "month" : "all");
    write_time(w, "as_of", c.services.clock.wall());
    write_sums_of(w, "totals", all);
    w.key("usage").begin_array();
    for (const auto& [id, key, used] : shown) {
        w.begin_object().field("id", *id).field("alias", key->alias).field("group", key->group_id);
        w.key("quota_tokens");
        if (key->quota_tokens) {
            w.value(*key->quota_tokens);
        } else {
            w.null();
        }
        write_sums(w, *used);
        w.end_object();
    }
    w.end_array();
    write_pagination(w, list.at, rows.size());
    w.end_object();
    return answer(data);
}

result<reply> show_token_summary(call& c) {
    if (const auto ok = c.query().finish(); !ok) return ok.error();
    std::string data;
    json_writer w(data);
    w.begin_object();
    const std::pair<std::string_view, store::span> periods[] = {
        {"today", store::span::day}, {"month", store::span::month}, {"all", store::span::all}};
    for (const auto& [name, length] : periods) {
        const auto cells = all_cells(c, now_in(c, length));
        if (!cells) return cells.error();
        write_sums_of(w, name, *cells);
    }
    const std::pair<std::string_view, store::dimension> tops[] = {
        {"models", store::dimension::model},
        {"access_keys", store::dimension::access_key},
        {"upstream_keys", store::dimension::upstream_key}};
    for (const auto& [name, by] : tops) {
        auto ask = now_in(c, store::span::month);
        ask.by = by;
        auto cells = all_cells(c, ask);
        if (!cells) return cells.error();
        constexpr std::size_t most = 10;
        const auto top = std::min(most, cells->size());
        std::ranges::partial_sort(*cells, cells->begin() + static_cast<std::ptrdiff_t>(top),
                                  std::ranges::greater(),
                                  [](const store::aggregate& a) { return a.tokens.total(); });
        w.key("top_" + std::string(name)).begin_array();
        for (std::size_t i = 0; i < top; ++i) {
            const auto& cell = (*cells)[i];
            w.begin_object().field("subject", cell.subject);
            w.field("name", name_of_subject(c, by, cell.subject));
            write_sums(w, cell);
            w.end_object();
        }
        w.end_array();
    }
    w.end_object();
    return answer(data);
}

// What the minute's task does, now.
result<reply> clean_up_books(call& c) {
    if (const auto ok = c.query().finish(); !ok) return ok.error();
    const auto body = c.body();
    if (!body) return body.error();
    body_fields fields(*body);
    if (const auto ok = fields.finish(); !ok) return ok.error();
    std::uint64_t removed = 0;
    bool complete = false;
    for (int sweep = 0; sweep < max_sweeps && !complete; ++sweep) {
        const auto now = c.services.store.clean_up();
        if (!now) return now.error();
        removed += *now;
        complete = *now == 0;
    }
    std::string data;
    json_writer w(data);
    w.begin_object().field("removed", removed).field("complete", complete).end_object();
    return answer(data);
}

// They answer later: what they say is then in `quota` of each key.
result<reply> sync_quotas(call& c) {
    const auto body = c.body();
    if (!body) return body.error();
    body_fields in(*body);
    if (const auto ok = in.finish(); !ok) return ok.error();
    const auto count = c.services.sync_quotas ? c.services.sync_quotas() : 0;
    return answer("{\"asked\":" + std::to_string(count) + "}", {}, 202);
}

}  // namespace kw::admin
