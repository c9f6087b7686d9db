// The opening handshake of a WebSocket (RFC 6455 §4), on heads that were parsed already.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.hpp"
#include "net/http_head.hpp"

namespace kw::net {

// Upgrade names websocket, with Connection: upgrade. Whether it does so correctly is another
// question.
[[nodiscard]] bool asks_for_websocket(const http_head& request) noexcept;

// What is wrong with such a request; none: it can be answered with 101. A status of 426 goes with
// `Sec-WebSocket-Version: 13`.
[[nodiscard]] std::optional<head_fault> check_websocket_request(const http_head& request) noexcept;

// Each subprotocol that is offered or chosen, in order, over all header lines. each(view) -> void.
template <class Each>
void for_each_subprotocol(const http_head& head, Each&& each) {
    for (const auto& h : head) {
        if (h.id != header_id::other || !equal_ignoring_case(h.name, "sec-websocket-protocol"))
            continue;
        std::string_view rest = h.value;
        while (!rest.empty()) {
            const std::size_t comma = rest.find(',');
            std::string_view one = rest.substr(0, comma);
            rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
            while (!one.empty() && (one.front() == ' ' || one.front() == '\t'))
                one.remove_prefix(1);
            while (!one.empty() && (one.back() == ' ' || one.back() == '\t'))
                one.remove_suffix(1);
            if (!one.empty()) each(one);
        }
    }
}

// Sixteen random bytes in base64.
[[nodiscard]] std::string make_websocket_key(random_source& random);
// What the server answers to the key.
[[nodiscard]] std::string websocket_accept(std::string_view key);

struct websocket_answer {
    std::string_view fault;     // "": none
    std::string_view protocol;  // chosen; "": none
};
// Judges a 101 by the key and the subprotocols that were sent; no extension was offered.
[[nodiscard]] websocket_answer check_websocket_answer(const http_head& answer, std::string_view key,
                                                      const std::vector<std::string>& offered);

}  // namespace kw::net
