// The relay's loop: write what waits, read what is there, look at it frame by frame, wait.
#include "proxy/socket_relay.hpp"

#include <algorithm>
#include <array>
#include <memory>

#include "core/crypto.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {
namespace {

using namespace std::chrono_literals;
using net::websocket_opcode;
using net::websocket_reader;

// What a socket may hold uncounted; a buffer that grew beyond is not kept.
constexpr std::size_t free_of_charge = 4U << 10U;
constexpr std::size_t held_free_of_charge = 16U << 10U;
// So long a held message waits for memory.
constexpr auto memory_patience = 30s;
// For the other side's close frame, and for a client to take our last words.
constexpr auto close_patience = 10s;
constexpr auto ending_patience = 5s;
constexpr auto check_interval = 1s;

mono_time::duration in_clock(std::chrono::nanoseconds d) noexcept {
    return std::chrono::duration_cast<mono_time::duration>(d);
}

net::websocket_mask fresh_mask() {
    std::array<std::uint8_t, 4> bytes{};
    crypto::random_bytes(bytes);
    net::websocket_mask mask;
    std::ranges::transform(bytes, mask.begin(), [](auto b) { return static_cast<char>(b); });
    return mask;
}

}  // namespace

socket_relay::socket_relay(worker& w, client_connection& client, upstream_call& call,
                           socket_watch& watch, const socket_plan& plan)
    : worker_(w),
      client_(client),
      call_(call),
      watch_(watch),
      plan_(plan),
      up_(net::websocket_peer::client, plan.max_message),
      down_(net::websocket_peer::server, plan.max_message),
      streaming_(w.in_flight()),
      holding_(w.kept_bodies()),
      active_(w.loop().now()),
      next_check_(active_ + check_interval) {
    up_.in = client.unread();
    client.used = client.in.size();
    down_.in = call.early_body();
}

net::stream& socket_relay::source(const lane& of) noexcept {
    return &of == &up_ ? *client_.stream : call_.stream();
}

net::stream& socket_relay::target(const lane& of) noexcept {
    return &of == &up_ ? call_.stream() : *client_.stream;
}

// True: something went out.
bool socket_relay::flush(lane& of) {
    const std::size_t before = of.out_at;
    while (of.out_at < of.out.size()) {
        const auto r = target(of).write(std::string_view(of.out).substr(of.out_at));
        if (r.ok()) {
            of.out_at += r.bytes;
            of.bytes += r.bytes;
            of.stuck_since = {};
            continue;
        }
        if (r.would_block()) {
            of.write_bit = target(of).bit_for(r.status);
            if (of.stuck_since == mono_time{}) of.stuck_since = worker_.loop().now();
            return of.out_at != before;
        }
        of.broken = true;
        of.out.clear();
        of.out_at = 0;
        return true;
    }
    const bool wrote = !of.out.empty();
    of.out.clear();
    of.out_at = 0;
    if (&of == &up_ && message_.empty()) holding_.release();
    return wrote;
}

net::task<socket_end> socket_relay::run() {
    unsigned turns = 0;
    if (moves_) {
        moves_ = false;
        co_await inspect();
    }
    for (;;) {
        if (moves_) co_return socket_end::moves;
        place_own_frames();
        bool moved = flush(down_);
        moved = flush(up_) || moved;
        if (const auto over = finished()) co_return *over;

        for (lane* one : {&up_, &down_}) {
            const need n = pump(*one);
            moved = moved || n != need::nothing;
            if (n == need::settle) {
                auto over = co_await watch_.settle();
                if (over) end(std::move(*over));
            } else if (n == need::inspect) {
                co_await inspect();
            } else if (n == need::memory) {
                co_await make_room();
            }
        }
        if (moved) {
            if (++turns > reads_in_a_row) {
                turns = 0;
                co_await client_.wait.yield();
            }
            if (worker_.loop().now() >= next_check_) look_at_the_time(0);
            continue;
        }
        turns = 0;
        count_held();
        const auto got = co_await client_.wait.wait(awaited(), deadline());
        look_at_the_time(got);
    }
}

void socket_relay::go_on() {
    up_.broken = false;
    up_.out.clear();
    up_.out_at = 0;
    up_.stuck_since = {};
    std::destroy_at(&down_);
    std::construct_at(&down_, net::websocket_peer::server, plan_.max_message);
    down_.in = call_.early_body();
    active_ = worker_.loop().now();
}

// Reads from one side if the other has taken what came before.
socket_relay::need socket_relay::pump(lane& of) {
    const bool down = &of == &down_;
    if (of.ended || !of.out.empty() || (down && ending_sent_)) return need::nothing;
    if (!down && !inject_.empty()) return need::nothing;
    std::string_view data = std::string_view(of.in).substr(of.in_at);
    const bool kept = !data.empty();
    if (!kept) {
        const auto r = source(of).read(worker_.stream_scratch());
        if (r.would_block()) {
            of.read_bit = source(of).bit_for(r.status);
            return need::nothing;
        }
        if (!r.ok()) {
            of.ended = true;
            return need::more;
        }
        active_ = worker_.loop().now();
        data = {worker_.scratch().data(), r.bytes};
        (down ? worker_.metrics().socket_bytes_down : worker_.metrics().socket_bytes_up)
            .add(static_cast<std::int64_t>(r.bytes));
    }
    need n = take(of, data);
    if (kept) {
        of.in_at = of.in.size() - data.size();
        if (data.empty()) {
            of.in.clear();
            of.in_at = 0;
        }
    } else {
        of.in = data;
    }
    return n == need::nothing ? need::more : n;
}

// Takes frames off the data; what is left is for later.
socket_relay::need socket_relay::take(lane& of, std::string_view& data) {
    const bool down = &of == &down_;
    const bool hold = !down && plan_.hold_messages;
    for (;;) {
        const auto s = of.reader.next(data);
        const std::string_view piece = data.substr(0, s.consumed);
        data.remove_prefix(s.consumed);
        // After its close a side has nothing more to say, nor while we take our leave.
        const bool deaf = of.closed || ending_sent_;
        switch (s.what) {
            case websocket_reader::item::more:
                return need::nothing;
            case websocket_reader::item::begin:
                if (deaf) break;
                if (down && of.reader.begins_message() &&
                    of.reader.message() == websocket_opcode::text)
                    watch_.server_begins();
                if (!hold) of.out += of.reader.header();
                break;
            case websocket_reader::item::payload: {
                if (of.reader.frame_ended())
                    (down ? worker_.metrics().socket_frames_down
                          : worker_.metrics().socket_frames_up)
                        .add();
                if (deaf) break;
                const need n = take_piece(of, piece);
                if (n != need::nothing) return n;
                break;
            }
            case websocket_reader::item::control:
                (down ? worker_.metrics().socket_frames_down : worker_.metrics().socket_frames_up)
                    .add();
                if (!of.closed) take_control(of);
                break;
            case websocket_reader::item::bad:
                data = {};
                if (!deaf) take_fault(of);
                of.ended = true;
                return need::more;
        }
    }
}

socket_relay::need socket_relay::take_piece(lane& of, std::string_view piece) {
    const bool text = of.reader.message() == websocket_opcode::text;
    if (&of == &down_) {
        of.out += piece;
        if (!text) return need::nothing;
        watch_.server_piece(piece);
        return of.reader.message_ended() && watch_.server_ends() ? need::settle : need::nothing;
    }
    if (!plan_.hold_messages) {
        of.out += piece;
        return need::nothing;
    }
    const std::size_t at = message_.size();
    message_ += piece;
    net::apply_mask(message_.data() + at, piece.size(), of.reader.mask(), of.reader.piece_offset());
    const bool room =
        message_.size() <= held_free_of_charge + static_cast<std::size_t>(holding_.held());
    if (!room && !holding_.try_grow(message_.capacity())) return need::memory;
    return of.reader.message_ended() ? need::inspect : need::nothing;
}

void socket_relay::take_control(lane& of) {
    const auto opcode = of.reader.opcode();
    const std::string_view payload = of.reader.control_payload();
    if (opcode == websocket_opcode::close) {
        of.closed = true;
        if (close_code_ == 0) {
            const auto words = net::read_close(payload);
            close_code_ = words.code == 0 ? 1005 : words.code;
        }
        if (close_deadline_ == net::no_deadline)
            close_deadline_ = worker_.loop().now() + close_patience;
    }
    if (ending_sent_) return;
    if (&of == &down_)
        net::append_frame(of.out, opcode, payload);
    else
        net::append_frame(of.out, opcode, payload, fresh_mask());
}

void socket_relay::take_fault(lane& of) {
    if (&of == &up_) {
        end({.code = of.reader.fault_code(),
             .reason = std::string(of.reader.fault()),
             .event = {},
             .why = errc::malformed_request,
             .by_client = true});
    } else {
        end({.code = net::close_bad_gateway,
             .reason = "The upstream broke the WebSocket protocol.",
             .event = {},
             .why = errc::upstream_malformed});
    }
}

// A client's whole message, before the upstream sees it.
net::task<void> socket_relay::inspect() {
    const bool text = up_.reader.message() == websocket_opcode::text;
    socket_watch::verdict v;
    if (text) v = co_await watch_.client_message(message_);
    if (v.moves) {
        moves_ = true;
        co_return;
    }
    if (v.pass) {
        const auto mask = fresh_mask();
        net::apply_mask(message_.data(), message_.size(), mask, 0);
        net::append_frame_header(up_.out, up_.reader.message(), true, message_.size(), mask);
        up_.out += message_;
    }
    if (message_.capacity() > free_of_charge)
        std::string().swap(message_);
    else
        message_.clear();
    if (!v.event.empty()) net::append_frame(inject_, websocket_opcode::text, v.event);
    if (v.end) end(std::move(*v.end));
}

// Memory for a message that was too large for what there was.
net::task<void> socket_relay::make_room() {
    count_held();
    const auto answer = co_await holding_.grow(
        client_.wait, message_.capacity(), worker_.loop().now() + memory_patience, net::hangup_a);
    if (answer == memory_answer::too_late) {
        end({.code = net::close_try_later,
             .reason = "There is no memory for a message so large; try again shortly.",
             .event = {},
             .why = errc::overloaded});
    } else if (answer == memory_answer::given_up) {
        up_.ended = true;
    } else if (up_.reader.message_ended()) {
        co_await inspect();
    }
}

void socket_relay::end(socket_ending e) {
    if (ending_) return;
    ending_ = std::move(e);
    ending_deadline_ = worker_.loop().now() + ending_patience;
}

// Ours go where they tear nothing apart.
void socket_relay::place_own_frames() {
    if (ending_sent_ || down_.closed) return;
    const bool between = down_.reader.between_messages();
    if (!inject_.empty() && between) {
        down_.out += inject_;
        inject_.clear();
    }
    if (!ending_ || (!down_.reader.between_frames() && !down_.ended)) return;
    if (!ending_->event.empty() && between)
        net::append_frame(down_.out, websocket_opcode::text, ending_->event);
    net::append_frame(down_.out, websocket_opcode::close,
                      net::close_payload(ending_->code, ending_->reason));
    if (!up_.closed && (plan_.hold_messages || up_.reader.between_frames()))
        net::append_frame(up_.out, websocket_opcode::close,
                          net::close_payload(net::close_going_away, {}), fresh_mask());
    ending_sent_ = true;
}

std::optional<socket_end> socket_relay::finished() const {
    const mono_time now = worker_.loop().now();
    const bool sent = up_.out.empty() && down_.out.empty();
    if (ending_) {
        const bool said = ending_sent_ && down_.out.empty() && (up_.closed || up_.ended);
        if (said || down_.broken || now >= ending_deadline_) return socket_end::ended_here;
        return std::nullopt;
    }
    if (up_.closed && (down_.closed || down_.ended || up_.broken || up_.ended) && sent)
        return socket_end::closed;
    if (down_.closed && down_.out.empty() && (up_.ended || up_.closed || down_.broken))
        return socket_end::closed;
    if (close_deadline_ <= now) return socket_end::closed;
    if (down_.broken || (up_.ended && !up_.closed)) return socket_end::client_gone;
    // What came before is worth having; an upstream that takes nothing more may still speak.
    if (down_.ended && !down_.closed && down_.out.empty()) return socket_end::upstream_cut;
    const auto stuck = [&](const lane& of) {
        return of.stuck_since != mono_time{} && now >= of.stuck_since + in_clock(plan_.send_limit);
    };
    if (stuck(down_)) return socket_end::client_gone;
    if (stuck(up_)) return socket_end::upstream_cut;
    return std::nullopt;
}

void socket_relay::look_at_the_time(net::events got) {
    const mono_time now = worker_.loop().now();
    if ((got & net::stopping) && drain_deadline_ == net::no_deadline)
        drain_deadline_ = now + in_clock(plan_.drain_time);
    const bool check = now >= next_check_;
    if (check) next_check_ = now + check_interval;
    if (ending_ || close_deadline_ != net::no_deadline) return;
    if (check) {
        if (auto e = watch_.check()) return end(std::move(*e));
    }
    if (now >= drain_deadline_) {
        end({.code = net::close_restart,
             .reason = "keywheel is being restarted; connect again.",
             .event = {},
             .why = errc::shutting_down});
    } else if (now >= plan_.total_deadline) {
        end({.reason = "The WebSocket has reached its time limit.",
             .event = {},
             .why = errc::upstream_total_timeout});
    } else if (now >= active_ + in_clock(plan_.idle_limit)) {
        end({.reason = "Nothing was said for too long.",
             .event = {},
             .why = errc::upstream_idle_timeout});
    }
}

net::events socket_relay::awaited() const noexcept {
    net::events bits = drain_deadline_ == net::no_deadline ? net::stopping : 0;
    for (const lane* one : {&up_, &down_}) {
        const bool unread = one == &down_ ? ending_sent_ : !inject_.empty();
        if (!one->out.empty())
            bits |= one->write_bit;
        else if (!one->ended && !unread)
            bits |= one->read_bit;
    }
    return bits;
}

mono_time socket_relay::deadline() const noexcept {
    if (ending_) return ending_deadline_;
    mono_time at = close_deadline_;
    if (at == net::no_deadline)
        at = std::min({drain_deadline_, next_check_, plan_.total_deadline,
                       active_ + in_clock(plan_.idle_limit)});
    for (const lane* one : {&up_, &down_})
        if (one->stuck_since != mono_time{})
            at = std::min(at, one->stuck_since + in_clock(plan_.send_limit));
    return at;
}

// Before a wait: what is held is counted, what was needed once is let go.
void socket_relay::count_held() noexcept {
    std::size_t held = 0;
    for (lane* one : {&up_, &down_}) {
        for (std::string* buffer : {&one->in, &one->out}) {
            if (buffer->empty() && buffer->capacity() > free_of_charge) std::string().swap(*buffer);
            held += buffer->capacity();
        }
    }
    streaming_.count(held > free_of_charge ? held : 0);
}

}  // namespace kw::proxy
