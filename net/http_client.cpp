// One request on one connection, its answer read whole.
#include "net/http_client.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include "net/body_framer.hpp"
#include "net/http_head.hpp"
#include "net/url.hpp"

namespace kw::net {
namespace {

error fault(errc code, std::string what) {
    return error(code, std::move(what), error_source::upstream);
}

bool is_token(std::string_view s) noexcept {
    return !s.empty() && std::all_of(s.begin(), s.end(), [](unsigned char c) {
        return std::isalnum(c) || std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) !=
                                      std::string_view::npos;
    });
}

bool is_field_value(std::string_view s) noexcept {
    return std::all_of(s.begin(), s.end(),
                       [](unsigned char c) { return c == '\t' || (c >= 0x20 && c != 0x7f); });
}

// The whole message; a secret, for it may carry a credential.
result<secret> compose(const http_request& r, const url& to) {
    const auto bad = [](std::string what) {
        return error(errc::invalid_argument, std::move(what));
    };
    if (!is_token(r.method)) return bad("method is malformed");
    std::string out =
        r.method + " " + to.target() + " HTTP/1.1\r\nHost: " + to.authority() + "\r\n";
    for (const auto& [name, value] : r.headers) {
        if (!is_token(name) || !is_field_value(value))
            return bad("header " + name + " is malformed");
        out += name + ": " + value + "\r\n";
    }
    if (const auto& [name, value] = r.credential; !name.empty()) {
        if (!is_token(name) || !is_field_value(value.reveal()))
            return bad("header " + name + " is malformed");
        out += name;
        out += ": ";
        out += value.reveal();
        out += "\r\n";
    }
    if (!r.body.empty() || r.method == "POST" || r.method == "PUT" || r.method == "PATCH")
        out += "Content-Length: " + std::to_string(r.body.size()) + "\r\n";
    out += "Accept-Encoding: identity\r\nConnection: close\r\n\r\n";
    out += r.body;
    return secret(std::move(out));
}

void copy_head(const http_head& head, http_response& to) {
    to.status = head.status();
    to.headers.clear();
    for (const auto h : head) {
        std::string name(h.name);
        std::transform(name.begin(), name.end(), name.begin(),
                       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        to.headers.emplace_back(std::move(name), std::string(h.value));
    }
}

// What an answer is made of while it comes.
struct reader {
    http_head head;
    body_framer body;
    std::string buffer;  // of the head
    bool in_body = false;
    http_response out;
};

// true: the answer is whole.
result<bool> take(reader& r, std::string_view bytes, bool head_request, std::size_t max_body) {
    if (!r.in_body) {
        r.buffer += bytes;
        for (;;) {
            const auto status = r.head.parse_response(r.buffer, head_request);
            if (status == parse_status::bad)
                return fault(errc::upstream_malformed, std::string(r.head.fault().message));
            if (status == parse_status::need_more) return false;
            if (!r.head.informational()) break;
            r.buffer.erase(0, r.head.consumed());
            r.head.reset();
        }
        copy_head(r.head, r.out);
        r.body.start(r.head.body(), r.head.body_length(), trailer_rule::skip);
        r.in_body = true;
        bytes = std::string_view(r.buffer).substr(r.head.consumed());
    }
    bool too_large = false;
    const auto step = r.body.consume(bytes, [&](std::string_view piece) {
        too_large = too_large || piece.size() > max_body - r.out.body.size();
        if (!too_large) r.out.body += piece;
    });
    if (too_large)
        return fault(errc::upstream_malformed,
                     "the answer is larger than " + std::to_string(max_body) + " bytes");
    if (step.status == body_status::malformed)
        return fault(errc::upstream_malformed, "the body's framing is malformed");
    return step.status == body_status::complete;
}

}  // namespace

std::string_view http_response::header(std::string_view name) const noexcept {
    for (const auto& [n, v] : headers)
        if (n == name) return v;
    return {};
}

task<result<http_response>> request(loop& on, dns_cache& dns, http_request r) {
    const auto to = parse_url(r.url);
    if (!to) co_return to.error();
    if (to->tls && !r.tls) co_return error(errc::invalid_argument, "https needs a TLS context");
    const auto message = compose(r, *to);
    if (!message) co_return message.error();

    connect_options opts;
    opts.to.host = to->host;
    opts.to.port = to->port;
    if (to->tls) opts.to.tls = r.tls;
    opts.proxy = r.proxy;
    opts.deadline = r.deadline;
    waiter w(on);
    auto connected = co_await connect(on, w, dns, opts);
    if (!connected) co_return connected.error();
    stream& s = **connected;

    const auto timeout = fault(errc::upstream_total_timeout, "no whole answer in time");
    const io_result sent = co_await s.write_all(w, message->reveal(), r.deadline);
    if (sent.status == io_status::timed_out) co_return timeout;
    // A peer that refuses early may have answered before it closed: read on.

    const bool head_request = r.method == "HEAD";
    const auto in = std::make_unique<reader>();
    std::array<char, 8192> some;
    for (;;) {
        const io_result got = s.read(some);
        if (got.ok()) {
            const auto whole = take(*in, std::string_view(some.data(), got.bytes), head_request,
                                    r.max_response_bytes);
            if (!whole) co_return whole.error();
            if (*whole) co_return std::move(in->out);
            continue;
        }
        if (got.would_block()) {
            const events ready = co_await w.wait(s.bit_for(got.status), r.deadline);
            if (ready & timed_out) co_return timeout;
            continue;
        }
        if (!in->in_body)
            co_return fault(errc::upstream_reset, "the connection closed before an answer");
        if (got.status == io_status::eof && in->body.at_eof()) co_return std::move(in->out);
        co_return fault(errc::upstream_stream_cut, "the connection closed within the answer");
    }
}

}  // namespace kw::net
