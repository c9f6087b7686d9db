// Parsing of base URLs and the checks of their hosts.
#include "config/base_url.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace kw::config {

namespace {

[[nodiscard]] error bad(const char* why) {
    return error(errc::invalid_argument, why);
}

[[nodiscard]] std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
}

template <class Int>
[[nodiscard]] bool parse_number(std::string_view text, Int& out) {
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
    return failed == std::errc() && end == text.data() + text.size();
}

using address = std::array<std::uint8_t, 16>;  // IPv4 in its mapped form

// inet_aton, since getaddrinfo takes 0x7f000001 and 127.1 for addresses too.
[[nodiscard]] std::optional<address> parse_address(std::string_view host) {
    const std::string text(host);
    address bytes{};
    in_addr v4{};
    if (inet_aton(text.c_str(), &v4) != 0) {
        bytes[10] = bytes[11] = 0xff;
        std::memcpy(bytes.data() + 12, &v4, 4);
        return bytes;
    }
    if (inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return bytes;
    return std::nullopt;
}

[[nodiscard]] bool is_v4(const address& a) {
    return std::all_of(a.begin(), a.begin() + 10, [](auto b) { return b == 0; }) && a[10] == 0xff &&
           a[11] == 0xff;
}

[[nodiscard]] std::string_view without_root_dot(std::string_view host) {
    if (host.ends_with('.')) host.remove_suffix(1);
    return host;
}

}  // namespace

std::string base_url::to_string() const {
    const bool v6 = host.find(':') != std::string::npos;
    std::string text = scheme + "://" + (v6 ? "[" + host + "]" : host);
    if (port != (scheme == "https" ? 443 : 80)) text += ":" + std::to_string(port);
    return text + path;
}

result<base_url> parse_base_url(std::string_view text) {
    base_url url;
    const auto colon = text.find("://");
    if (colon == std::string_view::npos) return bad("has no http:// or https://");
    url.scheme = lower(text.substr(0, colon));
    if (url.scheme != "http" && url.scheme != "https") return bad("is neither http nor https");
    text.remove_prefix(colon + 3);
    for (const char c : text) {
        if (c <= ' ' || c >= 0x7f || c == '\\')
            return bad("holds a blank or a forbidden character");
    }
    if (text.find_first_of("?#") != std::string_view::npos) return bad("has a query or a fragment");

    const auto slash = std::min(text.find('/'), text.size());
    std::string_view authority = text.substr(0, slash);
    std::string_view path = text.substr(slash);
    if (authority.find('@') != std::string_view::npos) return bad("holds a user name or password");
    std::string_view port;
    bool has_port = false;
    if (authority.starts_with('[')) {
        const auto close = authority.find(']');
        if (close == std::string_view::npos) return bad("has a bracket that is not closed");
        url.host = lower(authority.substr(1, close - 1));
        port = authority.substr(close + 1);
        in6_addr v6{};
        if (inet_pton(AF_INET6, url.host.c_str(), &v6) != 1)
            return bad("has no IPv6 address in []");
        if (!port.empty() && port[0] != ':') return bad("has text after the host");
        has_port = !port.empty();
        if (has_port) port.remove_prefix(1);
    } else {
        const auto at = authority.find(':');
        url.host = lower(authority.substr(0, at));
        has_port = at != std::string_view::npos;
        if (has_port) port = authority.substr(at + 1);
        constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyz0123456789-._";
        if (url.host.find_first_not_of(allowed) != std::string::npos) return bad("has a bad host");
    }
    if (url.host.empty() || url.host == ".") return bad("has no host");
    url.port = url.scheme == "https" ? 443 : 80;
    if (has_port && (!parse_number(port, url.port) || url.port == 0)) return bad("has a bad port");

    while (path.ends_with('/'))
        path.remove_suffix(1);
    url.path = path.empty() ? "/v1" : path;
    return url;
}

bool is_link_local(std::string_view host) {
    const std::string name = lower(without_root_dot(host));
    constexpr std::string_view names[] = {"metadata", "metadata.google.internal", "metadata.goog",
                                          "instance-data", "instance-data.ec2.internal"};
    if (std::find(std::begin(names), std::end(names), name) != std::end(names)) return true;
    const auto a = parse_address(name);
    if (!a) return false;
    if (is_v4(*a)) {
        constexpr std::array<std::uint8_t, 4> alibaba = {100, 100, 100, 200};
        return ((*a)[12] == 169 && (*a)[13] == 254) ||
               std::equal(alibaba.begin(), alibaba.end(), a->begin() + 12);
    }
    address amazon{};
    inet_pton(AF_INET6, "fd00:ec2::254", amazon.data());
    return *a == amazon || ((*a)[0] == 0xfe && ((*a)[1] & 0xc0) == 0x80);
}

bool is_loopback(std::string_view host) {
    const std::string name = lower(without_root_dot(host));
    if (name == "localhost" || name.ends_with(".localhost")) return true;
    const auto a = parse_address(name);
    if (!a) return false;
    address v6_loopback{};
    v6_loopback[15] = 1;
    return *a == v6_loopback || (is_v4(*a) && (*a)[12] == 127);
}

bool is_network(std::string_view text) {
    const auto slash = text.find('/');
    const std::string host(text.substr(0, slash));
    address bytes{};
    unsigned width = 0;
    if (inet_pton(AF_INET, host.c_str(), bytes.data()) == 1) {
        width = 32;
    } else if (inet_pton(AF_INET6, host.c_str(), bytes.data()) == 1) {
        width = 128;
    } else {
        return false;
    }
    if (slash == std::string_view::npos) return true;
    unsigned prefix = 0;
    if (!parse_number(text.substr(slash + 1), prefix) || prefix > width) return false;
    for (unsigned bit = prefix; bit < width; ++bit) {
        if ((bytes[bit / 8] >> (7 - bit % 8) & 1) != 0) return false;
    }
    return true;
}

}  // namespace kw::config
