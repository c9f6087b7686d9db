// Heads as lines of the log, for an operator who looks for a fault (setting log.http_heads).
#pragma once

#include <string>
#include <string_view>

#include "net/http_head.hpp"

namespace kw::proxy {

// "POST /v1/files?*** x-a: ***, content-type: text/plain": names as they came; values only of
// headers that can hold no secret, and no query, where credentials travel too.
[[nodiscard]] std::string describe_request(const net::http_head& head);
// "429 Too Many Requests retry-after: 3".
[[nodiscard]] std::string describe_response(const net::http_head& head);

}  // namespace kw::proxy
