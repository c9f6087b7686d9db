// Tells operators: gathers equal events into one message, claims it among the replicas, and sees it
// to every channel that wants it, with retries. A receiver that is slow or gone holds up nothing
// but its own messages.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/channel.hpp"
#include "core/ids.hpp"
#include "core/metrics.hpp"
#include "jobs/notice_message.hpp"
#include "net/task.hpp"
#include "store/store.hpp"

namespace kw::jobs {

// Who of the replicas tells of what they all see; one record for each kind and subject.
inline constexpr std::string_view notice_claim_record = "notification_claim";

struct notice {
    config::notice_kind kind = config::notice_kind::test;
    std::string subject;
    std::string text;
    // The other replicas see it, too: one of them tells.
    bool shared = false;
    std::uint64_t count = 1;
};

// How the deliveries of a channel go, since this process began.
struct delivery_state {
    std::uint64_t delivered = 0;
    std::uint64_t failed = 0;
    std::size_t waiting = 0;
    std::optional<wall_time> last_delivered;
    std::optional<wall_time> last_failed;
    std::string last_error;
};

// Control thread only. What it is made of outlives it.
class notifier {
  public:
    using channels = std::vector<config::channel_settings>;
    using sender = std::function<net::task<result<void>>(config::channel_settings, notice_message)>;

    // `source`: this process, for a person. `random` also makes the name by which claims tell
    // processes apart: containers may share a hostname and process ids.
    notifier(store::store& store, const clock_source& clock, metrics::registry& registry,
             sender send, random_source random, std::string source);

    void tell(notice n);

    // Every second or so: ends windows, begins what is due.
    void round(const config::notification_settings& settings, const channels& all);

    // At the end, often: what waits leaves at once, whatever its window and its next try.
    void flush(const config::notification_settings& settings, const channels& all);
    // Nothing waits or is under way but tests.
    [[nodiscard]] bool idle() const noexcept { return queued_ == 0 && windows_.empty(); }
    // What has not left is lost, and counted; how many messages.
    std::size_t drop_all();

    // At once and past everything that waits; `done` is called with what became of it.
    void test(config::channel_settings to, std::function<void(result<void>)> done);

    [[nodiscard]] delivery_state state_of(const std::string& channel_id) const;

  private:
    struct window {
        notice what;
        std::uint64_t count = 0;
        wall_time first{};
        wall_time last{};
        mono_time opened{};
    };
    struct lane {
        config::channel_settings to;
        std::deque<notice_message> waiting;
        std::uint32_t tries = 0;
        mono_time next_try{};
        bool busy = false;
        bool gone = false;  // the channel is no more
        delivery_state state;
        net::owned_root work;
    };

    [[nodiscard]] bool claim(const window& w, std::chrono::milliseconds length);
    // A page of them.
    void forget_claims(std::chrono::milliseconds window);
    void follow(const channels& all);
    // Those that are over, or all.
    void end_windows(const config::notification_settings& settings, const channels& all,
                     bool every);
    void begin_deliveries(const config::notification_settings& settings);
    void empty(lane& of);
    void enqueue(const notice_message& m, const config::notification_settings& settings);
    net::task<void> deliver(lane& on, config::notification_settings settings);
    [[nodiscard]] notice_message message_of(const window& w);
    metrics::counter& count_of(const config::channel_settings& to, std::string_view result);

    store::store& store_;
    const clock_source& clock_;
    metrics::registry& registry_;
    metrics::gauge& waiting_;
    sender send_;
    random_source random_;
    std::string source_;
    std::string id_;  // this process, among its replicas
    std::map<std::pair<config::notice_kind, std::string>, window> windows_;
    std::map<std::string, lane> lanes_;
    std::size_t queued_ = 0;
    std::map<std::uint64_t, net::owned_root> tests_;
    std::vector<std::uint64_t> tests_done_;
    std::uint64_t next_test_ = 0;
    mono_time next_forgetting_{};
    std::string forgotten_to_;  // "": no sweep is under way
    bool ending_ = false;
};

}  // namespace kw::jobs
