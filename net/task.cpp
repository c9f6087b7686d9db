// Roots of coroutines and the recycling of their frames.
#include "net/task.hpp"

#include <array>
#include <memory>
#include <new>
#include <vector>

#include "core/log.hpp"

namespace kw::net {
namespace {

constexpr std::size_t class_step = 64;
constexpr std::size_t class_count = 128;     // frames up to 8 KiB are kept
constexpr std::size_t kept_per_class = 256;  // bound of what a thread holds back

struct frame_pool {
    std::array<std::vector<void*>, class_count> free;
    ~frame_pool() {
        for (auto& list : free)
            for (void* frame : list)
                ::operator delete(frame);
    }
};
thread_local std::unique_ptr<frame_pool> frames;

std::size_t class_of(std::size_t size) noexcept {
    return (size + class_step - 1) / class_step;
}

// A coroutine that owns a root: starts at once, ends by destroying itself.
struct detached {
    struct promise_type {
        static void* operator new(std::size_t size) { return detail::frame_allocate(size); }
        static void operator delete(void* frame, std::size_t size) noexcept {
            detail::frame_release(frame, size);
        }
        detached get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

task<void> guarded(std::string_view name, task<void> root) {
    try {
        // A local, so that the root's frame and all it holds go when it ends, not with this frame.
        task<void> inner(std::move(root));
        co_await inner;
    } catch (const std::exception& e) {
        log::event(log::level::error, "task.failed", {{"task", name}, {"err", e.what()}});
    } catch (...) {
        log::event(log::level::error, "task.failed", {{"task", name}, {"err", "unknown"}});
    }
}

detached run_root(std::string_view name, task<void> root) {
    co_await guarded(name, std::move(root));
}

}  // namespace

void* detail::frame_allocate(std::size_t size) {
    const std::size_t index = class_of(size);
    if (index >= class_count) return ::operator new(size);
    if (!frames) frames = std::make_unique<frame_pool>();
    auto& list = frames->free[index];
    if (list.empty()) return ::operator new(index * class_step);
    void* frame = list.back();
    list.pop_back();
    return frame;
}

void detail::frame_release(void* frame, std::size_t size) noexcept {
    const std::size_t index = class_of(size);
    if (index < class_count && frames) {
        auto& list = frames->free[index];
        if (list.size() < kept_per_class) {
            if (list.capacity() == 0) list.reserve(kept_per_class);
            list.push_back(frame);
            return;
        }
    }
    ::operator delete(frame);
}

void spawn(std::string_view name, task<void> root) {
    run_root(name, std::move(root));
}

void owned_root::start(std::string_view name, task<void> root) {
    root_.emplace(guarded(name, std::move(root)));
    root_->handle_.resume();
}

}  // namespace kw::net
