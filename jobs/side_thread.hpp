// A thread for what is slow by nature and too rare for more of them: the hashing of passwords.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace kw::jobs {

// Any thread may call; made and destroyed by the composition root. What still waits at the end is
// dropped.
class side_thread {
  public:
    explicit side_thread(std::size_t max_waiting);
    ~side_thread();
    side_thread(const side_thread&) = delete;
    side_thread& operator=(const side_thread&) = delete;

    // In the order of the calls; false: `max_waiting` wait already.
    [[nodiscard]] bool run(std::function<void()> work);

  private:
    void loop();

    const std::size_t max_waiting_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::function<void()>> waiting_;
    bool ending_ = false;
    std::thread thread_;
};

}  // namespace kw::jobs
