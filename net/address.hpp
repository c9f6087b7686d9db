// IP addresses, networks and host:port texts, and who a request's client is behind trusted proxies.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"

namespace kw::net {

// An IPv4 or IPv6 address. IPv4 is kept in its mapped form (::ffff:a.b.c.d), so that both spellings
// of one address are equal. No scope ids. A value: any thread.
class ip_address {
  public:
    ip_address() = default;  // ::
    [[nodiscard]] static ip_address v4(std::array<std::uint8_t, 4> bytes) noexcept;
    [[nodiscard]] static ip_address v6(std::array<std::uint8_t, 16> bytes) noexcept;
    // "10.0.0.1", "2001:db8::1"; no brackets, no leading zeros in IPv4, no blanks.
    [[nodiscard]] static std::optional<ip_address> parse(std::string_view text) noexcept;

    [[nodiscard]] bool is_v4() const noexcept;
    [[nodiscard]] bool is_loopback() const noexcept;
    [[nodiscard]] const std::array<std::uint8_t, 16>& bytes() const noexcept { return bytes_; }
    // The usual text; a mapped address as plain IPv4.
    [[nodiscard]] std::string to_string() const;

    friend auto operator<=>(const ip_address&, const ip_address&) = default;

  private:
    std::array<std::uint8_t, 16> bytes_{};
};

struct socket_address {
    ip_address ip;
    std::uint16_t port = 0;
    // "10.0.0.1:443", "[2001:db8::1]:443"
    [[nodiscard]] std::string to_string() const;
    friend bool operator==(const socket_address&, const socket_address&) = default;
};

// A network: "10.0.0.0/8", "2001:db8::/32", or one address. Bits beyond the prefix must be zero.
class cidr {
  public:
    [[nodiscard]] static std::optional<cidr> parse(std::string_view text) noexcept;
    [[nodiscard]] bool contains(const ip_address& a) const noexcept;
    [[nodiscard]] std::string to_string() const;

    friend bool operator==(const cidr&, const cidr&) = default;

  private:
    ip_address base_;
    unsigned bits_ = 0;  // of the 128-bit form
};

// A few networks, looked through in order. Immutable once built: any thread.
class cidr_set {
  public:
    // errc::invalid_argument names the text that is no network.
    [[nodiscard]] static result<cidr_set> parse(std::span<const std::string> texts);
    [[nodiscard]] bool contains(const ip_address& a) const noexcept;
    [[nodiscard]] bool empty() const noexcept { return networks_.empty(); }

  private:
    std::vector<cidr> networks_;
};

// The client behind the proxies that are trusted: X-Forwarded-For is read from the right, past
// trusted addresses, to the first that is not. values are the header's field lines in order; text
// that is no address ends the walk at the last good one. peer itself when it is not trusted.
[[nodiscard]] ip_address client_behind(const ip_address& peer, const cidr_set& trusted,
                                       std::span<const std::string_view> values) noexcept;

struct host_port {
    std::string host;  // without brackets
    std::uint16_t port = 0;
};
// "host", "host:80", "1.2.3.4:80", "[::1]:80". Without a port default_port stands; with
// default_port 0 a port is required. nullopt: malformed, empty host or port 0.
[[nodiscard]] std::optional<host_port> split_host_port(std::string_view text,
                                                       std::uint16_t default_port = 0);
// The reverse, bracketing IPv6.
[[nodiscard]] std::string join_host_port(std::string_view host, std::uint16_t port);

}  // namespace kw::net
