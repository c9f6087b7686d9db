// How a request that is not a worker's business (admin, metrics) gets to the control thread and
// its answer back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/secret.hpp"

namespace kw::net {

// A whole, bounded request, copied out of the worker's buffers.
struct control_request {
    std::string method;
    std::string path;
    std::string query;
    secret admin_key;     // x-admin-key; empty when absent
    secret bearer;        // of Authorization; "" under /v1
    secret session;       // the cookie of an admin's session
    std::string csrf;     // x-csrf-token
    std::string origin;   // of a browser's page
    std::string host;     // Host
    bool secure = false;  // it came to us, or to a proxy that we trust, by TLS
    // Its body has not been read yet. The answer is one to send, or 100 with how much of the body
    // the caller may send; then the whole request is asked.
    bool head_only = false;
    std::string access_key_id;  // under /v1: of the caller, who has been checked
    std::string source;         // the client's address without its port
    std::string request_id;
    std::string content_type;
    std::string if_match;
    std::string last_event_id;
    std::string body;
};

// A body that goes on. The connection that answers with it asks for more several times a second,
// once the client has taken what there was before.
class control_stream {
  public:
    virtual ~control_stream() = default;
    // Appends what there is, some 64 KiB at most; false: that was all. One thread at a time, not
    // that which made it; must not block.
    [[nodiscard]] virtual bool take(std::string& out, mono_time now) = 0;
    // The server stops: the last words.
    virtual void stop(std::string& out) = 0;
};

struct control_response {
    std::uint16_t status = 200;
    std::string content_type = "application/json";
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;
    std::size_t read_up_to = 0;              // with 100
    std::shared_ptr<control_stream> stream;  // takes the place of `body`
};

class control_port {
  public:
    virtual ~control_port() = default;
    // Any thread. `done` is called exactly once, on any thread; the caller posts it home.
    virtual void handle(control_request request, std::function<void(control_response)> done) = 0;
    // Whether readiness should be told; any thread, lock-free.
    [[nodiscard]] virtual bool ready() const noexcept = 0;
};

}  // namespace kw::net
