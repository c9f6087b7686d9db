// The ledger in Redis: batches go in by one script a shard, readers add up the shards.
#include <algorithm>
#include <map>
#include <tuple>

#include "store/aggregate_fields.hpp"
#include "store/ledger_codec.hpp"
#include "store/paging.hpp"
#include "store/redis/redis_store.hpp"
#include "store/redis/usage_event.hpp"

namespace kw::store::redis {
namespace {

constexpr auto number_kept = std::chrono::hours(400 * 24);
constexpr std::size_t max_buckets = 1'000;        // of one usage query: the latest
constexpr std::size_t scan_run = 512;             // ledger records read at once from a shard
constexpr std::size_t max_scanned = 20'000;       // by one call of list_records
constexpr std::int64_t clean_up_records = 1'000;  // a shard and call

std::string_view text_of(span length) noexcept {
    constexpr std::string_view names[] = {"h", "d", "m", "a"};
    return names[static_cast<std::size_t>(length)];
}

std::int64_t seconds_of(wall_time t) noexcept {
    return std::chrono::floor<std::chrono::seconds>(t.time_since_epoch()).count();
}

wall_time parsed_bucket(span length, const aggregate& a) noexcept {
    using namespace std::chrono;
    const auto number = [&](std::size_t at, std::size_t size) {
        int n = 0;
        for (const char c : std::string_view(a.bucket).substr(std::min(at, a.bucket.size()), size))
            n = n * 10 + (c - '0');
        return n;
    };
    if (length == span::all) return {};
    const auto day = length == span::month ? 1 : number(8, 2);
    wall_time at = sys_days(year(number(0, 4)) / month(static_cast<unsigned>(number(5, 2))) /
                            std::chrono::day(static_cast<unsigned>(day)));
    if (length == span::hour) at += hours(number(11, 2));
    return at;
}

// When a bucket's hash goes away by itself; 0: never.
std::int64_t expiry_of(const aggregate& a, const retention& keep) noexcept {
    if (a.length != span::hour && a.length != span::day) return 0;
    const auto kept = a.length == span::hour ? keep.hours : keep.days;
    return seconds_of(bucket_next(a.length, parsed_bucket(a.length, a)) + kept);
}

}  // namespace

std::string redis_store::aggregate_key(std::size_t shard, span length, std::string_view bucket,
                                       dimension by) const {
    auto key = sharded(shard, "agg:");
    key += text_of(length);
    key += ':';
    key += bucket;
    key += ':';
    key += std::to_string(static_cast<int>(by));
    return key;
}

void redis_store::add_batch(pipeline& to, const ledger_batch& batch) {
    const auto s = batch.shard;
    std::vector<std::string> keys{sharded(s, "num:" + batch.journal), sharded(s, "led"),
                                  sharded(s, "time"), sharded(s, "events")};
    const auto kept = std::chrono::seconds(number_kept).count();
    std::vector<std::string> arguments{
        std::to_string(batch.number),
        std::to_string(batch.after),
        std::to_string(kept),
        std::to_string(batch.records.size()),
        std::to_string(std::max<std::uint64_t>(options_.keep.max_records / shard_count, 1)),
        std::to_string(std::max<std::uint64_t>(options_.max_events / shard_count, 1))};
    for (std::size_t i = 0; i < batch.records.size(); ++i) {
        const auto& r = batch.records[i];
        arguments.emplace_back(r.id);
        arguments.push_back(std::to_string(unix_ms(r.started)));
        arguments.emplace_back(batch.encoded[i]);
    }
    // The sums lie in the order of span, bucket, dimension: one hash after another.
    for (auto a = batch.sums.begin(); a != batch.sums.end();) {
        keys.push_back(aggregate_key(s, a->length, a->bucket, a->by));
        arguments.push_back(std::to_string(expiry_of(*a, options_.keep)));
        const auto count_at = arguments.size();
        arguments.emplace_back();
        const auto first = a;
        for (; a != batch.sums.end() && a->length == first->length && a->by == first->by &&
               a->bucket == first->bucket;
             ++a)
            for (const auto& f : aggregate_fields)
                if (const auto n = f.of(*a); n != 0) {
                    arguments.push_back(f.code + a->subject);
                    arguments.push_back(std::to_string(n));
                }
        arguments[count_at] = std::to_string((arguments.size() - count_at - 1) / 2);
    }
    if (options_.max_events > 0) {
        arguments.emplace_back(usage_event_version);
        for (const auto& r : batch.records)
            arguments.push_back(usage_event(r));
    }
    ledger_.add_script(to, script::apply_batch, keys, arguments);
}

result<std::vector<batch_status>> redis_store::apply(std::span<const ledger_batch> batches) {
    std::vector<batch_status> out;
    if (batches.empty()) return out;
    pipeline ask;
    for (const auto& batch : batches)
        add_batch(ask, batch);
    const auto answers = ledger_.call(ask);
    if (!answers) return answers.error();
    for (const auto& a : *answers) {
        if (a.items.size() != 2)
            return error(errc::internal, "Redis: " + a.text, error_source::store);
        out.push_back({a.items[0].number == 1, static_cast<std::uint64_t>(a.items[1].as_number())});
    }
    return out;
}

result<batch_numbers> redis_store::applied_numbers(std::string_view journal) {
    pipeline ask;
    for (std::size_t s = 0; s < shard_count; ++s)
        ask.add({"GET", sharded(s, "num:" + std::string(journal))});
    const auto answers = ledger_.call(ask);
    if (!answers) return answers.error();
    batch_numbers out{};
    for (std::size_t s = 0; s < shard_count; ++s)
        out[s] = static_cast<std::uint64_t>((*answers)[s].as_number());
    return out;
}

result<page<aggregate>> redis_store::usage(const usage_query& query) {
    // Buckets from the latest backwards, so that an open beginning costs no more than is kept.
    const auto [first, behind] = bucket_range(query);
    std::vector<std::string> buckets;
    if (query.length == span::all) {
        buckets.emplace_back("all");
    } else {
        const auto latest = std::min(query.to, bucket_next(query.length, clock_.wall()));
        for (auto at = latest; buckets.size() < max_buckets;) {
            const auto begin = bucket_begin(query.length, at - std::chrono::nanoseconds(1));
            auto name = bucket_name(query.length, begin);
            if (name < first || begin < wall_time{}) break;
            buckets.push_back(std::move(name));
            at = begin;
        }
        std::reverse(buckets.begin(), buckets.end());
    }
    const auto [after_bucket, after_subject] = split_cursor(query.page.cursor);
    const auto limit = clamped(query.page.limit);
    const auto single = query.by == dimension::all ? std::optional<std::string>("") : query.subject;
    page<aggregate> out;
    // A bucket at a time where every subject is wanted: its hashes may be large.
    const std::size_t run = single ? 64 : 1;
    for (std::size_t at = 0; at < buckets.size() && out.items.size() <= limit; at += run) {
        const auto end = std::min(buckets.size(), at + run);
        pipeline ask;
        for (std::size_t b = at; b < end; ++b)
            for (std::size_t s = 0; s < shard_count; ++s) {
                const auto key = aggregate_key(s, query.length, buckets[b], query.by);
                if (!single) {
                    ask.add({"HGETALL", key});
                    continue;
                }
                std::vector<std::string> fields;
                for (const auto& f : aggregate_fields)
                    fields.push_back(f.code + *single);
                std::vector<std::string_view> words{"HMGET", key};
                words.insert(words.end(), fields.begin(), fields.end());
                ask.add(words);
            }
        const auto answers = control_.call(ask);
        if (!answers) return answers.error();
        for (std::size_t b = at; b < end; ++b) {
            std::map<std::string, aggregate, std::less<>> cells;
            for (std::size_t s = 0; s < shard_count; ++s) {
                const auto& part = (*answers)[(b - at) * shard_count + s].items;
                if (single) {
                    for (std::size_t i = 0; i < part.size(); ++i)
                        if (part[i].is == reply::kind::text)
                            aggregate_fields[i].of(cells[*single]) += part[i].as_number();
                    continue;
                }
                for (std::size_t i = 0; i + 1 < part.size(); i += 2)
                    for (const auto& f : aggregate_fields)
                        if (!part[i].text.empty() && part[i].text[0] == f.code)
                            f.of(cells[part[i].text.substr(1)]) += part[i + 1].as_number();
            }
            for (auto& [subject, cell] : cells) {
                if (query.subject && *query.subject != subject) continue;
                if (!query.page.cursor.empty() &&
                    std::pair<std::string_view, std::string_view>(buckets[b], subject) <=
                        std::pair(after_bucket, after_subject))
                    continue;
                cell.by = query.by;
                cell.length = query.length;
                cell.bucket = buckets[b];
                cell.subject = subject;
                out.items.push_back(std::move(cell));
            }
        }
    }
    if (out.items.size() > limit) {
        out.items.resize(limit);
        out.next = make_cursor(out.items.back().bucket, out.items.back().subject);
    }
    return out;
}

result<ledger_record> redis_store::find_record(std::string_view id) {
    pipeline ask;
    for (std::size_t s = 0; s < shard_count; ++s)
        ask.add({"HGET", sharded(s, "led"), id});
    const auto answers = control_.call(ask);
    if (!answers) return answers.error();
    for (const auto& a : *answers)
        if (auto r = decode(a.text)) return std::move(*r);
    return not_found("ledger record", id);
}

result<page<ledger_record>> redis_store::list_records(const record_filter& filter) {
    const auto limit = clamped(filter.page.limit);
    const auto [before, before_id] = time_cursor(filter);
    // Redis orders by milliseconds; within one, records are ordered here.
    const auto floor_ms = [](std::int64_t ns) {
        return unix_ms(wall_time(std::chrono::nanoseconds(ns)));
    };
    auto to_ms = floor_ms(before);
    const auto from_ms = unix_ms(filter.from);
    const auto only = filter.access_key_id ? std::optional(shard_of(*filter.access_key_id))
                                           : std::optional<std::size_t>();
    page<ledger_record> out;
    std::size_t seen = 0;
    while (to_ms >= from_ms) {
        // The newest run of each shard. Down to the youngest of the runs' ends all are complete.
        pipeline ask;
        std::vector<std::size_t> shards;
        for (std::size_t s = 0; s < shard_count; ++s) {
            if (only && *only != s) continue;
            shards.push_back(s);
            ask.add({"ZREVRANGEBYSCORE", sharded(s, "time"), std::to_string(to_ms),
                     std::to_string(from_ms), "WITHSCORES", "LIMIT", "0",
                     std::to_string(scan_run)});
        }
        const auto answers = control_.call(ask);
        if (!answers) return answers.error();
        std::int64_t complete_from = from_ms;
        for (const auto& a : *answers)
            if (a.items.size() == 2 * scan_run)
                complete_from =
                    std::max(complete_from, std::min(a.items.back().as_number() + 1, to_ms));
        pipeline bodies;
        for (std::size_t i = 0; i < shards.size(); ++i) {
            const auto key = sharded(shards[i], "led");
            std::vector<std::string_view> words{"HMGET", key};
            const auto& ids = (*answers)[i].items;
            for (std::size_t n = 0; n + 1 < ids.size(); n += 2)
                if (ids[n + 1].as_number() >= complete_from) words.push_back(ids[n].text);
            if (words.size() > 2) bodies.add(words);
        }
        std::vector<ledger_record> found;
        if (bodies.size() > 0) {
            const auto texts = control_.call(bodies);
            if (!texts) return texts.error();
            for (const auto& part : *texts)
                for (const auto& text : part.items) {
                    ++seen;
                    auto r = decode(text.text);
                    if (!r || !matches(filter, *r)) continue;
                    const auto ns = nanoseconds_of(r->started);
                    if (r->started < filter.from || ns > before ||
                        (ns == before && r->id >= before_id))
                        continue;
                    found.push_back(std::move(*r));
                }
        }
        std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
            return std::tie(b.started, b.id) < std::tie(a.started, a.id);
        });
        std::move(found.begin(), found.end(), std::back_inserter(out.items));
        if (out.items.size() > limit) {
            out.items.resize(limit);
            out.next = make_cursor(std::to_string(nanoseconds_of(out.items.back().started)),
                                   out.items.back().id);
            return out;
        }
        to_ms = complete_from - 1;
        if (seen >= max_scanned && to_ms >= from_ms) {
            const auto next = std::chrono::nanoseconds(std::chrono::milliseconds(to_ms + 1));
            out.next = make_cursor(std::to_string(next.count()), "");
            return out;
        }
    }
    return out;
}

// Aggregates expire by themselves; the ledger's age is looked at here.
result<std::uint64_t> redis_store::clean_up() {
    auto audit = clean_up_audit();
    if (!audit) return audit;
    const auto oldest = std::to_string(unix_ms(clock_.wall() - options_.keep.records));
    pipeline ask;
    for (std::size_t s = 0; s < shard_count; ++s)
        ask.add({"ZRANGEBYSCORE", sharded(s, "time"), "-inf", "(" + oldest, "LIMIT", "0",
                 std::to_string(clean_up_records)});
    const auto answers = control_.call(ask);
    if (!answers) return answers.error();
    std::uint64_t removed = *audit;
    pipeline drop;
    for (std::size_t s = 0; s < shard_count; ++s) {
        const auto& ids = (*answers)[s].items;
        if (ids.empty()) continue;
        removed += ids.size();
        // The body first: an id without a body is found again, a body without an id never.
        for (const auto& [command, key] :
             {std::pair("HDEL", sharded(s, "led")), std::pair("ZREM", sharded(s, "time"))}) {
            std::vector<std::string_view> words{command, key};
            for (const auto& id : ids)
                words.push_back(id.text);
            drop.add(words);
        }
    }
    if (drop.size() == 0) return removed;
    const auto done = control_.call(drop);
    if (!done) return done.error();
    return removed;
}

}  // namespace kw::store::redis
