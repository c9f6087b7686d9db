// The little of SQLite that the embedded store needs: a connection, statements prepared once, and
// transactions that roll back unless they are committed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/error.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace kw::store::sqlite {

// A statement in use; resets itself. Any failure is kept in the connection: see connection::ok().
class statement {
  public:
    statement(sqlite3_stmt* stmt, class connection& on) noexcept : stmt_(stmt), on_(on) {}
    ~statement();
    statement(const statement&) = delete;
    statement& operator=(const statement&) = delete;

    // In the order of the question marks. Texts must outlive the statement.
    statement& bind(std::int64_t value) noexcept;
    statement& bind(std::string_view text) noexcept;
    statement& blob(std::string_view bytes) noexcept;
    // Forgets the values, to be run once more.
    statement& again() noexcept;
    // True while there is a row.
    bool step() noexcept;
    [[nodiscard]] std::int64_t integer(int column) const noexcept;
    [[nodiscard]] std::string text(int column) const;

  private:
    sqlite3_stmt* stmt_;
    connection& on_;
    int bound_ = 0;
};

// One thread at a time: the store's mutex guards it.
class connection {
  public:
    static result<std::unique_ptr<connection>> open(const std::string& path);
    ~connection();
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;

    [[nodiscard]] statement prepare(std::string_view sql);  // kept for the next time
    void run(const char* script) noexcept;
    void roll_back() noexcept;
    [[nodiscard]] std::int64_t changed() const noexcept;  // rows, by the last statement

    // Whether everything since the last clear() went well.
    [[nodiscard]] bool ok() const noexcept { return failure_.empty(); }
    [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
    void clear() noexcept { failure_.clear(); }
    void fail();

  private:
    explicit connection(sqlite3* db) noexcept : db_(db) {}
    sqlite3* db_;
    std::unordered_map<std::string, sqlite3_stmt*> prepared_;
    std::string failure_;
};

class transaction {
  public:
    explicit transaction(connection& on) noexcept;
    ~transaction();
    transaction(const transaction&) = delete;
    transaction& operator=(const transaction&) = delete;
    // False if anything in it failed; it is rolled back then.
    [[nodiscard]] bool commit() noexcept;

  private:
    connection& on_;
    bool open_ = true;
};

}  // namespace kw::store::sqlite
