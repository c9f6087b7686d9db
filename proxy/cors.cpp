// Origins, and the answer to a preflight.
#include "proxy/cors.hpp"

#include <algorithm>

#include "proxy/error_response.hpp"

namespace kw::proxy {
namespace {

constexpr std::size_t max_origin = 300;

// Names of headers and nothing else: it is written back.
bool is_header_list(std::string_view text) noexcept {
    return std::ranges::all_of(text, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == ',' || c == ' ';
    });
}

}  // namespace

bool may_call_from_page(std::span<const std::string> origins, std::string_view origin) noexcept {
    if (origin.empty() || origin.size() > max_origin) return false;
    return std::ranges::any_of(origins, [&](const std::string& one) {
        return one == "*" || net::equal_ignoring_case(one, origin);
    });
}

std::string cors_lines(std::string_view origin) {
    // The origin itself and not "*": what is cached for one page is not another's.
    std::string lines = "Access-Control-Allow-Origin: ";
    lines.append(origin).append("\r\nVary: Origin\r\nAccess-Control-Expose-Headers: *\r\n");
    return lines;
}

bool is_preflight(const net::http_head& head) noexcept {
    return head.method_kind() == net::method_id::options &&
           !head.find("access-control-request-method").empty();
}

std::string answer_preflight(const net::http_head& head, std::string_view lines) {
    if (lines.empty()) {
        const error e(errc::client_not_allowed,
                      "Pages of this origin may not call here; the operator can add it to "
                      "server.cors_origins.",
                      error_source::downstream);
        return make_error_response(e, error_shape::openai, {.code = "origin_not_allowed"});
    }
    std::string out = "HTTP/1.1 204 No Content\r\n";
    out += lines;
    out += "Access-Control-Allow-Methods: GET, POST, PUT, PATCH, DELETE, HEAD\r\n";
    const std::string_view asked = head.find("access-control-request-headers");
    if (!asked.empty() && is_header_list(asked))
        out.append("Access-Control-Allow-Headers: ").append(asked).append("\r\n");
    out += "Access-Control-Max-Age: 600\r\n\r\n";
    return out;
}

}  // namespace kw::proxy
