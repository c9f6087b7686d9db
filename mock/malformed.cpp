// Answers that no server should give: what a reader of responses must survive.
#include "mock/exchange.hpp"

namespace kw::mock {
namespace {

constexpr std::string_view ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
constexpr std::string_view body = "{\"lie\":true}";  // 12 bytes

std::string text_of(std::string_view kind) {
    const std::string head(ok);
    const std::string length = "content-length: 12\r\n";
    const std::string json(body);
    if (kind == "two_lengths") return head + length + "content-length: 5\r\n\r\n" + json;
    if (kind == "cl_te") {
        return head + length + "transfer-encoding: chunked\r\n\r\nc\r\n" + json + "\r\n0\r\n\r\n";
    }
    if (kind == "te_identity") return head + "transfer-encoding: identity\r\n\r\n" + json;
    if (kind == "neg_length") return head + "content-length: -12\r\n\r\n" + json;
    if (kind == "bad_chunk")
        return head + "transfer-encoding: chunked\r\n\r\nzz\r\n" + json + "\r\n0\r\n\r\n";
    if (kind == "obs_fold") return head + "x-folded: one\r\n  two\r\n" + length + "\r\n" + json;
    if (kind == "nul") {
        return head + "x-nul: a" + std::string(1, '\0') + "b\r\n" + length + "\r\n" + json;
    }
    if (kind == "big_header")
        return head + "x-big: " + std::string(100'000, 'b') + "\r\n" + length + "\r\n" + json;
    if (kind == "bad_status") return "HTTP/1.1 2x0 OK\r\n" + length + "\r\n" + json;
    if (kind == "no_colon") return head + "this line has none\r\n" + length + "\r\n" + json;
    if (kind == "bare_lf")
        return "HTTP/1.1 200 OK\ncontent-type: application/json\ncontent-length: 12\n\n" + json;
    if (kind == "http2") return "HTTP/2 200\r\n" + length + "\r\n" + json;
    return "\x16\x03 this is not HTTP at all\r\n\r\n";
}

}  // namespace

net::task<void> send_malformed(exchange& x, std::string_view kind) {
    x.record.status = 200;
    x.mark_cut();
    x.close_after();
    const auto text = text_of(kind);
    co_await x.send(text);
}

}  // namespace kw::mock
