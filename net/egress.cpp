// HTTP CONNECT (RFC 9110 §9.3.6) and SOCKS5 (RFC 1928, user and password by RFC 1929).
#include "net/egress.hpp"

#include <algorithm>
#include <array>

#include "core/base64.hpp"
#include "net/address.hpp"
#include "net/url.hpp"

namespace kw::net {
namespace {

constexpr std::size_t max_reply = 8 * 1024;

error fault(std::string what) {
    return error(errc::egress_proxy_error, "egress proxy: " + std::move(what),
                 error_source::upstream, retry_class::other_key);
}

// One read of at least a byte.
task<result<std::size_t>> read_some(stream& on, waiter& w, std::span<char> into,
                                    mono_time deadline) {
    for (;;) {
        const io_result r = on.read(into);
        if (r.ok()) co_return r.bytes;
        if (!r.would_block()) co_return fault("it closed the connection");
        const events got = co_await w.wait(on.bit_for(r.status), deadline);
        if (got & timed_out) co_return fault("no answer in time");
    }
}

task<result<void>> read_exactly(stream& on, waiter& w, std::span<char> into, mono_time deadline) {
    while (!into.empty()) {
        const auto n = co_await read_some(on, w, into, deadline);
        if (!n) co_return n.error();
        into = into.subspan(*n);
    }
    co_return result<void>();
}

task<result<void>> send(stream& on, waiter& w, std::string_view bytes, mono_time deadline) {
    const io_result r = co_await on.write_all(w, bytes, deadline);
    if (r.status == io_status::timed_out) co_return fault("no answer in time");
    if (!r.ok()) co_return fault("it closed the connection");
    co_return result<void>();
}

task<result<void>> pass_http(stream& on, waiter& w, const egress_proxy& proxy,
                             const std::string& host, std::uint16_t port, mono_time deadline) {
    const std::string target = join_host_port(host, port);
    secret head("CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n" +
                (proxy.user.empty()
                     ? std::string()
                     : "Proxy-Authorization: Basic " +
                           to_base64(proxy.user + ":" + std::string(proxy.password.reveal())) +
                           "\r\n") +
                "\r\n");
    auto sent = co_await send(on, w, head.reveal(), deadline);
    if (!sent) co_return sent.error();

    std::string reply;
    for (;;) {
        std::array<char, 1024> some;
        const auto n = co_await read_some(on, w, some, deadline);
        if (!n) co_return n.error();
        reply.append(some.data(), *n);
        const auto end = reply.find("\r\n\r\n");
        if (end == reply.npos) {
            if (reply.size() > max_reply) co_return fault("its answer has no end");
            continue;
        }
        const bool known = reply.starts_with("HTTP/1.1 ") || reply.starts_with("HTTP/1.0 ");
        if (!known || reply.size() < 12) co_return fault("its answer is not HTTP");
        const std::string status = reply.substr(9, 3);
        if (status == "407") co_return fault("it refuses the user or password (407)");
        if (status[0] != '2' ||
            std::any_of(status.begin(), status.end(), [](char c) { return c < '0' || c > '9'; }))
            co_return fault("it refuses CONNECT to " + target + " (" +
                            (status.find_first_not_of("0123456789") == status.npos ? status : "?") +
                            ")");
        // The upstream does not speak first: these bytes would be the proxy's own.
        if (reply.size() != end + 4) co_return fault("bytes follow its answer");
        co_return result<void>();
    }
}

task<result<void>> pass_socks5(stream& on, waiter& w, const egress_proxy& proxy,
                               const std::string& host, std::uint16_t port, mono_time deadline) {
    const bool login = !proxy.user.empty();
    if (proxy.user.size() > 255 || proxy.password.size() > 255 || host.size() > 255)
        co_return fault("user, password or host is longer than SOCKS5 takes");

    const std::string greeting =
        login ? std::string("\x05\x01\x02", 3) : std::string("\x05\x01\x00", 3);
    auto sent = co_await send(on, w, greeting, deadline);
    if (!sent) co_return sent.error();
    std::array<char, 2> answer{};
    auto got = co_await read_exactly(on, w, answer, deadline);
    if (!got) co_return got.error();
    if (answer[0] != 5) co_return fault("it does not speak SOCKS5");
    if (answer[1] != greeting[2]) co_return fault("it refuses the way of authentication");

    if (login) {
        std::string text = "\x01";
        text += static_cast<char>(proxy.user.size());
        text += proxy.user;
        text += static_cast<char>(proxy.password.size());
        text += proxy.password.reveal();
        const secret credentials(std::move(text));
        auto said = co_await send(on, w, credentials.reveal(), deadline);
        if (!said) co_return said.error();
        auto heard = co_await read_exactly(on, w, answer, deadline);
        if (!heard) co_return heard.error();
        if (answer[1] != 0) co_return fault("it refuses the user or password");
    }

    std::string ask("\x05\x01\x00", 3);
    if (const auto ip = ip_address::parse(host)) {
        const auto* bytes = reinterpret_cast<const char*>(ip->bytes().data());
        ask += ip->is_v4() ? '\x01' : '\x04';
        ask += ip->is_v4() ? std::string(bytes + 12, 4) : std::string(bytes, 16);
    } else {
        ask += '\x03';
        ask += static_cast<char>(host.size());
        ask += host;
    }
    ask += static_cast<char>(port >> 8);
    ask += static_cast<char>(port & 0xff);
    auto asked = co_await send(on, w, ask, deadline);
    if (!asked) co_return asked.error();

    // Version, verdict, reserved, address type, and the address's first byte (a name's length).
    std::array<char, 5> verdict{};
    auto read = co_await read_exactly(on, w, verdict, deadline);
    if (!read) co_return read.error();
    if (verdict[0] != 5) co_return fault("its answer is not SOCKS5");
    if (verdict[1] != 0) {
        static constexpr std::array<const char*, 9> reasons = {"",
                                                               "general failure",
                                                               "not allowed by its rules",
                                                               "network unreachable",
                                                               "host unreachable",
                                                               "connection refused",
                                                               "time to live expired",
                                                               "command not supported",
                                                               "address type not supported"};
        const auto code = static_cast<unsigned char>(verdict[1]);
        co_return fault("no way to " + join_host_port(host, port) + ": " +
                        (code < reasons.size() ? reasons[code] : "unknown reason"));
    }
    std::size_t rest = 0;
    if (verdict[3] == 1) {
        rest = 4 + 2 - 1;
    } else if (verdict[3] == 4) {
        rest = 16 + 2 - 1;
    } else if (verdict[3] == 3) {
        rest = static_cast<unsigned char>(verdict[4]) + 2U;
    } else {
        co_return fault("its answer is not SOCKS5");
    }
    std::array<char, 260> bound;
    co_return co_await read_exactly(on, w, std::span(bound).first(rest), deadline);
}

}  // namespace

task<result<void>> pass_proxy(stream& on, waiter& w, const egress_proxy& proxy, std::string host,
                              std::uint16_t port, mono_time deadline) {
    if (proxy.type == egress_proxy::kind::socks5)
        co_return co_await pass_socks5(on, w, proxy, host, port, deadline);
    co_return co_await pass_http(on, w, proxy, host, port, deadline);
}

result<egress_proxy> parse_egress_proxy(const secret& text) {
    const auto bad = [](const char* why) {
        return error(errc::invalid_argument, std::string("egress proxy: ") + why);
    };
    std::string_view rest = text.reveal();
    egress_proxy out;
    const auto scheme_end = rest.find("://");
    if (scheme_end == rest.npos) return bad("must be http://… or socks5://…");
    const auto scheme = rest.substr(0, scheme_end);
    if (scheme == "socks5" || scheme == "socks5h") {
        out.type = egress_proxy::kind::socks5;
    } else if (scheme != "http") {
        return bad("must be http://… or socks5://…");
    }
    rest.remove_prefix(scheme_end + 3);
    if (const auto at = rest.rfind('@'); at != rest.npos) {
        const auto login = rest.substr(0, at);
        const auto colon = login.find(':');
        auto user = percent_decode(login.substr(0, colon));
        auto password = percent_decode(colon == login.npos ? "" : login.substr(colon + 1));
        if (!user || !password || user->empty()) return bad("user or password is malformed");
        out.user = std::move(*user);
        out.password = secret(std::move(*password));
        rest.remove_prefix(at + 1);
    }
    if (rest.ends_with('/')) rest.remove_suffix(1);
    auto where =
        split_host_port(rest, out.type == egress_proxy::kind::socks5 ? std::uint16_t{1080} : 0);
    if (!where || rest.find_first_of("/?# \t\r\n") != rest.npos)
        return bad("host and port are malformed or missing");
    out.host = std::move(where->host);
    out.port = where->port;
    return out;
}

}  // namespace kw::net
