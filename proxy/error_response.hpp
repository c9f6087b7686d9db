// The only place where an error becomes what a client sees: HTTP status, JSON body, error frame.
//
// Shapes: OpenAI's {"error":{"message","type","param","code"}} everywhere, Anthropic's
// {"type":"error","error":{"type","message"},"request_id"} on /v1/messages
// (docs.anthropic.com/en/api/errors). Pure functions; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.hpp"

namespace kw::proxy {

enum class error_shape : std::uint8_t { openai, anthropic };

// Which stream an error frame goes into.
enum class frame_dialect : std::uint8_t { chat, responses, anthropic };

// The HTTP status of an error of ours.
[[nodiscard]] std::uint16_t http_status(errc code) noexcept;

struct error_details {
    std::string_view param = {};  // the request's field at fault
    std::string_view request_id = {};
    std::optional<std::chrono::milliseconds> retry_after =
        {};                                    // emitted as Retry-After, rounded up
    bool already_retried = false;              // x-should-retry: false
    bool close = false;                        // Connection: close
    std::optional<std::uint16_t> status = {};  // instead of http_status(code)
    std::string_view own_lines = {};           // whole header lines, each with its CRLF
    std::string_view code = {};                // instead of the error's own name
};

// A whole HTTP/1.1 response, head and body. With head_only the body is left out (HEAD).
[[nodiscard]] std::string make_error_response(const error& e, error_shape shape,
                                              const error_details& details, bool head_only = false);

// One SSE event that tells a client that the stream broke off; never a made-up end.
[[nodiscard]] std::string make_error_frame(const error& e, frame_dialect dialect,
                                           std::string_view request_id);

// A message of an open WebSocket that tells of an error: OpenAI's event of the type `error`.
// quota_status: of insufficient_quota.
[[nodiscard]] std::string make_error_message(const error& e, std::string_view event_id,
                                             std::uint16_t quota_status);

// The reason phrase of a status; "Unknown" for one that RFC 9110 does not name.
[[nodiscard]] std::string_view reason_phrase(unsigned status) noexcept;

}  // namespace kw::proxy
