// Binding, accepting, and the brakes on accepting.
#include "net/listener.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <exception>
#include <system_error>

#include "core/log.hpp"

namespace kw::net {
namespace {

// Left for upstream connections, files and the store while accepting pauses.
constexpr int reserved_descriptors = 64;
constexpr auto scarce_pause = std::chrono::milliseconds(100);
constexpr int accepts_per_turn = 64;

socket_address address_of(const sockaddr_storage& from) noexcept {
    socket_address out;
    if (from.ss_family == AF_INET) {
        sockaddr_in in{};
        std::memcpy(&in, &from, sizeof in);
        std::array<std::uint8_t, 4> b{};
        std::memcpy(b.data(), &in.sin_addr, b.size());
        out.ip = ip_address::v4(b);
        out.port = ntohs(in.sin_port);
    } else if (from.ss_family == AF_INET6) {
        sockaddr_in6 in{};
        std::memcpy(&in, &from, sizeof in);
        std::array<std::uint8_t, 16> b{};
        std::memcpy(b.data(), &in.sin6_addr, b.size());
        out.ip = ip_address::v6(b);
        out.port = ntohs(in.sin6_port);
    }
    return out;
}

error refused(const listen_options& opts, int e) {
    std::string what = "cannot listen on " + join_host_port(opts.host, opts.port) + ": " +
                       std::generic_category().message(e);
    if (e == EADDRINUSE) {
        what += "; stop the program that listens there or choose another port";
    } else if (e == EACCES) {
        what += "; ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one";
    } else if (e == EADDRNOTAVAIL) {
        what += "; no interface of this machine has that address (0.0.0.0 or :: takes all)";
    }
    return error(errc::invalid_argument, std::move(what));
}

int descriptor_limit() noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX) return INT_MAX;
    return static_cast<int>(limit.rlim_cur);
}

}  // namespace

result<std::unique_ptr<listener>> listener::open(loop& on, const listen_options& opts,
                                                 handler on_accept) {
    const auto ip = ip_address::parse(opts.host);
    if (!ip)
        return error(errc::invalid_argument,
                     "listener address \"" + opts.host + "\" is no IP address");
    // Spelled as IPv6, "::" included, it is bound as such.
    const bool v4 = ip->is_v4();
    const int fd =
        ::socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0) return refused(opts, errno);
    const int yes = 1;
    const int no = 0;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (opts.reuse_port) ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
    // Inherited by what is accepted: one system call less each.
    set_tcp_options(fd);
    int rc = 0;
    if (v4) {
        sockaddr_in in{};
        in.sin_family = AF_INET;
        in.sin_port = htons(opts.port);
        std::memcpy(&in.sin_addr, ip->bytes().data() + 12, 4);
        rc = ::bind(fd, reinterpret_cast<const sockaddr*>(&in), sizeof in);
    } else {
        ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
        sockaddr_in6 in{};
        in.sin6_family = AF_INET6;
        in.sin6_port = htons(opts.port);
        std::memcpy(&in.sin6_addr, ip->bytes().data(), 16);
        rc = ::bind(fd, reinterpret_cast<const sockaddr*>(&in), sizeof in);
    }
    if (rc != 0 || ::listen(fd, opts.backlog) != 0) {
        const int e = errno;
        ::close(fd);
        return refused(opts, e);
    }
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
    return std::unique_ptr<listener>(new listener(on, fd, address_of(bound), std::move(on_accept)));
}

listener::listener(loop& on, int fd, const socket_address& local, handler on_accept)
    : loop_(on),
      local_(local),
      on_accept_(std::move(on_accept)),
      waiter_(on),
      descriptor_(std::make_unique<descriptor>(on, fd)),
      fd_threshold_(descriptor_limit() - reserved_descriptors) {
    descriptor_->attach(&waiter_, read_a, write_a);
    root_.start("listener.accept", accept_loop());
}

listener::~listener() {
    close();
}

void listener::pause() noexcept {
    paused_ = true;
}

void listener::resume() noexcept {
    if (!paused_) return;
    paused_ = false;
    waiter_.wake();
}

void listener::close() noexcept {
    root_.reset();
    descriptor_.reset();
}

// A new descriptor gets the lowest free number: its height tells how many are in use.
bool listener::descriptors_scarce() const noexcept {
    const int probe = ::fcntl(descriptor_->fd(), F_DUPFD_CLOEXEC, 0);
    if (probe < 0) return true;
    ::close(probe);
    return probe >= fd_threshold_;
}

task<void> listener::accept_loop() {
    for (;;) {
        if (paused_) {
            co_await waiter_.wait(woken);
            continue;
        }
        co_await waiter_.wait(read_a);
        bool scarce = false;
        for (int i = 0; i < accepts_per_turn && !paused_ && !scarce; ++i) {
            sockaddr_storage from{};
            socklen_t size = sizeof from;
            const int fd = ::accept4(descriptor_->fd(), reinterpret_cast<sockaddr*>(&from), &size,
                                     SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0) {
                const int e = errno;
                if (e == EAGAIN || e == EWOULDBLOCK) {
                    descriptor_->clear_read();
                    break;
                }
                // All others are of the one connection that came and went (accept(2)).
                scarce = e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM;
                continue;
            }
            scarce = fd >= fd_threshold_;
            ++accepted_;
            try {
                auto client = std::make_unique<stream>(loop_, fd, address_of(from));
                // The first request is there already as a rule: one look without waiting for it.
                client->handle().mark_read();
                on_accept_(std::move(client));
            } catch (const std::exception&) {
                scarce = true;  // no room in epoll or memory; the connection is closed
            }
        }
        if (!scarce) {
            // Many at once: the connections that are there already come first now and then.
            if (waiter_.ready() & read_a) co_await waiter_.yield();
            continue;
        }
        log::event(log::level::warn, "listener.paused",
                   {{"address", local_.to_string()}, {"reason", "file descriptors are scarce"}});
        do {
            co_await sleep_until(waiter_, loop_.now() + scarce_pause);
        } while (descriptors_scarce());
    }
}

std::uint64_t raise_descriptor_limit() noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return ::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

}  // namespace kw::net
