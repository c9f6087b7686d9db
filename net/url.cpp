// The strict URL parser.
#include "net/url.hpp"

#include <algorithm>
#include <charconv>
#include <string>

#include "net/address.hpp"

namespace kw::net {
namespace {

error bad(std::string why) {
    return error(errc::invalid_argument, "URL: " + std::move(why));
}

bool is_alnum(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// What RFC 3986 lets stand in a path or query as it is.
bool is_url_char(char c) noexcept {
    return is_alnum(c) ||
           std::string_view("-._~!$&'()*+,;=:@/?%").find(c) != std::string_view::npos;
}

bool is_hex(char c) noexcept {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool is_host_name(std::string_view h) noexcept {
    if (h.empty() || h.size() > 253 || h.front() == '.' || h.find("..") != h.npos) return false;
    return std::all_of(h.begin(), h.end(),
                       [](char c) { return is_alnum(c) || c == '-' || c == '.' || c == '_'; });
}

}  // namespace

std::string url::target() const {
    return query.empty() ? path : path + "?" + query;
}

std::string url::authority() const {
    if (port != (tls ? 443 : 80)) return join_host_port(host, port);
    return host.find(':') == host.npos ? host : "[" + host + "]";
}

result<url> parse_url(std::string_view text) {
    url out;
    if (text.size() > 8192) return bad("longer than 8192 bytes");
    if (text.starts_with("https://")) {
        out.tls = true;
        text.remove_prefix(8);
    } else if (text.starts_with("http://")) {
        text.remove_prefix(7);
    } else {
        return bad("must begin with http:// or https://");
    }
    const auto end = std::min(text.find_first_of("/?#"), text.size());
    const auto authority = text.substr(0, end);
    const auto rest = text.substr(end);
    if (authority.find('@') != authority.npos) return bad("user information is not taken here");
    auto at = split_host_port(authority, out.tls ? 443 : 80);
    if (!at) return bad("host or port is malformed");
    std::transform(at->host.begin(), at->host.end(), at->host.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    if (at->host.find(':') == at->host.npos && !is_host_name(at->host))
        return bad("host holds a byte that no name has");
    out.host = std::move(at->host);
    out.port = at->port;
    if (rest.find('#') != rest.npos) return bad("a fragment has no meaning here");
    for (std::size_t i = 0; i < rest.size(); ++i) {
        if (!is_url_char(rest[i])) return bad("a byte that must be percent-encoded");
        if (rest[i] == '%' &&
            (i + 2 >= rest.size() || !is_hex(rest[i + 1]) || !is_hex(rest[i + 2])))
            return bad("a malformed percent escape");
    }
    const auto mark = rest.find('?');
    if (const auto path = rest.substr(0, mark); !path.empty()) out.path = path;
    if (mark != rest.npos) out.query = rest.substr(mark + 1);
    return out;
}

std::optional<std::string> percent_decode(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '%') {
            if (i + 2 >= text.size() || !is_hex(text[i + 1]) || !is_hex(text[i + 2])) return {};
            unsigned byte = 0;
            std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16);
            c = static_cast<char>(byte);
            i += 2;
        }
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return {};
        out += c;
    }
    return out;
}

}  // namespace kw::net
