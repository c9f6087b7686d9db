// A client's connection as the stages of an exchange share it: the stream, what one coroutine
// waits on, and the bytes that were read but not yet used.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "net/address.hpp"
#include "net/http_head.hpp"
#include "net/loop.hpp"
#include "net/stream.hpp"

namespace kw::proxy {

// Who always has something to read lets the worker's other connections go first after so many reads
// of 64 KiB each.
inline constexpr unsigned reads_in_a_row = 4;

struct client_connection {
    explicit client_connection(std::unique_ptr<net::stream> s)
        : stream(std::move(s)), wait(stream->owner()) {
        stream->handle().attach(&wait, net::read_a, net::write_a, net::hangup_a);
    }
    ~client_connection() { stream->handle().attach(nullptr, 0, 0); }
    client_connection(const client_connection&) = delete;
    client_connection& operator=(const client_connection&) = delete;

    [[nodiscard]] bool gone() const noexcept { return (wait.ready() & net::hangup_a) != 0; }
    [[nodiscard]] std::string_view unread() const noexcept {
        return std::string_view(in).substr(used);
    }

    // Lets go of the body that was read along with the head, which moves.
    void trim_to(net::http_head& head) {
        constexpr std::size_t not_worth_it = 256;
        if (used != in.size() || in.capacity() < head.consumed() + not_worth_it) return;
        std::string(in, 0, head.consumed()).swap(in);
        used = in.size();
        head.rebase(in.data());
    }

    std::unique_ptr<net::stream> stream;
    net::waiter wait;
    // Begins with the current request's head. Not touched while that request is served, since the
    // parsed head points into it (but see trim_to); `used` moves instead.
    std::string in;
    std::size_t used = 0;
    // Bytes after the current request's body, read along with it: the next request's.
    std::string next;
    bool cut = false;         // half an answer went out that only a reset can tell from a whole one
    net::ip_address address;  // of the client, behind trusted proxies
    std::string cors;         // lines for the answer to a browser's page that may call; else ""
};

}  // namespace kw::proxy
