// Name, TCP over each address in turn, egress proxy, TLS.
#include "net/connector.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "net/egress.hpp"
#include "net/resolver.hpp"
#include "net/tls.hpp"

namespace kw::net {
namespace {

error fault(errc code, std::string what) {
    return error(code, std::move(what), error_source::upstream, retry_class::other_key);
}

std::string describe(int e) {
    return std::generic_category().message(e);
}

struct socket_name {
    sockaddr_storage text{};
    socklen_t size = 0;
};

socket_name name_of(const socket_address& a) {
    socket_name out;
    if (a.ip.is_v4()) {
        sockaddr_in in{};
        in.sin_family = AF_INET;
        in.sin_port = htons(a.port);
        std::memcpy(&in.sin_addr, a.ip.bytes().data() + 12, 4);
        std::memcpy(&out.text, &in, sizeof in);
        out.size = sizeof in;
    } else {
        sockaddr_in6 in{};
        in.sin6_family = AF_INET6;
        in.sin6_port = htons(a.port);
        std::memcpy(&in.sin6_addr, a.ip.bytes().data(), 16);
        std::memcpy(&out.text, &in, sizeof in);
        out.size = sizeof in;
    }
    return out;
}

task<result<std::unique_ptr<stream>>> connect_one(loop& on, waiter& w, socket_address to,
                                                  const connect_options& opts, mono_time deadline) {
    const socket_name name = name_of(to);
    const int fd =
        ::socket(name.text.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        co_return fault(errc::upstream_connect_error, to.to_string() + ": " + describe(errno));
    set_tcp_options(fd);
    // Before it is registered: an unconnected socket counts as hung up.
    const int rc = ::connect(fd, reinterpret_cast<const sockaddr*>(&name.text), name.size);
    if (rc != 0 && errno != EINPROGRESS) {
        const int e = errno;
        ::close(fd);
        co_return fault(errc::upstream_connect_error, to.to_string() + ": " + describe(e));
    }
    std::unique_ptr<stream> made;
    try {
        made = std::make_unique<stream>(on, fd, to);
    } catch (const std::system_error& e) {
        co_return fault(errc::upstream_connect_error, to.to_string() + ": " + e.what());
    }
    made->attach(&w, opts.read_bit, opts.write_bit);
    if (rc != 0) {
        const events got = co_await w.wait(opts.write_bit, deadline);
        if (got & timed_out)
            co_return fault(errc::upstream_connect_timeout,
                            to.to_string() + ": no connection in time");
        int failure = 0;
        socklen_t size = sizeof failure;
        ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size);
        if (failure != 0)
            co_return fault(errc::upstream_connect_error,
                            to.to_string() + ": " + describe(failure));
    }
    co_return made;
}

}  // namespace

std::string identity_of(const connect_options& opts) {
    const endpoint& to = opts.to;
    std::string out = join_host_port(to.host, to.port);
    if (to.tls) out += " tls " + std::to_string(to.tls->id()) + " " + to.sni;
    if (opts.proxy) {
        const auto& p = *opts.proxy;
        out += p.type == egress_proxy::kind::socks5 ? " socks5 " : " http ";
        out += join_host_port(p.host, p.port) + " " + p.user;
    }
    return out;
}

task<result<std::unique_ptr<stream>>> connect(loop& on, waiter& w, dns_cache& dns,
                                              const connect_options& opts) {
    const mono_time connect_by = std::min(opts.deadline, on.now() + opts.connect_timeout);
    const std::string& host = opts.proxy ? opts.proxy->host : opts.to.host;
    const std::uint16_t port = opts.proxy ? opts.proxy->port : opts.to.port;

    auto found = co_await dns.resolve(host, std::min(connect_by, on.now() + opts.dns_timeout));
    if (!found) co_return found.error();
    const auto& addresses = **found;

    std::unique_ptr<stream> made;
    error last = fault(errc::upstream_connect_error, host + ": no address");
    for (std::size_t i = 0; i < addresses.size() && !made; ++i) {
        const auto left = connect_by - on.now();
        if (left <= mono_time::duration::zero()) {
            last = fault(errc::upstream_connect_timeout, host + ": no connection in time");
            break;
        }
        // What is left is shared among the addresses that are left.
        const auto share = left / static_cast<std::int64_t>(addresses.size() - i);
        const socket_address to{addresses[i], port};
        auto tried = co_await connect_one(on, w, to, opts, on.now() + share);
        if (tried) {
            made = std::move(*tried);
        } else {
            last = tried.error();
        }
    }
    if (!made) {
        if (opts.proxy) last = fault(errc::egress_proxy_error, "egress proxy " + last.context);
        co_return last;
    }

    if (opts.proxy) {
        auto through =
            co_await pass_proxy(*made, w, *opts.proxy, opts.to.host, opts.to.port, connect_by);
        if (!through) co_return through.error();
    }
    if (opts.to.tls) {
        const std::string& name = opts.to.sni.empty() ? opts.to.host : opts.to.sni;
        const std::string key = join_host_port(opts.to.host, opts.to.port) + " " + name;
        if (auto r = opts.to.tls->start(*made, name, key); !r) co_return r.error();
        const mono_time by = std::min(opts.deadline, on.now() + opts.tls_timeout);
        auto shaken = co_await handshake(*made, w, by);
        if (!shaken) {
            error e = shaken.error();
            e.context = name + ": " + e.context;
            co_return e;
        }
    }
    co_return made;
}

}  // namespace kw::net
