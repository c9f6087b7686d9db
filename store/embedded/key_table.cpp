// One row for each key; `sequence` grows with every change. `redis/key_scripts.hpp` says the same.
#include "store/embedded/key_table.hpp"

#include <limits>

namespace kw::store::embedded {
namespace {

constexpr const char* schema = R"(
CREATE TABLE IF NOT EXISTS upstream_keys (id TEXT PRIMARY KEY, sequence INTEGER NOT NULL,
  uses INTEGER NOT NULL, successes INTEGER NOT NULL, failures INTEGER NOT NULL,
  tokens INTEGER NOT NULL, day INTEGER NOT NULL, day_uses INTEGER NOT NULL,
  day_tokens INTEGER NOT NULL, success_ppm INTEGER NOT NULL, found INTEGER NOT NULL,
  found_by TEXT NOT NULL, finding TEXT NOT NULL, until INTEGER NOT NULL, weight INTEGER NOT NULL,
  firm INTEGER NOT NULL, headers_left INTEGER NOT NULL, headers_until INTEGER NOT NULL,
  headers_by TEXT NOT NULL) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS upstream_keys_by_sequence ON upstream_keys (sequence);
INSERT OR IGNORE INTO meta VALUES ('key_sequence', 0);
)";

constexpr std::int64_t no_end = std::numeric_limits<std::int64_t>::max();

struct held_finding {
    std::int64_t found = 0;
    std::string by;
    std::string text;
    std::int64_t until = 0;
    std::int64_t weight = 0;
    bool firm = false;
};

bool replaces(const key_finding& told, std::int64_t until, const std::string& by,
              const held_finding& held, std::int64_t now) {
    if (held.found == 0 || held.by == by || static_cast<std::int64_t>(told.knew) >= held.found)
        return true;
    if (told.firm || held.firm) return told.firm;
    const auto weight = held.until <= now ? 0 : held.weight;
    return told.weight != weight ? told.weight > weight : until > held.until;
}

}  // namespace

void key_table::make_schema() {
    db_.run(schema);
}

bool key_table::knows(const key_batch& news) const {
    const auto last = applied_.find(news.replica);
    return last != applied_.end() && last->second >= news.number;
}

void key_table::tell(const key_batch& news) {
    const auto now = unix_ms(clock_.wall());
    for (const auto& one : news.items)
        tell_one(one, news.replica, now);
}

void key_table::tell_one(const key_news& news, const std::string& replica, std::int64_t now) {
    if (news.gone) {
        db_.prepare("DELETE FROM upstream_keys WHERE id=?").bind(news.id).step();
        return;
    }
    db_.prepare("UPDATE meta SET value=value+1 WHERE name='key_sequence'").step();
    std::int64_t sequence = 0;
    if (auto row = db_.prepare("SELECT value FROM meta WHERE name='key_sequence'"); row.step())
        sequence = row.integer(0);
    std::int64_t day = -1;
    held_finding found;
    std::int64_t left = 0;
    std::int64_t left_until = 0;
    std::string left_by;
    {
        auto row = db_.prepare(
            "SELECT day, found, found_by, finding, until, weight, firm, headers_left, "
            "headers_until, headers_by FROM upstream_keys WHERE id=?");
        if (row.bind(news.id).step()) {
            day = row.integer(0);
            found = {row.integer(1), row.text(2),    row.text(3),
                     row.integer(4), row.integer(5), row.integer(6) != 0};
            left = row.integer(7);
            left_until = row.integer(8);
            left_by = row.text(9);
        }
    }
    if (news.finding) {
        const auto& f = *news.finding;
        const auto until = f.rest ? now + f.rest->count() : no_end;
        if (replaces(f, until, replica, found, now))
            found = {sequence, replica, f.text, until, f.weight, f.firm};
    }
    if (news.headers) {
        left = news.headers->left;
        left_until = now + news.headers->holds.count();
        left_by = replica;
    }
    const bool new_day = news.day > day;
    const bool this_day = news.day >= day;
    auto write = db_.prepare(
        "INSERT INTO upstream_keys VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO "
        "UPDATE SET sequence=excluded.sequence, uses=uses+excluded.uses, "
        "successes=successes+excluded.successes, failures=failures+excluded.failures, "
        "tokens=tokens+excluded.tokens, "
        "day_uses=excluded.day_uses+iif(excluded.day>day, 0, day_uses), "
        "day_tokens=excluded.day_tokens+iif(excluded.day>day, 0, day_tokens), "
        "day=max(day, excluded.day), success_ppm=excluded.success_ppm, found=excluded.found, "
        "found_by=excluded.found_by, finding=excluded.finding, until=excluded.until, "
        "weight=excluded.weight, firm=excluded.firm, headers_left=excluded.headers_left, "
        "headers_until=excluded.headers_until, headers_by=excluded.headers_by");
    write.bind(news.id)
        .bind(sequence)
        .bind(news.add.uses)
        .bind(news.add.successes)
        .bind(news.add.failures)
        .bind(news.add.tokens)
        .bind(news.day)
        .bind((this_day ? news.add.uses : 0) + (new_day ? news.start_uses : 0))
        .bind((this_day ? news.add.tokens : 0) + (new_day ? news.start_tokens : 0))
        .bind(std::int64_t{news.success_ppm})
        .bind(found.found)
        .bind(found.by)
        .bind(found.text)
        .bind(found.until)
        .bind(found.weight)
        .bind(std::int64_t{found.firm ? 1 : 0})
        .bind(left)
        .bind(left_until)
        .bind(left_by)
        .step();
}

key_standings key_table::since(key_position at, std::size_t limit) {
    key_standings out;
    std::int64_t last = 0;
    if (auto row = db_.prepare("SELECT value FROM meta WHERE name='key_sequence'"); row.step())
        last = row.integer(0);
    out.reset = at.origin == 0 || static_cast<std::int64_t>(at.sequence) > last;
    if (out.reset) at.sequence = 0;
    const auto now = unix_ms(clock_.wall());
    auto rows = db_.prepare(
        "SELECT id, sequence, uses, successes, failures, tokens, day, day_uses, day_tokens, "
        "success_ppm, found, found_by, finding, until, headers_left, headers_until, headers_by "
        "FROM upstream_keys WHERE sequence>? ORDER BY sequence LIMIT ?");
    rows.bind(static_cast<std::int64_t>(at.sequence)).bind(static_cast<std::int64_t>(limit + 1));
    while (rows.step()) {
        if (out.items.size() == limit) {
            out.more = true;
            break;
        }
        auto& k = out.items.emplace_back();
        k.id = rows.text(0);
        k.sequence = static_cast<std::uint64_t>(rows.integer(1));
        k.sums = {rows.integer(2), rows.integer(3), rows.integer(4), rows.integer(5)};
        k.day = rows.integer(6);
        k.day_uses = rows.integer(7);
        k.day_tokens = rows.integer(8);
        k.success_ppm = static_cast<std::int32_t>(rows.integer(9));
        k.found = static_cast<std::uint64_t>(rows.integer(10));
        k.found_by = rows.text(11);
        k.finding = rows.text(12);
        if (const auto until = rows.integer(13); until != no_end)
            k.rest = std::chrono::milliseconds(until - now);
        k.headers_until = rows.integer(15);
        k.headers_by = rows.text(16);
        if (k.headers_until > now)
            k.headers = {rows.integer(14), std::chrono::milliseconds(k.headers_until - now)};
    }
    out.at = {1, out.more ? out.items.back().sequence : static_cast<std::uint64_t>(last)};
    return out;
}

}  // namespace kw::store::embedded
