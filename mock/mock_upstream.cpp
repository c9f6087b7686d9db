// Threads and listeners of the mock.
#include "mock/mock_upstream.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "mock/session.hpp"

namespace kw::mock {
namespace {

[[noreturn]] void fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

int listen_on(const std::string& host, std::uint16_t port) {
    addrinfo hints{};
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
        throw std::runtime_error("mock upstream: cannot resolve the address to listen on: " + host);
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
    const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail("mock upstream: socket");
    const int one = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (::bind(fd, found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd, 4096) != 0) {
        const int reason = errno;
        ::close(fd);
        errno = reason;
        fail("mock upstream: bind");
    }
    return fd;
}

std::uint16_t port_of(int fd) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) fail("getsockname");
    return ntohs(address.ss_family == AF_INET6
                     ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                     : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

// One thread: its worker, its listener.
class runner {
  public:
    runner(server& s, const clock_source& clock, int fd)
        : worker_(s, clock), waiter_(worker_.on), listener_(worker_.on, fd) {
        listener_.attach(&waiter_, net::read_a, 0);
    }
    void start() { thread_ = std::thread(&runner::run, this); }
    void stop() {
        worker_.on.post([this] {
            worker_.stopping = true;
            waiter_.set(net::stopping);
            for (wire* open : worker_.open)
                open->abort();
        });
    }
    void join() {
        if (thread_.joinable()) thread_.join();
    }

  private:
    void run() {
        net::spawn("mock.listen", listen());
        worker_.on.run();
    }
    net::task<void> listen() {
        while (!worker_.stopping) {
            const int fd =
                ::accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd >= 0) {
                if (worker_.shared.direct.accepting) {
                    net::spawn("mock.connection", serve_connection(worker_, fd));
                } else {
                    ::close(fd);
                }
                continue;
            }
            const int reason = errno;
            if (reason == EAGAIN) {
                listener_.clear_read();
                co_await waiter_.wait(net::read_a | net::stopping);
            } else if (reason != EINTR && reason != ECONNABORTED) {
                // Out of descriptors: some will be closed soon.
                const auto soon = worker_.on.clock().mono() + std::chrono::milliseconds(20);
                co_await waiter_.wait(net::stopping, soon);
            }
        }
        worker_.left();
    }

    worker worker_;
    net::waiter waiter_;
    net::descriptor listener_;
    std::thread thread_;
};

}  // namespace

struct mock_upstream::impl {
    explicit impl(mock_options o) : options(std::move(o)) {}

    mock_options options;
    system_clock_source clock;
    std::unique_ptr<server> shared;
    std::vector<std::unique_ptr<runner>> runners;
    std::string ca;
    std::mutex mutex;
    std::condition_variable changed;
    bool stopped = false;  // guarded by mutex
};

mock_upstream::mock_upstream(mock_options options)
    : impl_(std::make_unique<impl>(std::move(options))) {}

mock_upstream::~mock_upstream() {
    stop();
}

std::uint16_t mock_upstream::start() {
    // OpenSSL writes without MSG_NOSIGNAL.
    std::signal(SIGPIPE, SIG_IGN);
    impl& m = *impl_;
    m.shared = std::make_unique<server>(m.options);
    if (m.options.self_signed) {
        const auto made = make_self_signed();
        m.ca = made.chain_pem;
        m.shared->tls = make_context(made);
        if (!m.options.ca_out.empty()) {
            std::ofstream out(m.options.ca_out, std::ios::binary | std::ios::trunc);
            out << m.ca;
            if (!out.flush())
                throw std::runtime_error("mock upstream: cannot write " + m.options.ca_out);
        }
    } else if (!m.options.tls_certificate.empty()) {
        m.shared->tls =
            make_context(load_certificate(m.options.tls_certificate, m.options.tls_key));
    }
    std::uint16_t port = m.options.port;
    for (unsigned i = 0; i < std::max(1U, m.options.threads); ++i) {
        const int fd = listen_on(m.options.host, port);
        port = port_of(fd);
        m.runners.push_back(std::make_unique<runner>(*m.shared, m.clock, fd));
    }
    for (auto& r : m.runners)
        r->start();
    return port;
}

void mock_upstream::stop() {
    for (auto& r : impl_->runners)
        r->stop();
    for (auto& r : impl_->runners)
        r->join();
    impl_->runners.clear();
    const std::lock_guard lock(impl_->mutex);
    impl_->stopped = true;
    impl_->changed.notify_all();
}

void mock_upstream::wait() {
    std::unique_lock lock(impl_->mutex);
    impl_->changed.wait(lock, [this] { return impl_->stopped; });
}

const std::string& mock_upstream::ca_pem() const noexcept {
    return impl_->ca;
}

}  // namespace kw::mock
