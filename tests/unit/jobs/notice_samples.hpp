// A message and a channel, for tests of notifications.
#pragma once

#include "jobs/notice_message.hpp"
#include "tests/unit/config/sample_channel.hpp"

namespace kw::jobs::test {

inline notice_message sample() {
    using namespace std::chrono_literals;
    return {.id = "ntf_1",
            .kind = config::notice_kind::key_banned,
            .subject = "main-1",
            .text = "active → banned: \"invalid\"",
            .count = 3,
            .first = wall_time(1'700'000'000s),
            .last = wall_time(1'700'000'060s),
            .source = "host (process 1)"};
}

using config::test::channel;

}  // namespace kw::jobs::test
