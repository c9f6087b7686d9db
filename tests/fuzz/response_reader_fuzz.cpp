// Response heads and the bodies behind them: the same reading wherever the bytes are cut.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/body_framer.hpp"
#include "net/http_head.hpp"

using namespace kw::net;

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

struct reading {
    parse_status head = parse_status::need_more;
    body_status body = body_status::more;
    std::size_t consumed = 0;
    std::string payload;
    friend bool operator==(const reading&, const reading&) = default;
};

reading read(std::string_view text, bool head_request, std::size_t step) {
    reading r;
    http_head head;
    std::size_t have = 0;
    while (r.head == parse_status::need_more && have < text.size()) {
        have = std::min(text.size(), have + step);
        r.head = head.parse_response(text.substr(0, have), head_request);
    }
    if (r.head != parse_status::done) return r;
    body_framer framer(head.body(), head.body_length(), trailer_rule::skip);
    r.consumed = head.consumed();
    bool stuck = false;
    while (r.consumed < text.size() && !stuck) {
        const std::string_view piece = text.substr(r.consumed, step);
        const auto took =
            framer.consume(piece, [&](std::string_view payload) { r.payload.append(payload); });
        require(took.consumed <= piece.size());
        require(took.consumed == piece.size() || took.status != body_status::more);
        r.consumed += took.consumed;
        stuck = took.consumed < piece.size();
    }
    r.body = framer.status();
    require(framer.payload_bytes() == r.payload.size());
    require(r.payload.size() <= text.size());
    if (head_request) require(r.payload.empty());
    if (head.body() == framing::length && framer.complete())
        require(r.payload.size() == head.body_length());
    return r;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
    const bool head_request = (data[0] & 1) != 0;
    const std::size_t step = 1 + data[0] / 2;
    const reading whole = read(text, head_request, text.size());
    require(read(text, head_request, 1) == whole);
    require(read(text, head_request, step) == whole);
    return 0;
}
