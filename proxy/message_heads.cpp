// Composition of request and answer heads by copying lines of the parsed ones.
#include "proxy/message_heads.hpp"

#include <charconv>

namespace kw::proxy {
namespace {

using net::header_id;

// Of a prefix in small letters. Most names differ in the first.
bool begins_with(std::string_view name, std::string_view prefix) noexcept {
    return name.size() > prefix.size() && (name.front() | 0x20) == prefix.front() &&
           net::equal_ignoring_case(name.substr(0, prefix.size()), prefix);
}

// X-Forwarded-Port, -Prefix and what else proxies on the client's side invent.
bool is_forwarding(std::string_view name) noexcept {
    return begins_with(name, "x-forwarded-");
}

bool is_rate_limit(std::string_view name) noexcept {
    return begins_with(name, "x-ratelimit-");
}

bool is_cors(std::string_view name) noexcept {
    return begins_with(name, "access-control-");
}

// Of a WebSocket's handshake, which each side of us makes by itself; a client's may hold its key.
bool is_handshake(std::string_view name) noexcept {
    return begins_with(name, "sec-websocket-");
}

// Headers of a client that never reach an upstream, besides hop-by-hop ones.
bool stays_here(const net::http_head::header& h, const upstream_head& head) noexcept {
    switch (h.id) {
        case header_id::host:
        case header_id::content_length:
        case header_id::transfer_encoding:
        case header_id::expect:
        case header_id::authorization:
        case header_id::api_key:
        case header_id::x_api_key:
        case header_id::x_goog_api_key:
        case header_id::x_admin_key:
        case header_id::proxy_authorization:
        case header_id::cookie:
        case header_id::forwarded:
        case header_id::x_forwarded_for:
        case header_id::x_forwarded_host:
        case header_id::x_forwarded_proto:
        case header_id::x_real_ip:
            return true;
        case header_id::openai_organization:
            return !head.keep_account_headers || !head.organization.empty();
        case header_id::openai_project:
            return !head.keep_account_headers || !head.project.empty();
        case header_id::accept_encoding:
            return head.identity_encoding;
        case header_id::traceparent:
            return !head.traceparent.empty();
        case header_id::other:
            return is_forwarding(h.name) || is_handshake(h.name);
        default:
            return false;
    }
}

void append_line(std::string& out, std::string_view name, std::string_view value) {
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
}

}  // namespace

void append_number(std::string& out, std::uint64_t number) {
    char buffer[20];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, number).ptr;
    out.append(buffer, end);
}

void append_upstream_head(std::string& out, const upstream_head& head) {
    out += head.method.empty() ? head.from.method() : head.method;
    out += ' ';
    head.dialect.append_target(out, head.base_path, head.target);
    out += " HTTP/1.1\r\n";
    append_line(out, "Host", head.authority);
    head.dialect.append_credentials(out, head.key);
    for (const auto& h : head.from) {
        if (h.hop_by_hop || stays_here(h, head)) continue;
        append_line(out, h.name, h.value);
    }
    if (!head.organization.empty()) append_line(out, "OpenAI-Organization", head.organization);
    if (!head.project.empty()) append_line(out, "OpenAI-Project", head.project);
    if (!head.traceparent.empty()) append_line(out, "traceparent", head.traceparent);
    if (head.identity_encoding) out += "Accept-Encoding: identity\r\n";
    if (head.framing == net::framing::length) {
        out += "Content-Length: ";
        append_number(out, head.length);
        out += "\r\n";
    } else if (head.framing == net::framing::chunked) {
        out += "Transfer-Encoding: chunked\r\n";
    }
    out += head.own_lines;
    out += "\r\n";
}

void append_downstream_head(std::string& out, const downstream_head& head) {
    out += "HTTP/1.1 ";
    append_number(out, static_cast<std::uint64_t>(head.from.status()));
    out += ' ';
    out += head.from.reason();
    out += "\r\n";
    // Trailers pass with a body that keeps its chunks, so what announces them does too.
    const bool trailers = head.framing == net::framing::chunked && !head.event_stream &&
                          head.from.body() == net::framing::chunked;
    for (const auto& h : head.from) {
        if (h.hop_by_hop && !(trailers && h.id == header_id::trailer)) continue;
        if (h.id == header_id::content_length || h.id == header_id::transfer_encoding) continue;
        if (h.id == header_id::x_should_retry && head.drop_should_retry) continue;
        if (h.id == header_id::other &&
            ((head.drop_rate_limits && is_rate_limit(h.name)) ||
             (head.drop_cors && is_cors(h.name)) || is_handshake(h.name)))
            continue;
        if (head.event_stream &&
            (h.id == header_id::cache_control || h.id == header_id::x_accel_buffering))
            continue;
        append_line(out, h.name, h.value);
    }
    if (head.event_stream) out += "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n";
    out += head.own_lines;
    if (head.framing == net::framing::length || head.state_length) {
        out += "Content-Length: ";
        append_number(out, head.length);
        out += "\r\n";
    } else if (head.framing == net::framing::chunked) {
        out += "Transfer-Encoding: chunked\r\n";
    }
    if (!head.keep_alive) out += "Connection: close\r\n";
    out += "\r\n";
}

}  // namespace kw::proxy
