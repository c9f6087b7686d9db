// One accepted connection, plain or TLS, on its loop: reading, writing and pausing as coroutines,
// and the rude ways of ending one that faults need.
#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "net/loop.hpp"
#include "net/task.hpp"

namespace kw::mock {

inline constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

// Same thread as its loop. Every operation returns false once the peer is gone or the server stops.
class wire {
  public:
    wire(net::loop& on, int fd);
    wire(const wire&) = delete;
    wire& operator=(const wire&) = delete;
    ~wire();

    net::task<bool> handshake(SSL_CTX* context);
    [[nodiscard]] bool resumed() const noexcept { return ssl_ && SSL_session_reused(ssl_) == 1; }

    // Reads what there is, at least a byte, onto the end of input().
    net::task<bool> fill(std::chrono::milliseconds limit);
    [[nodiscard]] std::string_view input() const noexcept {
        return std::string_view(in_).substr(taken_);
    }
    void consume(std::size_t n) noexcept;

    net::task<bool> send(std::string_view bytes);
    // False as soon as the peer closes.
    net::task<bool> pause(std::chrono::milliseconds time);

    // Faults: after so many bytes sent from now on, send() fails; in pieces of so many bytes.
    void allow(std::uint64_t bytes) noexcept { allowed_ = bytes; }
    [[nodiscard]] bool exhausted() const noexcept { return allowed_ == 0; }
    void slice(std::size_t bytes) noexcept { slice_ = bytes; }
    // The destructor sends RST instead of FIN.
    void reset_on_close() noexcept;
    // No close_notify from the destructor: the stream looks cut to a TLS client.
    void cut() noexcept { cut_ = true; }

    // Ends every wait with false, from the loop's thread.
    void abort() noexcept;
    [[nodiscard]] std::uint64_t sent() const noexcept { return sent_; }
    [[nodiscard]] bool gone() const noexcept { return stopped_ || descriptor_.hung_up(); }
    [[nodiscard]] net::loop& owner() const noexcept { return waiter_.owner(); }

  private:
    enum class step { done, want_read, want_write, failed };
    step read_some(char* to, std::size_t size, std::size_t& got) noexcept;
    step write_some(std::string_view bytes, std::size_t& put) noexcept;
    step tls_step(int outcome) noexcept;
    net::task<bool> ready(step wanted, std::chrono::milliseconds limit);

    net::waiter waiter_;
    net::descriptor descriptor_;
    SSL* ssl_ = nullptr;
    std::string in_;
    std::size_t taken_ = 0;
    std::uint64_t sent_ = 0;
    std::uint64_t allowed_ = unlimited;
    std::size_t slice_ = 0;
    bool cut_ = false;
    bool stopped_ = false;
};

}  // namespace kw::mock
