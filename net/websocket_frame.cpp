// The state machine of frames, masks and close payloads.
#include "net/websocket_frame.hpp"

#include <algorithm>
#include <cstring>

namespace kw::net {
namespace {

constexpr std::uint8_t byte_of(char c) noexcept {
    return static_cast<std::uint8_t>(c);
}

std::uint64_t big_endian(const char* bytes, std::size_t size) noexcept {
    std::uint64_t n = 0;
    for (std::size_t i = 0; i < size; ++i)
        n = n << 8U | byte_of(bytes[i]);
    return n;
}

constexpr bool is_control(std::uint8_t opcode) noexcept {
    return (opcode & 8U) != 0;
}

// What may stand in a close frame: 1005, 1006 and 1015 only ever mean that none came.
constexpr bool may_be_sent(std::uint16_t code) noexcept {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

}  // namespace

void apply_mask(char* bytes, std::size_t size, const websocket_mask& mask,
                std::uint64_t offset) noexcept {
    websocket_mask turned;
    for (std::size_t i = 0; i < 4; ++i)
        turned[i] = mask[(offset + i) % 4];
    std::uint32_t four = 0;
    std::memcpy(&four, turned.data(), 4);
    const std::uint64_t eight = static_cast<std::uint64_t>(four) << 32U | four;
    std::size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes + i, 8);
        word ^= eight;
        std::memcpy(bytes + i, &word, 8);
    }
    for (; i < size; ++i)
        bytes[i] = static_cast<char>(bytes[i] ^ turned[i % 4]);
}

void append_frame_header(std::string& out, websocket_opcode opcode, bool fin, std::uint64_t size,
                         const std::optional<websocket_mask>& mask) {
    out.push_back(static_cast<char>((fin ? 0x80U : 0U) | static_cast<unsigned>(opcode)));
    const unsigned bit = mask ? 0x80U : 0U;
    unsigned more = 0;
    if (size < 126) {
        out.push_back(static_cast<char>(bit | static_cast<unsigned>(size)));
    } else {
        more = size < 65'536 ? 2 : 8;
        out.push_back(static_cast<char>(bit | (more == 2 ? 126U : 127U)));
    }
    for (unsigned i = more; i > 0; --i)
        out.push_back(static_cast<char>(size >> (8 * (i - 1)) & 0xFFU));
    if (mask) out.append(mask->data(), mask->size());
}

void append_frame(std::string& out, websocket_opcode opcode, std::string_view payload,
                  const std::optional<websocket_mask>& mask) {
    append_frame_header(out, opcode, true, payload.size(), mask);
    const std::size_t at = out.size();
    out += payload;
    if (mask) apply_mask(out.data() + at, payload.size(), *mask, 0);
}

std::string close_payload(std::uint16_t code, std::string_view reason) {
    std::size_t size = std::min(reason.size(), max_control_payload - 2);
    while (size > 0 && size < reason.size() && (byte_of(reason[size]) & 0xC0U) == 0x80U)
        --size;
    std::string out{static_cast<char>(code >> 8U), static_cast<char>(code & 0xFFU)};
    return out.append(reason.substr(0, size));
}

close_words read_close(std::string_view payload) noexcept {
    if (payload.size() < 2) return {};
    return {static_cast<std::uint16_t>(big_endian(payload.data(), 2)), payload.substr(2)};
}

bool is_utf8(std::string_view text) noexcept {
    std::size_t i = 0;
    while (i < text.size()) {
        const std::uint8_t first = byte_of(text[i++]);
        if (first < 0x80) continue;
        const unsigned more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
        if (first < 0xC2 || first > 0xF4 || text.size() - i < more) return false;
        const std::uint8_t second = byte_of(text[i]);
        // Neither overlong forms nor surrogates nor beyond U+10FFFF.
        if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
            (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F))
            return false;
        for (unsigned k = 0; k < more; ++k)
            if ((byte_of(text[i++]) & 0xC0U) != 0x80U) return false;
    }
    return true;
}

websocket_reader::step websocket_reader::bad(std::uint16_t code, std::string_view why) noexcept {
    place_ = place::broken;
    fault_code_ = code;
    fault_ = why;
    return {item::bad, 0};
}

// The first two bytes are there.
bool websocket_reader::check_start() noexcept {
    const std::uint8_t first = byte_of(head_[0]);
    const std::uint8_t second = byte_of(head_[1]);
    const std::uint8_t opcode = first & 0x0FU;
    const std::uint8_t size = second & 0x7FU;
    const auto fails = [this](std::string_view why) {
        bad(close_protocol_error, why);
        return false;
    };
    if ((first & 0x70U) != 0) return fails("A reserved bit is set, and no extension was agreed.");
    if ((opcode > 2 && opcode < 8) || opcode > 10) return fails("The opcode is unknown.");
    if (((second & 0x80U) != 0) != masked_)
        return fails(masked_ ? "A client's frame is not masked." : "A server's frame is masked.");
    fin_ = (first & 0x80U) != 0;
    opcode_ = static_cast<websocket_opcode>(opcode);
    if (is_control(opcode)) {
        if (!fin_ || size > max_control_payload)
            return fails("A control frame is in fragments or too long.");
    } else if ((opcode == 0) != message_open_) {
        return fails(message_open_ ? "A message begins inside another."
                                   : "A fragment belongs to no message.");
    }
    const unsigned more = size == 127 ? 8 : size == 126 ? 2 : 0;
    head_size_ = static_cast<std::uint8_t>(2 + more + (masked_ ? 4 : 0));
    return true;
}

bool websocket_reader::finish_header() noexcept {
    const std::uint8_t size = byte_of(head_[1]) & 0x7FU;
    const unsigned more = size == 127 ? 8 : size == 126 ? 2 : 0;
    length_ = more == 0 ? size : big_endian(head_.data() + 2, more);
    if ((more == 2 && length_ < 126) || (more == 8 && (length_ < 65'536 || length_ >> 63U != 0))) {
        bad(close_protocol_error, "A length is not in its shortest form.");
        return false;
    }
    if (masked_) std::copy_n(head_.data() + 2 + more, 4, mask_.data());
    left_ = length_;
    if (is_control(static_cast<std::uint8_t>(opcode_))) {
        place_ = place::control;
        control_size_ = 0;
        return true;
    }
    if (opcode_ != websocket_opcode::continuation) {
        message_ = opcode_;
        message_size_ = 0;
    }
    if (length_ > max_message_ - message_size_) {
        bad(close_too_big, "The message is too large.");
        return false;
    }
    message_size_ += length_;
    message_open_ = true;
    place_ = place::payload;
    return true;
}

bool websocket_reader::check_close() noexcept {
    const std::string_view payload = control_payload();
    if (payload.empty()) return true;
    if (payload.size() == 1 || !may_be_sent(read_close(payload).code)) {
        bad(close_protocol_error, "The close code is not one that can be sent.");
        return false;
    }
    if (!is_utf8(payload.substr(2))) {
        bad(close_bad_text, "The reason for closing is no UTF-8.");
        return false;
    }
    return true;
}

websocket_reader::step websocket_reader::next(std::string_view data) noexcept {
    if (place_ == place::broken) return {item::bad, 0};
    if (place_ == place::payload) {
        if (left_ > 0 && data.empty()) return {};
        const std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, data.size()));
        piece_at_ = length_ - left_;
        left_ -= n;
        if (left_ == 0) {
            place_ = place::header;
            head_got_ = 0;
            if (fin_) message_open_ = false;
        }
        return {item::payload, n};
    }
    std::size_t used = 0;
    if (place_ == place::header) {
        if (head_got_ == 0) head_size_ = 2;
        while (head_got_ < head_size_) {
            if (used == data.size()) return {item::more, used};
            head_[head_got_++] = data[used++];
            if (head_got_ == 2 && !check_start()) return {item::bad, used};
        }
        if (!finish_header()) return {item::bad, used};
        if (place_ == place::payload) return {item::begin, used};
    }
    // A control frame's payload.
    const std::size_t n =
        static_cast<std::size_t>(std::min<std::uint64_t>(left_, data.size() - used));
    std::copy_n(data.data() + used, n, control_.data() + control_size_);
    used += n;
    left_ -= n;
    control_size_ += n;
    if (left_ > 0) return {item::more, used};
    if (masked_) apply_mask(control_.data(), control_size_, mask_, 0);
    place_ = place::header;
    head_got_ = 0;
    if (opcode_ == websocket_opcode::close && !check_close()) return {item::bad, used};
    return {item::control, used};
}

}  // namespace kw::net
