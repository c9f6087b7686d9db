// A connection's bytes: a socket on a loop, with TLS over it or not. Non-blocking; every refusal
// clears the descriptor's readiness, so that the caller goes on with `co_await waiter.wait(…)`.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "net/address.hpp"
#include "net/loop.hpp"
#include "net/task.hpp"

struct ssl_st;

namespace kw::net {

enum class io_status : std::uint8_t {
    ok,          // bytes > 0 (or nothing was asked for)
    want_read,   // wait for read_bit, then repeat the same call
    want_write,  // wait for write_bit, then repeat the same call (TLS may want it while reading)
    eof,         // the peer closed in order (TLS: with close_notify)
    reset,       // the connection broke, or a TLS peer closed without close_notify (cut)
    failed,      // a TLS protocol error, or a deadline in write_all (see timed_out)
    timed_out,   // only from the functions with a deadline
};

struct io_result {
    io_status status = io_status::ok;
    std::size_t bytes = 0;
    [[nodiscard]] bool ok() const noexcept { return status == io_status::ok; }
    [[nodiscard]] bool would_block() const noexcept {
        return status == io_status::want_read || status == io_status::want_write;
    }
};

// One owner, the loop's thread. Closes the socket on destruction (a TLS session that is sound sends
// its close_notify first, without waiting).
class stream {
  public:
    // Takes ownership of a non-blocking, connected or connecting socket. Throws std::system_error
    // if epoll refuses it (the fd is closed then).
    stream(loop& on, int fd, const socket_address& peer = {});
    stream(const stream&) = delete;
    stream& operator=(const stream&) = delete;
    ~stream();

    // Reads what is there, as much as fits. Plain: one system call, none while no event came; TLS:
    // records until the buffer is full or no more are there. ok has bytes > 0; eof and reset come
    // alone, after all bytes.
    [[nodiscard]] io_result read(std::span<char> into) noexcept;

    // Writes a part or all of it. Plain: one system call. TLS: the pieces are coalesced into
    // records of up to 16 KiB; after want_* the repeated call must begin with the same bytes and
    // offer at least as many (they may have moved).
    [[nodiscard]] io_result write(std::string_view bytes) noexcept;
    [[nodiscard]] io_result write(std::span<const iovec> pieces) noexcept;

    // Writes all or fails: ok, reset, failed or timed_out. bytes is what was written. The stream
    // must be attached to w.
    [[nodiscard]] task<io_result> write_all(waiter& w, std::string_view bytes, mono_time deadline);

    // As descriptor::attach. nullptr detaches.
    void attach(waiter* to, events read_bit, events write_bit, events hangup_bit = 0) noexcept {
        descriptor_.attach(to, read_bit, write_bit, hangup_bit);
    }
    [[nodiscard]] events read_bit() const noexcept { return descriptor_.read_bit(); }
    [[nodiscard]] events write_bit() const noexcept { return descriptor_.write_bit(); }
    // The bit to wait for after a want_* result.
    [[nodiscard]] events bit_for(io_status wanted) const noexcept {
        return wanted == io_status::want_write ? write_bit() : read_bit();
    }

    // Bytes (or parts of a record) wait inside the TLS engine. read_bit is kept set while such are
    // known, so no wait hangs on them.
    [[nodiscard]] bool has_pending() const noexcept;
    // The peer closed or broke the connection; bytes may still be unread.
    [[nodiscard]] bool hung_up() const noexcept { return descriptor_.hung_up(); }
    // For a connection between two exchanges: nothing unread, not closed. May take in TLS session
    // tickets; one system call at most, none when no event came.
    [[nodiscard]] bool idle_ok() noexcept;

    // No more will be written: TLS close_notify, then FIN. Reading goes on.
    void shutdown_write() noexcept;
    // The peer gets RST when this object goes, whatever was not sent yet is dropped.
    void close_with_reset() noexcept;

    [[nodiscard]] int fd() const noexcept { return descriptor_.fd(); }
    [[nodiscard]] loop& owner() const noexcept { return descriptor_.owner(); }
    [[nodiscard]] descriptor& handle() noexcept { return descriptor_; }
    [[nodiscard]] const socket_address& peer() const noexcept { return peer_; }
    // The peer's address without port, e.g. "10.0.0.1".
    [[nodiscard]] std::string peer_text() const { return peer_.ip.to_string(); }

    [[nodiscard]] bool is_tls() const noexcept { return ssl_ != nullptr; }
    // The protocol agreed on; empty when plain or none.
    [[nodiscard]] std::string_view alpn() const noexcept;
    [[nodiscard]] bool session_reused() const noexcept;

    // Puts TLS on the socket; tls.hpp calls it. Takes ownership of ssl, which has its role set.
    void adopt_tls(ssl_st* ssl);
    [[nodiscard]] ssl_st* tls() const noexcept { return ssl_; }

  private:
    friend struct tls_transport;

    io_result read_tls(std::span<char> into) noexcept;
    io_result write_tls(const char* data, std::size_t size) noexcept;
    io_result tls_failure(int returned) noexcept;

    descriptor descriptor_;
    ssl_st* ssl_ = nullptr;
    socket_address peer_;
    bool broken_ = false;  // no close_notify any more
    bool shut_ = false;    // shutdown_write() was called
};

// TCP_NODELAY, and keep-alive probes that find a dead peer in about two minutes.
void set_tcp_options(int fd) noexcept;

}  // namespace kw::net
