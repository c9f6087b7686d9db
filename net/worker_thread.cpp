// Starting, pinning and joining of a loop's thread.
#include "net/worker_thread.hpp"

#include <pthread.h>
#include <sched.h>

#include <cstdlib>
#include <exception>

#include "core/log.hpp"

namespace kw::net {

worker_thread::worker_thread(std::string name, const clock_source& clock,
                             std::optional<unsigned> cpu)
    : name_(std::move(name)), cpu_(cpu), loop_(clock) {}

worker_thread::~worker_thread() {
    if (thread_.joinable()) loop_.stop();
    join();
}

void worker_thread::start(std::function<void(loop&)> set_up, std::function<void(loop&)> tear_down) {
    thread_ = std::jthread([this, set_up = std::move(set_up), tear_down = std::move(tear_down)] {
        ::pthread_setname_np(::pthread_self(), name_.substr(0, 15).c_str());
        if (cpu_) {
            cpu_set_t cpus;
            CPU_ZERO(&cpus);
            CPU_SET(*cpu_ % CPU_SETSIZE, &cpus);
            ::pthread_setaffinity_np(::pthread_self(), sizeof cpus, &cpus);
        }
        try {
            if (set_up) set_up(loop_);
            loop_.run();
            if (tear_down) tear_down(loop_);
        } catch (const std::exception& e) {
            log::event(log::level::error, "worker.failed", {{"worker", name_}, {"err", e.what()}});
            log::stop();
            std::abort();
        }
    });
}

void worker_thread::join() {
    if (thread_.joinable()) thread_.join();
}

}  // namespace kw::net
