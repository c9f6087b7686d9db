// Chat completions and legacy completions, plain and streamed.
#include "mock/answers.hpp"

namespace kw::mock {
namespace {

struct options {
    bool stream = false;
    bool include_usage = false;
};

options read_options(const request& r) {
    options o;
    o.stream = r.json.yes("stream");
    json_fields nested;
    const auto raw = r.json.raw("stream_options");
    o.include_usage = !raw.empty() && nested.scan(raw) && nested.yes("include_usage");
    return o;
}

std::string tool_call_id(const exchange& x) {
    return "call_mock" + x.id_tail();
}

net::task<void> stream_chat(exchange& x, content c, token_count input, bool include_usage) {
    const token_count used = c.count(input);
    const std::string id = json_text("chatcmpl-mock-" + x.id_tail());
    const std::string model = json_text(x.record.model);
    const std::string begin =
        "data: {\"id\":" + id +
        ",\"object\":\"chat.completion.chunk\",\"created\":" + std::string(created_at) +
        ",\"model\":" + model +
        ",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_mock\","
        "\"choices\":";
    const std::string choice = begin + "[{\"index\":0,\"delta\":";
    const std::string nulls =
        include_usage && !x.faults.no_usage ? ",\"usage\":null}\n\n" : "}\n\n";
    const std::string end = ",\"logprobs\":null,\"finish_reason\":null}]" + nulls;
    const bool in_last = x.faults.usage_last && !x.faults.no_usage;
    const std::string usage = ",\"usage\":" + chat_usage(used) + "}\n\n";

    stream_script s;
    s.tokens = c.pieces.size();
    s.reasoning = c.reasoning;
    std::string before;
    if (c.tool.empty()) {
        s.prologue = choice + "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}" + end;
        before = choice + "{\"content\":\"";
    } else {
        s.prologue =
            choice +
            "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,\"id\":" +
            json_text(tool_call_id(x)) +
            ",\"type\":\"function\",\"function\":{\"name\":" + json_text(c.tool) +
            ",\"arguments\":\"\"}}],\"refusal\":null}" + end;
        before = choice + "{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"";
    }
    const std::string after = (c.tool.empty() ? "\"}" : "\"}}]}") + end;
    s.epilogue = choice + "{},\"logprobs\":null,\"finish_reason\":\"" + c.finish + "\"}]" +
                 (in_last ? usage : nulls);
    if (include_usage && !in_last && !x.faults.no_usage) s.epilogue += begin + "[]" + usage;
    s.done = "data: [DONE]\n\n";
    s.broken = "data: {\"id\":\"chatcmpl-broken\",\"choices\":[{\"delta\":{\"content\":\n\n";
    s.error = "data: " + error_body(x.in.path, 500, {}, {}, x.request_id()) + "\n\n";
    s.huge_begin = before;
    s.huge_end = after;
    s.token = [pieces = std::move(c.pieces), before, after](std::string& out, std::size_t i) {
        out += before;
        if (i < pieces.size()) out += pieces[i];
        out += after;
    };
    co_await x.stream(std::move(s), input);
}

net::task<void> stream_completion(exchange& x, content c, token_count input, bool include_usage) {
    const token_count used = c.count(input);
    const std::string begin =
        "data: {\"id\":" + json_text("cmpl-mock-" + x.id_tail()) +
        ",\"object\":\"text_completion\",\"created\":" + std::string(created_at) +
        ",\"model\":" + json_text(x.record.model) + ",\"choices\":";
    const std::string nulls =
        include_usage && !x.faults.no_usage ? ",\"usage\":null}\n\n" : "}\n\n";
    const std::string before = begin + "[{\"index\":0,\"text\":\"";
    const std::string after = "\",\"logprobs\":null,\"finish_reason\":null}]" + nulls;
    const bool in_last = x.faults.usage_last && !x.faults.no_usage;
    const std::string usage = ",\"usage\":" + chat_usage(used) + "}\n\n";
    stream_script s;
    s.tokens = c.pieces.size();
    s.reasoning = c.reasoning;
    s.epilogue = before + "\",\"logprobs\":null,\"finish_reason\":\"" + c.finish + "\"}]" +
                 (in_last ? usage : nulls);
    if (include_usage && !in_last && !x.faults.no_usage) s.epilogue += begin + "[]" + usage;
    s.done = "data: [DONE]\n\n";
    s.broken = "data: {\"choices\":[{\"text\":\n\n";
    s.error = "data: " + error_body(x.in.path, 500, {}, {}, x.request_id()) + "\n\n";
    s.huge_begin = before;
    s.huge_end = after;
    s.token = [pieces = std::move(c.pieces), before, after](std::string& out, std::size_t i) {
        out += before;
        if (i < pieces.size()) out += pieces[i];
        out += after;
    };
    co_await x.stream(std::move(s), input);
}

}  // namespace

net::task<void> chat_completions(exchange& x) {
    if (x.in.json.raw("messages").empty()) {
        co_await x.refuse(400, {}, "Missing required parameter: 'messages'.");
        co_return;
    }
    const auto o = read_options(x.in);
    content c = make_content(x);
    const token_count input = count_input(x.in);
    if (x.in.json.raw("store") == "true") {
        const std::string id = "chatcmpl-mock-" + x.id_tail();
        const auto created = std::stoull(std::string(created_at)) + x.record.number;
        store_object(x, "/chat/completions/" + id,
                     {"{\"id\":" + json_text(id) + ",\"object\":\"chat.completion\",\"created\":" +
                          std::to_string(created) + ",\"model\":" + json_text(x.record.model) + "}",
                      {}});
    }
    if (o.stream) {
        co_await stream_chat(x, std::move(c), input, o.include_usage);
        co_return;
    }
    const token_count used = c.count(input);
    std::string body = "{\"id\":" + json_text("chatcmpl-mock-" + x.id_tail());
    body.reserve(c.whole.size() + 900);
    body.append(",\"object\":\"chat.completion\",\"created\":").append(created_at);
    body.append(",\"model\":").append(json_text(x.record.model));
    body.append(",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    if (c.tool.empty()) {
        body.append("\"").append(c.whole).append("\"");
    } else {
        body.append("null,\"tool_calls\":[{\"id\":").append(json_text(tool_call_id(x)));
        body.append(",\"type\":\"function\",\"function\":{\"name\":").append(json_text(c.tool));
        body.append(",\"arguments\":\"").append(c.whole).append("\"}}]");
    }
    body.append(",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"");
    body.append(c.finish).append("\"}]");
    if (!x.faults.no_usage) body.append(",\"usage\":").append(chat_usage(used));
    body.append(",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_mock\"}");
    co_await x.json(body, used);
}

net::task<void> completions(exchange& x) {
    const auto o = read_options(x.in);
    content c = make_content(x);
    const token_count input = count_input(x.in);
    if (o.stream) {
        co_await stream_completion(x, std::move(c), input, o.include_usage);
        co_return;
    }
    const token_count used = c.count(input);
    std::string body = "{\"id\":" + json_text("cmpl-mock-" + x.id_tail()) +
                       ",\"object\":\"text_completion\",\"created\":" + std::string(created_at) +
                       ",\"model\":" + json_text(x.record.model) +
                       ",\"choices\":[{\"index\":0,\"text\":\"" + c.whole +
                       "\",\"logprobs\":null,\"finish_reason\":\"" + c.finish + "\"}]";
    if (!x.faults.no_usage) body += ",\"usage\":" + chat_usage(used);
    co_await x.json(body + "}", used);
}

}  // namespace kw::mock
