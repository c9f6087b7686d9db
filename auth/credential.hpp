// Where a client puts its credential, in every usual place; and what of it must not travel on.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace kw::auth {

// The places in one request's head, "" for what is absent. Views into the caller's buffer.
struct presented {
    std::string_view authorization = {};
    std::string_view x_api_key = {};
    std::string_view api_key = {};
    std::string_view x_goog_api_key = {};
    std::string_view path = {};
    std::string_view query = {};         // without the question mark
    std::string_view subprotocols = {};  // that a WebSocket's opening offers
};

// Where browsers, which cannot send headers with a WebSocket, put it: a subprotocol of this
// beginning.
inline constexpr std::string_view subprotocol_prefix = "openai-insecure-api-key.";

// The first of: Authorization with the scheme Bearer, x-api-key, api-key, x-goog-api-key, on
// Gemini's paths (/v1beta/…, /v1/models/…:method) the query's `key`, and the subprotocol. "" when
// there is none; a view into what was given.
[[nodiscard]] std::string_view pick_credential(const presented& from) noexcept;

// The values of all parameters of that name, percent-escapes in names and values undone.
[[nodiscard]] std::vector<std::string> query_values(std::string_view query, std::string_view name);

// Appends the query without its `key` parameters, for the request that goes upstream.
void append_query_without_key(std::string& out, std::string_view query);

// In lower case: headers of a client that go to no upstream, whatever they hold.
inline constexpr std::array<std::string_view, 7> never_forwarded = {
    "authorization", "x-api-key",          "api-key", "x-goog-api-key", "x-admin-key",
    "cookie",        "proxy-authorization"};

}  // namespace kw::auth
