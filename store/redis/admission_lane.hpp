// A worker's own way to Redis for the steps of admission that requests make: they go out with one
// write at the end of a turn, on a connection that the worker's loop watches, and the answers come
// on its thread. While Redis answers, no other thread takes part. To a Cluster there is one
// connection for each master that holds shards.
#pragma once

#include <boost/circular_buffer.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "core/clock.hpp"
#include "net/loop.hpp"
#include "net/task.hpp"
#include "store/admission.hpp"
#include "store/redis/admission_wire.hpp"
#include "store/redis/connection.hpp"

namespace kw::store::redis {

class admission_lane;

// Open connections, each to a server that has the wire's scripts, and which of them the steps of a
// shard take.
struct lane_lines {
    std::vector<std::unique_ptr<connection>> open;
    std::array<std::uint8_t, shard_count> of_shard{};
};

// Where a lane is handed its connections. Outlives the lane, and knows when it is gone.
class lane_door : public std::enable_shared_from_this<lane_door> {
  public:
    lane_door(net::loop& on, admission_lane& lane) noexcept : loop_(&on), lane_(&lane) {}
    // Any thread.
    void hand_in(lane_lines lines, const admission_wire& wire);
    // The lane's destructor; its loop's thread, or when that has ended.
    void close() noexcept;

  private:
    std::mutex mutex_;
    net::loop* loop_;  // null once closed
    admission_lane* lane_;
};

// What a lane needs of the admission that it belongs to. Any thread.
class lane_home : public admission {
  public:
    // A step that the lane has not sent, or of which it does not know what became: decided or kept
    // as if it had been made there. Sent twice it counts once.
    virtual void take_over(step s) = 0;
    // Wants a connection, as soon as Redis is there.
    virtual void connect(std::shared_ptr<lane_door> door) = 0;
    // A lease ends by the lane: if it was let through here, its share has it back.
    virtual void ends(const step& s) = 0;
    // A shard has another master, as the answer of the one before says.
    virtual void moved(std::string_view answer) = 0;
    // Redis has decided.
    virtual void note(const step& s, const admit_answer& answer) = 0;
    [[nodiscard]] virtual const clock_source& store_time() const noexcept = 0;
    [[nodiscard]] virtual std::chrono::milliseconds call_timeout() const noexcept = 0;
};

class admission_lane final : public admission {
  public:
    admission_lane(net::loop& on, lane_home& home);
    ~admission_lane() override;

    void admit(const admit_request& request, admit_completion done) override;
    void settle(const lease_ref& which, const amounts& real) override;
    void release(const lease_ref& which) override;
    void renew(const std::vector<lease_ref>& which, std::chrono::milliseconds ttl) override;
    void peek(const std::vector<usage_question>& questions, usage_completion done) override;
    void preload(const std::string& access_key_id, const limit& budget, std::int64_t used) override;
    void forget(const std::string& access_key_id) override;
    void sweep() override;
    [[nodiscard]] admission_health health() const override;

  private:
    friend class lane_door;
    struct line {
        std::unique_ptr<connection> on;
        std::unique_ptr<net::descriptor> watched;  // of the same socket
        net::events bit = 0;                       // it can be read, or written where it could not
        bool blocked = false;                      // the socket took less than there is
        pipeline out;
        boost::circular_buffer<step> sent{64};  // in `out` or further, not answered yet
        bool awaits_answers = false;  // all that was queued before the last turn has gone out
    };

    void opened(lane_lines lines, admission_wire wire);
    // The line of an access key; null: the home does it all, or this too.
    [[nodiscard]] line* line_for(const std::string& access_key_id) noexcept;
    // Goes out with the next turn.
    void queue(line& on, step s);
    net::task<void> run();
    void turn();
    // look: for answers, though none were announced.
    [[nodiscard]] result<void> turn(line& on, bool look);
    [[nodiscard]] result<void> answered(line& on, const reply& r);
    void lost(const error& why);

    lane_home& home_;
    net::loop& loop_;
    net::waiter wait_;
    std::shared_ptr<lane_door> door_;
    std::vector<line> lines_;  // none: the home does it all
    std::array<std::uint8_t, shard_count> of_shard_{};
    std::optional<admission_wire> wire_;
    std::vector<reply> replies_;
    net::owned_root root_;
};

}  // namespace kw::store::redis
