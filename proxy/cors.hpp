// Which pages of browsers may call the proxy (CORS): by their origin, without credentials of the
// browser's own (cookies), which are never allowed.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "net/http_head.hpp"

namespace kw::proxy {

// origins: lower case, "*" for any.
[[nodiscard]] bool may_call_from_page(std::span<const std::string> origins,
                                      std::string_view origin) noexcept;

// The lines that let a page of this origin read the answer, each with its CRLF.
[[nodiscard]] std::string cors_lines(std::string_view origin);

// A browser asks before it sends the request itself.
[[nodiscard]] bool is_preflight(const net::http_head& head) noexcept;
// The whole answer: 204 with what it asked for if it may, 403 otherwise. lines: cors_lines(), or ""
// for an origin that may not.
[[nodiscard]] std::string answer_preflight(const net::http_head& head, std::string_view lines);

}  // namespace kw::proxy
