// WebSocket frames: cut anywhere, the same frames; what is read and written again is the same
// bytes.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "net/websocket_frame.hpp"

using namespace kw::net;

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

struct transcript {
    std::string frames;   // as they are understood
    std::string written;  // written anew with the same masks
    std::uint16_t fault = 0;
    std::size_t taken = 0;
};

transcript read(websocket_peer from, std::string_view bytes, std::size_t step) {
    constexpr std::uint64_t most = 4096;
    websocket_reader r(from, most);
    transcript t;
    std::string payload;
    std::uint64_t message = 0;
    bool bad = false;
    while (!bytes.empty() && !bad) {
        // A copy of its own size, so that a sanitizer sees any view that outlives it.
        const std::string piece(bytes.substr(0, step));
        bytes.remove_prefix(piece.size());
        std::string_view rest = piece;
        for (bool more = true; more && !bad;) {
            const auto s = r.next(rest);
            require(s.consumed <= rest.size());
            std::string taken(rest.substr(0, s.consumed));
            rest.remove_prefix(s.consumed);
            if (s.what != websocket_reader::item::bad) t.taken += s.consumed;
            switch (s.what) {
                case websocket_reader::item::more:
                    require(rest.empty());
                    more = false;
                    break;
                case websocket_reader::item::bad:
                    require(!r.fault().empty() && r.fault_code() >= 1002);
                    t.fault = r.fault_code();
                    bad = true;
                    break;
                case websocket_reader::item::begin:
                    if (r.begins_message()) message = 0;
                    message += r.length();
                    require(message <= most);
                    t.written += r.header();
                    t.frames += static_cast<char>('0' + static_cast<int>(r.opcode()));
                    break;
                case websocket_reader::item::payload:
                    t.written += taken;
                    if (from == websocket_peer::client)
                        apply_mask(taken.data(), taken.size(), r.mask(), r.piece_offset());
                    payload += taken;
                    if (r.frame_ended()) {
                        require(payload.size() == r.length());
                        t.frames += std::exchange(payload, {}) + (r.fin() ? "." : "+");
                    }
                    break;
                case websocket_reader::item::control: {
                    const auto mask =
                        from == websocket_peer::client ? std::optional(r.mask()) : std::nullopt;
                    append_frame(t.written, r.opcode(), r.control_payload(), mask);
                    t.frames += static_cast<char>('0' + static_cast<int>(r.opcode()));
                    t.frames += r.control_payload();
                    if (r.opcode() == websocket_opcode::close)
                        require(is_utf8(read_close(r.control_payload()).reason));
                    break;
                }
            }
        }
    }
    return t;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const auto from = (data[0] & 1U) != 0 ? websocket_peer::client : websocket_peer::server;
    const std::size_t step = 1 + data[0] / 2U;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    const transcript whole = read(from, bytes, bytes.size());
    transcript single = read(from, bytes, 1);
    transcript cut = read(from, bytes, step);
    // Where a fault is found within its frame depends on the cuts, that it is found does not.
    require(single.frames == whole.frames && single.fault == whole.fault);
    require(cut.frames == whole.frames && cut.fault == whole.fault);
    // Every whole frame comes out as it went in.
    require(bytes.starts_with(whole.written));
    return 0;
}
