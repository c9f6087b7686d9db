// The queue of spans and the form of `traceparent`.
#include "core/spans.hpp"

#include <algorithm>
#include <iterator>

namespace kw {
namespace {

// In lower case only, as the form wants it.
bool read_hex(std::string_view text, std::uint8_t* to) noexcept {
    const auto digit = [](char c) {
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    };
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
        const int high = digit(text[i]);
        const int low = digit(text[i + 1]);
        if (high < 0 || low < 0) return false;
        to[i / 2] = static_cast<std::uint8_t>(high * 16 + low);
    }
    return true;
}

void append_hex(std::string& out, const std::uint8_t* bytes, std::size_t count) {
    constexpr std::string_view digits = "0123456789abcdef";
    for (std::size_t i = 0; i < count; ++i) {
        out += digits[bytes[i] >> 4U];
        out += digits[bytes[i] & 15U];
    }
}

}  // namespace

std::optional<trace_parent> parse_traceparent(std::string_view text) noexcept {
    // "00-<32>-<16>-<2>"; a later version may be longer.
    std::uint8_t version = 0;
    std::uint8_t flags = 0;
    trace_parent p;
    if (text.size() < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-' ||
        !read_hex(text.substr(0, 2), &version) || !read_hex(text.substr(3, 32), p.trace.data()) ||
        !read_hex(text.substr(36, 16), p.span.data()) || !read_hex(text.substr(53, 2), &flags))
        return std::nullopt;
    if (version == 0xff || (version == 0 && text.size() != 55) ||
        (text.size() > 55 && text[55] != '-') || p.trace == trace_id{} || p.span == span_id{})
        return std::nullopt;
    p.sampled = (flags & 1U) != 0;
    return p;
}

std::string to_string(const trace_parent& p) {
    std::string out = "00-";
    append_hex(out, p.trace.data(), p.trace.size());
    out += '-';
    append_hex(out, p.span.data(), p.span.size());
    return out + (p.sampled ? "-01" : "-00");
}

std::string_view span::cut(std::string_view text) noexcept {
    if (text.size() <= max_text) return text;
    std::size_t end = max_text;
    // A character has three bytes at most after its first.
    while (end > max_text - 3 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U)
        --end;
    return text.substr(0, end);
}

void span_queue::set(bool on, std::size_t most) noexcept {
    most_ = most;
    on_ = on;
}

void span_queue::push(std::vector<span> done) {
    const std::lock_guard lock(mutex_);
    const std::size_t most = most_.load();
    const std::size_t room = most > waiting_.size() ? most - waiting_.size() : 0;
    const std::size_t taken = std::min(room, done.size());
    dropped_ += done.size() - taken;
    waiting_.insert(waiting_.end(), std::make_move_iterator(done.begin()),
                    std::make_move_iterator(done.begin() + static_cast<std::ptrdiff_t>(taken)));
}

std::size_t span_queue::waiting() {
    const std::lock_guard lock(mutex_);
    return waiting_.size();
}

std::vector<span> span_queue::take(std::size_t most) {
    const std::lock_guard lock(mutex_);
    const auto end =
        waiting_.begin() + static_cast<std::ptrdiff_t>(std::min(most, waiting_.size()));
    std::vector<span> out(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
    waiting_.erase(waiting_.begin(), end);
    return out;
}

}  // namespace kw
