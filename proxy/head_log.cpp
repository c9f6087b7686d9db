// Which values may be shown is a list of what is known to be harmless, not of what is secret.
#include "proxy/head_log.hpp"

#include <algorithm>
#include <array>

namespace kw::proxy {
namespace {

constexpr std::array<std::string_view, 16> shown = {
    "accept",         "accept-encoding",   "connection",  "content-encoding",
    "content-length", "content-type",      "date",        "expect",
    "host",           "openai-beta",       "retry-after", "retry-after-ms",
    "traceparent",    "transfer-encoding", "user-agent",  "x-request-id"};
constexpr std::array<std::string_view, 3> shown_prefixes = {"x-stainless-", "x-ratelimit-",
                                                            "anthropic-ratelimit-"};

bool may_show(std::string_view name) noexcept {
    return std::ranges::any_of(shown,
                               [&](auto known) { return net::equal_ignoring_case(name, known); }) ||
           std::ranges::any_of(shown_prefixes, [&](auto prefix) {
               return net::equal_ignoring_case(name.substr(0, prefix.size()), prefix);
           });
}

void append_headers(std::string& out, const net::http_head& head) {
    std::string_view between = " ";
    for (const auto& h : head) {
        out.append(between).append(h.name).append(": ");
        out += may_show(h.name) ? h.value : std::string_view("***");
        between = ", ";
    }
}

}  // namespace

std::string describe_request(const net::http_head& head) {
    std::string out(head.method());
    out.append(" ").append(head.path());
    if (!head.query().empty()) out += "?***";
    append_headers(out, head);
    return out;
}

std::string describe_response(const net::http_head& head) {
    std::string out = std::to_string(head.status());
    out.append(" ").append(head.reason());
    append_headers(out, head);
    return out;
}

}  // namespace kw::proxy
