// Absolute http(s) URLs, parsed strictly: what configuration and webhooks name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.hpp"

namespace kw::net {

struct url {
    bool tls = false;
    std::string host;        // lower case, IPv6 without brackets
    std::uint16_t port = 0;  // 80 or 443 when not given
    std::string path = "/";  // starts with '/'; percent escapes left as they are
    std::string query;       // without '?'

    // "/path?query": the request target.
    [[nodiscard]] std::string target() const;
    // "host" or "host:port" when not the scheme's own: the Host header's value.
    [[nodiscard]] std::string authority() const;
};

// Refused with errc::invalid_argument that says why: another scheme, user info, a fragment, an
// empty or malformed host, a bad port, bytes that no URL may hold.
[[nodiscard]] result<url> parse_url(std::string_view text);

// %XX turned into bytes; nullopt: a malformed escape, or a control character.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text);

}  // namespace kw::net
