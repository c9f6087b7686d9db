// Framing of answers, plain and streamed.
#include "mock/exchange.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace kw::mock {
namespace {

constexpr std::size_t flush_size = 16384;

std::string_view reason(int status) {
    switch (status) {
        case 100:
            return "Continue";
        case 103:
            return "Early Hints";
        case 200:
            return "OK";
        case 204:
            return "No Content";
        case 304:
            return "Not Modified";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 402:
            return "Payment Required";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 409:
            return "Conflict";
        case 422:
            return "Unprocessable Entity";
        case 429:
            return "Too Many Requests";
        case 500:
            return "Internal Server Error";
        case 502:
            return "Bad Gateway";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 529:
            return "Overloaded";
        default:
            return "Status";
    }
}

void add_hex(std::string& out, std::size_t n) {
    std::array<char, 16> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), n, 16).ptr;
    out.append(digits.data(), end);
}

bool bodiless(int status) {
    return status == 204 || status == 304 || status < 200;
}

}  // namespace

exchange::exchange(server& s, wire& w, request& r)
    : shared(s), io(w), in(r), keep_alive_(r.keep_alive) {
    if (r.header("x-mock-hash") == "1") hash_ = std::make_unique<hasher>();
}

std::string exchange::id_tail() const {
    return record.test_id.empty() ? std::to_string(record.number) : record.test_id;
}

net::task<bool> exchange::send(std::string_view bytes) {
    const bool sent = co_await io.send(bytes);
    if (!sent) {
        failed_ = true;
        keep_alive_ = false;
        if (io.exhausted()) {
            cut_ = true;
            if (faults.bytes_then_reset) io.reset_on_close();
            io.cut();
        }
    }
    co_return sent;
}

net::task<bool> exchange::pause(int ms) {
    if (ms <= 0) co_return true;
    const bool there = co_await io.pause(std::chrono::milliseconds(ms));
    if (!there) {
        failed_ = true;
        keep_alive_ = false;
    }
    co_return there;
}

std::string exchange::head(int status, std::string_view type) const {
    std::string out;
    out.reserve(768);
    out.append("HTTP/1.1 ").append(std::to_string(status)).append(" ").append(reason(status));
    if (!type.empty()) out.append("\r\ncontent-type: ").append(type);
    out.append("\r\nx-request-id: ").append(request_id());
    if (in.path.starts_with("/v1/messages")) out.append("\r\nrequest-id: ").append(request_id());
    out.append("\r\nopenai-processing-ms: 5\r\nopenai-version: 2020-10-01");
    if (!record.key.empty()) out.append("\r\nx-mock-account: ").append(account_name(record.key));
    if (const auto state = in.header("x-mock-turn-state"); !state.empty())
        out.append("\r\nx-codex-turn-state: ").append(state);
    for (const auto& [name, value] : extra)
        out.append("\r\n").append(name).append(": ").append(value);
    if (!keep_alive_) out.append("\r\nconnection: close");
    out.append("\r\n");
    return out;
}

net::task<bool> exchange::begin(int status, std::string_view type, const std::string& framing) {
    record.status = status;
    if (in.header("x-mock-1xx") == "103") {
        out_.append("HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n");
    }
    const auto coding = in.header("x-mock-encoding");
    if (!coding.empty() && !bodiless(status)) encode_ = make_encoder(coding);
    out_ += head(status, type);
    if (encode_) out_.append("content-encoding: ").append(coding).append("\r\n");
    out_.append(framing).append("\r\n");
    const int first = faults.first_ms >= 0 ? faults.first_ms : 0;
    if (first > 0) {
        const bool flushed = co_await flush();
        if (!flushed) co_return false;
        co_return co_await pause(first);
    }
    co_return true;
}

void exchange::add(std::string_view payload) {
    if (payload.empty()) return;
    record.bytes_out += payload.size();
    if (hash_) hash_->add(payload);
    std::string encoded;
    if (encode_) {
        encoded = encode_->push(payload, false);
        payload = encoded;
    }
    add_hex(out_, payload.size());
    out_.append("\r\n").append(payload).append("\r\n");
}

net::task<bool> exchange::flush() {
    if (out_.empty()) co_return true;
    const bool sent = co_await send(out_);
    out_.clear();
    co_return sent;
}

net::task<bool> exchange::finish_chunked() {
    if (encode_) {
        const auto rest = encode_->push({}, true);
        add_hex(out_, rest.size());
        out_.append("\r\n").append(rest).append("\r\n");
    }
    if (hash_) record.sent_sha256 = hash_->hex();
    out_.append("0\r\n");
    if (in.header("x-mock-trailers") == "1") {
        out_.append("x-mock-trailer: yes\r\nx-mock-sha256: ").append(record.sent_sha256);
        out_.append("\r\n");
    }
    out_.append("\r\n");
    co_return co_await flush();
}

net::task<bool> exchange::answer(int status, std::string_view type, std::string_view body,
                                 token_count bill) {
    const bool trailers = in.header("x-mock-trailers") == "1";
    const bool chunked = (trailers || in.header("x-mock-chunked") == "1") && !bodiless(status);
    if (chunked && trailers && !hash_) hash_ = std::make_unique<hasher>();
    if (chunked) {
        std::string framing = "transfer-encoding: chunked\r\n";
        if (trailers) framing += "trailer: x-mock-trailer, x-mock-sha256\r\n";
        const bool begun = co_await begin(status, type, framing);
        record.tokens = bill;
        if (!begun) co_return false;
        if (in.method == "HEAD") co_return co_await flush();
        add(body.substr(0, body.size() / 2));
        add(body.substr(body.size() / 2));
        co_return co_await finish_chunked();
    }
    std::string encoded;
    std::string framing;
    auto payload = body;
    if (const auto coding = in.header("x-mock-encoding"); !coding.empty() && !bodiless(status)) {
        if (const auto whole = make_encoder(coding)) {
            encoded = whole->push(body, true);
            payload = encoded;
        }
    }
    if (!bodiless(status)) framing = "content-length: " + std::to_string(payload.size()) + "\r\n";
    const bool begun = co_await begin(status, type, framing);
    record.tokens = bill;
    if (!begun) co_return false;
    if (in.method == "HEAD" || bodiless(status)) co_return co_await flush();
    record.bytes_out += body.size();
    if (hash_) {
        hash_->add(body);
        record.sent_sha256 = hash_->hex();
    }
    if (faults.cut_after >= 0) {
        out_.append(payload.substr(0, payload.size() / 2));
        co_return co_await break_off();
    }
    out_.append(payload);
    co_return co_await flush();
}

net::task<bool> exchange::refuse(int status, std::string_view code, std::string_view message) {
    const auto body = error_body(in.path, status, code, message, request_id());
    co_return co_await answer(status, "application/json", body);
}

net::task<bool> exchange::break_off() {
    cut_ = true;
    keep_alive_ = false;
    co_await flush();
    if (faults.how == ending::rst) {
        // What was sent must have a chance to arrive: a reset discards what is still queued.
        co_await io.pause(std::chrono::milliseconds(20));
        io.reset_on_close();
    }
    io.cut();
    failed_ = true;
    co_return false;
}

net::task<bool> exchange::token_faults(const stream_script& script, std::size_t i) {
    const auto at = [&](int after) { return after >= 0 && static_cast<std::size_t>(after) == i; };
    if (at(faults.bad_json_after)) add(script.broken);
    if (at(faults.error_after)) {
        add(script.error);
        cut_ = true;
        co_await finish_chunked();
        co_return false;
    }
    if (at(faults.cut_after)) {
        if (faults.how == ending::clean) {
            cut_ = true;
            co_await finish_chunked();
            co_return false;
        }
        // Announces a chunk and sends half an event of it.
        std::string event;
        script.token(event, i < script.tokens ? i : 0);
        add_hex(out_, event.size());
        out_.append("\r\n").append(event, 0, event.size() / 2);
        co_return co_await break_off();
    }
    if (at(faults.stall_after)) {
        bool there = co_await flush();
        if (there) there = co_await pause(faults.hang ? 86'400'000 : faults.stall_ms);
        if (!there) co_return false;
    }
    co_return true;
}

net::task<bool> exchange::stream(stream_script script, token_count input) {
    record.stream = true;
    const bool trailers = in.header("x-mock-trailers") == "1";
    if (trailers && !hash_) hash_ = std::make_unique<hasher>();
    std::string framing = "transfer-encoding: chunked\r\ncache-control: no-cache\r\n";
    if (trailers) framing += "trailer: x-mock-trailer, x-mock-sha256\r\n";
    const bool begun = co_await begin(200, script.type, framing);
    record.tokens = input;
    record.tokens.output = record.tokens.reasoning = 0;
    if (!begun) co_return false;
    if (in.method == "HEAD") co_return co_await flush();

    const auto line_ends = [&](std::string& text) {
        if (!faults.crlf) return;
        std::string wide;
        for (const char c : text) {
            if (c == '\n') wide += '\r';
            wide += c;
        }
        text = std::move(wide);
    };
    const int pace = faults.pace_ms >= 0 ? faults.pace_ms : shared.direct.pace_ms.load();
    if (faults.bom) add("\xEF\xBB\xBF");
    line_ends(script.prologue);
    add(script.prologue);
    std::string event;
    for (std::size_t i = 0; i < script.tokens; ++i) {
        bool there = co_await token_faults(script, i);
        if (!there) co_return false;
        if (faults.comments && i % 5 == 0) add(faults.crlf ? ": ping\r\n\r\n" : ": ping\n\n");
        event.clear();
        script.token(event, i);
        line_ends(event);
        add(event);
        if (i == 0) {
            record.tokens.reasoning = script.reasoning;
            record.tokens.output = script.reasoning;
        }
        ++record.tokens.output;
        if (pace > 0) {
            there = co_await flush();
            if (there) there = co_await pause(pace);
        } else if (out_.size() >= flush_size) {
            there = co_await flush();
        }
        if (!there) co_return false;
    }
    const bool whole = co_await token_faults(script, script.tokens);
    if (!whole) co_return false;
    if (faults.huge_event > 0) {
        add(script.huge_begin + std::string(static_cast<std::size_t>(faults.huge_event), 'x') +
            script.huge_end);
    }
    line_ends(script.epilogue);
    line_ends(script.done);
    add(script.epilogue);
    if (!faults.no_done) add(script.done);
    if (faults.hang_at_end) {
        bool there = co_await flush();
        if (there) there = co_await pause(86'400'000);
        co_return false;
    }
    co_return co_await finish_chunked();
}

net::task<bool> exchange::zeros(std::string_view type, std::uint64_t bytes) {
    static const std::string block(1U << 16, '\0');
    const bool begun =
        co_await begin(200, type, "content-length: " + std::to_string(bytes) + "\r\n");
    if (!begun) co_return false;
    bool there = co_await flush();
    while (there && bytes > 0 && in.method != "HEAD") {
        const auto n = std::min<std::uint64_t>(bytes, block.size());
        there = co_await send(std::string_view(block).substr(0, static_cast<std::size_t>(n)));
        if (there) record.bytes_out += n;
        bytes -= n;
    }
    co_return there;
}

}  // namespace kw::mock
