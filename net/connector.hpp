// Opens connections to upstreams: name, TCP, egress proxy, TLS; each failure with its own code.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/error.hpp"
#include "core/secret.hpp"
#include "net/loop.hpp"
#include "net/stream.hpp"
#include "net/task.hpp"

namespace kw::net {

class dns_cache;
class tls_client_context;

struct endpoint {
    std::string host;  // a name or an IP literal without brackets
    std::uint16_t port = 0;
    std::shared_ptr<tls_client_context> tls;  // null: plain
    std::string sni;                          // name to verify and send; empty: host
};

struct egress_proxy {
    enum class kind : std::uint8_t { http_connect, socks5 };
    kind type = kind::http_connect;
    std::string host;
    std::uint16_t port = 0;
    std::string user;  // empty: no authentication
    secret password;
};

// "http://user:password@host:port", "socks5://…" ("socks5h" is the same: names are resolved by the
// proxy). errc::invalid_argument says what is wrong, without the text.
[[nodiscard]] result<egress_proxy> parse_egress_proxy(const secret& text);

struct connect_options {
    endpoint to;
    std::optional<egress_proxy> proxy;
    std::chrono::milliseconds dns_timeout{10'000};      // the name alone
    std::chrono::milliseconds connect_timeout{10'000};  // name, TCP over all addresses, proxy
    std::chrono::milliseconds tls_timeout{10'000};
    mono_time deadline = no_deadline;  // over all of it
    events read_bit = read_b;          // how the stream is attached
    events write_bit = write_b;
};

// Text that is equal exactly when two connections may stand in for each other: address, TLS context
// and name, proxy with its user. Holds no password.
[[nodiscard]] std::string identity_of(const connect_options& opts);

// The returned stream is attached to w with the bits of opts. Errors, all of source upstream:
// upstream_dns_error, upstream_connect_error, upstream_connect_timeout, upstream_tls_error,
// upstream_tls_timeout, egress_proxy_error. opts must live until the end.
[[nodiscard]] task<result<std::unique_ptr<stream>>> connect(loop& on, waiter& w, dns_cache& dns,
                                                            const connect_options& opts);

}  // namespace kw::net
