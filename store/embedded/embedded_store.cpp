// The store of one machine without a server: SQLite in WAL mode in the data directory.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <limits>
#include <mutex>

#include "core/log.hpp"
#include "store/aggregate_fields.hpp"
#include "store/backup.hpp"
#include "store/data_dir.hpp"
#include "store/embedded/key_table.hpp"
#include "store/embedded/sqlite.hpp"
#include "store/ledger_codec.hpp"
#include "store/paging.hpp"
#include "store/store.hpp"

namespace kw::store {
namespace {

constexpr std::int64_t schema_version = 1;
constexpr std::int64_t clean_up_rows = 5'000;  // a call
constexpr std::size_t max_scanned = 20'000;    // ledger rows a call of list_records looks at

constexpr const char* schema = R"(
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (kind TEXT NOT NULL, id TEXT NOT NULL,
  revision INTEGER NOT NULL, erased INTEGER NOT NULL, json TEXT NOT NULL,
  PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS records_by_revision ON records (revision);
CREATE TABLE IF NOT EXISTS batches (journal TEXT NOT NULL, shard INTEGER NOT NULL,
  number INTEGER NOT NULL, PRIMARY KEY (journal, shard)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ledger (id TEXT PRIMARY KEY, started INTEGER NOT NULL,
  body BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ledger_by_time ON ledger (started, id);
CREATE TRIGGER IF NOT EXISTS late_gone AFTER DELETE ON ledger WHEN OLD.id LIKE '%.late'
  BEGIN DELETE FROM batches WHERE journal = 'once-' || OLD.id; END;
CREATE TABLE IF NOT EXISTS audit (id TEXT PRIMARY KEY, at INTEGER NOT NULL,
  body TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS audit_by_time ON audit (at, id);
INSERT OR IGNORE INTO meta VALUES ('revision', 0), ('schema', 1);
)";

// The statements that depend on the table of fields, made once.
struct aggregate_sql {
    std::string create =
        "CREATE TABLE IF NOT EXISTS aggregates (span INTEGER NOT NULL, "
        "bucket TEXT NOT NULL, dimension INTEGER NOT NULL, subject TEXT NOT NULL";
    std::string add = "INSERT INTO aggregates VALUES (?,?,?,?";
    std::string columns = "bucket, subject";
    aggregate_sql() {
        std::string sums;
        for (const auto& f : aggregate_fields) {
            const std::string name(f.name);
            create += ", " + name + " INTEGER NOT NULL";
            add += ",?";
            columns += ", " + name;
            sums += (sums.empty() ? "" : ", ") + name + " = " + name + " + excluded." + name;
        }
        create += ", PRIMARY KEY (span, dimension, bucket, subject)) WITHOUT ROWID";
        add += ") ON CONFLICT DO UPDATE SET " + sums;
    }
};

const aggregate_sql& sql_of_aggregates() {
    static const aggregate_sql sql;
    return sql;
}

record record_of(const sqlite::statement& row) {
    return {row.text(0), row.text(1), static_cast<std::uint64_t>(row.integer(2)), row.text(3)};
}

class embedded_store final : public store {
  public:
    embedded_store(std::unique_ptr<sqlite::connection> db, const retention& keep,
                   const clock_source& clock)
        : db_(std::move(db)), keep_(keep), clock_(clock), keys_(*db_, clock) {
        health_.since = clock.wall();
    }

    result<void> make_schema(const std::string& path) {
        db_->run("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=OFF;");
        db_->run(schema);
        db_->run(sql_of_aggregates().create.c_str());
        keys_.make_schema();
        if (!db_->ok()) return lost();
        auto version = db_->prepare("SELECT value FROM meta WHERE name='schema'");
        if (version.step() && version.integer(0) > schema_version)
            return error(errc::invalid_argument,
                         path + " was made by a newer release: use that release, or a backup",
                         error_source::store);
        auto row = db_->prepare("SELECT value FROM meta WHERE name='revision'");
        if (row.step()) revision_ = static_cast<std::uint64_t>(row.integer(0));
        return {};
    }

    result<std::uint64_t> put(const record& r, std::uint64_t* current) override {
        return change_record(r.kind, r.id, r.revision, r.json, false, current);
    }

    result<void> erase(std::string_view kind, std::string_view id,
                       std::uint64_t revision) override {
        const auto done = change_record(kind, id, revision, "", true, nullptr);
        if (!done) return done.error();
        return {};
    }

    std::vector<result<std::uint64_t>> write_all(std::span<const change> writes) override {
        const auto hold = begin();
        sqlite::transaction all(*db_);
        std::vector<result<std::uint64_t>> out;
        out.reserve(writes.size());
        auto last = revision_;
        for (const auto& w : writes) {
            const record& r = w.after;
            out.push_back(change_one(r.kind, r.id, r.revision, w.erased ? "" : r.json, w.erased,
                                     last + 1, nullptr));
            if (!out.back()) continue;
            last = *out.back();
            if (w.trail) add_audit(*w.trail);
        }
        if (!db_->ok() || !all.commit())
            return std::vector<result<std::uint64_t>>(writes.size(), lost());
        if (last != revision_) {
            revision_ = last;
            changed_.notify_all();
        }
        return out;
    }

    result<record> get(std::string_view kind, std::string_view id) override {
        const auto hold = begin();
        auto row = db_->prepare(
            "SELECT kind, id, revision, json FROM records WHERE kind=? AND id=? AND erased=0");
        const bool found = row.bind(kind).bind(id).step();
        if (!db_->ok()) return lost();
        if (!found) return not_found(kind, id);
        return record_of(row);
    }

    result<page<record>> list(std::string_view kind, const page_request& at) override {
        const auto hold = begin();
        const auto limit = clamped(at.limit);
        page<record> out;
        auto rows = db_->prepare(
            "SELECT kind, id, revision, json FROM records WHERE kind=? AND id>? AND erased=0 "
            "ORDER BY id LIMIT ?");
        rows.bind(kind).bind(at.cursor).bind(static_cast<std::int64_t>(limit + 1));
        while (rows.step())
            out.items.push_back(record_of(rows));
        if (!db_->ok()) return lost();
        if (out.items.size() > limit) {
            out.items.pop_back();
            out.next = out.items.back().id;
        }
        return out;
    }

    result<changes> changes_since(std::uint64_t revision, std::size_t limit,
                                  std::uint64_t /*server*/) override {
        const auto hold = begin();
        changes out;
        out.reset = revision == 0 || revision > revision_;
        if (revision > revision_) revision = 0;
        auto rows = db_->prepare(
            "SELECT kind, id, revision, json, erased FROM records WHERE revision>? AND "
            "erased<=? ORDER BY revision LIMIT ?");
        rows.bind(static_cast<std::int64_t>(revision))
            .bind(std::int64_t{revision == 0 ? 0 : 1})
            .bind(static_cast<std::int64_t>(limit + 1));
        while (rows.step())
            out.items.push_back({record_of(rows), rows.integer(4) != 0});
        if (!db_->ok()) return lost();
        out.more = out.items.size() > limit;
        if (out.more) out.items.pop_back();
        out.revision = out.more ? out.items.back().after.revision : revision_;
        return out;
    }

    result<bool> wait_change(std::uint64_t revision, std::chrono::milliseconds timeout) override {
        std::unique_lock lock(mutex_);
        interrupted_ = false;
        changed_.wait_for(lock, timeout, [&] { return revision_ != revision || interrupted_; });
        return revision_ != revision;
    }

    void interrupt_wait() noexcept override {
        const std::lock_guard lock(mutex_);
        interrupted_ = true;
        changed_.notify_all();
    }

    result<void> append_audit(std::span<const audit_entry> entries) override {
        const auto hold = begin();
        sqlite::transaction all(*db_);
        for (const auto& e : entries)
            add_audit(e);
        if (!db_->ok() || !all.commit()) return lost();
        return {};
    }

    result<page<audit_entry>> list_audit(const audit_query& query) override {
        const auto hold = begin();
        const auto limit = clamped(query.page.limit);
        const auto [before, before_id] = time_cursor(query.page.cursor, query.to);
        auto rows = db_->prepare(
            "SELECT id, at, body FROM audit WHERE at>=? AND (at, id)<(?,?) ORDER BY at DESC, id "
            "DESC LIMIT ?");
        rows.bind(nanoseconds_of(query.from))
            .bind(before)
            .bind(before_id)
            .bind(static_cast<std::int64_t>(limit + 1));
        page<audit_entry> out;
        while (rows.step())
            out.items.push_back(
                {rows.text(0), wall_time(std::chrono::nanoseconds(rows.integer(1))), rows.text(2)});
        if (!db_->ok()) return lost();
        if (out.items.size() > limit) {
            out.items.pop_back();
            const auto& last = out.items.back();
            out.next = make_cursor(std::to_string(nanoseconds_of(last.at)), last.id);
        }
        return out;
    }

    result<std::vector<batch_status>> apply(std::span<const ledger_batch> batches) override {
        const auto hold = begin();
        // No wait for the disk: after a power loss the journal, which keeps what was confirmed for
        // minutes, is asked for the batches that are missing.
        std::vector<batch_status> out;
        db_->run("PRAGMA synchronous=NORMAL");
        const bool done = apply_all(batches, out);
        db_->run("PRAGMA synchronous=FULL");
        if (!done || !db_->ok()) return lost();
        return out;
    }

    result<batch_numbers> applied_numbers(std::string_view journal) override {
        const auto hold = begin();
        batch_numbers out{};
        auto rows = db_->prepare("SELECT shard, number FROM batches WHERE journal=?");
        rows.bind(journal);
        while (rows.step()) {
            const auto shard = static_cast<std::size_t>(rows.integer(0));
            if (shard < out.size()) out[shard] = static_cast<std::uint64_t>(rows.integer(1));
        }
        if (!db_->ok()) return lost();
        return out;
    }

    result<page<aggregate>> usage(const usage_query& query) override {
        const auto hold = begin();
        const auto buckets = bucket_range(query);
        const auto [after_bucket, after_subject] = split_cursor(query.page.cursor);
        const auto limit = clamped(query.page.limit);
        static const std::string every =
            "SELECT " + sql_of_aggregates().columns +
            " FROM aggregates WHERE span=? AND dimension=? AND bucket>=? AND bucket<? AND "
            "(bucket, subject)>(?,?) ORDER BY bucket, subject LIMIT ?";
        static const std::string one =
            "SELECT " + sql_of_aggregates().columns +
            " FROM aggregates WHERE span=? AND dimension=? AND bucket>=? AND bucket<? AND "
            "(bucket, subject)>(?,?) AND subject=? ORDER BY bucket LIMIT ?";
        auto rows = db_->prepare(query.subject ? one : every);
        rows.bind(static_cast<std::int64_t>(query.length))
            .bind(static_cast<std::int64_t>(query.by))
            .bind(buckets.first)
            .bind(buckets.second)
            .bind(after_bucket)
            .bind(after_subject);
        if (query.subject) rows.bind(*query.subject);
        rows.bind(static_cast<std::int64_t>(limit + 1));
        page<aggregate> out;
        while (rows.step()) {
            auto& a = out.items.emplace_back();
            a.by = query.by;
            a.length = query.length;
            a.bucket = rows.text(0);
            a.subject = rows.text(1);
            int column = 2;
            for (const auto& f : aggregate_fields)
                f.of(a) = rows.integer(column++);
        }
        if (!db_->ok()) return lost();
        if (out.items.size() > limit) {
            out.items.pop_back();
            out.next = make_cursor(out.items.back().bucket, out.items.back().subject);
        }
        return out;
    }

    result<ledger_record> find_record(std::string_view id) override {
        const auto hold = begin();
        auto row = db_->prepare("SELECT body FROM ledger WHERE id=?");
        const bool found = row.bind(id).step();
        if (!db_->ok()) return lost();
        if (found)
            if (auto r = decode(row.text(0))) return std::move(*r);
        return not_found("ledger record", id);
    }

    result<page<ledger_record>> list_records(const record_filter& filter) override {
        const auto hold = begin();
        const auto limit = clamped(filter.page.limit);
        auto [before, before_id] = time_cursor(filter);
        const auto until = before_id;  // bound: must stay as it is while the cursor moves on
        page<ledger_record> out;
        auto rows = db_->prepare(
            "SELECT started, id, body FROM ledger WHERE started>=? AND (started, id)<(?,?) "
            "ORDER BY started DESC, id DESC LIMIT ?");
        rows.bind(nanoseconds_of(filter.from))
            .bind(before)
            .bind(until)
            .bind(static_cast<std::int64_t>(max_scanned + 1));
        for (std::size_t seen = 0; rows.step(); ++seen) {
            if (out.items.size() == limit || seen == max_scanned) {
                out.next = make_cursor(std::to_string(before), before_id);
                break;
            }
            before = rows.integer(0);
            before_id = rows.text(1);
            auto r = decode(rows.text(2));
            if (r && matches(filter, *r)) out.items.push_back(std::move(*r));
        }
        if (!db_->ok()) return lost();
        return out;
    }

    result<std::uint64_t> clean_up() override {
        const auto hold = begin();
        const auto now = clock_.wall();
        std::uint64_t removed = 0;
        sqlite::transaction all(*db_);
        const auto buckets = [&](span length, std::chrono::hours keep) {
            auto gone = db_->prepare(
                "DELETE FROM aggregates WHERE (span, dimension, bucket, subject) IN (SELECT span, "
                "dimension, bucket, subject FROM aggregates WHERE span=? AND dimension BETWEEN 0 "
                "AND 9 AND bucket<? LIMIT ?)");
            const auto oldest = bucket_name(length, now - keep);
            gone.bind(static_cast<std::int64_t>(length)).bind(oldest).bind(clean_up_rows).step();
            removed += static_cast<std::uint64_t>(db_->changed());
        };
        buckets(span::hour, keep_.hours);
        buckets(span::day, keep_.days);
        {
            auto old = db_->prepare(
                "DELETE FROM ledger WHERE id IN (SELECT id FROM ledger WHERE started<? LIMIT ?)");
            old.bind(nanoseconds_of(now - keep_.records)).bind(clean_up_rows).step();
            removed += static_cast<std::uint64_t>(db_->changed());
        }
        {
            auto old = db_->prepare(
                "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at<? LIMIT ?)");
            old.bind(nanoseconds_of(now - keep_.audit)).bind(clean_up_rows).step();
            removed += static_cast<std::uint64_t>(db_->changed());
        }
        const auto shorten = [&](const char* count_all, const char* drop, std::uint64_t most) {
            std::int64_t count = 0;
            if (auto row = db_->prepare(count_all); row.step()) count = row.integer(0);
            const auto over = count - static_cast<std::int64_t>(most);
            if (over <= 0) return;
            db_->prepare(drop).bind(std::min(over, clean_up_rows)).step();
            removed += static_cast<std::uint64_t>(db_->changed());
        };
        shorten("SELECT count(*) FROM ledger",
                "DELETE FROM ledger WHERE id IN (SELECT id FROM ledger ORDER BY started, id "
                "LIMIT ?)",
                keep_.max_records);
        shorten("SELECT count(*) FROM audit",
                "DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY at, id LIMIT ?)",
                keep_.max_audit);
        if (!all.commit()) return lost();
        return removed;
    }

    result<void> tell(const key_batch& news) override {
        const auto hold = begin();
        if (keys_.knows(news)) return {};
        // No wait for the disk: what a power loss takes from these is found out again.
        db_->run("PRAGMA synchronous=NORMAL");
        {
            sqlite::transaction all(*db_);
            keys_.tell(news);
            if (all.commit()) keys_.told(news);
        }
        db_->run("PRAGMA synchronous=FULL");
        if (!db_->ok()) return lost();
        return {};
    }

    result<key_standings> standings_since(key_position at, std::size_t limit) override {
        const auto hold = begin();
        auto out = keys_.since(at, limit);
        if (!db_->ok()) return lost();
        return out;
    }

    result<std::vector<std::string>> preflight() override { return std::vector<std::string>(); }

    result<void> ping() override {
        const auto hold = begin();
        db_->prepare("SELECT 1").step();
        if (!db_->ok()) return lost();
        return {};
    }

    [[nodiscard]] store_health health() const override {
        const std::lock_guard lock(mutex_);
        return health_;
    }
    [[nodiscard]] std::string_view name() const noexcept override { return "embedded"; }

  private:
    // Holds the connection for one call; on the way out notes how long it took and whether it went
    // well.
    class call {
      public:
        explicit call(embedded_store& of)
            : of_(of), lock_(of.mutex_), begun_(std::chrono::steady_clock::now()) {
            of.db_->clear();
        }
        ~call() {
            auto& h = of_.health_;
            h.latency = std::chrono::duration_cast<std::chrono::microseconds>(
                std::chrono::steady_clock::now() - begun_);
            const bool up = of_.db_->ok();
            h.errors += up ? 0 : 1;
            if (up == h.up) return;
            h.up = up;
            h.since = of_.clock_.wall();
            h.reason = of_.db_->failure();
            log::event(up ? log::level::info : log::level::error, up ? "store.up" : "store.down",
                       {{"store", "embedded"}, {"reason", h.reason}});
        }
        call(const call&) = delete;
        call& operator=(const call&) = delete;

      private:
        embedded_store& of_;
        std::lock_guard<std::mutex> lock_;
        std::chrono::steady_clock::time_point begun_;
    };

    [[nodiscard]] call begin() { return call(*this); }

    [[nodiscard]] error lost() const {
        return error(errc::store_unavailable, "embedded store: " + db_->failure(),
                     error_source::store);
    }

    result<std::uint64_t> change_record(std::string_view kind, std::string_view id,
                                        std::uint64_t expected, std::string_view json, bool erase,
                                        std::uint64_t* current) {
        const auto hold = begin();
        sqlite::transaction all(*db_);
        auto revision = change_one(kind, id, expected, json, erase, revision_ + 1, current);
        if (!revision) return revision;
        if (!all.commit()) return lost();
        revision_ = *revision;
        changed_.notify_all();
        return revision;
    }

    // In a transaction that is under way; revision_ is the caller's to set.
    result<std::uint64_t> change_one(std::string_view kind, std::string_view id,
                                     std::uint64_t expected, std::string_view json, bool erase,
                                     std::uint64_t next, std::uint64_t* current) {
        std::uint64_t stored = 0;
        {
            auto row =
                db_->prepare("SELECT revision FROM records WHERE kind=? AND id=? AND erased=0");
            if (row.bind(kind).bind(id).step()) stored = static_cast<std::uint64_t>(row.integer(0));
        }
        if (!db_->ok()) return lost();
        if (current != nullptr) *current = stored;
        if (erase && stored == 0) return not_found(kind, id);
        if (stored != expected && !(erase && expected == 0)) return conflict(kind, id);
        db_->prepare(
               "INSERT INTO records VALUES (?,?,?,?,?) ON CONFLICT DO UPDATE SET "
               "revision=excluded.revision, erased=excluded.erased, json=excluded.json")
            .bind(kind)
            .bind(id)
            .bind(static_cast<std::int64_t>(next))
            .bind(std::int64_t{erase ? 1 : 0})
            .bind(json)
            .step();
        db_->prepare("UPDATE meta SET value=? WHERE name='revision'")
            .bind(static_cast<std::int64_t>(next))
            .step();
        return next;
    }

    // In a transaction that is under way.
    void add_audit(const audit_entry& e) {
        db_->prepare("INSERT OR REPLACE INTO audit VALUES (?,?,?)")
            .bind(e.id)
            .bind(nanoseconds_of(e.at))
            .bind(e.json)
            .step();
    }

    bool apply_all(std::span<const ledger_batch> batches, std::vector<batch_status>& out) {
        sqlite::transaction all(*db_);
        for (const auto& batch : batches)
            out.push_back(apply_one(batch));
        return all.commit();
    }

    batch_status apply_one(const ledger_batch& batch) {
        std::uint64_t held = 0;
        const auto shard = static_cast<std::int64_t>(batch.shard);
        {
            auto row = db_->prepare("SELECT number FROM batches WHERE journal=? AND shard=?");
            if (row.bind(batch.journal).bind(shard).step())
                held = static_cast<std::uint64_t>(row.integer(0));
        }
        if (held >= batch.number || held != batch.after) return {false, held};
        db_->prepare(
               "INSERT INTO batches VALUES (?,?,?) ON CONFLICT DO UPDATE SET "
               "number=excluded.number")
            .bind(batch.journal)
            .bind(shard)
            .bind(static_cast<std::int64_t>(batch.number))
            .step();
        auto insert = db_->prepare("INSERT OR REPLACE INTO ledger VALUES (?,?,?)");
        for (std::size_t i = 0; i < batch.records.size(); ++i) {
            const auto& r = batch.records[i];
            insert.again().bind(r.id).bind(nanoseconds_of(r.started)).blob(batch.encoded[i]).step();
        }
        for (const auto& a : batch.sums) {
            auto add = db_->prepare(sql_of_aggregates().add);
            add.bind(static_cast<std::int64_t>(a.length))
                .bind(a.bucket)
                .bind(static_cast<std::int64_t>(a.by))
                .bind(a.subject);
            for (const auto& f : aggregate_fields)
                add.bind(f.of(a));
            add.step();
        }
        return {true, batch.number};
    }

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::unique_ptr<sqlite::connection> db_;
    const retention keep_;
    const clock_source& clock_;
    store_health health_;
    embedded::key_table keys_;
    std::uint64_t revision_ = 0;
    bool interrupted_ = false;
};

}  // namespace

result<std::unique_ptr<store>> open_embedded(const embedded_options& options,
                                             const clock_source& clock) {
    if (auto made = make_folder(options.data_dir); !made)
        return error(errc::store_unavailable, made.error().context, error_source::store);
    if (::access((options.data_dir + '/' + unfinished_restore).c_str(), F_OK) == 0)
        return error(errc::invalid_argument,
                     "a restore into " + options.data_dir + " has not ended: run it again",
                     error_source::store);
    const auto path = options.data_dir + "/keywheel.db";
    auto db = sqlite::connection::open(path);
    if (!db) return db.error();
    auto out = std::make_unique<embedded_store>(std::move(*db), options.keep, clock);
    if (auto ready = out->make_schema(path); !ready) return ready.error();
    return std::unique_ptr<store>(std::move(out));
}

}  // namespace kw::store
