// A question to another thread that a coroutine of a worker waits for.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "net/loop.hpp"
#include "net/task.hpp"

namespace kw::proxy {

// What a question's answer is waited for with. The answer may come when nobody waits any more.
template <class T>
struct question {
    std::optional<T> answer;
    net::waiter* asking = nullptr;  // null once it has stopped waiting
};

// Makes the completion for a question that this loop's thread asks.
template <class T>
auto answer_to(std::shared_ptr<question<T>> q, net::loop& home) {
    return [q = std::move(q), &home](T got) {
        home.post([q, got = std::make_shared<T>(std::move(got))] {
            q->answer = std::move(*got);
            if (q->asking != nullptr) q->asking->wake();
        });
    };
}

// False: the client is gone, or there was no answer in time.
template <class T>
net::task<bool> wait_for(std::shared_ptr<question<T>> q, net::waiter& wait, mono_time deadline) {
    struct at_end {
        question<T>& of;
        ~at_end() { of.asking = nullptr; }
    } guard{*q};
    q->asking = &wait;
    while (!q->answer) {
        const auto got = co_await wait.wait(net::woken | net::hangup_a, deadline);
        if ((got & (net::timed_out | net::hangup_a)) != 0 && !q->answer) co_return false;
    }
    co_return true;
}

}  // namespace kw::proxy
