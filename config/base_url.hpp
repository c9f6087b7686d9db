// The base URLs of upstreams: their form, and the addresses that none may have.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.hpp"

namespace kw::config {

struct base_url {
    std::string scheme;  // "http" or "https"
    std::string host;    // lower case, without brackets
    std::uint16_t port = 0;
    std::string path;  // "/v1"; without a slash at its end
    // Normalised: no default port, no slash at the end, "/v1" if there was no path.
    [[nodiscard]] std::string to_string() const;
};

// errc::invalid_argument, its context the reason.
[[nodiscard]] result<base_url> parse_base_url(std::string_view text);

// Link-local addresses and the metadata services of clouds, in any spelling that the system's
// resolver takes for one (169.254.169.254, 0xa9fea9fe, ::ffff:169.254.169.254, …), and the
// well-known names. What a name resolves to is seen only when it is resolved.
[[nodiscard]] bool is_link_local(std::string_view host);
[[nodiscard]] bool is_loopback(std::string_view host);

// "10.0.0.0/8", "2001:db8::/32" or one address.
[[nodiscard]] bool is_network(std::string_view text);

}  // namespace kw::config
