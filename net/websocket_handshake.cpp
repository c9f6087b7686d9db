// Keys, accepts and the checks of both heads.
#include "net/websocket_handshake.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/base64.hpp"

namespace kw::net {
namespace {

constexpr std::string_view magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

// Of the header's only line; nullopt: none, or several.
std::optional<std::string_view> only(const http_head& head, std::string_view name) noexcept {
    std::optional<std::string_view> found;
    for (const auto& h : head) {
        if (h.id != header_id::other || !equal_ignoring_case(h.name, name)) continue;
        if (found) return std::nullopt;
        found = h.value;
    }
    return found;
}

bool is_key(std::string_view text) noexcept {
    const auto base64_char = [](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               c == '+' || c == '/';
    };
    return text.size() == 24 && text.ends_with("==") &&
           std::ranges::all_of(text.substr(0, 22), base64_char);
}

bool names_websocket(std::string_view upgrade) noexcept {
    while (!upgrade.empty()) {
        const std::size_t comma = upgrade.find(',');
        std::string_view one = upgrade.substr(0, comma);
        upgrade = comma == std::string_view::npos ? std::string_view() : upgrade.substr(comma + 1);
        while (one.starts_with(' '))
            one.remove_prefix(1);
        while (one.ends_with(' '))
            one.remove_suffix(1);
        if (equal_ignoring_case(one, "websocket")) return true;
    }
    return false;
}

}  // namespace

bool asks_for_websocket(const http_head& request) noexcept {
    return request.wants_upgrade() && request.method_kind() == method_id::get &&
           names_websocket(request.find(header_id::upgrade));
}

std::optional<head_fault> check_websocket_request(const http_head& request) noexcept {
    if (request.minor_version() < 1 || request.body() != framing::none)
        return head_fault{errc::malformed_request, 400,
                          "A WebSocket is opened by HTTP/1.1 and without a body."};
    if (only(request, "sec-websocket-version") != "13")
        return head_fault{errc::malformed_request, 426,
                          "Sec-WebSocket-Version must be 13, the only one known here."};
    const auto key = only(request, "sec-websocket-key");
    if (!key || !is_key(*key))
        return head_fault{errc::malformed_request, 400,
                          "Sec-WebSocket-Key must be there once, 16 bytes in base64."};
    return std::nullopt;
}

std::string make_websocket_key(random_source& random) {
    std::array<unsigned char, 16> bytes{};
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
        const std::uint64_t n = random.next();
        std::memcpy(bytes.data() + i, &n, 8);
    }
    return to_base64(bytes);
}

std::string websocket_accept(std::string_view key) {
    std::string text(key);
    text += magic;
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
    return to_base64(std::span(digest).first(size));
}

websocket_answer check_websocket_answer(const http_head& answer, std::string_view key,
                                        const std::vector<std::string>& offered) {
    if (!answer.wants_upgrade() || !names_websocket(answer.find(header_id::upgrade)))
        return {"switched to something else than a WebSocket", {}};
    if (only(answer, "sec-websocket-accept") != websocket_accept(key))
        return {"did not accept the WebSocket's key", {}};
    if (!answer.find("sec-websocket-extensions").empty())
        return {"chose an extension that was not offered", {}};
    websocket_answer out;
    std::size_t chosen = 0;
    for_each_subprotocol(answer, [&](std::string_view one) {
        ++chosen;
        out.protocol = one;
    });
    if (chosen > 1 || (chosen == 1 && std::ranges::find(offered, out.protocol) == offered.end()))
        return {"chose a subprotocol that was not offered", {}};
    return out;
}

}  // namespace kw::net
