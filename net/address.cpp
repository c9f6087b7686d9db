// Parsing and printing of addresses and networks, and the walk through X-Forwarded-For.
#include "net/address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace kw::net {
namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::string_view trimmed(std::string_view s) noexcept {
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t'))
        s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t'))
        s.remove_suffix(1);
    return s;
}

template <class Int>
std::optional<Int> parse_number(std::string_view text, Int max) noexcept {
    if (text.empty() || text.size() > 5 || (text.size() > 1 && text.front() == '0')) return {};
    Int n = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (ec != std::errc{} || end != text.data() + text.size() || n > max) return {};
    return n;
}

// An element of X-Forwarded-For: an address, by some proxies with a port or in quotes.
std::optional<ip_address> forwarded_element(std::string_view text) noexcept {
    text = trimmed(text);
    if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
        text = text.substr(1, text.size() - 2);
    if (!text.empty() && text.front() == '[') {
        const auto close = text.find(']');
        if (close == text.npos) return {};
        const auto rest = text.substr(close + 1);
        if (!rest.empty() && rest.front() != ':') return {};
        return ip_address::parse(text.substr(1, close - 1));
    }
    if (std::count(text.begin(), text.end(), ':') == 1) text = text.substr(0, text.find(':'));
    return ip_address::parse(text);
}

}  // namespace

ip_address ip_address::v4(std::array<std::uint8_t, 4> bytes) noexcept {
    ip_address a;
    std::copy(mapped_prefix.begin(), mapped_prefix.end(), a.bytes_.begin());
    std::copy(bytes.begin(), bytes.end(), a.bytes_.begin() + 12);
    return a;
}

ip_address ip_address::v6(std::array<std::uint8_t, 16> bytes) noexcept {
    ip_address a;
    a.bytes_ = bytes;
    return a;
}

std::optional<ip_address> ip_address::parse(std::string_view text) noexcept {
    char z[INET6_ADDRSTRLEN + 1];
    if (text.size() >= sizeof z || text.find('\0') != text.npos) return {};
    std::memcpy(z, text.data(), text.size());
    z[text.size()] = '\0';
    if (text.find(':') == text.npos) {
        std::array<std::uint8_t, 4> b{};
        if (::inet_pton(AF_INET, z, b.data()) != 1) return {};
        return v4(b);
    }
    std::array<std::uint8_t, 16> b{};
    if (::inet_pton(AF_INET6, z, b.data()) != 1) return {};
    return v6(b);
}

bool ip_address::is_v4() const noexcept {
    return std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes_.begin());
}

bool ip_address::is_loopback() const noexcept {
    if (is_v4()) return bytes_[12] == 127;
    return bytes_[15] == 1 &&
           std::all_of(bytes_.begin(), bytes_.end() - 1, [](std::uint8_t b) { return b == 0; });
}

std::string ip_address::to_string() const {
    char z[INET6_ADDRSTRLEN];
    if (is_v4()) {
        ::inet_ntop(AF_INET, bytes_.data() + 12, z, sizeof z);
    } else {
        ::inet_ntop(AF_INET6, bytes_.data(), z, sizeof z);
    }
    return z;
}

std::string socket_address::to_string() const {
    return join_host_port(ip.to_string(), port);
}

std::optional<cidr> cidr::parse(std::string_view text) noexcept {
    const auto slash = text.find('/');
    const auto base = ip_address::parse(text.substr(0, slash));
    if (!base) return {};
    cidr c;
    c.base_ = *base;
    c.bits_ = 128;
    if (slash != text.npos) {
        // The spelling decides: a mapped address written as IPv6 has a prefix of 128 bits.
        const bool v4 = text.substr(0, slash).find(':') == text.npos;
        const auto bits = parse_number<unsigned>(text.substr(slash + 1), v4 ? 32 : 128);
        if (!bits) return {};
        c.bits_ = v4 ? *bits + 96 : *bits;
    }
    for (unsigned bit = c.bits_; bit < 128; ++bit)
        if (c.base_.bytes()[bit / 8] & (0x80U >> (bit % 8))) return {};
    return c;
}

bool cidr::contains(const ip_address& a) const noexcept {
    const unsigned whole = bits_ / 8;
    if (std::memcmp(a.bytes().data(), base_.bytes().data(), whole) != 0) return false;
    if (bits_ % 8 == 0) return true;
    const auto mask = static_cast<std::uint8_t>(0xff00U >> (bits_ % 8));
    return ((a.bytes()[whole] ^ base_.bytes()[whole]) & mask) == 0;
}

std::string cidr::to_string() const {
    const unsigned shown = base_.is_v4() && bits_ >= 96 ? bits_ - 96 : bits_;
    return base_.to_string() + "/" + std::to_string(shown);
}

result<cidr_set> cidr_set::parse(std::span<const std::string> texts) {
    cidr_set set;
    for (const auto& text : texts) {
        const auto c = cidr::parse(text);
        if (!c)
            return error(errc::invalid_argument,
                         "\"" + text +
                             "\" is no address or network (such as 10.0.0.0/8 or ::1; no bits may "
                             "be set beyond the prefix)");
        set.networks_.push_back(*c);
    }
    return set;
}

bool cidr_set::contains(const ip_address& a) const noexcept {
    return std::any_of(networks_.begin(), networks_.end(),
                       [&](const cidr& c) { return c.contains(a); });
}

ip_address client_behind(const ip_address& peer, const cidr_set& trusted,
                         std::span<const std::string_view> values) noexcept {
    ip_address client = peer;
    if (trusted.empty() || !trusted.contains(peer)) return client;
    for (auto line = values.rbegin(); line != values.rend(); ++line) {
        std::string_view rest = *line;
        for (;;) {
            const auto comma = rest.rfind(',');
            const auto found =
                forwarded_element(comma == rest.npos ? rest : rest.substr(comma + 1));
            if (!found) return client;
            client = *found;
            if (!trusted.contains(client)) return client;
            if (comma == rest.npos) break;
            rest = rest.substr(0, comma);
        }
    }
    return client;
}

std::optional<host_port> split_host_port(std::string_view text, std::uint16_t default_port) {
    std::string_view host = text;
    std::string_view port;
    bool has_port = false;
    if (!text.empty() && text.front() == '[') {
        const auto close = text.find(']');
        if (close == text.npos) return {};
        host = text.substr(1, close - 1);
        if (host.find(':') == host.npos || !ip_address::parse(host)) return {};
        const auto rest = text.substr(close + 1);
        if (!rest.empty()) {
            if (rest.front() != ':') return {};
            has_port = true;
            port = rest.substr(1);
        }
    } else if (const auto colon = text.find(':'); colon != text.npos) {
        host = text.substr(0, colon);
        port = text.substr(colon + 1);
        has_port = true;
    }
    if (host.empty() || host.size() > 255) return {};
    host_port out{std::string(host), default_port};
    if (has_port) {
        const auto n = parse_number<std::uint32_t>(port, 65535);
        if (!n) return {};
        out.port = static_cast<std::uint16_t>(*n);
    }
    if (out.port == 0) return {};
    return out;
}

std::string join_host_port(std::string_view host, std::uint16_t port) {
    const bool v6 = host.find(':') != host.npos;
    std::string out;
    if (v6) out += '[';
    out += host;
    if (v6) out += ']';
    out += ':';
    out += std::to_string(port);
    return out;
}

}  // namespace kw::net
