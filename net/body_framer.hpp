// Where an HTTP/1.x body ends: counts a body's bytes as they pass, strips chunk framing from the
// payload, and writes chunk framing for what is framed anew.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "net/http_head.hpp"

namespace kw::net {

enum class body_status : std::uint8_t { more, complete, malformed };

// Trailer sections: refused from clients, passed over (checked, at most 8 KiB) from upstreams.
enum class trailer_rule : std::uint8_t { refuse, skip };

// One object per body, a few words, reusable by start(); no allocation. Not thread-safe.
//
// Strict where two readers could differ: sizes are 1 to 16 hexadecimal digits and nothing before
// them, lines end in CRLF only, a size line has at most 64 bytes, extensions are of visible
// characters and at most 8 KiB in a whole body.
class body_framer {
  public:
    struct step {
        std::size_t consumed = 0;  // bytes of the input that belong to this body, framing included
        body_status status = body_status::more;
    };

    body_framer() noexcept = default;  // as after start(framing::none, 0)
    body_framer(framing how, std::uint64_t length,
                trailer_rule trailers = trailer_rule::refuse) noexcept {
        start(how, length, trailers);
    }

    void start(framing how, std::uint64_t length,
               trailer_rule trailers = trailer_rule::refuse) noexcept;

    // Takes the next bytes of the connection and calls payload(std::string_view) for each piece of
    // the body proper, never empty. Bytes after `consumed` belong to the next message. After
    // `complete` or `malformed` nothing is consumed any more.
    template <class Payload>
    step consume(std::string_view raw, Payload&& payload) {
        std::size_t used = 0;
        while (used < raw.size() && !over()) {
            const piece next = advance(raw.substr(used));
            if (next.size > 0) payload(raw.substr(used + next.from, next.size));
            used += next.consumed;
        }
        return {used, status()};
    }

    [[nodiscard]] body_status status() const noexcept {
        if (state_ == state::done) return body_status::complete;
        return state_ == state::broken ? body_status::malformed : body_status::more;
    }
    // All of the body has passed. False for a body that ends with the connection: see at_eof().
    [[nodiscard]] bool complete() const noexcept { return state_ == state::done; }
    // The connection has ended: was that the body's end (true), or was the body cut (false)?
    [[nodiscard]] bool at_eof() noexcept;
    // Payload bytes so far.
    [[nodiscard]] std::uint64_t payload_bytes() const noexcept { return payload_; }
    // Payload bytes that must still come; only for framing::length.
    [[nodiscard]] std::uint64_t remaining() const noexcept { return left_; }
    [[nodiscard]] bool saw_trailers() const noexcept { return trailer_bytes_ > 0; }

  private:
    enum class state : std::uint8_t {
        done,
        broken,
        until_close,
        length,
        chunk_size,
        chunk_extension,
        chunk_size_lf,
        chunk_data,
        chunk_cr,
        chunk_lf,
        trailer_start,
        trailer_name,
        trailer_value,
        trailer_lf,
        end_lf,
    };
    struct piece {
        std::size_t consumed = 0;
        std::size_t from = 0;
        std::size_t size = 0;
    };

    [[nodiscard]] bool over() const noexcept {
        return state_ == state::done || state_ == state::broken;
    }
    // Up to and including the next run of payload. Uses at least one byte.
    piece advance(std::string_view raw) noexcept;
    // One byte of framing.
    state framing_byte(unsigned char c) noexcept;

    std::uint64_t left_ = 0;  // of the chunk, or of the body with framing::length
    std::uint64_t payload_ = 0;
    std::uint32_t extension_bytes_ = 0;
    std::uint32_t trailer_bytes_ = 0;
    std::uint8_t line_bytes_ = 0;
    std::uint8_t digits_ = 0;
    state state_ = state::done;
    trailer_rule trailers_ = trailer_rule::refuse;
};

// Framing of a chunk that we make: head, the bytes, chunk_end; after the last one last_chunk.
inline constexpr std::size_t max_chunk_head = 18;
inline constexpr std::string_view chunk_end = "\r\n";
inline constexpr std::string_view last_chunk = "0\r\n\r\n";

// Writes "<hex size>\r\n" and returns its length, at most max_chunk_head. size > 0: an empty chunk
// would end the body.
std::size_t write_chunk_head(char* out, std::uint64_t size) noexcept;

}  // namespace kw::net
