// The board of objects in a database of its own, so that neither it nor the books wait for the
// other.
#include "store/objects.hpp"

#include <algorithm>

#include "store/embedded/sqlite.hpp"

namespace kw::store {
namespace {

constexpr std::int64_t removed_at_once = 500;
constexpr std::int64_t most_accounts = 64;

class embedded_objects final : public object_board {
  public:
    embedded_objects(std::unique_ptr<sqlite::connection> db, std::size_t most,
                     const clock_source& clock)
        : db_(std::move(db)), most_(static_cast<std::int64_t>(most)), clock_(clock) {}

    result<void> make_schema() {
        // A killed process loses nothing; a power failure what the kernel had not written.
        db_->run("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;");
        db_->run(
            "CREATE TABLE IF NOT EXISTS objects(id TEXT PRIMARY KEY, account TEXT NOT NULL, owner "
            "TEXT NOT NULL, ends INTEGER NOT NULL) WITHOUT ROWID;"
            "CREATE INDEX IF NOT EXISTS objects_by_end ON objects(ends);"
            "CREATE TABLE IF NOT EXISTS used(owner TEXT, account TEXT, at INTEGER NOT NULL, "
            "PRIMARY KEY(owner, account)) WITHOUT ROWID;"
            "CREATE TABLE IF NOT EXISTS debts(id TEXT PRIMARY KEY, note TEXT NOT NULL, ends "
            "INTEGER "
            "NOT NULL, look INTEGER, claimant TEXT NOT NULL, claimed INTEGER NOT NULL) WITHOUT "
            "ROWID;"
            "CREATE INDEX IF NOT EXISTS debts_by_end ON debts(ends);"
            "CREATE INDEX IF NOT EXISTS debts_by_look ON debts(look) WHERE look IS NOT NULL;");
        auto row = db_->prepare("SELECT count(*) FROM objects");
        if (row.step()) count_ = row.integer(0);
        auto debts = db_->prepare("SELECT count(*) FROM debts");
        if (debts.step()) debts_ = debts.integer(0);
        if (!db_->ok()) return lost();
        return {};
    }

    result<void> bind(std::span<const object_binding> all) override {
        const std::int64_t now = unix_ms(clock_.wall());
        sqlite::transaction change(*db_);
        std::int64_t count = count_;
        for (const auto& b : all) {
            if (b.id.empty() || b.id.size() > max_object_id) continue;
            auto held = db_->prepare("SELECT ends FROM objects WHERE id=?");
            const bool there = held.bind(b.id).step();
            if (there && b.claim && held.integer(0) > now) continue;
            auto put = db_->prepare(
                "INSERT INTO objects VALUES(?,?,?,?) ON CONFLICT(id) DO UPDATE SET "
                "account=excluded.account, owner=excluded.owner, ends=excluded.ends");
            put.bind(b.id).bind(b.account).bind(b.owner);
            put.bind(now + std::chrono::milliseconds(b.keep).count()).step();
            if (!there) ++count;
            auto used = db_->prepare(
                "INSERT INTO used VALUES(?,?,?) ON CONFLICT DO UPDATE SET at=excluded.at");
            used.bind(b.owner).bind(b.account).bind(now).step();
        }
        // What is over, a little each time; then what would be over first.
        count -= remove_until(now);
        while (db_->ok() && count > most_) {
            const auto gone = remove_until(INT64_MAX, std::min(count - most_, removed_at_once));
            if (gone == 0) break;
            count -= gone;
        }
        if (!db_->ok() || !change.commit()) return lost();
        count_ = count;
        return {};
    }

    result<std::vector<object_place>> find(std::span<const std::string> ids) override {
        const std::int64_t now = unix_ms(clock_.wall());
        std::vector<object_place> out;
        out.reserve(ids.size());
        // Each statement by itself would take and leave a lock of the file.
        const bool many = ids.size() > 1;
        if (many) db_->prepare("BEGIN").step();
        for (const auto& id : ids) {
            auto row = db_->prepare("SELECT account, owner FROM objects WHERE id=? AND ends>?");
            if (row.bind(id).bind(now).step())
                out.push_back({true, row.text(0), row.text(1)});
            else
                out.emplace_back();
        }
        if (many) db_->prepare("COMMIT").step();
        if (!db_->ok()) {
            db_->roll_back();
            return lost();
        }
        return out;
    }

    result<std::vector<std::string>> accounts_of(const std::string& owner) override {
        std::vector<std::string> out;
        auto rows = db_->prepare("SELECT account FROM used WHERE owner=? ORDER BY at DESC LIMIT ?");
        rows.bind(owner).bind(most_accounts);
        while (rows.step())
            out.push_back(rows.text(0));
        if (!db_->ok()) return lost();
        return out;
    }

    // `look` is null once it is paid.
    result<void> owe(const object_debt& debt, std::chrono::seconds look) override {
        if (debt.id.size() > max_object_id || debt.note.size() > max_debt_note) return {};
        const std::int64_t now = unix_ms(clock_.wall());
        sqlite::transaction change(*db_);
        drop_debts("ends<=?", now);
        auto put = db_->prepare("INSERT INTO debts VALUES(?,?,?,?,'',0) ON CONFLICT DO NOTHING");
        put.bind(debt.id).bind(debt.note).bind(now + ms(debt.keep)).bind(now + ms(look)).step();
        if (db_->changed() > 0) ++debts_;
        if (debts_ > most_) drop_debts("ends>?", 0);
        if (!db_->ok() || !change.commit()) return lost();
        return {};
    }

    result<debt_claim> claim(const std::string& id, const std::string& claimant,
                             std::chrono::seconds length) override {
        using enum debt_claim::outcome;
        const std::int64_t now = unix_ms(clock_.wall());
        sqlite::transaction change(*db_);
        debt_claim out;
        {
            auto row = db_->prepare(
                "SELECT note, look IS NULL, claimed>? AND claimant<>? FROM debts WHERE id=? AND "
                "ends>?");
            if (row.bind(now).bind(claimant).bind(id).bind(now).step()) {
                out.is = row.integer(1) != 0 ? paid : row.integer(2) != 0 ? anothers : yours;
                if (out.is == yours) out.note = row.text(0);
            }
        }
        if (out.is == yours)
            db_->prepare("UPDATE debts SET claimant=?, claimed=? WHERE id=?")
                .bind(claimant)
                .bind(now + ms(length))
                .bind(id)
                .step();
        if (!db_->ok() || !change.commit()) return lost();
        return out;
    }

    result<void> pay(const std::string& id, std::chrono::seconds keep) override {
        auto row = db_->prepare("UPDATE debts SET look=NULL, note='', ends=? WHERE id=?");
        row.bind(unix_ms(clock_.wall()) + ms(keep)).bind(id).step();
        if (!db_->ok()) return lost();
        return {};
    }

    result<std::vector<object_debt>> due(std::chrono::seconds again, std::size_t most) override {
        const std::int64_t now = unix_ms(clock_.wall());
        sqlite::transaction change(*db_);
        std::vector<object_debt> out;
        {
            auto rows = db_->prepare(
                "SELECT id, note FROM debts WHERE look<=? AND ends>? ORDER BY look LIMIT ?");
            rows.bind(now).bind(now).bind(static_cast<std::int64_t>(most));
            while (rows.step())
                out.push_back({rows.text(0), rows.text(1), {}});
        }
        for (const auto& d : out)
            db_->prepare("UPDATE debts SET look=? WHERE id=?")
                .bind(now + ms(again))
                .bind(d.id)
                .step();
        if (!db_->ok() || !change.commit()) return lost();
        return out;
    }

  private:
    static std::int64_t ms(std::chrono::seconds s) noexcept {
        return std::chrono::milliseconds(s).count();
    }

    // Those that end first.
    void drop_debts(std::string_view which, std::int64_t than) {
        auto gone = db_->prepare("DELETE FROM debts WHERE id IN (SELECT id FROM debts WHERE " +
                                 std::string(which) + " ORDER BY ends LIMIT ?)");
        gone.bind(than).bind(removed_at_once).step();
        debts_ -= db_->changed();
    }

    std::int64_t remove_until(std::int64_t end, std::int64_t most = removed_at_once) {
        auto gone = db_->prepare(
            "DELETE FROM objects WHERE id IN (SELECT id FROM objects WHERE ends<=? ORDER BY ends "
            "LIMIT ?)");
        gone.bind(end).bind(most).step();
        return db_->ok() ? db_->changed() : 0;
    }

    error lost() {
        error e(errc::store_unavailable, "the database of objects: " + db_->failure(),
                error_source::store);
        db_->clear();
        return e;
    }

    std::unique_ptr<sqlite::connection> db_;
    const std::int64_t most_;
    const clock_source& clock_;
    std::int64_t count_ = 0;
    std::int64_t debts_ = 0;
};

}  // namespace

result<std::unique_ptr<object_board>> open_embedded_objects(const std::string& data_dir,
                                                            std::size_t max_bound,
                                                            const clock_source& clock) {
    auto db = sqlite::connection::open(data_dir + "/objects.db");
    if (!db) return db.error();
    auto board = std::make_unique<embedded_objects>(std::move(*db), max_bound, clock);
    if (auto made = board->make_schema(); !made) return made.error();
    return std::unique_ptr<object_board>(std::move(board));
}

}  // namespace kw::store
