// A coroutine that runs on one loop: lazy, owned by whoever awaits it, one thread for life.
//
//   task<result<int>> answer(loop& on);        // declares
//   auto r = co_await answer(on);              // starts it, resumes here with its value
//   spawn("session", run_session(...));        // a root: nobody awaits it
//
// An exception inside travels to the awaiter; one that leaves a root is logged and ends that root
// only. Parameters are values, or references to what the awaiting caller owns.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <string_view>
#include <utility>

namespace kw::net {

template <class T = void>
class task;

namespace detail {

// Coroutine frames of one thread are recycled by size class: a session's frames are the only
// allocations that every exchange makes.
void* frame_allocate(std::size_t size);
void frame_release(void* frame, std::size_t size) noexcept;

struct promise_base {
    std::coroutine_handle<> continuation = std::noop_coroutine();
    std::exception_ptr failure;

    struct final_awaiter {
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
            return self.promise().continuation;
        }
        void await_resume() const noexcept {}
    };

    std::suspend_always initial_suspend() noexcept { return {}; }
    final_awaiter final_suspend() noexcept { return {}; }
    void unhandled_exception() noexcept { failure = std::current_exception(); }

    static void* operator new(std::size_t size) { return frame_allocate(size); }
    static void operator delete(void* frame, std::size_t size) noexcept {
        frame_release(frame, size);
    }
};

template <class T>
struct promise final : promise_base {
    std::optional<T> value;
    task<T> get_return_object() noexcept;
    template <class U = T>
    void return_value(U&& v) {
        value.emplace(std::forward<U>(v));
    }
    T take() {
        if (failure) std::rethrow_exception(failure);
        return std::move(*value);
    }
};

template <>
struct promise<void> final : promise_base {
    task<void> get_return_object() noexcept;
    void return_void() noexcept {}
    void take() {
        if (failure) std::rethrow_exception(failure);
    }
};

}  // namespace detail

template <class T>
class [[nodiscard]] task {
  public:
    using promise_type = detail::promise<T>;

    task() = default;
    explicit task(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
    task(task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
    task& operator=(task&&) = delete;
    ~task() {
        if (handle_) handle_.destroy();
    }

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
        handle_.promise().continuation = awaiter;
        return handle_;
    }
    T await_resume() { return handle_.promise().take(); }

  private:
    friend class owned_root;
    std::coroutine_handle<promise_type> handle_;
};

template <class T>
task<T> detail::promise<T>::get_return_object() noexcept {
    return task<T>(std::coroutine_handle<promise<T>>::from_promise(*this));
}
inline task<void> detail::promise<void>::get_return_object() noexcept {
    return task<void>(std::coroutine_handle<promise<void>>::from_promise(*this));
}

// Runs a root to its first wait. name appears in the log if an exception leaves it; it must be a
// literal. The frame destroys itself at the end.
void spawn(std::string_view name, task<void> root);

// A root that its owner can end at any wait: destroying the object destroys the frame, and with it
// all that the coroutine holds. Not from inside the coroutine itself.
class owned_root {
  public:
    owned_root() = default;
    owned_root(const owned_root&) = delete;
    owned_root& operator=(const owned_root&) = delete;
    // As spawn(); once per object, or after reset().
    void start(std::string_view name, task<void> root);
    void reset() noexcept { root_.reset(); }

  private:
    std::optional<task<void>> root_;
};

}  // namespace kw::net
