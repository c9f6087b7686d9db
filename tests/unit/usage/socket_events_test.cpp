// Events of the realtime API and the responses socket, in any pieces.
#include <catch2/catch.hpp>

#include "usage/socket_events.hpp"

using namespace kw::usage;

namespace {

void read(socket_scanner& s, std::string_view text, std::size_t step, bool from_client = false) {
    s.begin(from_client);
    while (!text.empty()) {
        s.feed(text.substr(0, step));
        text.remove_prefix(std::min(step, text.size()));
    }
    s.end();
}

}  // namespace

TEST_CASE("a realtime response's tokens come with their classes") {
    const std::string done =
        R"({"type":"response.done","event_id":"event_1","response":{"object":"realtime.response",)"
        R"("id":"resp_7","status":"completed","output":[{"id":"item_1","type":"message"}],"usage":)"
        R"({"total_tokens":253,"input_tokens":132,"output_tokens":121,"input_token_details":)"
        R"({"cached_tokens":64,"text_tokens":119,"image_tokens":0,"audio_tokens":13,)"
        R"("cached_tokens_details":{"text_tokens":64,"image_tokens":0,"audio_tokens":0}},)"
        R"("output_token_details":{"text_tokens":30,"audio_tokens":91}}}})";
    socket_scanner s;
    for (const std::size_t step : {std::size_t{1}, std::size_t{7}, done.size()}) {
        read(s, done, step);
        REQUIRE(s.kind() == socket_event::response_ends);
        CHECK(s.response_id() == "resp_7");
        const auto usage = s.usage();
        CHECK(usage.found);
        CHECK(usage.tokens.input == 132);
        CHECK(usage.tokens.output == 121);
        CHECK(usage.tokens.cached_read == 64);
        CHECK(usage.tokens.audio_in == 13);
        CHECK(usage.tokens.audio_out == 91);
    }
    // The next message starts anew.
    read(s, R"({"type":"response.created","response":{"id":"resp_8","usage":null}})", 5);
    CHECK(s.kind() == socket_event::response_begins);
    CHECK(s.response_id() == "resp_8");
    CHECK_FALSE(s.usage().found);
}

TEST_CASE("a session and its conversation tell their ids") {
    socket_scanner s;
    read(s, R"({"type":"session.created","session":{"id":"sess_1","model":"gpt-realtime"}})", 3);
    CHECK(s.kind() == socket_event::session);
    CHECK(s.made_id() == "sess_1");
    read(s, R"({"type":"conversation.created","conversation":{"id":"conv_1"}})", 3);
    CHECK(s.kind() == socket_event::session);
    CHECK(s.made_id() == "conv_1");
    read(s, R"({"type":"conversation.item.added","item":{"id":"item_1"}})", 3);
    CHECK(s.made_id().empty());
}

TEST_CASE("transcriptions are billed by tokens or by time, for the session's model") {
    socket_scanner s;
    read(s,
         R"({"type":"session.updated","session":{"model":"gpt-realtime","audio":{"input":)"
         R"({"transcription":{"model":"gpt-4o-transcribe"}}}}})",
         9);
    CHECK(s.kind() == socket_event::session);
    CHECK(s.session_model() == "gpt-realtime");
    CHECK(s.transcription_model() == "gpt-4o-transcribe");
    read(s,
         R"({"type":"conversation.item.input_audio_transcription.completed","usage":{"type":)"
         R"("tokens","total_tokens":48,"input_tokens":38,"output_tokens":10,)"
         R"("input_token_details":{"text_tokens":10,"audio_tokens":28}}})",
         4);
    CHECK(s.kind() == socket_event::transcribed);
    CHECK(s.usage().tokens.input == 38);
    CHECK(s.usage().tokens.audio_in == 28);
    read(s,
         R"({"type":"conversation.item.input_audio_transcription.completed","usage":{"type":)"
         R"("duration","seconds":2.5}})",
         4);
    CHECK(s.usage().duration_ms == 2500);
    CHECK(s.transcription_model() == "gpt-4o-transcribe");
    read(s,
         R"({"type":"transcription_session.updated","session":{"input_audio_transcription":)"
         R"({"model":"whisper-1"}}})",
         4);
    CHECK(s.transcription_model() == "whisper-1");
}

TEST_CASE("the responses socket tells its model and tier, and its type wherever it stands") {
    socket_scanner s;
    const std::string completed =
        R"({"response":{"id":"resp_1","model":"gpt-5-2026-01-01","service_tier":"flex","usage":)"
        R"({"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,)"
        R"("output_tokens_details":{"reasoning_tokens":2},"total_tokens":15}},)"
        R"("sequence_number":9,"type":"response.completed"})";
    for (const std::size_t step : {std::size_t{1}, completed.size()}) {
        read(s, completed, step);
        REQUIRE(s.kind() == socket_event::response_ends);
        CHECK(s.usage().model == "gpt-5-2026-01-01");
        CHECK(s.usage().service_tier == "flex");
        CHECK(s.usage().tokens.reasoning == 2);
    }
}

TEST_CASE("what is generated is measured, however much of it there is") {
    socket_scanner s;
    read(s, R"({"type":"response.output_text.delta","delta":"four"})", 3);
    CHECK(s.kind() == socket_event::text);
    CHECK(s.generated() == 4);
    const std::string audio =
        R"({"type":"response.output_audio.delta","delta":")" + std::string(1'000'000, 'A') + "\"}";
    read(s, audio, 65536);
    CHECK(s.kind() == socket_event::audio);
    CHECK(s.generated() == static_cast<std::int64_t>(audio.size()));
    read(s, R"({"type":"response.output_item.done","item":{"id":"x"}})", 8);
    CHECK(s.kind() == socket_event::other);
    CHECK(s.generated() == 0);
}

TEST_CASE("a client cannot hide that it wants a response") {
    socket_scanner s;
    read(s, R"({"type":"response.create","model":"m"})", 6, true);
    CHECK(s.creates());
    read(s, R"({"type":"response.create","type":"session.update"})", 6, true);
    CHECK(s.creates());
    read(s, R"({"type":"session.update","type":"response.create"})", 6, true);
    CHECK(s.creates());
    read(s, R"({"type":"session.update","text":"response.create"})", 6, true);
    CHECK_FALSE(s.creates());
}
