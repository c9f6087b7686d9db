// WebSockets: the realtime API and the responses socket, scripted, with each response in the books.
#include <algorithm>

#include "mock/answers.hpp"
#include "net/websocket_frame.hpp"
#include "net/websocket_handshake.hpp"

namespace kw::mock {
namespace {

using net::websocket_opcode;
using net::websocket_reader;

constexpr std::uint64_t largest_message = 128U << 20;
constexpr std::chrono::hours idle{2};
constexpr std::uint64_t bytes_per_audio_token = 6400;

// One open socket; lives in its connection's frame.
class socket_session {
  public:
    explicit socket_session(exchange& x)
        : x_(x),
          realtime_(x.in.path.starts_with("/v1/realtime")),
          model_(x.in.query_value("model")),
          reader_(net::websocket_peer::client, largest_message) {}

    net::task<void> run();

  private:
    // A response under way: in the books whatever becomes of it.
    class turn {
      public:
        turn(exchange& x, const std::string& model) : x_(x) {
            e.number = x.shared.next_request.fetch_add(1, std::memory_order_relaxed);
            e.key = x.record.key;
            e.model = model;
            e.endpoint = x.record.endpoint + " response";
            e.test_id = x.record.test_id;
            e.status = 200;
            e.stream = true;
            e.outcome = "aborted";
            e.start_ms = unix_ms(x.io.owner().clock().wall());
            x.shared.ledger.open(e.key);
        }
        turn(const turn&) = delete;
        turn& operator=(const turn&) = delete;
        ~turn() {
            e.end_ms = unix_ms(x_.io.owner().clock().wall());
            x_.shared.direct.spend(e.key, e.tokens.input + e.tokens.output);
            x_.shared.ledger.close(std::move(e));
        }
        entry e;

      private:
        exchange& x_;
    };

    net::task<bool> say(std::string_view text) {
        std::string out;
        net::append_frame(out, websocket_opcode::text, text);
        x_.record.bytes_out += text.size();
        co_return co_await x_.send(out);
    }
    net::task<bool> say_in_pieces(std::string_view text, std::size_t pieces);
    net::task<bool> say_goodbye(std::uint16_t code, std::string_view reason);
    // Half a frame, and gone.
    net::task<bool> break_off(bool reset);
    net::task<bool> take(const std::string& text);
    net::task<bool> order(std::string_view name, const json_fields& f, const std::string& text);
    net::task<bool> respond(const json_fields& f);
    net::task<bool> transcribe();
    [[nodiscard]] std::string audio_event(std::uint64_t bytes) const;

    exchange& x_;
    const bool realtime_;
    std::string model_;
    websocket_reader reader_;
    std::uint64_t heard_ = 0;    // bytes of text since the last response
    std::uint64_t audio_ = 0;    // of audio, in base64
    std::uint64_t context_ = 0;  // tokens of the conversation so far
    bool said_goodbye_ = false;
};

std::string realtime_usage(const token_count& t) {
    const auto field = [](std::string_view name, std::uint64_t n) {
        return "\"" + std::string(name) + "\":" + std::to_string(n);
    };
    return "{" + field("total_tokens", t.input + t.output) + "," + field("input_tokens", t.input) +
           "," + field("output_tokens", t.output) + ",\"input_token_details\":{" +
           field("cached_tokens", t.cached) + "," + field("text_tokens", t.input - t.audio_in) +
           ",\"image_tokens\":0," + field("audio_tokens", t.audio_in) +
           ",\"cached_tokens_details\":{" + field("text_tokens", t.cached) +
           ",\"image_tokens\":0,\"audio_tokens\":0}},\"output_token_details\":{" +
           field("text_tokens", t.output - t.audio_out) + "," + field("audio_tokens", t.audio_out) +
           "}}";
}

std::string quoted(std::string_view name, std::string_view text) {
    return "\"" + std::string(name) + "\":" + json_text(text);
}

net::task<bool> socket_session::say_in_pieces(std::string_view text, std::size_t pieces) {
    std::string out;
    for (std::size_t i = 0; i < pieces; ++i) {
        const std::size_t from = text.size() * i / pieces;
        const std::size_t to = text.size() * (i + 1) / pieces;
        net::append_frame_header(out,
                                 i == 0 ? websocket_opcode::text : websocket_opcode::continuation,
                                 i + 1 == pieces, to - from);
        out += text.substr(from, to - from);
        if (i + 1 < pieces) net::append_frame(out, websocket_opcode::ping, "between");
    }
    co_return co_await x_.send(out);
}

net::task<bool> socket_session::say_goodbye(std::uint16_t code, std::string_view reason) {
    std::string out;
    net::append_frame(out, websocket_opcode::close,
                      code == 0 ? std::string() : net::close_payload(code, reason));
    said_goodbye_ = true;
    co_return co_await x_.send(out);
}

net::task<bool> socket_session::break_off(bool reset) {
    std::string out;
    net::append_frame_header(out, websocket_opcode::text, true, 1000);
    out += "{\"type\":\"half";
    co_await x_.send(out);
    x_.mark_cut();
    if (reset) {
        co_await x_.io.pause(std::chrono::milliseconds(20));
        x_.io.reset_on_close();
    }
    x_.io.cut();
    co_return false;
}

std::string socket_session::audio_event(std::uint64_t bytes) const {
    return "{\"type\":\"response.output_audio.delta\",\"event_id\":\"event_audio\",\"response_id\":"
           "\"resp_audio\",\"delta\":\"" +
           std::string(static_cast<std::size_t>(bytes), 'A') + "\"}";
}

net::task<bool> socket_session::respond(const json_fields& f) {
    json_fields inner;
    if (const auto raw = f.raw("response"); !raw.empty()) static_cast<void>(inner.scan(raw));
    const auto number = [&](std::string_view name, std::int64_t otherwise) {
        return f.raw(name).empty() ? inner.number(name, otherwise) : f.number(name, otherwise);
    };
    if (const auto named = f.text("model"); !named.empty()) model_ = named;
    const std::string before = f.text("previous_response_id");
    if (before.starts_with("resp_mock") && !has_object(x_, "/responses/" + before))
        co_return co_await say(
            "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"code\":"
            "\"previous_response_not_found\",\"message\":\"No such response.\"}}");
    turn t(x_, model_);
    const std::string id = "resp_mock" + std::to_string(t.e.number);
    const bool generate = f.raw("generate") != "false";
    const auto tokens = static_cast<std::size_t>(generate ? number("tokens", 12) : 0);
    const auto pace = static_cast<int>(number("pace", x_.shared.direct.pace_ms.load()));
    const std::int64_t cut_after = number("cut", -1);
    const auto sound = static_cast<std::uint64_t>(number("audio", 0));

    // A context that grows by each turn, all of it but the new part read from the cache.
    t.e.tokens.audio_in = audio_ / bytes_per_audio_token;
    t.e.tokens.input = context_ + heard_ / 4 + 1 + t.e.tokens.audio_in;
    t.e.tokens.cached = context_;
    if (!generate) t.e.tokens = {};
    heard_ = audio_ = 0;

    const std::string begin = "{" + quoted("id", id) + ",\"object\":" +
                              (realtime_ ? "\"realtime.response\"" : "\"response\"") +
                              (realtime_ ? "" : "," + quoted("model", model_ + "-2026-01-01"));
    bool there = co_await say(
        "{\"type\":\"response.created\",\"event_id\":\"event_c\",\"response\":" + begin +
        ",\"status\":\"in_progress\",\"usage\":null}}");
    if (there && sound > 0) {
        there = co_await say(audio_event(sound));
        t.e.tokens.audio_out = sound / bytes_per_audio_token;
        t.e.tokens.output += t.e.tokens.audio_out;
    }
    std::string said;
    for (std::size_t i = 0; there && i < tokens; ++i) {
        if (cut_after >= 0 && std::cmp_equal(cut_after, i)) {
            t.e.outcome = "cut";
            co_return co_await break_off(false);
        }
        const auto word = x_.shared.words.word(i);
        said += word;
        said += ' ';
        there = co_await say(
            "{\"type\":\"response.output_text.delta\",\"response_id\":" + json_text(id) +
            ",\"delta\":" + json_text(std::string(word) + " ") + "}");
        ++t.e.tokens.output;
        if (there && pace > 0) there = co_await x_.pause(pace);
    }
    if (!there) co_return false;
    context_ = t.e.tokens.input + t.e.tokens.output;
    const std::string usage = !generate   ? "null"
                              : realtime_ ? realtime_usage(t.e.tokens)
                                          : responses_usage(t.e.tokens);
    t.e.outcome = "completed";
    if (!realtime_)
        store_object(x_, "/responses/" + id, {begin + ",\"status\":\"completed\"}", {}});
    co_return co_await say(std::string("{\"type\":\"") +
                           (realtime_ ? "response.done" : "response.completed") +
                           "\",\"event_id\":\"event_d\",\"response\":" + begin +
                           ",\"status\":\"completed\",\"output\":[{\"type\":\"message\","
                           "\"content\":[{\"type\":\"output_text\",\"text\":" +
                           json_text(said) + "}]}],\"usage\":" + usage + "}}");
}

net::task<bool> socket_session::transcribe() {
    turn t(x_, "gpt-4o-transcribe");
    t.e.tokens.audio_in = std::max<std::uint64_t>(1, audio_ / bytes_per_audio_token);
    t.e.tokens.input = t.e.tokens.audio_in;
    t.e.tokens.output = 3;
    t.e.outcome = "completed";
    co_return co_await say(
        "{\"type\":\"conversation.item.input_audio_transcription.completed\",\"event_id\":"
        "\"event_t\",\"item_id\":\"item_1\",\"content_index\":0,\"transcript\":\"as was said\","
        "\"usage\":{\"type\":\"tokens\",\"total_tokens\":" +
        std::to_string(t.e.tokens.input + 3) +
        ",\"input_tokens\":" + std::to_string(t.e.tokens.input) +
        ",\"output_tokens\":3,\"input_token_details\":{\"text_tokens\":0,\"audio_tokens\":" +
        std::to_string(t.e.tokens.audio_in) + "}}}");
}

// What a test asks for.
net::task<bool> socket_session::order(std::string_view name, const json_fields& f,
                                      const std::string& text) {
    if (name == "mock.close")
        co_return co_await say_goodbye(static_cast<std::uint16_t>(f.number("code", 0)),
                                       f.text("reason"));
    if (name == "mock.abort" || name == "mock.reset")
        co_return co_await break_off(name == "mock.reset");
    if (name == "mock.big")
        co_return co_await say(audio_event(static_cast<std::uint64_t>(f.number("bytes", 1 << 20))));
    if (name == "mock.pieces")
        co_return co_await say_in_pieces("{\"type\":\"mock.pieces\",\"text\":\"in pieces\"}",
                                         static_cast<std::size_t>(f.number("pieces", 3)));
    if (name == "mock.bad_frame") {
        const std::string reserved = "\xC1\x01x";
        co_return co_await x_.send(reserved);
    }
    if (name == "mock.ping") {
        std::string out;
        net::append_frame(out, websocket_opcode::ping, f.text("text"));
        co_return co_await x_.send(out);
    }
    if (name == "mock.sleep") co_return co_await x_.pause(static_cast<int>(f.number("ms", 0)));
    co_return co_await say("{\"type\":\"mock.heard\",\"bytes\":" + std::to_string(text.size()) +
                           ",\"sha256\":\"" + sha256_hex(text) + "\"}");
}

net::task<bool> socket_session::take(const std::string& text) {
    json_fields f;
    if (!f.scan(text)) {
        co_return co_await say(
            "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"code\":"
            "\"invalid_json\",\"message\":\"no JSON\",\"param\":null}}");
    }
    const std::string type = f.text("type");
    if (type.starts_with("mock.")) co_return co_await order(type, f, text);
    if (type == "input_audio_buffer.append") {
        audio_ += f.raw("audio").size();
        co_return true;
    }
    heard_ += text.size();
    if (type == "response.create") co_return co_await respond(f);
    if (type == "input_audio_buffer.commit") co_return co_await transcribe();
    if (type == "session.update")
        co_return co_await say(
            "{\"type\":\"session.updated\",\"session\":{\"type\":\"realtime\",\"model\":" +
            json_text(model_) +
            ",\"audio\":{\"input\":{\"transcription\":{\"model\":\"gpt-4o-transcribe\"}}}}}");
    co_return co_await say("{\"type\":\"conversation.item.added\",\"event_id\":\"event_i\"}");
}

net::task<void> socket_session::run() {
    if (realtime_) {
        const auto number = std::to_string(x_.record.number);
        bool greeted = co_await say(
            "{\"type\":\"session.created\",\"event_id\":\"event_0\",\"session\":{"
            "\"type\":\"realtime\",\"object\":\"realtime.session\",\"id\":\"sess_mock" +
            number + "\",\"model\":" + json_text(model_) + "}}");
        if (!greeted) co_return;
        greeted = co_await say(
            "{\"type\":\"conversation.created\",\"event_id\":\"event_1\",\"conversation\":{"
            "\"id\":\"conv_mockrt" +
            number + "\",\"object\":\"realtime.conversation\"}}");
        if (!greeted) co_return;
    }
    std::string message;
    std::string pong;
    for (;;) {
        const auto in = x_.io.input();
        const auto s = reader_.next(in);
        const std::string piece(in.substr(0, s.consumed));
        x_.io.consume(s.consumed);
        x_.in.body_bytes += s.consumed;
        bool more = true;
        switch (s.what) {
            case websocket_reader::item::more:
                more = co_await x_.io.fill(idle);
                break;
            case websocket_reader::item::begin:
                break;
            case websocket_reader::item::payload: {
                const std::size_t at = message.size();
                message += piece;
                net::apply_mask(message.data() + at, piece.size(), reader_.mask(),
                                reader_.piece_offset());
                if (!reader_.message_ended()) break;
                const std::string whole = std::exchange(message, {});
                more = co_await take(whole);
                break;
            }
            case websocket_reader::item::control:
                if (reader_.opcode() == websocket_opcode::ping) {
                    pong.clear();
                    net::append_frame(pong, websocket_opcode::pong, reader_.control_payload());
                    more = co_await x_.send(pong);
                } else if (reader_.opcode() == websocket_opcode::close) {
                    const auto words = net::read_close(reader_.control_payload());
                    x_.record.close_code = words.code == 0 ? 1005 : words.code;
                    if (!said_goodbye_) co_await say_goodbye(words.code, words.reason);
                    co_return;
                }
                break;
            case websocket_reader::item::bad:
                x_.record.close_code = reader_.fault_code();
                co_await say_goodbye(reader_.fault_code(), reader_.fault());
                co_return;
        }
        if (!more) {
            if (x_.record.close_code == 0) x_.record.close_code = 1006;
            if (!x_.cut()) x_.mark_gone();
            co_return;
        }
    }
}

}  // namespace

bool asks_for_websocket(const request& r) {
    return same_name(r.header("upgrade"), "websocket") && r.method == "GET";
}

net::task<void> websocket(exchange& x) {
    x.close_after();
    x.record.endpoint = "WS " + x.in.path;
    const std::string key(x.in.header("sec-websocket-key"));
    if (key.empty() || x.in.header("sec-websocket-version") != "13") {
        co_await x.refuse(400, {}, "This is no WebSocket handshake.");
        co_return;
    }
    if (const auto call = x.in.query_value("call_id");
        !call.empty() && !has_object(x, "/realtime/calls/" + call)) {
        co_await x.refuse(404, "call_id_not_found", "No session found for the provided call_id");
        co_return;
    }
    std::string out =
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: "
        "Upgrade\r\nsec-websocket-accept: ";
    out.append(net::websocket_accept(key)).append("\r\nx-request-id: ").append(x.request_id());
    out.append("\r\nx-mock-account: ").append(account_name(x.record.key));
    const auto offered = x.in.header("sec-websocket-protocol");
    if (!offered.empty()) {
        const bool realtime = offered.find("realtime") != std::string_view::npos;
        out.append("\r\nsec-websocket-protocol: ")
            .append(realtime ? std::string_view("realtime") : offered.substr(0, offered.find(',')));
    }
    out += "\r\n\r\n";
    x.record.status = 101;
    x.record.stream = true;
    const bool sent = co_await x.send(out);
    if (!sent) co_return;
    socket_session session(x);
    co_await session.run();
}

}  // namespace kw::mock
