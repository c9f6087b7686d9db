// Sockets and OpenSSL on the descriptor.
#include "mock/wire.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace kw::mock {
namespace {

constexpr std::chrono::minutes io_limit{30};

}  // namespace

wire::wire(net::loop& on, int fd) : waiter_(on), descriptor_(on, fd) {
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    descriptor_.attach(&waiter_, net::read_a, net::write_a, net::hangup_a);
}

wire::~wire() {
    if (!ssl_) return;
    if (!cut_ && SSL_is_init_finished(ssl_)) SSL_shutdown(ssl_);
    ERR_clear_error();
    SSL_free(ssl_);
}

void wire::reset_on_close() noexcept {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(descriptor_.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    cut_ = true;
}

void wire::abort() noexcept {
    stopped_ = true;
    waiter_.set(net::stopping);
}

wire::step wire::tls_step(int outcome) noexcept {
    switch (SSL_get_error(ssl_, outcome)) {
        case SSL_ERROR_WANT_READ:
            return step::want_read;
        case SSL_ERROR_WANT_WRITE:
            return step::want_write;
        default:
            return step::failed;
    }
}

net::task<bool> wire::ready(step wanted, std::chrono::milliseconds limit) {
    if (wanted == step::failed || stopped_) co_return false;
    const auto deadline = owner().clock().mono() + limit;
    net::events mask = net::stopping;
    if (wanted == step::want_read) {
        descriptor_.clear_read();
        mask |= net::read_a;
    } else {
        // A peer that has closed its side takes nothing more.
        descriptor_.clear_write();
        mask |= net::write_a | net::hangup_a;
    }
    const net::events got = co_await waiter_.wait(mask, deadline);
    co_return !stopped_ && (got & (net::read_a | net::write_a)) != 0;
}

net::task<bool> wire::handshake(SSL_CTX* context) {
    ssl_ = SSL_new(context);
    if (!ssl_ || SSL_set_fd(ssl_, descriptor_.fd()) != 1) co_return false;
    SSL_set_accept_state(ssl_);
    while (true) {
        ERR_clear_error();
        const int outcome = SSL_do_handshake(ssl_);
        if (outcome == 1) co_return true;
        const bool go_on = co_await ready(tls_step(outcome), std::chrono::seconds(60));
        if (!go_on) co_return false;
    }
}

wire::step wire::read_some(char* to, std::size_t size, std::size_t& got) noexcept {
    if (ssl_) {
        ERR_clear_error();
        const int outcome = SSL_read_ex(ssl_, to, size, &got);
        return outcome == 1 ? step::done : tls_step(outcome);
    }
    const ssize_t n = ::recv(descriptor_.fd(), to, size, 0);
    if (n > 0) {
        got = static_cast<std::size_t>(n);
        return step::done;
    }
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? step::want_read : step::failed;
}

net::task<bool> wire::fill(std::chrono::milliseconds limit) {
    // One buffer a thread: a connection holds only what it has not yet used.
    // Not in every thread's static memory: most threads of a process that can be a mock are none.
    constexpr std::size_t size = 65536;
    static thread_local const auto buffer = std::make_unique<char[]>(size);
    while (!stopped_) {
        std::size_t got = 0;
        const step s = read_some(buffer.get(), size, got);
        if (s == step::done) {
            in_.append(buffer.get(), got);
            co_return true;
        }
        const bool go_on = co_await ready(s, limit);
        if (!go_on) co_return false;
    }
    co_return false;
}

void wire::consume(std::size_t n) noexcept {
    taken_ += n;
    if (taken_ == in_.size()) {
        in_.clear();
        taken_ = 0;
    }
}

wire::step wire::write_some(std::string_view bytes, std::size_t& put) noexcept {
    if (ssl_) {
        ERR_clear_error();
        const int outcome = SSL_write_ex(ssl_, bytes.data(), bytes.size(), &put);
        return outcome == 1 ? step::done : tls_step(outcome);
    }
    const ssize_t n = ::send(descriptor_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
        put = static_cast<std::size_t>(n);
        return step::done;
    }
    return errno == EAGAIN || errno == EINTR ? step::want_write : step::failed;
}

net::task<bool> wire::send(std::string_view bytes) {
    bool complete = true;
    if (bytes.size() > allowed_) {
        bytes = bytes.substr(0, static_cast<std::size_t>(allowed_));
        complete = false;
    }
    if (allowed_ != unlimited) allowed_ -= bytes.size();
    while (!bytes.empty()) {
        if (stopped_) co_return false;
        const auto piece = slice_ ? bytes.substr(0, std::min(slice_, bytes.size())) : bytes;
        std::size_t put = 0;
        const step s = write_some(piece, put);
        if (s == step::done) {
            sent_ += put;
            bytes.remove_prefix(put);
            continue;
        }
        const bool go_on = co_await ready(s, io_limit);
        if (!go_on) co_return false;
    }
    co_return complete;
}

net::task<bool> wire::pause(std::chrono::milliseconds time) {
    const auto until = owner().clock().mono() + time;
    while (!gone()) {
        const net::events got = co_await waiter_.wait(net::hangup_a | net::stopping, until);
        if (got & net::timed_out) co_return !gone();
    }
    co_return false;
}

}  // namespace kw::mock
