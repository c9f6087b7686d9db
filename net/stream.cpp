// Plain and TLS reading and writing on a descriptor. TLS sits on a transport of our own, so that
// the engine learns from remembered readiness, not from a refused system call, that no more is
// there.
#include "net/stream.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

namespace kw::net {
namespace {

constexpr std::size_t record_size = 16 * 1024;
constexpr std::size_t max_pieces = 64;
constexpr std::size_t max_int = std::numeric_limits<int>::max();

bool again(int e) noexcept {
    return e == EAGAIN || e == EWOULDBLOCK;
}

// The engine judges a result by the thread's error queue: what others left there must not count.
void clear_errors() noexcept {
    if (ERR_peek_error() != 0) ERR_clear_error();
}

}  // namespace

// The engine's way to the socket.
struct tls_transport {
    static int read(BIO* bio, char* out, int size) noexcept {
        stream& s = *static_cast<stream*>(BIO_get_data(bio));
        BIO_clear_retry_flags(bio);
        if (size <= 0) return 0;
        while (s.descriptor_.read_ready()) {
            const auto n = ::recv(s.fd(), out, static_cast<std::size_t>(size), 0);
            if (n > 0) {
                if (n < size) s.descriptor_.clear_read();
                return static_cast<int>(n);
            }
            if (n < 0 && errno == EINTR) continue;
            if (n == 0 || !again(errno)) {
                s.broken_ = s.broken_ || n < 0;
                return static_cast<int>(n);
            }
            s.descriptor_.clear_read();
            break;
        }
        BIO_set_retry_read(bio);
        return -1;
    }

    static int write(BIO* bio, const char* data, int size) noexcept {
        stream& s = *static_cast<stream*>(BIO_get_data(bio));
        BIO_clear_retry_flags(bio);
        for (;;) {
            const auto n = ::send(s.fd(), data, static_cast<std::size_t>(size), MSG_NOSIGNAL);
            if (n >= 0) {
                if (n < size) s.descriptor_.clear_write();
                return static_cast<int>(n);
            }
            if (errno == EINTR) continue;
            if (!again(errno)) {
                s.broken_ = true;
                return -1;
            }
            s.descriptor_.clear_write();
            BIO_set_retry_write(bio);
            return -1;
        }
    }

    static long control(BIO*, int command, long, void*) noexcept {
        return command == BIO_CTRL_FLUSH ? 1 : 0;
    }

    static const BIO_METHOD* method() {
        static const BIO_METHOD* const made = [] {
            BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "descriptor");
            if (!m) throw std::bad_alloc();
            BIO_meth_set_read(m, read);
            BIO_meth_set_write(m, write);
            BIO_meth_set_ctrl(m, control);
            return m;
        }();
        return made;
    }
};

stream::stream(loop& on, int fd, const socket_address& peer) : descriptor_(on, fd), peer_(peer) {}

stream::~stream() {
    if (!ssl_) return;
    clear_errors();
    if (!broken_ && !shut_ && SSL_is_init_finished(ssl_)) SSL_shutdown(ssl_);
    // Otherwise freeing would mark the session as not resumable.
    SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl_);
    clear_errors();
}

void stream::adopt_tls(ssl_st* ssl) {
    ssl_ = ssl;
    BIO* bio = BIO_new(tls_transport::method());
    if (!bio) throw std::bad_alloc();
    BIO_set_data(bio, this);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_, bio, bio);
}

io_result stream::read(std::span<char> into) noexcept {
    if (into.empty()) return {};
    if (ssl_) return read_tls(into);
    // Remembered readiness saves the call that would only be refused, once for every request.
    if (!descriptor_.read_ready()) return {io_status::want_read, 0};
    for (;;) {
        const auto n = ::recv(fd(), into.data(), into.size(), 0);
        if (n > 0) {
            const auto got = static_cast<std::size_t>(n);
            // A short read has emptied the socket; the next arrival is a new edge.
            if (got < into.size()) descriptor_.clear_read();
            return {io_status::ok, got};
        }
        if (n == 0) return {io_status::eof, 0};
        if (errno == EINTR) continue;
        if (again(errno)) {
            descriptor_.clear_read();
            return {io_status::want_read, 0};
        }
        broken_ = true;
        return {io_status::reset, 0};
    }
}

io_result stream::read_tls(std::span<char> into) noexcept {
    clear_errors();
    std::size_t got = 0;
    while (got < into.size()) {
        std::size_t n = 0;
        const int rc = SSL_read_ex(ssl_, into.data() + got, into.size() - got, &n);
        if (rc == 1) {
            got += n;
            continue;
        }
        const io_result failure = tls_failure(rc);
        if (got == 0) return failure;
        // The end shows again at the next call, which must not wait for an event first.
        if (failure.status != io_status::want_read) descriptor_.mark_read();
        return {io_status::ok, got};
    }
    if (SSL_has_pending(ssl_)) descriptor_.mark_read();
    return {io_status::ok, got};
}

io_result stream::write(std::string_view bytes) noexcept {
    if (bytes.empty()) return {};
    if (ssl_) return write_tls(bytes.data(), bytes.size());
    for (;;) {
        const auto n = ::send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (n >= 0) {
            const auto sent = static_cast<std::size_t>(n);
            if (sent < bytes.size()) descriptor_.clear_write();
            return {io_status::ok, sent};
        }
        if (errno == EINTR) continue;
        if (again(errno)) {
            descriptor_.clear_write();
            return {io_status::want_write, 0};
        }
        broken_ = true;
        return {io_status::reset, 0};
    }
}

io_result stream::write(std::span<const iovec> pieces) noexcept {
    if (pieces.size() == 1)
        return write(
            std::string_view(static_cast<const char*>(pieces[0].iov_base), pieces[0].iov_len));
    if (!ssl_) {
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(pieces.data());
        message.msg_iovlen = std::min(pieces.size(), max_pieces);
        std::size_t total = 0;
        for (std::size_t i = 0; i < message.msg_iovlen; ++i)
            total += pieces[i].iov_len;
        if (total == 0) return {};
        for (;;) {
            const auto n = ::sendmsg(fd(), &message, MSG_NOSIGNAL);
            if (n >= 0) {
                const auto sent = static_cast<std::size_t>(n);
                if (sent < total) descriptor_.clear_write();
                return {io_status::ok, sent};
            }
            if (errno == EINTR) continue;
            if (again(errno)) {
                descriptor_.clear_write();
                return {io_status::want_write, 0};
            }
            broken_ = true;
            return {io_status::reset, 0};
        }
    }
    // Of threads that have such streams only; static memory every thread would have.
    static thread_local const auto scratch = std::make_unique<char[]>(record_size);
    std::size_t done = 0;
    std::size_t piece = 0;
    std::size_t offset = 0;
    while (piece < pieces.size()) {
        const char* const from = static_cast<const char*>(pieces[piece].iov_base) + offset;
        const std::size_t left = pieces[piece].iov_len - offset;
        const char* data = from;
        std::size_t size = left;
        if (left < record_size && piece + 1 < pieces.size()) {
            // One record of what fits. What is offered depends on the bytes alone, not on how they
            // are cut, so a repeated call repeats the record that was refused.
            size = 0;
            std::size_t skip = offset;
            for (std::size_t i = piece; i < pieces.size() && size < record_size; ++i, skip = 0) {
                const std::size_t n = std::min(pieces[i].iov_len - skip, record_size - size);
                if (n != 0)
                    std::memcpy(scratch.get() + size,
                                static_cast<const char*>(pieces[i].iov_base) + skip, n);
                size += n;
            }
            data = scratch.get();
        }
        if (size == 0) break;
        const io_result r = write_tls(data, size);
        if (!r.ok()) return done != 0 && r.would_block() ? io_result{io_status::ok, done} : r;
        done += r.bytes;
        if (r.bytes < size) break;
        offset += r.bytes;
        while (piece < pieces.size() && offset >= pieces[piece].iov_len)
            offset -= pieces[piece++].iov_len;
    }
    return {io_status::ok, done};
}

io_result stream::write_tls(const char* data, std::size_t size) noexcept {
    clear_errors();
    std::size_t done = 0;
    while (done < size) {
        std::size_t n = 0;
        // A record at a time: the engine reports each (partial writes are on).
        const int rc = SSL_write_ex(ssl_, data + done, std::min(size - done, max_int), &n);
        if (rc == 1) {
            done += n;
            continue;
        }
        const io_result failure = tls_failure(rc);
        // After want_* the rest is offered again with the record that was refused at its front.
        if (done != 0 && failure.would_block()) break;
        return failure;
    }
    return {io_status::ok, done};
}

io_result stream::tls_failure(int returned) noexcept {
    const int why = SSL_get_error(ssl_, returned);
    switch (why) {
        case SSL_ERROR_WANT_READ:
            return {io_status::want_read, 0};
        case SSL_ERROR_WANT_WRITE:
            return {io_status::want_write, 0};
        case SSL_ERROR_ZERO_RETURN:
            return {io_status::eof, 0};
        default:
            break;
    }
    broken_ = true;
    clear_errors();
    return {why == SSL_ERROR_SYSCALL ? io_status::reset : io_status::failed, 0};
}

task<io_result> stream::write_all(waiter& w, std::string_view bytes, mono_time deadline) {
    std::size_t done = 0;
    while (done < bytes.size()) {
        const io_result r = write(bytes.substr(done));
        if (r.ok()) {
            done += r.bytes;
            continue;
        }
        if (!r.would_block()) co_return io_result{r.status, done};
        const events got = co_await w.wait(bit_for(r.status), deadline);
        if (got & timed_out) co_return io_result{io_status::timed_out, done};
    }
    co_return io_result{io_status::ok, done};
}

bool stream::has_pending() const noexcept {
    return ssl_ && SSL_has_pending(ssl_);
}

bool stream::idle_ok() noexcept {
    if (broken_ || descriptor_.hung_up()) return false;
    char byte = 0;
    if (ssl_) {
        if (!descriptor_.read_ready() && !SSL_has_pending(ssl_)) return true;
        // Takes in what is no data, e.g. session tickets.
        clear_errors();
        const int n = SSL_peek(ssl_, &byte, 1);
        return n <= 0 && tls_failure(n).status == io_status::want_read;
    }
    if (!descriptor_.read_ready()) return true;
    if (::recv(fd(), &byte, 1, MSG_PEEK) >= 0 || !again(errno)) return false;
    descriptor_.clear_read();
    return true;
}

void stream::shutdown_write() noexcept {
    if (shut_) return;
    clear_errors();
    if (ssl_ && !broken_ && SSL_is_init_finished(ssl_)) SSL_shutdown(ssl_);
    shut_ = true;
    ::shutdown(fd(), SHUT_WR);
}

void stream::close_with_reset() noexcept {
    broken_ = true;
    const linger at_once{1, 0};
    ::setsockopt(fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

std::string_view stream::alpn() const noexcept {
    if (!ssl_) return {};
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_, &name, &size);
    return {reinterpret_cast<const char*>(name), size};
}

bool stream::session_reused() const noexcept {
    return ssl_ && SSL_session_reused(ssl_) == 1;
}

void set_tcp_options(int fd) noexcept {
    const auto set = [fd](int level, int name, int value) {
        ::setsockopt(fd, level, name, &value, sizeof value);
    };
    set(IPPROTO_TCP, TCP_NODELAY, 1);
    set(SOL_SOCKET, SO_KEEPALIVE, 1);
    set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
    set(IPPROTO_TCP, TCP_KEEPINTVL, 15);
    set(IPPROTO_TCP, TCP_KEEPCNT, 4);
}

}  // namespace kw::net
