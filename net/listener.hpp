// A listening TCP socket of one worker and its accept loop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/error.hpp"
#include "net/address.hpp"
#include "net/loop.hpp"
#include "net/stream.hpp"
#include "net/task.hpp"

namespace kw::net {

struct listen_options {
    std::string host = "127.0.0.1";  // an IP literal; "::" takes IPv4 as well
    std::uint16_t port = 0;          // 0: any free one
    int backlog = 4096;
    bool reuse_port = true;  // one such socket per worker; the kernel spreads connections
};

// The loop's thread only; open() also before the loop runs. Must not be destroyed from inside its
// own handler. Accepting pauses by itself near the process's limit of descriptors and goes on
// when some are free again.
class listener {
  public:
    // Gets each connection with peer address, TLS not started, attached to nothing.
    using handler = std::function<void(std::unique_ptr<stream>)>;

    // errc::invalid_argument with what to do about it: address in use, not ours, not permitted.
    [[nodiscard]] static result<std::unique_ptr<listener>> open(loop& on,
                                                                const listen_options& opts,
                                                                handler on_accept);
    listener(const listener&) = delete;
    listener& operator=(const listener&) = delete;
    ~listener();

    // The owner's brake, e.g. at the maximum of connections: those who come wait in the backlog.
    void pause() noexcept;
    void resume() noexcept;
    // Stops listening for good; who waits in the backlog is refused. Not from inside the handler.
    void close() noexcept;

    [[nodiscard]] const socket_address& local() const noexcept { return local_; }
    [[nodiscard]] std::uint64_t accepted() const noexcept { return accepted_; }

  private:
    listener(loop& on, int fd, const socket_address& local, handler on_accept);
    task<void> accept_loop();
    [[nodiscard]] bool descriptors_scarce() const noexcept;

    loop& loop_;
    socket_address local_;
    handler on_accept_;
    waiter waiter_;
    std::unique_ptr<descriptor> descriptor_;
    bool paused_ = false;
    std::uint64_t accepted_ = 0;
    int fd_threshold_ = 0;
    owned_root root_;
};

// Raises the soft limit of open descriptors to the hard one; the limit then in force.
std::uint64_t raise_descriptor_limit() noexcept;

}  // namespace kw::net
