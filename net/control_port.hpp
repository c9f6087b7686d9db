// How a request that is not a worker's business (admin, metrics) gets to the control thread and
// its answer back.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/secret.hpp"

namespace kw::net {

// A whole, bounded request, copied out of the worker's buffers.
struct control_request {
    std::string method;
    std::string path;
    std::string query;
    secret admin_key;           // x-admin-key; empty when absent
    std::string access_key_id;  // under /v1: of the caller, who has been checked
    std::string source;         // the client's address without its port
    std::string request_id;
    std::string content_type;
    std::string if_match;
    std::string body;
};

struct control_response {
    std::uint16_t status = 200;
    std::string content_type = "application/json";
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;
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
