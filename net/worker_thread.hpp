// A named thread that runs one loop.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "net/loop.hpp"

namespace kw::net {

// Made, stopped and destroyed by the owner's thread; get() may be posted to by any.
class worker_thread {
  public:
    // name: at most 15 characters are shown by the system. cpu pins the thread if the system lets
    // it.
    worker_thread(std::string name, const clock_source& clock, std::optional<unsigned> cpu = {});
    worker_thread(const worker_thread&) = delete;
    worker_thread& operator=(const worker_thread&) = delete;
    // Stops and joins.
    ~worker_thread();

    [[nodiscard]] loop& get() noexcept { return loop_; }
    // Starts the thread. set_up runs on it before the first turn and tear_down after the last, both
    // may be empty. An exception that leaves the loop is logged and ends the process: a worker that
    // silently went would take its connections along.
    void start(std::function<void(loop&)> set_up = {}, std::function<void(loop&)> tear_down = {});
    void stop() noexcept { loop_.stop(); }
    void join();

  private:
    std::string name_;
    std::optional<unsigned> cpu_;
    loop loop_;
    std::jthread thread_;
};

}  // namespace kw::net
