// The responses endpoint: whole, streamed with its full order of events, in the background.
#include "mock/answers.hpp"

namespace kw::mock {
namespace {

struct parts {
    std::string id;
    std::string item_id;
    bool tool = false;
    std::string name;
};

std::string object(const exchange& x, const parts& p, std::string_view status,
                   std::string_view output, std::string_view usage, std::string_view why = "null") {
    std::string out = "{\"id\":" + json_text(p.id) + ",\"object\":\"response\",\"created_at\":";
    out.append(created_at).append(",\"status\":\"").append(status);
    out.append("\",\"background\":").append(x.in.json.yes("background") ? "true" : "false");
    out.append(",\"error\":null,\"incomplete_details\":").append(why);
    out.append(",\"instructions\":null,\"max_output_tokens\":null,\"model\":");
    out.append(json_text(x.record.model)).append(",\"output\":").append(output);
    out.append(",\"parallel_tool_calls\":true,\"store\":true,\"previous_response_id\":");
    const auto before = x.in.json.raw("previous_response_id");
    out.append(before.empty() ? "null" : before);
    out.append(
        ","
        "\"temperature\":1.0,\"text\":{\"format\":{\"type\":\"text\"}},\"tool_choice\":\"auto\","
        "\"tools\":[],\"top_p\":1.0,\"truncation\":\"disabled\",\"usage\":");
    out.append(usage).append(",\"user\":null,\"metadata\":{}}");
    return out;
}

std::string item(const parts& p, std::string_view status, std::string_view text) {
    std::string out = "{\"id\":" + json_text(p.item_id);
    if (p.tool) {
        out.append(",\"type\":\"function_call\",\"status\":\"").append(status);
        out.append("\",\"arguments\":\"").append(text).append("\",\"call_id\":");
        return out.append(json_text("call_" + p.item_id)) + ",\"name\":" + json_text(p.name) + "}";
    }
    out.append(",\"type\":\"message\",\"status\":\"").append(status);
    out.append("\",\"role\":\"assistant\",\"content\":[");
    if (status == "completed") {
        out.append("{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"");
        out.append(text).append("\"}");
    }
    return out + "]}";
}

std::string event(std::string_view type, std::size_t number, std::string_view rest) {
    std::string out = "event: ";
    out.append(type).append("\ndata: {\"type\":\"").append(type).append("\",\"sequence_number\":");
    out.append(std::to_string(number)).append(",").append(rest).append("}\n\n");
    return out;
}

net::task<void> stream_response(exchange& x, parts p, content c, token_count input) {
    const token_count used = c.count(input);
    const bool incomplete = c.finish == "length" || c.finish == "content_filter";
    const std::string why = !incomplete            ? "null"
                            : c.finish == "length" ? "{\"reason\":\"max_output_tokens\"}"
                                                   : "{\"reason\":\"content_filter\"}";
    const std::string place = "\"output_index\":0";
    const std::string of_item = "\"item_id\":" + json_text(p.item_id) + "," + place;
    const std::string of_part = p.tool ? of_item : of_item + ",\"content_index\":0";
    const std::string family = p.tool ? "response.function_call_arguments" : "response.output_text";
    const std::string part_begin = of_item +
                                   ",\"content_index\":0,\"part\":{\"type\":\"output_text\","
                                   "\"annotations\":[],\"logprobs\":[],\"text\":\"";
    std::size_t n = 0;
    stream_script s;
    s.tokens = c.pieces.size();
    s.reasoning = c.reasoning;
    const auto open = object(x, p, "in_progress", "[]", "null");
    s.prologue += event("response.created", n++, "\"response\":" + open);
    s.prologue += event("response.in_progress", n++, "\"response\":" + open);
    s.prologue +=
        event("response.output_item.added", n++, place + ",\"item\":" + item(p, "in_progress", ""));
    if (!p.tool) s.prologue += event("response.content_part.added", n++, part_begin + "\"}");
    const std::size_t base = n;
    n += s.tokens;
    s.epilogue += event(
        family + ".done", n++,
        of_part + (p.tool ? ",\"arguments\":\"" : ",\"logprobs\":[],\"text\":\"") + c.whole + "\"");
    if (!p.tool)
        s.epilogue += event("response.content_part.done", n++, part_begin + c.whole + "\"}");
    const auto finished = item(p, "completed", c.whole);
    s.epilogue += event("response.output_item.done", n++, place + ",\"item\":" + finished);
    s.done = event(incomplete ? "response.incomplete" : "response.completed", n++,
                   "\"response\":" +
                       object(x, p, incomplete ? "incomplete" : "completed", "[" + finished + "]",
                              x.faults.no_usage ? "null" : responses_usage(used), why));
    s.broken =
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\n\n";
    s.error =
        "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"The "
        "server had an "
        "error.\",\"param\":null,\"sequence_number\":" +
        std::to_string(base) + "}\n\n";
    const std::string before = "event: " + family + ".delta\ndata: {\"type\":\"" + family +
                               ".delta\",\"sequence_number\":";
    const std::string middle = "," + of_part + (p.tool ? "" : ",\"logprobs\":[]") + ",\"delta\":\"";
    s.huge_begin = before + std::to_string(base) + middle;
    s.huge_end = "\"}\n\n";
    s.token = [pieces = std::move(c.pieces), before, middle, base](std::string& out,
                                                                   std::size_t i) {
        out.append(before).append(std::to_string(base + i)).append(middle);
        if (i < pieces.size()) out += pieces[i];
        out += "\"}\n\n";
    };
    co_await x.stream(std::move(s), input);
}

}  // namespace

net::task<void> responses(exchange& x) {
    parts p{"resp_mock" + x.id_tail(), "msg_mock" + x.id_tail(), false, {}};
    content c = make_content(x);
    if (!c.tool.empty()) {
        p.tool = true;
        p.name = c.tool;
        p.item_id = "fc_mock" + x.id_tail();
    }
    const token_count input = count_input(x.in);
    if (x.in.path.ends_with("/input_tokens")) {
        co_await x.json("{\"object\":\"response.input_tokens\",\"input_tokens\":" +
                        std::to_string(input.input) + "}");
        co_return;
    }
    const token_count used = c.count(input);
    const bool incomplete = c.finish == "length" || c.finish == "content_filter";
    const std::string why = c.finish == "length" ? "{\"reason\":\"max_output_tokens\"}"
                                                 : "{\"reason\":\"content_filter\"}";
    const auto whole = object(
        x, p, incomplete ? "incomplete" : "completed", "[" + item(p, "completed", c.whole) + "]",
        x.faults.no_usage ? "null" : responses_usage(used), incomplete ? why : "null");
    if (x.in.json.yes("background") && !x.in.json.yes("stream")) {
        // Billed when made; read again it must not be booked again.
        store_object(x, "/responses/" + p.id, {whole, {}});
        co_await x.json(object(x, p, "queued", "[]", "null"), used);
        co_return;
    }
    store_object(x, "/responses/" + p.id, {whole, {}});
    if (x.in.json.yes("stream")) {
        co_await stream_response(x, p, std::move(c), input);
        co_return;
    }
    co_await x.json(whole, used);
}

}  // namespace kw::mock
