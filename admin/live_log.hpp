// The log as a stream of events: who may look on, how many streams each may have, and what a stream
// sends. The lines are those of the log, which holds no secret.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "admin/caller.hpp"
#include "core/clock.hpp"
#include "core/log_history.hpp"
#include "net/control_port.hpp"

namespace kw::admin {

struct live_log_request {
    log::line_filter filter;
    std::size_t history = 0;  // lines from before
    std::string last_event;   // the id of the last event that the client has; then it goes on there
};

// Control thread; the streams that it gives belong to the workers. `lines` outlives both.
class live_log {
  public:
    // `run` is a number that no earlier process had.
    live_log(const log::history& lines, std::uint64_t run);

    static constexpr std::size_t most_streams = 64;  // of all callers
    // Null: this caller has `most` open, or all together have too many.
    [[nodiscard]] std::shared_ptr<net::control_stream> open(const caller& who,
                                                            const live_log_request& want,
                                                            std::size_t most);
    [[nodiscard]] bool any();
    // Ends those whose caller may no longer look on.
    void review(const std::function<bool(const caller&)>& may);

  private:
    class stream;
    struct viewer {
        caller who;
        std::weak_ptr<stream> sees;
    };
    void forget_closed();

    const log::history& lines_;
    std::string run_;  // tells this process's events from those of another
    std::vector<viewer> viewers_;
};

}  // namespace kw::admin
