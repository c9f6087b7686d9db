// WebSocket frames (RFC 6455 §5): one strict reader of a peer's bytes, and the writer.
//
// The reader takes no extension: reserved bits, unknown opcodes, lengths that are not in their
// shortest form, masks where none belong (or none where one does), torn control frames and
// impossible close codes are faults. It holds a frame's header and a control frame's payload, never
// the payload of data.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kw::net {

enum class websocket_opcode : std::uint8_t {
    continuation = 0,
    text = 1,
    binary = 2,
    close = 8,
    ping = 9,
    pong = 10,
};

// Whose frames are read: a client's are masked, a server's are not.
enum class websocket_peer : std::uint8_t { client, server };

// Close codes that have a meaning here.
inline constexpr std::uint16_t close_going_away = 1001;
inline constexpr std::uint16_t close_protocol_error = 1002;
inline constexpr std::uint16_t close_bad_text = 1007;
inline constexpr std::uint16_t close_policy = 1008;
inline constexpr std::uint16_t close_too_big = 1009;
inline constexpr std::uint16_t close_restart = 1012;
inline constexpr std::uint16_t close_try_later = 1013;
inline constexpr std::uint16_t close_bad_gateway = 1014;

inline constexpr std::size_t max_control_payload = 125;
inline constexpr std::size_t max_frame_header = 14;

using websocket_mask = std::array<char, 4>;

// Masks and unmasks alike. offset: of the piece within its frame's payload.
void apply_mask(char* bytes, std::size_t size, const websocket_mask& mask,
                std::uint64_t offset) noexcept;

// Appends a frame's header; the payload follows, masked by the caller.
void append_frame_header(std::string& out, websocket_opcode opcode, bool fin, std::uint64_t size,
                         const std::optional<websocket_mask>& mask = {});
// Appends a whole frame.
void append_frame(std::string& out, websocket_opcode opcode, std::string_view payload,
                  const std::optional<websocket_mask>& mask = {});
// The payload of a close frame; the reason is cut at a character's end to what fits.
[[nodiscard]] std::string close_payload(std::uint16_t code, std::string_view reason);

struct close_words {
    std::uint16_t code = 0;  // 0: none was given
    std::string_view reason;
};
[[nodiscard]] close_words read_close(std::string_view payload) noexcept;

[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

class websocket_reader {
  public:
    enum class item : std::uint8_t {
        more,     // all was taken; nothing to report
        begin,    // a data frame's header is complete: header(), opcode(), …
        payload,  // the first `consumed` bytes given are payload of that frame (perhaps none)
        control,  // a control frame is complete: opcode(), control_payload()
        bad,      // see fault(); nothing more can be read
    };
    struct step {
        item what = item::more;
        std::size_t consumed = 0;
    };

    // max_message: bytes of a data message, all its frames together.
    websocket_reader(websocket_peer from, std::uint64_t max_message) noexcept
        : masked_(from == websocket_peer::client), max_message_(max_message) {}

    // Looks at the first bytes given and reports the next thing; call it again with the rest. After
    // `begin` at least one `payload` follows, which may be empty.
    [[nodiscard]] step next(std::string_view data) noexcept;

    // Of the frame that was reported last.
    [[nodiscard]] websocket_opcode opcode() const noexcept { return opcode_; }
    [[nodiscard]] bool fin() const noexcept { return fin_; }
    [[nodiscard]] std::uint64_t length() const noexcept { return length_; }
    [[nodiscard]] const websocket_mask& mask() const noexcept { return mask_; }
    // As it came, mask included.
    [[nodiscard]] std::string_view header() const noexcept { return {head_.data(), head_size_}; }
    // Unmasked.
    [[nodiscard]] std::string_view control_payload() const noexcept {
        return {control_.data(), control_size_};
    }
    // The message that the frame belongs to: text or binary, and whether the frame begins it.
    [[nodiscard]] websocket_opcode message() const noexcept { return message_; }
    [[nodiscard]] bool begins_message() const noexcept {
        return opcode_ != websocket_opcode::continuation;
    }

    // After `payload`: where the piece began in its frame, and what it ended.
    [[nodiscard]] std::uint64_t piece_offset() const noexcept { return piece_at_; }
    [[nodiscard]] bool frame_ended() const noexcept { return left_ == 0; }
    [[nodiscard]] bool message_ended() const noexcept { return left_ == 0 && fin_; }

    // Nothing of a frame has been read, or all of it: a control frame may go in between.
    [[nodiscard]] bool between_frames() const noexcept {
        return place_ == place::header && head_got_ == 0;
    }
    // Nor is a message open: any frame may.
    [[nodiscard]] bool between_messages() const noexcept {
        return between_frames() && !message_open_;
    }

    // After `bad`: what to close with, and fixed text that may be shown.
    [[nodiscard]] std::uint16_t fault_code() const noexcept { return fault_code_; }
    [[nodiscard]] std::string_view fault() const noexcept { return fault_; }

  private:
    enum class place : std::uint8_t { header, payload, control, broken };

    step bad(std::uint16_t code, std::string_view why) noexcept;
    [[nodiscard]] bool check_start() noexcept;
    [[nodiscard]] bool finish_header() noexcept;
    [[nodiscard]] bool check_close() noexcept;

    const bool masked_;
    const std::uint64_t max_message_;
    place place_ = place::header;
    std::array<char, max_frame_header> head_{};
    std::uint8_t head_got_ = 0;
    std::uint8_t head_size_ = 2;  // as far as is known
    websocket_opcode opcode_ = websocket_opcode::continuation;
    websocket_opcode message_ = websocket_opcode::text;
    bool fin_ = false;
    bool message_open_ = false;
    websocket_mask mask_{};
    std::uint64_t length_ = 0;
    std::uint64_t left_ = 0;
    std::uint64_t piece_at_ = 0;
    std::uint64_t message_size_ = 0;
    std::array<char, max_control_payload> control_{};
    std::size_t control_size_ = 0;
    std::uint16_t fault_code_ = 0;
    std::string_view fault_;
};

}  // namespace kw::net
