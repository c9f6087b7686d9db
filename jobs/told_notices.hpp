// What operators have been told of and what still holds, kept in the store: a restart tells none of
// it again.
#pragma once

#include <deque>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "jobs/watcher.hpp"
#include "store/store.hpp"

namespace kw::jobs {

inline constexpr std::string_view told_record = "notification_told";

// Control thread only. What it refers to outlives it.
class told_notices {
  public:
    // `host`: whose own troubles (disk, memory, certificate) these are.
    told_notices(store::store& store, const clock_source& clock, std::string host)
        : store_(store), clock_(clock), host_(std::move(host)) {}

    // Before the watcher's first look, and again until the store has answered. What was told longer
    // ago than a day, of a budget longer than a month, is told again.
    void restore(watcher& into);
    // After each look: a bounded number of writes, the rest later. What was raised is written after
    // `delay` alone, when its message has left: who is killed before has told nobody.
    void write(std::vector<crossing> news, std::chrono::nanoseconds delay);
    // At the end, when all messages have left.
    void write_rest();

  private:
    [[nodiscard]] std::string id_of(const crossed& what) const;
    [[nodiscard]] bool write_one(const crossing& c);

    store::store& store_;
    const clock_source& clock_;
    std::string host_;
    bool restored_ = false;
    struct pending {
        crossing what;
        mono_time due;
    };
    std::deque<pending> waiting_;
};

}  // namespace kw::jobs
