// One connection from accept to close: requests in, answers out, each booked.
#pragma once

#include <unordered_set>

#include "mock/server.hpp"

namespace kw::mock {

// A thread of the mock. Everything here belongs to that thread.
struct worker {
    worker(server& s, const clock_source& clock) : shared(s), on(clock) {}

    server& shared;
    net::loop on;
    std::unordered_set<wire*> open;
    bool stopping = false;

    // The last one out turns off the loop.
    void left() {
        if (stopping && open.empty()) on.stop();
    }
};

// Takes the descriptor over. A root.
net::task<void> serve_connection(worker& w, int fd);

// The /__ calls: false if the path is none of them.
net::task<bool> answer_control(server& s, wire& io, request& r);

}  // namespace kw::mock
