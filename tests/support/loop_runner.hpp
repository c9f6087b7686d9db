// Runs a coroutine on a loop of the calling thread until it is done, with a hard limit in real
// time.
#pragma once

#include <chrono>
#include <exception>
#include <optional>
#include <stdexcept>
#include <utility>

#include "net/loop.hpp"
#include "net/task.hpp"

namespace kw::test {

// Turns the loop until done() holds; throws after the limit, so that a test that hangs fails.
template <class Done>
void run_until(net::loop& on, Done&& done,
               std::chrono::milliseconds limit = std::chrono::seconds(20)) {
    const auto by = std::chrono::steady_clock::now() + limit;
    while (!done()) {
        if (std::chrono::steady_clock::now() > by) throw std::runtime_error("the test hangs");
        on.run_turn(20);
    }
}

namespace detail {
template <class T>
net::task<void> capture(net::task<T> work, std::optional<T>& out, std::exception_ptr& failure) {
    try {
        out.emplace(co_await std::move(work));
    } catch (...) {
        failure = std::current_exception();
    }
}
inline net::task<void> capture_void(net::task<void> work, bool& done, std::exception_ptr& failure) {
    try {
        co_await std::move(work);
    } catch (...) {
        failure = std::current_exception();
    }
    done = true;
}
}  // namespace detail

template <class T>
T run(net::loop& on, net::task<T> work) {
    std::optional<T> out;
    std::exception_ptr failure;
    net::owned_root root;
    root.start("test", detail::capture(std::move(work), out, failure));
    run_until(on, [&] { return out || failure; });
    if (failure) std::rethrow_exception(failure);
    return std::move(*out);
}

inline void run(net::loop& on, net::task<void> work) {
    bool done = false;
    std::exception_ptr failure;
    net::owned_root root;
    root.start("test", detail::capture_void(std::move(work), done, failure));
    run_until(on, [&] { return done; });
    if (failure) std::rethrow_exception(failure);
}

}  // namespace kw::test
