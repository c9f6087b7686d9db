// The few fields of a request body that decide where it goes and what it may cost, and edits of
// the body that change only these bytes: key order, blanks and big integers stay as they are.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.hpp"

namespace kw::usage {

struct byte_range {
    std::size_t begin = 0;
    std::size_t end = 0;  // one past the last
    [[nodiscard]] bool empty() const noexcept { return begin == end; }
    [[nodiscard]] std::size_t size() const noexcept { return end - begin; }
};

enum class include_usage : std::uint8_t { absent, no, yes };

struct request_fields {
    std::string model;       // decoded; "" when absent or null
    byte_range model_value;  // with its quotes; empty when absent
    bool stream = false;
    bool background = false;
    bool store = false;           // asked for; what is left out may mean yes or no
    std::int64_t max_tokens = 0;  // the largest of the three names; 0: not given
    std::int64_t n = 1;
    std::string prompt_cache_key;
    std::string user;
    std::string service_tier;
    std::string previous_response_id;
    byte_range metadata;             // the value; empty when absent
    byte_range prompt;               // of messages, input, prompt or contents
    byte_range preamble;             // of system or instructions
    byte_range stream_options;       // the value; empty when absent
    byte_range include_usage_value;  // the value inside; empty when absent
    include_usage wants_usage = include_usage::absent;
    bool stream_options_empty = false;  // {} or null
    bool stream_options_null = false;
    std::size_t object_end = 0;  // offset of the top-level object's closing brace
    bool object_empty = false;   // {}
};

// One pass over the whole body: it must be one JSON object (RFC 8259, valid UTF-8, at most 512
// levels deep) with none of the fields above twice, spelled with escapes or not. No allocation but
// for the strings found. Any thread.
// errc::invalid_json: broken, not an object, a duplicate, model not a string or not Unicode text.
[[nodiscard]] result<request_fields> read_request_fields(std::string_view body);

// The model of a multipart/form-data body, wherever its part is.
struct multipart_fields {
    std::string model;
    byte_range model_value;  // without quotes: the part's content
    bool stream = false;
    std::string response_format;
};
// errc::malformed_request: no or a bad boundary, a body that does not end, `model` twice.
[[nodiscard]] result<multipart_fields> read_multipart_fields(std::string_view body,
                                                             std::string_view content_type);

// Replace `erase` bytes at `offset` by `insert`.
struct splice {
    std::size_t offset = 0;
    std::size_t erase = 0;
    std::string insert;
};

// At most two edits of one body, in order of their offsets; they never overlap.
class splice_list {
  public:
    void add(splice s);
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    [[nodiscard]] std::size_t size_after(std::size_t body_size) const noexcept;

    // Calls sink(std::string_view) for each piece of the edited body in order, without copying it.
    template <class Sink>
    void for_each_piece(std::string_view body, Sink&& sink) const {
        std::size_t at = 0;
        for (std::size_t i = 0; i < count_; ++i) {
            const splice& s = splices_[i];
            if (s.offset > at) sink(body.substr(at, s.offset - at));
            if (!s.insert.empty()) sink(std::string_view(s.insert));
            at = s.offset + s.erase;
        }
        if (at < body.size()) sink(body.substr(at));
    }
    [[nodiscard]] std::string apply(std::string_view body) const;

  private:
    std::array<splice, 2> splices_;
    std::size_t count_ = 0;
};

// What makes the upstream report usage in a stream; nullopt when the request asks for it already.
[[nodiscard]] std::optional<splice> plan_include_usage(const request_fields& fields);
// What puts another model's name in; nullopt when the body has no model or has that one.
[[nodiscard]] std::optional<splice> plan_model(const request_fields& fields, std::string_view name);
[[nodiscard]] std::optional<splice> plan_model(const multipart_fields& fields,
                                               std::string_view name);

}  // namespace kw::usage
