// The chunked coding's state machine, a byte at a time for framing and a run at a time for payload.
#include "net/body_framer.hpp"

#include <charconv>
#include <limits>

namespace kw::net {

namespace {

constexpr std::uint8_t max_size_line = 64;
constexpr std::uint32_t max_extension_bytes = 8 * 1024;
constexpr std::uint32_t max_trailer_bytes = 8 * 1024;

int hex_value(unsigned char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// What a trailer's line may have beside its CRLF.
bool is_text(unsigned char c) noexcept {
    return (c >= 0x20 && c != 0x7F) || c == '\t';
}

bool is_name_char(unsigned char c) noexcept {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != 0 && std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) !=
                          std::string_view::npos);
}

}  // namespace

void body_framer::start(framing how, std::uint64_t length, trailer_rule trailers) noexcept {
    *this = body_framer();
    trailers_ = trailers;
    switch (how) {
        case framing::none:
            break;
        case framing::length:
            left_ = length;
            state_ = length == 0 ? state::done : state::length;
            break;
        case framing::chunked:
            state_ = state::chunk_size;
            break;
        case framing::until_close:
            state_ = state::until_close;
            break;
    }
}

bool body_framer::at_eof() noexcept {
    if (state_ == state::until_close) state_ = state::done;
    return state_ == state::done;
}

body_framer::piece body_framer::advance(std::string_view raw) noexcept {
    std::size_t used = 0;
    while (used < raw.size() && !over()) {
        if (state_ != state::length && state_ != state::chunk_data &&
            state_ != state::until_close) {
            state_ = framing_byte(static_cast<unsigned char>(raw[used]));
            if (state_ != state::broken) ++used;
            continue;
        }
        std::size_t size = raw.size() - used;
        if (state_ != state::until_close) {
            size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, size));
            left_ -= size;
            if (left_ == 0) state_ = state_ == state::length ? state::done : state::chunk_cr;
        }
        payload_ += size;
        return {used + size, used, size};
    }
    return {used, used, 0};
}

body_framer::state body_framer::framing_byte(unsigned char c) noexcept {
    switch (state_) {
        case state::chunk_size:
            if (const int digit = hex_value(c); digit >= 0) {
                ++line_bytes_;
                if (++digits_ > 16) return state::broken;
                left_ = left_ * 16 + static_cast<unsigned>(digit);
                return state::chunk_size;
            }
            if (digits_ == 0) return state::broken;
            if (c == '\r') return state::chunk_size_lf;
            if (c != ';') return state::broken;
            ++line_bytes_;
            ++extension_bytes_;
            return state::chunk_extension;
        case state::chunk_extension:
            if (c == '\r') return state::chunk_size_lf;
            if (!is_text(c) || ++line_bytes_ > max_size_line ||
                ++extension_bytes_ > max_extension_bytes)
                return state::broken;
            return state::chunk_extension;
        case state::chunk_size_lf:
            if (c != '\n') return state::broken;
            line_bytes_ = digits_ = 0;
            if (left_ == 0) return state::trailer_start;
            // The sum of all chunks must be countable.
            if (left_ > std::numeric_limits<std::uint64_t>::max() / 2 - payload_)
                return state::broken;
            return state::chunk_data;
        case state::chunk_cr:
            return c == '\r' ? state::chunk_lf : state::broken;
        case state::chunk_lf:
            return c == '\n' ? state::chunk_size : state::broken;
        case state::trailer_start:
            if (c == '\r') return state::end_lf;
            if (trailers_ == trailer_rule::refuse) return state::broken;
            [[fallthrough]];
        case state::trailer_name:
            if (++trailer_bytes_ > max_trailer_bytes) return state::broken;
            if (is_name_char(c)) return state::trailer_name;
            return c == ':' && state_ == state::trailer_name ? state::trailer_value : state::broken;
        case state::trailer_value:
            if (++trailer_bytes_ > max_trailer_bytes) return state::broken;
            if (c == '\r') return state::trailer_lf;
            return is_text(c) ? state::trailer_value : state::broken;
        case state::trailer_lf:
            return c == '\n' ? state::trailer_start : state::broken;
        case state::end_lf:
            return c == '\n' ? state::done : state::broken;
        default:
            return state::broken;
    }
}

std::size_t write_chunk_head(char* out, std::uint64_t size) noexcept {
    char* end = std::to_chars(out, out + max_chunk_head, size, 16).ptr;
    *end++ = '\r';
    *end++ = '\n';
    return static_cast<std::size_t>(end - out);
}

}  // namespace kw::net
