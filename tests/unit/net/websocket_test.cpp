// Frames and handshakes by the examples of RFC 6455, and all that a strict reader refuses.
#include <catch2/catch.hpp>

#include "net/websocket_frame.hpp"
#include "net/websocket_handshake.hpp"

using namespace kw::net;
using item = websocket_reader::item;
using namespace std::string_literals;

namespace {

struct heard {
    std::string text;  // "T3fin<abc>" and the like
    std::uint16_t fault = 0;
    bool between_messages = false;
};

// What a reader makes of it, given in pieces of `step` bytes.
heard listen(websocket_peer from, std::string_view bytes, std::size_t step,
             std::uint64_t max_message = 1 << 20) {
    websocket_reader r(from, max_message);
    heard out;
    std::string payload;
    while (!bytes.empty()) {
        std::string piece(bytes.substr(0, step));
        bytes.remove_prefix(piece.size());
        std::string_view rest = piece;
        for (;;) {
            const auto s = r.next(rest);
            std::string taken(rest.substr(0, s.consumed));
            rest.remove_prefix(s.consumed);
            if (s.what == item::more) break;
            if (s.what == item::bad) {
                out.fault = r.fault_code();
                return out;
            }
            if (s.what == item::begin) {
                out.text += std::to_string(static_cast<int>(r.opcode())) + ":";
                out.text += std::to_string(r.length()) + (r.fin() ? "." : "+");
            } else if (s.what == item::payload) {
                if (from == websocket_peer::client)
                    apply_mask(taken.data(), taken.size(), r.mask(), r.piece_offset());
                payload += taken;
                if (r.frame_ended()) out.text += "<" + std::exchange(payload, {}) + ">";
                if (r.message_ended()) out.text += ";";
            } else {
                out.text += "c" + std::to_string(static_cast<int>(r.opcode())) + "[";
                out.text += r.control_payload();
                out.text += "]";
            }
        }
    }
    out.between_messages = r.between_messages();
    return out;
}

// Alike however it is cut.
heard listen(websocket_peer from, std::string_view bytes) {
    const heard whole = listen(from, bytes, bytes.size());
    for (const std::size_t step : {1U, 2U, 3U, 5U}) {
        const heard cut = listen(from, bytes, step);
        CHECK(cut.text == whole.text);
        CHECK(cut.fault == whole.fault);
    }
    return whole;
}

std::uint16_t fault_of(websocket_peer from, std::string_view bytes) {
    return listen(from, bytes).fault;
}

http_head request(const std::string& text) {
    http_head head;
    REQUIRE(head.parse_request(text) == parse_status::done);
    return head;
}

const std::string opening =
    "GET /v1/realtime HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, "
    "Upgrade\r\n";

}  // namespace

TEST_CASE("the RFC's frames are read") {
    CHECK(listen(websocket_peer::server, "\x81\x05Hello").text == "1:5.<Hello>;");
    CHECK(listen(websocket_peer::client, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58").text ==
          "1:5.<Hello>;");
    CHECK(listen(websocket_peer::server, "\x01\x03Hel\x89\x05Hello\x80\x02lo").text ==
          "1:3+<Hel>c9[Hello]0:2.<lo>;");
    CHECK(listen(websocket_peer::server, "\x82\x7e\x01\x00"s + std::string(256, 'x')).text ==
          "2:256.<" + std::string(256, 'x') + ">;");
    CHECK(listen(websocket_peer::server, "\x82\x7f\0\0\0\0\0\1\0\0"s + std::string(65536, 'x'))
              .text.starts_with("2:65536."));
    CHECK(listen(websocket_peer::server, "\x81\0\x88\0"s).text == "1:0.<>;c8[]");
    CHECK(listen(websocket_peer::server,
                 "\x88\x05\x0f\xa1"
                 "bye")
              .text ==
          "c8[\x0f\xa1"
          "bye]");
    CHECK_FALSE(listen(websocket_peer::server, "\x01\x03Hel").between_messages);
    CHECK_FALSE(listen(websocket_peer::server, "\x81").between_messages);
    CHECK(listen(websocket_peer::server, "\x81\x01x").between_messages);
}

TEST_CASE("what has two readings is refused") {
    const auto server = websocket_peer::server;
    CHECK(fault_of(server, "\xC1\x01x") == 1002);                      // reserved bit
    CHECK(fault_of(server, "\x83\x01x") == 1002);                      // unknown opcode
    CHECK(fault_of(server, "\x8B\x01x") == 1002);                      // unknown control
    CHECK(fault_of(server, "\x81\x81zzzzx") == 1002);                  // a server that masks
    CHECK(fault_of(websocket_peer::client, "\x81\x01x") == 1002);      // a client that does not
    CHECK(fault_of(server, "\x80\x01x") == 1002);                      // belongs to nothing
    CHECK(fault_of(server, "\x01\x01x\x81\x01x") == 1002);             // inside another
    CHECK(fault_of(server, "\x09\x01x") == 1002);                      // a ping in fragments
    CHECK(fault_of(server, "\x89\x7e\x00\x80"s) == 1002);              // a long ping
    CHECK(fault_of(server, "\x81\x7e\x00\x7d"s) == 1002);              // longer than needed
    CHECK(fault_of(server, "\x81\x7f\0\0\0\0\0\0\xff\xff"s) == 1002);  // likewise
    CHECK(fault_of(server, "\x81\x7f\x80\0\0\0\0\1\0\0"s) == 1002);    // negative
    CHECK(fault_of(server, "\x88\x01x") == 1002);                      // half a code
    CHECK(fault_of(server, "\x88\x02\x03\xed") == 1002);               // 1005
    CHECK(fault_of(server, "\x88\x02\x03\xe7") == 1002);               // 999
    CHECK(fault_of(server, "\x88\x03\x03\xe8\xff") == 1007);           // no UTF-8
    CHECK(listen(server, "\x81\x05Hello", 7, 4).fault == 1009);
    CHECK(listen(server, "\x01\x03Hel\x80\x02lo", 9, 4).fault == 1009);  // all together
    CHECK(listen(server, "\x81\x03Hel\x81\x02lo", 9, 4).fault == 0);
}

TEST_CASE("frames are written as they are read") {
    const websocket_mask mask{'a', '\xff', '\0', 'z'};
    for (const std::size_t size : {0U, 1U, 125U, 126U, 65535U, 65536U, 70001U}) {
        std::string text(size, 'q');
        std::string plain;
        append_frame(plain, websocket_opcode::text, text);
        std::string masked;
        append_frame(masked, websocket_opcode::text, text, mask);
        const std::string want = "1:" + std::to_string(size) + ".<" + text + ">;";
        CHECK(listen(websocket_peer::server, plain, 1000).text == want);
        CHECK(listen(websocket_peer::client, masked, 1001).text == want);
    }
    CHECK(close_payload(1008, std::string(122, 'x') + "ü").size() == 124);
    CHECK(read_close(close_payload(4001, "why")).reason == "why");
    CHECK(read_close("").code == 0);
    CHECK(is_utf8("ünï 日本 🙂"));
    for (const char* bad : {"\x80", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                            "\xE2\x82", "\xF5\x80\x80\x80"})
        CHECK_FALSE(is_utf8(bad));
}

TEST_CASE("the opening handshake is judged on both sides") {
    CHECK(websocket_accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    const std::string version = "Sec-WebSocket-Version: 13\r\n";
    const std::string key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const std::string good = opening + version + key + "\r\n";
    CHECK(asks_for_websocket(request(good)));
    CHECK_FALSE(check_websocket_request(request(good)));
    const auto status = [](const std::string& text) {
        const auto fault = check_websocket_request(request(text));
        return fault ? fault->status : 0;
    };
    CHECK(status(opening + key + "\r\n") == 426);
    CHECK(status(opening + "Sec-WebSocket-Version: 8\r\n" + key + "\r\n") == 426);
    CHECK(status(opening + version + "\r\n") == 400);
    CHECK(status(opening + version + key + key + "\r\n") == 400);
    CHECK(status(opening + version + "Sec-WebSocket-Key: short==\r\n\r\n") == 400);
    CHECK(status(opening + version + key + "Content-Length: 3\r\n\r\n") == 400);
    const std::string other =
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n";
    CHECK_FALSE(asks_for_websocket(request(other)));

    kw::random_source random(7);
    const std::string ours = make_websocket_key(random);
    CHECK(ours.size() == 24);
    CHECK(make_websocket_key(random) != ours);
    const std::string switching =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n";
    const std::string accept = "Sec-WebSocket-Accept: " + websocket_accept(ours) + "\r\n";
    const auto judge = [&](const std::string& lines) {
        static std::string text;
        text = switching + lines + "\r\n";
        http_head head;
        REQUIRE(head.parse_response(text, false) == parse_status::done);
        return check_websocket_answer(head, ours, {"realtime", "other"});
    };
    CHECK(judge(accept).fault.empty());
    CHECK(judge(accept + "Sec-WebSocket-Protocol: realtime\r\n").protocol == "realtime");
    CHECK_FALSE(judge("").fault.empty());
    CHECK_FALSE(judge("Sec-WebSocket-Accept: x\r\n").fault.empty());
    CHECK_FALSE(judge(accept + accept).fault.empty());
    CHECK_FALSE(judge(accept + "Sec-WebSocket-Protocol: mine\r\n").fault.empty());
    CHECK_FALSE(judge(accept + "Sec-WebSocket-Extensions: permessage-deflate\r\n").fault.empty());
}
