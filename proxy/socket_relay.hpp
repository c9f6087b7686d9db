// Carries the frames of an open WebSocket both ways until one side closes, breaks off or is told
// to.
//
// Data goes on as it came, piece by piece, with the client's own masks; control frames are taken
// whole and written anew. Nothing more is read from a side while the other has not taken what was
// read before: that is the back-pressure. Where the watch wants to see a client's messages before
// the upstream does, they are held whole, within the budget of kept bodies.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.hpp"
#include "net/task.hpp"
#include "net/websocket_frame.hpp"
#include "proxy/client_connection.hpp"
#include "proxy/memory_budget.hpp"
#include "proxy/upstream_call.hpp"

namespace kw::proxy {

// How keywheel itself ends a socket.
struct socket_ending {
    std::uint16_t code = net::close_going_away;
    std::string reason;
    std::string event;       // a message that goes before the close; "": none
    errc why = errc::ok;     // for the record
    bool by_client = false;  // its fault: of the protocol
};

// Looks on. Called by the relay, on its coroutine.
class socket_watch {
  public:
    socket_watch() = default;
    socket_watch(const socket_watch&) = delete;
    socket_watch& operator=(const socket_watch&) = delete;
    virtual ~socket_watch() = default;

    // The server's text messages, each in pieces. server_ends true: settle() is awaited before the
    // end of the message goes to the client.
    virtual void server_begins() = 0;
    virtual void server_piece(std::string_view piece) = 0;
    virtual bool server_ends() = 0;
    virtual net::task<std::optional<socket_ending>> settle() = 0;

    struct verdict {
        bool pass = true;
        std::string event;  // for the client, in place of what does not pass
        std::optional<socket_ending> end;
        bool moves = false;  // to another upstream, which is then asked with this message
    };
    // A client's message that was held; may be changed.
    virtual net::task<verdict> client_message(std::string& text) = 0;

    // Now and then: whether the socket may go on.
    virtual std::optional<socket_ending> check() = 0;
};

struct socket_plan {
    bool hold_messages = false;  // the client's go through socket_watch::client_message
    std::uint64_t max_message = 0;
    std::chrono::nanoseconds idle_limit{};
    std::chrono::nanoseconds send_limit{};
    std::chrono::nanoseconds drain_time{};  // from the begin of a graceful stop
    mono_time total_deadline = net::no_deadline;
};

enum class socket_end : std::uint8_t {
    closed,        // by a close frame of either side
    client_gone,   // without one
    upstream_cut,  // likewise
    ended_here,    // see socket_relay::ending()
    moves,         // the first message asks for another upstream: see go_on()
};

class socket_relay {
  public:
    // Both heads have been sent and read; what came along with them is still in client and call.
    socket_relay(worker& w, client_connection& client, upstream_call& call, socket_watch& watch,
                 const socket_plan& plan);

    net::task<socket_end> run();
    // After `moves`, once the call leads to the other upstream: then run() again.
    void go_on();

    [[nodiscard]] const socket_ending& ending() const noexcept { return *ending_; }
    // Of the first close frame; 0: none.
    [[nodiscard]] std::uint16_t close_code() const noexcept { return close_code_; }
    [[nodiscard]] std::uint64_t bytes_in() const noexcept { return up_.bytes; }
    [[nodiscard]] std::uint64_t bytes_out() const noexcept { return down_.bytes; }

  private:
    // One direction.
    struct lane {
        lane(net::websocket_peer from, std::uint64_t max_message) noexcept
            : reader(from, max_message) {}
        net::websocket_reader reader;
        std::string in;  // read, not looked at yet
        std::size_t in_at = 0;
        std::string out;  // not taken yet
        std::size_t out_at = 0;
        net::events read_bit = 0;  // of the last refusal
        net::events write_bit = 0;
        mono_time stuck_since{};  // when `out` began to wait
        std::uint64_t bytes = 0;
        bool closed = false;  // its close frame has come
        bool ended = false;   // nothing more will come
        bool broken = false;  // nothing more can be sent
    };
    enum class need : std::uint8_t { nothing, more, settle, inspect, memory };

    [[nodiscard]] net::stream& source(const lane& of) noexcept;
    [[nodiscard]] net::stream& target(const lane& of) noexcept;
    bool flush(lane& of);
    need pump(lane& of);
    need take(lane& of, std::string_view& data);
    need take_piece(lane& of, std::string_view piece);
    void take_control(lane& of);
    void take_fault(lane& of);
    net::task<void> inspect();
    net::task<void> make_room();
    void end(socket_ending e);
    void place_own_frames();
    [[nodiscard]] std::optional<socket_end> finished() const;
    void look_at_the_time(net::events got);
    [[nodiscard]] net::events awaited() const noexcept;
    [[nodiscard]] mono_time deadline() const noexcept;
    void count_held() noexcept;

    worker& worker_;
    client_connection& client_;
    upstream_call& call_;
    socket_watch& watch_;
    const socket_plan& plan_;

    lane up_;    // from the client
    lane down_;  // from the upstream
    memory_share streaming_;
    memory_share holding_;
    std::string message_;  // the client's, while it is held
    std::string inject_;   // frames of ours for the client, to go between two messages
    std::optional<socket_ending> ending_;
    bool ending_sent_ = false;
    bool moves_ = false;
    mono_time ending_deadline_ = net::no_deadline;
    mono_time close_deadline_ = net::no_deadline;  // for the other side's close
    mono_time drain_deadline_ = net::no_deadline;
    mono_time active_;
    mono_time next_check_;
    std::uint16_t close_code_ = 0;
};

}  // namespace kw::proxy
