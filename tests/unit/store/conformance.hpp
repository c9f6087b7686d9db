// What every store must do, as one set of checks that runs against each implementation.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <thread>

#include "store/store.hpp"
#include "tests/support/batch_bytes.hpp"

namespace kw::store::test {

inline constexpr wall_time noon{std::chrono::seconds(1'767'268'800)};  // 2026-01-01T12:00Z

inline ledger_record make_record(const std::string& id, const std::string& access_key = "ak1",
                                 wall_time started = noon) {
    ledger_record r;
    r.id = id;
    r.started = started;
    r.access_key_id = access_key;
    r.upstream_key_id = "uk1";
    r.group_id = "g1";
    r.provider = "openai";
    r.endpoint = "chat";
    r.model_asked = "gpt";
    r.model_served = "gpt-1";
    r.tokens.input = 10;
    r.tokens.output = 5;
    r.outcome = usage_outcome::exact;
    r.cost = 9'007'199'254'740'993 / 100'000;
    r.rated_cost = 7;
    r.status = 200;
    return r;
}

// Its records' bytes live as long as the program.
inline ledger_batch make_batch(const std::string& journal, std::uint64_t number,
                               const std::vector<ledger_record>& records) {
    static batch_bytes bytes;
    ledger_batch b;
    b.journal = journal;
    b.shard = records.empty() ? 0 : shard_of(records.front().access_key_id);
    b.number = number;
    b.after = number - 1;
    for (const auto& r : records)
        bytes.add(b, r);
    return b;
}

inline aggregate total(store& s, dimension by = dimension::all, span length = span::all) {
    usage_query q;
    q.by = by;
    q.length = length;
    q.from = noon - std::chrono::hours(24);
    q.to = noon + std::chrono::hours(24);
    aggregate sum;
    const auto found = s.usage(q);
    REQUIRE(found.has_value());
    for (const auto& a : found->items) {
        sum.requests += a.requests;
        sum.cost += a.cost;
        sum.tokens.input += a.tokens.input;
    }
    return sum;
}

inline void check_records(store& s) {
    std::uint64_t current = 99;
    const auto first = s.put({"group", "a", 0, "{\"v\":1}"}, &current);
    REQUIRE(first.has_value());
    // A stale write is refused and told what is there.
    const auto stale = s.put({"group", "a", 0, "{\"v\":2}"}, &current);
    REQUIRE(stale.has_error());
    CHECK(stale.error().code == errc::store_conflict);
    CHECK(current == *first);
    const auto second = s.put({"group", "a", *first, "{\"v\":3}"});
    REQUIRE(second.has_value());
    CHECK(*second > *first);
    CHECK(s.get("group", "a")->json == "{\"v\":3}");
    CHECK(s.get("group", "b").error().code == errc::store_not_found);
    REQUIRE(s.put({"group", "b", 0, "{}"}).has_value());
    REQUIRE(s.put({"group", "c", 0, "{}"}).has_value());
    const auto page1 = s.list("group", {2, ""});
    REQUIRE(page1.has_value());
    REQUIRE(page1->items.size() == 2);
    CHECK(page1->items[1].id == "b");
    const auto page2 = s.list("group", {2, page1->next});
    REQUIRE(page2->items.size() == 1);
    CHECK(page2->items[0].id == "c");
    CHECK(page2->next.empty());

    const auto all = s.changes_since(0);
    REQUIRE(all.has_value());
    CHECK(all->reset);
    CHECK(all->items.size() == 3);
    CHECK(s.erase("group", "b", 1'000'000).error().code == errc::store_conflict);
    REQUIRE(s.erase("group", "b", 0).has_value());
    CHECK(s.erase("group", "b", 0).error().code == errc::store_not_found);
    const auto news = s.changes_since(all->revision);
    REQUIRE(news->items.size() == 1);
    CHECK_FALSE(news->reset);
    CHECK(news->items[0].erased);
    CHECK(news->items[0].after.id == "b");
    // A revision that the store never had: it fell back.
    CHECK(s.changes_since(1'000'000)->reset);
}

inline void check_many_writes(store& s) {
    const auto before = s.changes_since(0)->revision;
    const auto kept = s.put({"note", "kept", 0, "{}"});
    REQUIRE(kept.has_value());
    const auto done = s.write_all(std::vector<change>{{{"note", "a", 0, "{\"v\":1}"}, false},
                                                      {{"note", "kept", 0, "{\"v\":2}"}, false},
                                                      {{"note", "kept", *kept, "{\"v\":3}"}, false},
                                                      {{"note", "none", 0, ""}, true},
                                                      {{"note", "a", 0, ""}, true},
                                                      {{"note", "b", 0, "{}"}, false}});
    REQUIRE(done.size() == 6);
    REQUIRE(done[0].has_value());
    CHECK(done[1].error().code == errc::store_conflict);
    REQUIRE(done[2].has_value());
    CHECK(*done[2] > *done[0]);
    CHECK(done[3].error().code == errc::store_not_found);
    CHECK(done[4].has_value());
    CHECK(done[5].has_value());
    CHECK(s.get("note", "kept")->json == "{\"v\":3}");
    CHECK(s.get("note", "kept")->revision == *done[2]);
    CHECK_FALSE(s.get("note", "a").has_value());
    CHECK(s.get("note", "b").has_value());
    const auto news = s.changes_since(before);
    REQUIRE(news.has_value());
    CHECK(news->revision == *done[5]);
    CHECK(s.write_all({}).empty());
    // More than one call of the network takes.
    std::vector<change> many;
    for (int i = 0; i < 600; ++i)
        many.push_back({{"many", std::to_string(i), 0, "{}"}, false});
    for (const auto& one : s.write_all(many))
        REQUIRE(one.has_value());
    CHECK(s.list("many", {1000, ""})->items.size() == 600);
}

// All ids of the trail, page by page.
inline std::vector<std::string> audit_ids(store& s, audit_query q) {
    std::vector<std::string> out;
    for (int pages = 0; pages < 100; ++pages) {
        const auto found = s.list_audit(q);
        REQUIRE(found.has_value());
        for (const auto& e : found->items)
            out.push_back(e.id);
        if (found->next.empty()) break;
        q.page.cursor = found->next;
    }
    return out;
}

inline void check_audit(store& s) {
    using namespace std::chrono_literals;
    using ids = std::vector<std::string>;
    const auto entry = [](const std::string& id, std::chrono::milliseconds after) {
        return audit_entry{id, noon + after, "{\"of\":\"" + id + "\"}"};
    };
    // An entry stands and falls with its change.
    const auto done =
        s.write_all(std::vector<change>{{{"note", "a", 0, "{}"}, false, entry("e1", 1ms)},
                                        {{"note", "a", 77, "{}"}, false, entry("stale", 2ms)},
                                        {{"note", "none", 0, ""}, true, entry("missing", 3ms)},
                                        {{"note", "b", 0, "{}"}, false, entry("e2", 4ms)},
                                        {{"note", "c", 0, "{}"}, false},
                                        {{"note", "b", 0, ""}, true, entry("e3", 5ms)}});
    REQUIRE(done.size() == 6);
    CHECK((done[0] && !done[1] && !done[2] && done[3] && done[4] && done[5]));
    CHECK(audit_ids(s, {}) == ids{"e3", "e2", "e1"});
    CHECK(s.list_audit({})->items.back().json == "{\"of\":\"e1\"}");
    CHECK(s.list_audit({})->items.back().at == noon + 1ms);
    // Alone, and some at the same time.
    REQUIRE(s.append_audit({}).has_value());
    REQUIRE(s.append_audit(std::vector<audit_entry>{entry("f1", 6ms), entry("f2", 6ms),
                                                    entry("f3", 6ms), entry("f4", 7ms)})
                .has_value());
    const ids all{"f4", "f3", "f2", "f1", "e3", "e2", "e1"};
    for (const std::size_t limit : {1U, 2U, 3U, 6U, 7U, 100U}) {
        audit_query q;
        q.page.limit = limit;
        CHECK(audit_ids(s, q) == all);
    }
    CHECK(audit_ids(s, {.from = noon + 4ms, .to = noon + 6ms, .page = {}}) == ids{"e3", "e2"});
    CHECK(audit_ids(s, {.from = noon + 7ms, .to = noon + 7ms, .page = {}}).empty());
}

// Of a store whose clock says noon and which keeps 50 entries for an hour.
inline void check_audit_retention(store& s) {
    std::vector<audit_entry> many;
    for (int i = 0; i < 60; ++i)
        many.push_back({"e" + std::to_string(100 + i), noon - std::chrono::seconds(60 - i), "{}"});
    for (int i = 0; i < 5; ++i)
        many.push_back({"d" + std::to_string(i), noon - std::chrono::hours(2), "{}"});
    REQUIRE(s.append_audit(many).has_value());
    while (*s.clean_up() > 0) {
    }
    const auto kept = audit_ids(s, {});
    REQUIRE(kept.size() == 50);
    CHECK(kept.front() == "e159");
    CHECK(kept.back() == "e110");
}

inline key_news make_news(const std::string& id, std::int64_t uses, std::int64_t day = 100) {
    key_news n;
    n.id = id;
    n.add = {uses, uses, 0, 10 * uses};
    n.day = day;
    return n;
}

inline key_finding make_finding(std::string text, std::int32_t weight, std::uint64_t knew = 0,
                                bool firm = false) {
    key_finding f;
    f.text = std::move(text);
    f.weight = weight;
    f.knew = knew;
    f.firm = firm;
    return f;
}

inline key_standing standing_of(store& s, const std::string& id) {
    const auto all = s.standings_since({}, 100);
    REQUIRE(all.has_value());
    for (const auto& k : all->items)
        if (k.id == id) return k;
    return {};
}

inline void check_key_counts(store& s) {
    const auto empty = s.standings_since({}, 100);
    REQUIRE(empty.has_value());
    CHECK(empty->items.empty());
    CHECK(empty->reset);
    auto first = make_news("a", 3);
    first.start_uses = 100;
    first.start_tokens = 1000;
    const key_batch batch{"run1", 1, {first, make_news("b", 1)}};
    REQUIRE(s.tell(batch).has_value());
    REQUIRE(s.tell(batch).has_value());  // told again after a time-out: counts once
    auto late = make_news("a", 2);
    late.start_uses = 500;  // the day has its start
    REQUIRE(s.tell({"run2", 1, {late}}).has_value());
    auto a = standing_of(s, "a");
    CHECK(a.sums == key_sums{5, 5, 0, 50});
    CHECK(a.day_uses == 105);
    CHECK(a.day_tokens == 1050);
    CHECK_FALSE(a.headers);
    // What is of yesterday counts, but not for today; a new day begins with what it brings.
    REQUIRE(s.tell({"run1", 2, {make_news("a", 1, 99)}}).has_value());
    CHECK(standing_of(s, "a").day_uses == 105);
    auto tomorrow = make_news("a", 1, 101);
    tomorrow.success_ppm = 250'000;
    tomorrow.headers = key_headers{77, std::chrono::seconds(60)};
    REQUIRE(s.tell({"run1", 3, {tomorrow}}).has_value());
    a = standing_of(s, "a");
    CHECK(a.sums.uses == 7);
    CHECK(a.day == 101);
    CHECK(a.day_uses == 1);
    CHECK(a.day_tokens == 10);
    CHECK(a.success_ppm == 250'000);
    REQUIRE(a.headers);
    CHECK(a.headers->left == 77);
    CHECK(a.headers->holds > std::chrono::seconds(50));
    CHECK(a.headers_by == "run1");

    // Only what changed, in parts.
    const auto known = s.standings_since({}, 100);
    CHECK(s.standings_since(known->at, 100)->items.empty());
    CHECK_FALSE(s.standings_since(known->at, 100)->reset);
    REQUIRE(s.tell({"run1", 4, {make_news("b", 1), make_news("c", 1)}}).has_value());
    const auto part = s.standings_since(known->at, 1);
    REQUIRE(part->items.size() == 1);
    CHECK(part->more);
    CHECK(part->items[0].id == "b");
    const auto rest = s.standings_since(part->at, 1);
    REQUIRE(rest->items.size() == 1);
    CHECK_FALSE(rest->more);
    CHECK(rest->items[0].id == "c");
    // A place that the store never reached: it lost something.
    auto ahead = rest->at;
    ahead.sequence += 1'000'000;
    CHECK(s.standings_since(ahead, 100)->reset);

    auto gone = make_news("b", 0);
    gone.gone = true;
    REQUIRE(s.tell({"run1", 5, {gone}}).has_value());
    CHECK(standing_of(s, "b").id.empty());
    CHECK(standing_of(s, "c").sums.uses == 1);
}

inline void check_key_findings(store& s) {
    std::uint64_t number = 0;
    const auto tell = [&](const std::string& who, key_finding f) {
        auto n = make_news("k", 0);
        n.finding = std::move(f);
        // Each of them has numbers of its own; growing ones will do.
        REQUIRE(s.tell({who, ++number, {n}}).has_value());
        return standing_of(s, "k");
    };
    auto k = tell("a", make_finding("banned", 3));
    CHECK(k.finding == "banned");
    CHECK(k.found_by == "a");
    CHECK(k.found == k.sequence);
    CHECK_FALSE(k.rest);
    // One that did not know of the ban and is lighter: the ban stands.
    auto light = make_finding("cooling", 1);
    light.rest = std::chrono::seconds(60);
    CHECK(tell("b", light).finding == "banned");
    CHECK(standing_of(s, "k").found == k.found);
    // One that knew of it replaces it, also if lighter: the key's test has passed.
    light.knew = k.found;
    k = tell("b", light);
    CHECK(k.finding == "cooling");
    REQUIRE(k.rest);
    CHECK(*k.rest > std::chrono::seconds(50));
    // Equals that did not know of each other: the longer one stays.
    light.knew = 0;
    light.text = "shorter";
    light.rest = std::chrono::seconds(10);
    CHECK(tell("a", light).finding == "cooling");
    light.text = "longer";
    light.rest = std::chrono::seconds(100);
    CHECK(tell("a", light).finding == "longer");
    // The teller's own is no conflict.
    CHECK(tell("a", make_finding("active", 0)).finding == "active");
    // A person's word replaces what it did not know of, and stands against older findings.
    CHECK(tell("b", make_finding("banned", 3)).finding == "banned");
    k = tell("c", make_finding("freed", 0, 0, true));
    CHECK(k.finding == "freed");
    CHECK(tell("a", make_finding("banned", 3)).finding == "freed");
    CHECK(tell("d", make_finding("freed again", 0, 0, true)).finding == "freed again");
    // What is found after it counts again.
    k = standing_of(s, "k");
    CHECK(tell("a", make_finding("banned", 3, k.found)).finding == "banned");
    // A rest that is over weighs nothing.
    k = standing_of(s, "k");
    auto over = make_finding("over", 1, k.found);
    over.rest = std::chrono::milliseconds(0);
    k = tell("a", over);
    CHECK(k.finding == "over");
    CHECK(k.rest->count() <= 0);
    auto again = make_finding("cooling", 1);
    again.rest = std::chrono::seconds(1);
    CHECK(tell("b", again).finding == "cooling");
}

inline void check_feed(store& s) {
    const auto known = s.changes_since(0)->revision;
    CHECK_FALSE(*s.wait_change(known, std::chrono::milliseconds(1)));
    std::thread writer([&] { static_cast<void>(s.put({"setting", "x", 0, "{}"})); });
    CHECK(*s.wait_change(known, std::chrono::seconds(10)));
    writer.join();
}

inline void check_batches(store& s) {
    const auto one = make_batch("j1", 1, {make_record("r1"), make_record("r2")});
    const auto two = make_batch("j1", 2, {make_record("r3")});
    const auto other = make_batch("j2", 1, {make_record("r4")});
    // Too early: the store says what it holds.
    auto early = s.apply(std::span(&two, 1));
    REQUIRE(early.has_value());
    CHECK_FALSE(early->front().applied);
    CHECK(early->front().held == 0);
    CHECK(total(s).requests == 0);
    // Twice, interleaved with another journal: counts once.
    const std::vector<ledger_batch> mixed{one, other, one, two, other, two, one};
    const auto answers = s.apply(mixed);
    REQUIRE(answers.has_value());
    CHECK((*answers)[0].applied);
    CHECK_FALSE((*answers)[2].applied);
    CHECK((*answers)[6].held == 2);
    CHECK(total(s).requests == 4);
    CHECK((*s.applied_numbers("j1"))[one.shard] == 2);
    for (const auto by : {dimension::all, dimension::access_key, dimension::upstream_key,
                          dimension::group, dimension::provider, dimension::model})
        for (const auto length : {span::hour, span::day, span::month, span::all}) {
            CHECK(total(s, by, length).requests == 4);
            CHECK(total(s, by, length).cost == 4 * *make_record("").cost);
        }
    CHECK(s.find_record("r3")->model_served == "gpt-1");
    CHECK(s.find_record("zz").error().code == errc::store_not_found);
}

inline void check_listing(store& s) {
    std::vector<ledger_batch> batches;
    for (int i = 0; i < 30; ++i) {
        auto r = make_record("r" + std::to_string(100 + i), "ak" + std::to_string(i % 3),
                             noon + std::chrono::seconds(i));
        r.status = i % 2 == 0 ? 200 : 500;
        batches.push_back(make_batch("j" + std::to_string(i), 1, {r}));
    }
    REQUIRE(s.apply(batches).has_value());
    record_filter f;
    f.page.limit = 7;
    f.status_from = 500;
    std::vector<std::string> ids;
    for (int pages = 0; pages < 20; ++pages) {
        const auto found = s.list_records(f);
        REQUIRE(found.has_value());
        for (const auto& r : found->items)
            ids.push_back(r.id);
        if (found->next.empty()) break;
        f.page.cursor = found->next;
    }
    REQUIRE(ids.size() == 15);
    CHECK(ids.front() == "r129");
    CHECK(ids.back() == "r101");
    record_filter one;
    one.access_key_id = "ak2";
    one.from = noon + std::chrono::seconds(5);
    one.to = noon + std::chrono::seconds(11);
    CHECK(s.list_records(one)->items.size() == 2);
    usage_query q;
    q.by = dimension::access_key;
    q.length = span::hour;
    q.from = noon;
    q.to = noon + std::chrono::hours(1);
    q.page.limit = 2;
    const auto page1 = s.usage(q);
    REQUIRE(page1->items.size() == 2);
    q.page.cursor = page1->next;
    const auto page2 = s.usage(q);
    REQUIRE(page2->items.size() == 1);
    CHECK(page2->items[0].subject == "ak2");
    CHECK(page2->items[0].requests == 10);
}

// Sums stay exact above 2^53, also in a million additions.
inline void check_exact(store& s) {
    constexpr int batches = 100;
    std::vector<ledger_record> records(100, make_record("same"));
    const std::int64_t odd = 900'719'925'474'099;
    for (auto& r : records)
        r.cost = odd;
    auto b = make_batch("j", 1, records);
    for (int i = 1; i <= batches; ++i) {
        b.number = static_cast<std::uint64_t>(i);
        b.after = b.number - 1;
        REQUIRE(s.apply(std::span(&b, 1)).has_value());
    }
    CHECK(total(s).cost == odd * 100 * batches);
    CHECK(total(s).requests == 100 * batches);
}

}  // namespace kw::store::test
