// Reads token usage out of answers while they pass, without keeping them: server-sent events of
// every dialect, plain JSON of any size, compressed or not.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "store/types.hpp"
#include "usage/decoder.hpp"
#include "usage/json_walker.hpp"

namespace kw::usage {

using store::token_counts;

struct scan_result {
    token_counts tokens;
    bool found = false;        // the provider's final counts were seen
    bool partial = false;      // some counts were (Anthropic's message_start of a cut stream)
    bool finished = false;     // a finish reason, a terminal event or a whole plain answer was seen
    bool saw_done = false;     // data: [DONE]
    bool saw_error = false;    // an error inside the answer, whatever its status
    std::string model;         // as the answer names it; "" if it does not
    std::string service_tier;  // as the answer names it
    std::string error_code;    // error.code, else error.type, else error.status
    std::int64_t output_chars = 0;  // bytes of generated text, for estimates
    std::int64_t total_tokens = 0;  // as told; may differ from tokens.total()
    std::int64_t duration_ms = 0;   // transcriptions billed by the second
    std::int64_t searches = 0;      // web search calls, billed each
    std::int64_t images = 0;        // items of an image answer's data[]
};

// What one event was; several may hold at once.
struct event_info {
    bool content : 1 = false;  // generated text, audio, image or tool call: the first is the TTFT
    bool usage_only : 1 =
        false;                  // chat chunk with "choices":[] and usage: hidden if we asked for it
    bool terminal : 1 = false;  // finish reason or a dialect's last event
    bool done : 1 = false;      // [DONE]
    bool error : 1 = false;     // carries an error object
    bool broken : 1 = false;    // an object that is not closed: no JSON, SDKs would stop at it
};

// One per exchange (or reused by reset), on one thread. Memory: under 2 KiB, plus the decoder's
// window when the answer is compressed. Nothing it reads is trusted: malformed text is passed over.
//
// Feed it in exactly one of two ways: on_event() for each event of an answer that the relay splits
// itself, or feed() + finish() for all other bodies, in any pieces. feed() also reads
// text/event-stream (the case of a compressed one, which the relay passes on unsplit).
class scanner {
  public:
    scanner() = default;

    // Before the answer's body; forgets all that was. content_type decides whether feed() expects
    // JSON, events or nothing of use (audio, images, text); content_encoding is the header's value
    // ("" for none). An encoding that we cannot read: nothing will be found.
    void configure(std::string_view content_type, std::string_view content_encoding);

    // The data of one server-sent event, lines joined. Costs under 100 ns for an ordinary delta.
    event_info on_event(std::string_view data);

    // A piece of the body as it came over the wire (chunk framing removed).
    void feed(std::string_view payload);
    // The body's end was reached (whole: by its framing, not by a broken connection).
    void finish(bool whole);

    // May be asked at any time; cheap but not free (it sums up).
    [[nodiscard]] scan_result result() const;

  private:
    enum class mode : std::uint8_t { ignore, json, events };
    enum class line : std::uint8_t { start, field, data, skip };
    enum class modality : std::uint8_t { text, audio, image };
    // Numbers as the answer gives them, before they are brought to one meaning. -1: not told.
    enum class raw : std::uint8_t {
        prompt,
        input,
        completion,
        output,
        total,
        cached,
        cache_write,
        audio_in,
        image_in,
        reasoning,
        audio_out,
        image_out,
        anthropic_write,
        anthropic_read,
        write_5m,
        write_1h,
        cache_hit,
        gemini_prompt,
        gemini_output,
        gemini_thoughts,
        gemini_tools,
        searches,
        count_
    };
    static constexpr std::size_t raw_count = static_cast<std::size_t>(raw::count_);
    using raw_counts = std::array<std::int64_t, raw_count>;
    static constexpr raw_counts unset() {
        raw_counts a{};
        a.fill(-1);
        return a;
    }

    friend class json_walker<scanner>;
    void on_value(const json_value& v);
    void on_open(const json_container& c);
    void on_close(const json_container& c);
    void on_number(json_path path, std::string_view text);
    void on_type(std::string_view type);

    void feed_lines(std::string_view text);
    void walk(std::string_view data);
    void event_begins();
    void event_ends();
    [[nodiscard]] std::int64_t& raw_at(raw field) noexcept {
        return raw_[static_cast<std::size_t>(field)];
    }
    // 0 for what was not told.
    [[nodiscard]] std::int64_t told(raw field) const noexcept {
        const std::int64_t n = raw_[static_cast<std::size_t>(field)];
        return n < 0 ? 0 : n;
    }
    [[nodiscard]] bool has(raw field) const noexcept {
        return raw_[static_cast<std::size_t>(field)] >= 0;
    }
    void sum_up(token_counts& t) const noexcept;

    mode mode_ = mode::json;
    bool count_text_ = false;  // the walker counts text: what comes by feed()
    bool seen_any_ = false;    // a usage object with a number in it…
    bool seen_last_ = false;   // …that is not only Anthropic's first

    // Of the event (or plain body) at hand.
    bool type_known_ = false;
    bool typed_ = false;  // of a dialect where only `delta` is new text
    bool message_start_ = false;
    bool usage_object_ = false;
    bool empty_choices_ = false;
    bool fresh_gemini_ = false;  // its next usageMetadata number replaces all earlier ones
    modality modality_ = modality::text;
    std::int64_t modality_tokens_ = -1;
    event_info info_;

    std::uint8_t events_walked_ = 0;
    raw_counts raw_ = unset();
    scan_result out_;

    // Lines of an event stream that is fed in pieces.
    line line_ = line::start;
    bool event_open_ = false;
    bool last_was_cr_ = false;
    std::uint8_t name_matched_ = 0;
    std::uint8_t held_size_ = 0;
    std::array<char, 8> held_{};  // the beginning of the event's data, for [DONE]

    json_walker<scanner> walker_;
    decoder decoder_;
};

// The same questions for a single event, without a scanner at hand.
[[nodiscard]] bool is_usage_only_event(std::string_view data);
[[nodiscard]] bool is_first_token(std::string_view data);

}  // namespace kw::usage
