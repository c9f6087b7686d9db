// Carries an answer's body from the upstream to the client as it comes, looks at it for usage, and
// knows at the end whether it was whole.
//
// Event streams are passed on in whole events, framed anew; all other bodies byte for byte as they
// came. Nothing more is read from the upstream while the client has not taken what was read before:
// that is the back-pressure.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "net/body_framer.hpp"
#include "net/sse_splitter.hpp"
#include "net/task.hpp"
#include "proxy/client_connection.hpp"
#include "proxy/error_response.hpp"
#include "proxy/memory_budget.hpp"
#include "proxy/object_ids.hpp"
#include "proxy/upstream_call.hpp"
#include "usage/scanner.hpp"

namespace kw::proxy {

struct relay_plan {
    std::string_view head;  // the answer's head towards the client, complete
    net::framing client_framing = net::framing::none;
    bool split_events = false;      // an event stream that we can read
    bool hide_usage = false;        // drop the usage-only event that we asked for
    bool expect_end_event = false;  // a stream that ends without its last event was cut
    bool drain = false;             // client gone: read on to learn the usage
    std::size_t drain_bytes = 0;
    std::chrono::nanoseconds drain_time{};
    std::chrono::nanoseconds idle_limit{};
    std::chrono::nanoseconds send_limit{};
    mono_time total_deadline = net::no_deadline;
    // Set: the head and the first events are held back until generated text comes or this time.
    mono_time first_token_deadline = net::no_deadline;
    bool hold_first_token = false;
    frame_dialect dialect = frame_dialect::chat;
    std::string_view request_id;
    // Looks for ids of objects; `found_ids` is called when it has some.
    id_reader* ids = nullptr;
    std::function<void()> found_ids;
};

enum class relay_end : std::uint8_t {
    completed,
    client_gone,   // and drained or not, as the plan says
    upstream_cut,  // see `failure`
    overloaded,    // an event needed memory that was not to be had; cut as if by the upstream
    nothing_sent,  // failed while the first token was held back: may be tried again
};

class relay {
  public:
    // scanner: null when there is nothing to count. before_last is called once, before the bytes
    // that tell the client that the answer is over, with the number of all bytes including those
    // (not for a client that is gone by then);
    // under_way at the first wait after bytes have left: what was needed up to there can go. An
    // answer that never waits does without.
    relay(worker& w, client_connection& client, upstream_call& call, usage::scanner* scanner,
          const relay_plan& plan, std::function<void()> under_way,
          std::function<void(std::uint64_t)> before_last);

    net::task<relay_end> run(net::body_framer body);

    [[nodiscard]] pool::transport_failure failure() const noexcept { return failure_; }
    [[nodiscard]] std::uint64_t bytes_out() const noexcept { return bytes_out_; }
    [[nodiscard]] bool sent_any() const noexcept { return sent_any_; }
    [[nodiscard]] bool drained() const noexcept { return drained_; }
    // Both ends may carry another exchange.
    [[nodiscard]] bool upstream_clean() const noexcept { return upstream_clean_; }
    [[nodiscard]] bool saw_content() const noexcept { return content_; }
    [[nodiscard]] mono_time first_content_at() const noexcept { return content_at_; }

  private:
    // Takes a piece of the body: output goes to out_ (or stays in the piece when relayed raw).
    void take_events(std::string_view payload);
    // Memory for the unfinished event that was too large for what there was; then goes on with what
    // waited for it.
    net::task<bool> enlarge_event();
    [[nodiscard]] std::size_t next_event_limit() const noexcept;
    // Before a wait: lets go of what is not needed for it and counts what is held.
    void settle_down();
    void lend_out() noexcept;
    void forget_out() noexcept;
    // Offers bytes to the client; what it does not take stays in unsent_. False: it is gone.
    bool offer(std::string_view a, std::string_view b = {}, std::string_view c = {});
    net::task<bool> send_rest();
    net::task<relay_end> end_cut(pool::transport_failure why);
    net::task<relay_end> end_overloaded();
    void emit_error_frame(const error& e);
    bool emit(std::string_view raw, bool last);
    [[nodiscard]] bool holding() const noexcept { return plan_.hold_first_token && !committed_; }

    worker& worker_;
    client_connection& client_;
    upstream_call& call_;
    usage::scanner* scanner_;
    const relay_plan& plan_;
    std::function<void()> under_way_;
    std::function<void(std::uint64_t)> before_last_;

    net::sse_splitter splitter_;
    std::string out_;  // events to send in this round (in a buffer of the worker's), or held back
    std::string unsent_;  // what the client has not taken
    std::string joined_;  // data of an event with several data lines
    std::string stash_;   // of the body, behind an event that waits for memory
    memory_share share_;  // granted: room of the unfinished event beyond what every stream may hold
    unsigned reads_ = 0;  // since the last wait
    std::uint64_t bytes_out_ = 0;
    mono_time content_at_{};
    pool::transport_failure failure_ = pool::transport_failure::none;
    bool committed_ = false;  // the first token came: nothing is held back any more
    bool sent_any_ = false;
    bool gone_ = false;
    bool drained_ = false;
    bool content_ = false;
    bool terminal_ = false;
    bool overflow_ = false;
    bool upstream_clean_ = false;
};

}  // namespace kw::proxy
