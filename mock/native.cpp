// Anthropic's messages and Gemini's generateContent.
#include "mock/answers.hpp"

namespace kw::mock {
namespace {

// Anthropic's input_tokens leave the cached ones out.
std::string input_usage(const token_count& t, std::uint64_t output) {
    return "{\"input_tokens\":" + std::to_string(t.input - t.cached) +
           ",\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":" +
           std::to_string(t.cached) +
           ",\"cache_creation\":{\"ephemeral_5m_input_tokens\":0,\"ephemeral_1h_input_tokens\":0}"
           ",\"output_tokens\":" +
           std::to_string(output) + ",\"service_tier\":\"standard\"}";
}

std::string stop_reason(const content& c) {
    if (c.finish == "tool_calls") return "tool_use";
    if (c.finish == "length") return "max_tokens";
    return c.finish == "content_filter" ? "refusal" : "end_turn";
}

std::string event(std::string_view type, std::string_view rest) {
    std::string out = "event: ";
    out.append(type).append("\ndata: {\"type\":\"").append(type).append("\"").append(rest);
    return out.append("}\n\n");
}

net::task<void> stream_message(exchange& x, content c, token_count input) {
    const token_count used = c.count(input);
    const std::string reason = stop_reason(c);
    stream_script s;
    s.tokens = c.pieces.size();
    s.reasoning = c.reasoning;
    s.prologue = event(
        "message_start",
        ",\"message\":{\"id\":" + json_text("msg_mock" + x.id_tail()) +
            ",\"type\":\"message\",\"role\":\"assistant\",\"model\":" + json_text(x.record.model) +
            ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null" +
            (x.faults.no_usage ? "" : ",\"usage\":" + input_usage(input, 1)) + "}");
    s.prologue +=
        event("content_block_start",
              c.tool.empty() ? ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}"
                             : ",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":" +
                                   json_text("toolu_mock" + x.id_tail()) +
                                   ",\"name\":" + json_text(c.tool) + ",\"input\":{}}");
    s.prologue += event("ping", "");
    const std::string usage =
        ",\"usage\":{\"input_tokens\":" + std::to_string(input.input - input.cached) +
        ",\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":" +
        std::to_string(input.cached) + ",\"output_tokens\":" + std::to_string(used.output) + "}";
    s.epilogue =
        event("content_block_stop", ",\"index\":0") +
        event("message_delta", ",\"delta\":{\"stop_reason\":\"" + reason +
                                   "\",\"stop_sequence\":null}" + (x.faults.no_usage ? "" : usage));
    s.done = event("message_stop", "");
    s.broken = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\n\n";
    s.error =
        event("error", ",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}");
    const std::string before =
        std::string(
            "event: content_block_delta\ndata: "
            "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{") +
        (c.tool.empty() ? "\"type\":\"text_delta\",\"text\":\""
                        : "\"type\":\"input_json_delta\",\"partial_json\":\"");
    const std::string after = "\"}}\n\n";
    s.huge_begin = before;
    s.huge_end = after;
    s.token = [pieces = std::move(c.pieces), before, after](std::string& out, std::size_t i) {
        out += before;
        if (i < pieces.size()) out += pieces[i];
        out += after;
    };
    co_await x.stream(std::move(s), input);
}

// The arguments' text, escaped for a JSON string, as the JSON value that it is.
std::string unescaped(const std::string& text) {
    json_fields wrapped;
    const std::string whole = "{\"a\":\"" + text + "\"}";
    return wrapped.scan(whole) ? wrapped.text("a") : "{}";
}

std::string gemini_usage(const token_count& t) {
    return "{\"promptTokenCount\":" + std::to_string(t.input) +
           ",\"candidatesTokenCount\":" + std::to_string(t.output - t.reasoning) +
           ",\"thoughtsTokenCount\":" + std::to_string(t.reasoning) +
           ",\"cachedContentTokenCount\":" + std::to_string(t.cached) +
           ",\"totalTokenCount\":" + std::to_string(t.input + t.output) + "}";
}

}  // namespace

net::task<void> messages(exchange& x) {
    const token_count input = count_input(x.in);
    if (x.in.path.ends_with("/count_tokens")) {
        co_await x.json("{\"input_tokens\":" + std::to_string(input.input) + "}");
        co_return;
    }
    content c = make_content(x);
    if (x.in.json.yes("stream")) {
        co_await stream_message(x, std::move(c), input);
        co_return;
    }
    const token_count used = c.count(input);
    std::string block = "{\"type\":\"text\",\"text\":\"" + c.whole + "\"}";
    if (!c.tool.empty()) {
        block = "{\"type\":\"tool_use\",\"id\":" + json_text("toolu_mock" + x.id_tail()) +
                ",\"name\":" + json_text(c.tool) + ",\"input\":" + unescaped(c.whole) + "}";
    }
    std::string body =
        "{\"id\":" + json_text("msg_mock" + x.id_tail()) +
        ",\"type\":\"message\",\"role\":\"assistant\",\"model\":" + json_text(x.record.model) +
        ",\"content\":[" + block + "],\"stop_reason\":\"" + stop_reason(c) +
        "\",\"stop_sequence\":null";
    if (!x.faults.no_usage) body += ",\"usage\":" + input_usage(input, used.output);
    co_await x.json(body + "}", used);
}

net::task<void> gemini(exchange& x) {
    const token_count input = count_input(x.in);
    if (x.in.path.ends_with(":countTokens")) {
        co_await x.json("{\"totalTokens\":" + std::to_string(input.input) + "}");
        co_return;
    }
    content c = make_content(x);
    const token_count used = c.count(input);
    const std::string reason = c.finish == "length"           ? "MAX_TOKENS"
                               : c.finish == "content_filter" ? "SAFETY"
                                                              : "STOP";
    const std::string begin = "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"";
    const std::string tail = ",\"modelVersion\":" + json_text(x.record.model) +
                             ",\"responseId\":" + json_text("gem-mock" + x.id_tail()) + "}";
    const std::string usage = x.faults.no_usage ? "" : ",\"usageMetadata\":" + gemini_usage(used);
    const std::string last =
        "\"}],\"role\":\"model\"},\"finishReason\":\"" + reason + "\",\"index\":0}]" + usage + tail;
    if (!x.in.path.ends_with(":streamGenerateContent")) {
        co_await x.json(begin + c.whole + last, used);
        co_return;
    }
    // Without alt=sse it is one array, sent as it grows.
    const bool sse = x.in.query_value("alt") == "sse";
    stream_script s;
    if (!sse) s.type = "application/json; charset=UTF-8";
    const std::string open = sse ? "data: " : "";
    const std::string close = sse ? "\r\n\r\n" : ",\r\n";
    s.tokens = c.pieces.size();
    s.reasoning = c.reasoning;
    if (!sse) s.prologue = "[";
    const std::string before = open + begin;
    const std::string after = "\"}],\"role\":\"model\"},\"index\":0}]" + tail + close;
    s.epilogue = open + begin + last + (sse ? "\r\n\r\n" : "]");
    s.broken = open + "{\"candidates\":[{" + close;
    s.error = open + error_body(x.in.path, 500, {}, {}, x.request_id()) + close;
    s.huge_begin = before;
    s.huge_end = after;
    s.token = [pieces = std::move(c.pieces), before, after](std::string& out, std::size_t i) {
        out += before;
        if (i < pieces.size()) out += pieces[i];
        out += after;
    };
    co_await x.stream(std::move(s), input);
}

}  // namespace kw::mock
