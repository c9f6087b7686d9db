// One thread and its bounded line.
#include "jobs/side_thread.hpp"

#include <exception>
#include <utility>

#include "core/log.hpp"

namespace kw::jobs {

side_thread::side_thread(std::size_t max_waiting)
    : max_waiting_(max_waiting), thread_([this] { loop(); }) {}

side_thread::~side_thread() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

bool side_thread::run(std::function<void()> work) {
    {
        const std::lock_guard lock(mutex_);
        if (ending_ || waiting_.size() >= max_waiting_) return false;
        waiting_.push_back(std::move(work));
    }
    changed_.notify_one();
    return true;
}

void side_thread::loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
        if (ending_) return;
        auto work = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        try {
            work();
        } catch (const std::exception& e) {
            log::event(log::level::error, "side_thread.failed", {{"reason", e.what()}});
        }
        work = nullptr;
        lock.lock();
    }
}

}  // namespace kw::jobs
