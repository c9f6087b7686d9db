// Orders of long-lived work that the store could not be told of when they were made: kept here, and
// in a file for the process that follows, until it is told.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/metrics.hpp"
#include "store/objects.hpp"

namespace kw::jobs {

// Its file holds what the store's notes hold: ids and names, no secret. The desk outlives it, or is
// not asked any more.
class kept_debts {
  public:
    static constexpr std::size_t most = 10'000;

    // file: of the data directory; what a process before has left there is kept again.
    kept_debts(std::string file, metrics::registry& registry);

    // Any thread that may write files. False: too many are kept, or the disk is full.
    [[nodiscard]] bool keep(const store::object_debt& debt);
    // Any thread. Whether the store has yet to be told.
    [[nodiscard]] bool holds(const std::string& id) const;
    // One thread, every second or so: tells the store, a part at a time. look: from when on the
    // store has them looked after.
    void tell(store::object_desk& desk, std::chrono::seconds look);

  private:
    struct shelf {
        std::mutex mutex;
        std::map<std::string, store::object_debt> all;
        bool telling = false;
        std::string file;
        metrics::gauge* waiting = nullptr;

        void told(const std::vector<std::string>& ids);
    };
    void read();

    const std::shared_ptr<shelf> shelf_;  // answers of the desk may come when this is gone
    metrics::counter& kept_;
    metrics::counter& lost_;
};

}  // namespace kw::jobs
