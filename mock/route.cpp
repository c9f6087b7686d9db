// Which endpoint answers, after the faults that come before any answer.
#include <algorithm>
#include <charconv>

#include "core/json_writer.hpp"
#include "mock/answers.hpp"

namespace kw::mock {
namespace {

bool is_credential(std::string_view name) {
    for (const std::string_view known :
         {"authorization", "x-api-key", "x-goog-api-key", "api-key"}) {
        if (same_name(name, known)) return true;
    }
    return false;
}

std::string echo(const exchange& x) {
    std::string out;
    json_writer w(out);
    w.begin_object().field("method", x.in.method).field("target", x.in.target);
    w.field("account", account_name(x.record.key)).key("headers").begin_array();
    for (const auto& [name, value] : x.in.headers) {
        w.begin_array().value(name);
        w.value(is_credential(name) ? account_name(x.record.key) : value).end_array();
    }
    w.end_array().field("body_bytes", x.in.body_bytes).field("body_sha256", x.in.sha256());
    w.end_object();
    return out;
}

// The faults that replace the answer; true if one did.
net::task<bool> replaced(exchange& x) {
    const behaviour& f = x.faults;
    const int delay = f.delay_ms >= 0 ? f.delay_ms : x.shared.direct.first_ms.load();
    const bool there = co_await x.pause(delay);
    if (!there) co_return true;
    if (f.silent) {
        co_await x.pause(86'400'000);
        co_return true;
    }
    if (f.reset || f.close) {
        x.mark_cut();
        x.close_after();
        if (f.reset) x.io.reset_on_close();
        x.io.cut();
        co_return true;
    }
    if (f.slices > 0) x.io.slice(static_cast<std::size_t>(f.slices));
    if (f.bytes_allowed != unlimited) x.io.allow(f.bytes_allowed);
    if (!f.malformed.empty()) {
        co_await send_malformed(x, f.malformed);
        co_return true;
    }
    if (f.endless_headers || f.endless_1xx) {
        x.mark_cut();
        x.close_after();
        const std::string line = "x-endless: " + std::string(1000, 'e') + "\r\n";
        const std::string early = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        bool more = true;
        if (!f.endless_1xx) more = co_await x.send("HTTP/1.1 200 OK\r\n");
        const int rounds = f.endless_1xx ? 100'000 : 65'536;
        for (int i = 0; more && i < rounds; ++i)
            more = co_await x.send(f.endless_1xx ? early : line);
        co_return true;
    }
    if (f.conn_close) x.close_after();
    for (const auto& [name, value] : f.headers) {
        std::erase_if(x.extra, [&](const auto& h) { return same_name(h.first, name); });
        x.extra.emplace_back(name, value);
    }
    if (f.status > 0 && f.html) {
        co_await x.answer(
            f.status, "text/html",
            "<html><head><title>Bad gateway</title></head><body>nope</body></html>\n");
        co_return true;
    }
    if (f.status > 0) {
        co_await x.refuse(f.status, f.code);
        co_return true;
    }
    if (f.big > 0) {
        co_await x.zeros("application/octet-stream", f.big);
        co_return true;
    }
    if (f.refuse_prefill && has_prefill(x.in)) {
        co_await x.refuse(400, {}, "This model does not support assistant message prefill.");
        co_return true;
    }
    co_return false;
}

int path_status(std::string_view path) {
    int status = 0;
    path.remove_prefix(std::string_view("/v1/status/").size());
    std::from_chars(path.data(), path.data() + path.size(), status);
    return status >= 200 && status < 600 ? status : 404;
}

bool needs_json(const std::string& p) {
    return p.starts_with("/v1/chat/") || p == "/v1/completions" || p == "/v1/responses" ||
           p == "/v1/embeddings" || p.starts_with("/v1/messages") || p == "/v1/audio/speech" ||
           p == "/v1/images/generations";
}

// As OpenRouter tells it.
std::string allowance(exchange& x) {
    const auto a = x.shared.direct.allowance_of(x.record.key);
    std::string out;
    json_writer w(out);
    w.begin_object().key("data").begin_object();
    if (a.limit < 0) {
        w.key("limit").null().key("limit_remaining").null();
    } else {
        w.field("limit", a.limit).field("usage", a.limit - a.left);
        w.field("limit_remaining", a.left);
    }
    w.end_object().end_object();
    return out;
}

}  // namespace

std::string endpoint_name(const request& r) {
    std::string out = r.method + " ";
    if (r.path.starts_with("/v1/echo/")) return out + "/v1/echo";
    if (const auto at = r.path.find("/models/"); at != std::string::npos) {
        out.append(r.path, 0, at).append("/models/{id}");
        const auto verb = r.path.rfind(':');
        const bool google =
            verb != std::string::npos && r.path.find("enerateContent", verb) != std::string::npos;
        return google ? out.append(r.path, verb) : out;
    }
    std::string_view rest = r.path;
    while (!rest.empty()) {
        const auto end = rest.find('/', 1);
        const auto part = rest.substr(0, end);
        out += part.find("mock") != std::string_view::npos && out.size() > r.method.size() + 4
                   ? "/{id}"
                   : part;
        if (end == std::string_view::npos) break;
        rest.remove_prefix(end);
    }
    // Paths come from outside: their number in the books is bounded by their length at least.
    if (out.size() > 120) out.resize(120);
    return out;
}

net::task<void> route(exchange& x) {
    const bool instead = co_await replaced(x);
    if (instead) co_return;
    const std::string& p = x.in.path;
    if (asks_for_websocket(x.in) && !p.starts_with("/v1/status/")) {
        co_await websocket(x);
        co_return;
    }
    const bool post = x.in.method == "POST";
    if (x.in.method == "OPTIONS" && !p.starts_with("/v1/echo/")) {
        x.extra.emplace_back("allow", "GET, HEAD, POST, DELETE, OPTIONS");
        co_await x.answer(204, {}, {});
    } else if (p.starts_with("/v1/echo/")) {
        co_await x.json(echo(x));
    } else if (p.starts_with("/v1/status/")) {
        const int status = path_status(p);
        if (status >= 400) {
            co_await x.refuse(status);
        } else {
            co_await x.answer(status, status == 204 || status == 304 ? "" : "application/json",
                              "{}");
        }
    } else if (post && !x.account.empty() && x.in.is_json && !missing_object(x).empty()) {
        co_await x.refuse(404, {}, "No such object: '" + missing_object(x) + "'.");
    } else if (post && needs_json(p) && !x.in.valid_json) {
        co_await x.refuse(400, {}, "We could not parse the JSON body of your request.");
    } else if (post && needs_json(p) && x.record.model.empty() && p != "/v1/images/generations") {
        co_await x.refuse(400, {}, "you must provide a model parameter");
    } else if (post && p == "/v1/chat/completions") {
        co_await chat_completions(x);
    } else if (post && p == "/v1/completions") {
        co_await completions(x);
    } else if (post && (p == "/v1/responses" || p == "/v1/responses/input_tokens")) {
        co_await responses(x);
    } else if (post && p.starts_with("/v1/messages")) {
        co_await messages(x);
    } else if (post && p == "/v1/embeddings") {
        co_await embeddings(x);
    } else if (post && p.starts_with("/v1/images/")) {
        co_await images(x);
    } else if (post && (p == "/v1/audio/transcriptions" || p == "/v1/audio/translations")) {
        co_await transcriptions(x);
    } else if (post && p == "/v1/audio/speech") {
        co_await speech(x);
    } else if (post && p == "/v1/moderations") {
        co_await x.json(
            "{\"id\":\"modr-mock\",\"model\":\"omni-moderation-latest\",\"results\":[{\"flagged\":"
            "false,"
            "\"categories\":{},\"category_scores\":{}}]}");
    } else if (post && p.find("/models/") != std::string::npos &&
               p.find(':') != std::string::npos) {
        co_await gemini(x);
    } else if (p == "/v1/key" && x.in.method == "GET") {
        co_await x.json(allowance(x));
    } else if (p == "/v1/models" || p.starts_with("/v1/models/") || p == "/v1beta/models") {
        co_await models(x);
    } else {
        const bool known = co_await objects(x);
        if (!known)
            co_await x.refuse(404, {},
                              "Unknown request URL: " + x.in.method + " " + x.in.path + ".");
    }
}

}  // namespace kw::mock
