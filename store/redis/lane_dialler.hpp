// Opens the connections of lanes on a thread of its own, so that no step of another lane waits
// while a server is slow to answer.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "store/redis/admission_lane.hpp"
#include "store/redis/connection.hpp"

namespace kw::store::redis {

// Open connections to each server that holds shards, with the scripts loaded. `loaded`: what a
// server said to that; `of_others`: which of them has what belongs to no shard, else it is not
// asked for. errc::store_unavailable. Any thread.
[[nodiscard]] result<lane_lines> dial_shards(const target& to, const pipeline& scripts,
                                             deadline until, std::vector<reply>* loaded = nullptr,
                                             std::size_t* of_others = nullptr);

class lane_dialler {
  public:
    struct dialled {
        std::shared_ptr<lane_door> door;
        std::optional<lane_lines> lines;  // none: it failed
    };
    // `done` is called from its thread when something was dialled; it must not wait.
    lane_dialler(std::function<result<lane_lines>()> dial, std::function<void()> done);
    // Waits for what is being dialled.
    ~lane_dialler();

    // Any thread. After one that failed the others are not tried.
    void want(std::vector<std::shared_ptr<lane_door>> doors);
    [[nodiscard]] std::vector<dialled> take();

  private:
    void run();

    const std::function<result<lane_lines>()> dial_;
    const std::function<void()> done_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<bool> stopping_{false};
    std::vector<std::shared_ptr<lane_door>> wanted_;
    std::vector<dialled> dialled_;
    std::thread thread_;
};

}  // namespace kw::store::redis
