// The two heads that the proxy writes: the request's to the upstream and the answer's to the
// client. Each is appended to one string that the caller reuses.
//
// What changes on the way up: the client's credentials, cookies and account headers, hop-by-hop
// headers and what names the client's address are left out; Host, the upstream's credential and
// the framing are ours. All other headers keep their order, case and bytes. On the way down:
// hop-by-hop headers are left out, framing is restated, our own x-keywheel-* are added.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/secret.hpp"
#include "net/http_head.hpp"
#include "proxy/providers/provider.hpp"

namespace kw::proxy {

struct upstream_head {
    const net::http_head& from;
    const provider_dialect& dialect;
    std::string_view base_path;  // of the base URL, without a trailing slash
    std::string_view authority;  // Host
    std::string_view target;     // the client's, without credentials
    const secret& key;
    net::framing framing = net::framing::none;
    std::uint64_t length = 0;            // with framing::length
    bool identity_encoding = false;      // ask for an answer that is not compressed
    bool keep_account_headers = false;   // OpenAI-Organization, OpenAI-Project of the client
    std::string_view organization = {};  // of the group's, in place of the client's
    std::string_view project = {};
    std::string_view traceparent = {};  // in place of the client's
    std::string_view method = {};       // instead of the client's
    std::string_view own_lines = {};    // whole header lines, each with its CRLF
};
void append_upstream_head(std::string& out, const upstream_head& head);

struct downstream_head {
    const net::http_head& from;
    net::framing framing = net::framing::none;  // how the body is framed towards the client
    std::uint64_t length = 0;
    bool state_length = false;  // Content-Length although no body follows (HEAD, 304)
    bool event_stream = false;  // adds what keeps proxies from buffering
    bool keep_alive = true;
    bool drop_should_retry = false;   // the upstream's x-should-retry is replaced by ours
    bool drop_rate_limits = false;    // the upstream's x-ratelimit-* likewise
    bool drop_cors = false;           // the upstream's access-control-* likewise
    std::string_view own_lines = {};  // whole header lines, each with its CRLF
};
void append_downstream_head(std::string& out, const downstream_head& head);

void append_number(std::string& out, std::uint64_t number);

}  // namespace kw::proxy
