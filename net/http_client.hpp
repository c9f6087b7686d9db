// A small HTTP/1.1 client for the control plane: probes, webhooks, lists of models. One connection
// per request; the data path has its own way.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "net/connector.hpp"
#include "net/loop.hpp"
#include "net/task.hpp"

namespace kw::net {

struct http_request {
    std::string method = "GET";
    std::string url;  // absolute
    // Host, Content-Length, Accept-Encoding and Connection are added here.
    std::vector<std::pair<std::string, std::string>> headers;
    // A header whose value is a secret, e.g. Authorization; left out when the name is empty.
    std::pair<std::string, secret> credential;
    std::string body;
    mono_time deadline = no_deadline;  // over all of it; required
    std::size_t max_response_bytes = 1 << 20;
    std::shared_ptr<tls_client_context> tls;  // required for https
    std::optional<egress_proxy> proxy;
};

struct http_response {
    int status = 0;
    std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
    std::string body;
    // First field of that lower-case name; empty: none.
    [[nodiscard]] std::string_view header(std::string_view name) const noexcept;
};

// Follows no redirect. Any answer that is whole is a success, whatever its status. Errors: those of
// connect(), invalid_argument (URL, headers), upstream_total_timeout, upstream_reset,
// upstream_malformed (also: larger than max_response_bytes), upstream_stream_cut.
[[nodiscard]] task<result<http_response>> request(loop& on, dns_cache& dns, http_request r);

}  // namespace kw::net
