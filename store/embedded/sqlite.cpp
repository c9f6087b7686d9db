// SQLite behind small owners.
#include "store/embedded/sqlite.hpp"

#include <sqlite3.h>

namespace kw::store::sqlite {

statement::~statement() {
    sqlite3_reset(stmt_);
    sqlite3_clear_bindings(stmt_);
}

statement& statement::bind(std::int64_t value) noexcept {
    if (sqlite3_bind_int64(stmt_, ++bound_, value) != SQLITE_OK) on_.fail();
    return *this;
}

statement& statement::bind(std::string_view text) noexcept {
    const char* data = text.data() == nullptr ? "" : text.data();
    if (sqlite3_bind_text64(stmt_, ++bound_, data, text.size(), SQLITE_STATIC, SQLITE_UTF8) !=
        SQLITE_OK)
        on_.fail();
    return *this;
}

statement& statement::blob(std::string_view bytes) noexcept {
    const char* data = bytes.data() == nullptr ? "" : bytes.data();
    if (sqlite3_bind_blob64(stmt_, ++bound_, data, bytes.size(), SQLITE_STATIC) != SQLITE_OK)
        on_.fail();
    return *this;
}

statement& statement::again() noexcept {
    sqlite3_reset(stmt_);
    bound_ = 0;
    return *this;
}

bool statement::step() noexcept {
    // A statement that could not be prepared is null, and the failure is known already.
    if (stmt_ == nullptr || !on_.ok()) return false;
    const int code = sqlite3_step(stmt_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) on_.fail();
    return code == SQLITE_ROW;
}

std::int64_t statement::integer(int column) const noexcept {
    return sqlite3_column_int64(stmt_, column);
}

std::string statement::text(int column) const {
    const auto* data = static_cast<const char*>(sqlite3_column_blob(stmt_, column));
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(stmt_, column));
    return data == nullptr ? std::string() : std::string(data, size);
}

result<std::unique_ptr<connection>> connection::open(const std::string& path) {
    sqlite3* db = nullptr;
    const int code =
        sqlite3_open_v2(path.c_str(), &db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    if (code != SQLITE_OK) {
        const std::string why = sqlite3_errstr(code);
        sqlite3_close_v2(db);
        return error(errc::store_unavailable, "cannot open " + path + ": " + why,
                     error_source::store);
    }
    sqlite3_busy_timeout(db, 1000);
    return std::unique_ptr<connection>(new connection(db));
}

connection::~connection() {
    for (const auto& [sql, stmt] : prepared_)
        sqlite3_finalize(stmt);
    sqlite3_close_v2(db_);
}

statement connection::prepare(std::string_view sql) {
    auto found = prepared_.find(std::string(sql));
    if (found == prepared_.end()) {
        sqlite3_stmt* stmt = nullptr;
        if (sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()),
                               SQLITE_PREPARE_PERSISTENT, &stmt, nullptr) != SQLITE_OK) {
            fail();
            return {nullptr, *this};
        }
        found = prepared_.emplace(std::string(sql), stmt).first;
    }
    return {found->second, *this};
}

void connection::run(const char* script) noexcept {
    if (sqlite3_exec(db_, script, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
}

void connection::roll_back() noexcept {
    // Fails when BEGIN failed, or SQLite rolled back by itself: both are fine.
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
}

std::int64_t connection::changed() const noexcept {
    return sqlite3_changes64(db_);
}

void connection::fail() {
    if (failure_.empty()) failure_ = sqlite3_errmsg(db_);
}

transaction::transaction(connection& on) noexcept : on_(on) {
    on_.run("BEGIN IMMEDIATE");
}

transaction::~transaction() {
    if (open_) on_.roll_back();
}

bool transaction::commit() noexcept {
    if (on_.ok()) on_.run("COMMIT");
    if (!on_.ok()) return false;
    open_ = false;
    return true;
}

}  // namespace kw::store::sqlite
