// What the messages of a WebSocket mean for the books: which begin and end a response, what they
// cost, and which model does what.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "usage/json_walker.hpp"
#include "usage/scanner.hpp"

namespace kw::usage {

enum class socket_event : std::uint8_t {
    other,
    session,          // created or updated: tells models; its conversation likewise
    response_begins,  // response.created
    response_ends,    // response.done, .completed, .incomplete, .failed
    transcribed,      // of the user's audio, billed apart
    text,             // a piece of generated text
    audio,            // a piece of generated audio, in base64
    failed,           // `error`
    create,           // the client's response.create
};

// Reads one message after another, each in any pieces, without keeping it. One thread. Nothing it
// reads is trusted; of a message whose type comes first and says that nothing matters, the rest is
// not looked at.
class socket_scanner {
  public:
    // from_client: every word of it is looked at.
    void begin(bool from_client);
    void feed(std::string_view piece);
    void end();

    // Of the message that ended.
    [[nodiscard]] socket_event kind() const noexcept { return kind_; }
    // A client's message that may be a response.create, however it spells it.
    [[nodiscard]] bool creates() const noexcept { return creates_; }
    // The response's, of response_begins and response_ends.
    [[nodiscard]] const std::string& response_id() const noexcept { return response_id_; }
    // The session's or the conversation's, of session.
    [[nodiscard]] const std::string& made_id() const noexcept { return made_id_; }
    // Tokens, model and service tier, of response_ends and transcribed.
    [[nodiscard]] scan_result usage() const { return usage_.result(); }
    // Bytes of generated text, or of audio in base64.
    [[nodiscard]] std::int64_t generated() const noexcept { return generated_; }

    // Of the session, as far as it was told; "": not yet.
    [[nodiscard]] const std::string& session_model() const noexcept { return session_model_; }
    [[nodiscard]] const std::string& transcription_model() const noexcept {
        return transcription_model_;
    }

  private:
    friend class json_walker<socket_scanner>;
    void on_value(const json_value& v);
    void on_open(const json_container&) noexcept {}
    void on_close(const json_container&) noexcept {}
    void on_type(std::string_view type);

    scanner usage_;
    json_walker<socket_scanner> walker_;
    socket_event kind_ = socket_event::other;
    bool typed_ = false;
    bool creates_ = false;
    bool from_client_ = false;
    bool done_ = false;  // nothing more of this message matters
    std::int64_t size_ = 0;
    std::int64_t generated_ = 0;
    std::string response_id_;
    std::string made_id_;
    std::string session_model_;
    std::string transcription_model_;
};

}  // namespace kw::usage
