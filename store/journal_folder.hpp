// What stands behind `journal`; shared with the shipper, for nobody else.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "store/journal.hpp"
#include "store/journal_log.hpp"

namespace kw::store {

struct journal::impl {
    ~impl();
    result<void> lock();
    void find_earlier();
    void keep();

    journal_folder shared;
    file lock_file;
    std::vector<std::unique_ptr<journal_log>> logs;  // earlier ones first; fixed after open()
    std::vector<journal_log*> live;
    std::vector<std::unique_ptr<journal_writer>> writers;
    std::atomic<bool> stopping{false};
    std::thread keeper;
};

}  // namespace kw::store
