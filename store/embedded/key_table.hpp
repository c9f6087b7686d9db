// Uses and findings of upstream keys in the embedded store. The store's lock is held.
#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>

#include "core/clock.hpp"
#include "store/embedded/sqlite.hpp"
#include "store/key_news.hpp"

namespace kw::store::embedded {

class key_table {
  public:
    key_table(sqlite::connection& db, const clock_source& clock) : db_(db), clock_(clock) {}

    void make_schema();
    // In a transaction that is under way.
    void tell(const key_batch& news);
    void told(const key_batch& news) { applied_[news.replica] = news.number; }
    [[nodiscard]] bool knows(const key_batch& news) const;
    [[nodiscard]] key_standings since(key_position at, std::size_t limit);

  private:
    void tell_one(const key_news& news, const std::string& replica, std::int64_t now);

    sqlite::connection& db_;
    const clock_source& clock_;
    // A replica is a run of this process, so this need not outlive it.
    std::unordered_map<std::string, std::uint64_t> applied_;
};

}  // namespace kw::store::embedded
