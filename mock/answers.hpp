// What answers are made of: words, structured values, usage objects; and the endpoints' entry
// points.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mock/exchange.hpp"

namespace kw::mock {

// The content of one answer, cut in the pieces a stream sends.
struct content {
    std::vector<std::string> pieces;  // escaped for JSON strings
    std::string whole;                // escaped
    std::string finish = "stop";      // in OpenAI's words
    std::string tool;                 // name of the function called; the pieces are its arguments
    std::uint64_t reasoning = 0;

    [[nodiscard]] token_count count(const token_count& input) const {
        token_count t = input;
        t.reasoning = reasoning;
        t.output = pieces.size() + reasoning;
        return t;
    }
};

// How many tokens, which words, and whether a tool call or an object of a schema is asked for.
[[nodiscard]] content make_content(const exchange& x);
// Input and cached tokens of the request.
[[nodiscard]] token_count count_input(const request& r);
// The last message is from the assistant: the caller wants it continued.
[[nodiscard]] bool has_prefill(const request& r);

[[nodiscard]] std::string chat_usage(const token_count& t);
[[nodiscard]] std::string responses_usage(const token_count& t);
[[nodiscard]] std::string json_text(std::string_view text);  // with its quotes

// A fixed time, so that the same request gives the same bytes.
inline constexpr std::string_view created_at = "1767225600";

// Endpoints; each answers x completely.
net::task<void> chat_completions(exchange& x);
net::task<void> completions(exchange& x);
net::task<void> responses(exchange& x);
net::task<void> messages(exchange& x);
net::task<void> gemini(exchange& x);
net::task<void> embeddings(exchange& x);
net::task<void> images(exchange& x);
net::task<void> transcriptions(exchange& x);
net::task<void> speech(exchange& x);
net::task<void> models(exchange& x);
net::task<void> websocket(exchange& x);
[[nodiscard]] bool asks_for_websocket(const request& r);
// Whatever an account keeps: false if the path is none of these families'.
net::task<bool> objects(exchange& x);
// Everything under /v1 and the like.
net::task<void> route(exchange& x);
// The name under which the books count a path, ids replaced.
[[nodiscard]] std::string endpoint_name(const request& r);
// In the exchange's account, at "/files/file-mock1".
void store_object(exchange& x, const std::string& path, stored_object o);
[[nodiscard]] bool has_object(exchange& x, const std::string& path);
// The first object that the body names and the account does not have; "" : none.
[[nodiscard]] std::string missing_object(exchange& x);

}  // namespace kw::mock
