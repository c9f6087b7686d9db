// One try: a connection to the upstream (kept alive or new), the request sent, the answer's head
// read. What comes after the head is the relay's.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/body_framer.hpp"
#include "net/http_head.hpp"
#include "net/stream.hpp"
#include "net/task.hpp"
#include "pool/fault_policy.hpp"
#include "proxy/client_connection.hpp"
#include "proxy/snapshot.hpp"

namespace kw::proxy {

class worker;

// Lives in the exchange's frame; the loop's thread only.
class upstream_call {
  public:
    enum class outcome : std::uint8_t {
        ok,
        failed,        // see failure() and detail()
        client_gone,   // the client went away meanwhile
        client_error,  // the client's body was malformed or stalled: see client_fault()
    };

    upstream_call(worker& w, client_connection& client) noexcept;
    upstream_call(const upstream_call&) = delete;
    upstream_call& operator=(const upstream_call&) = delete;
    ~upstream_call();

    // Takes a kept-alive connection, or opens one; `fresh` skips the kept-alive ones. drain_time:
    // how long the answer is waited for once the client is gone; 0: not at all.
    net::task<outcome> open(const upstream_target& target, bool fresh,
                            std::chrono::nanoseconds drain_time);

    // Sends head and body pieces. An answer that begins before all is sent ends the sending.
    net::task<outcome> send(std::span<const std::string_view> pieces, mono_time deadline);
    // Sends the head, then the client's body as it comes, byte for byte.
    net::task<outcome> send_streaming(std::string_view head, net::body_framer& body);

    // Reads the answer's head; interim (1xx) answers are passed over. `late`: what missing the
    // deadline is.
    net::task<outcome> read_head(bool head_request, mono_time deadline,
                                 pool::transport_failure late);

    // 101 is an answer from now on.
    void expect_upgrade() noexcept { expects_upgrade_ = true; }
    // The answer's head cannot be what it claims to be.
    outcome refuse_answer(std::string_view why) {
        return fail(pool::transport_failure::malformed, std::string(why));
    }

    // Reads on until the body ends or `limit` bytes of payload are there: the answer of an error,
    // small enough to be looked at before it is decided what becomes of it. payload gets the body
    // without framing; early_body() has it with framing. True: the body is whole.
    net::task<bool> read_small_body(std::string& payload, std::size_t limit, mono_time deadline);

    // Blots a secret out of what has come of the answer, without changing its length.
    void mask(std::string_view secret) noexcept { blot(in_, secret); }
    static void blot(std::string& text, std::string_view secret) noexcept;

    [[nodiscard]] const net::http_head& head() const noexcept { return head_; }
    // Lets go of the early body; the head moves, views of it are of no use any more.
    void trim_to_head();
    // Bytes of the body that came along with the head.
    [[nodiscard]] std::string_view early_body() const noexcept {
        return std::string_view(in_).substr(body_at_);
    }
    [[nodiscard]] net::stream& stream() noexcept { return *stream_; }
    [[nodiscard]] bool reused() const noexcept { return reused_; }
    // All of the request was handed to the kernel before the answer began.
    [[nodiscard]] bool sent_all() const noexcept { return sent_all_; }
    [[nodiscard]] bool sent_any() const noexcept { return sent_any_; }
    [[nodiscard]] pool::transport_failure failure() const noexcept { return failure_; }
    // For a person, about a failure; no upstream text but the TLS library's.
    [[nodiscard]] const std::string& detail() const noexcept { return detail_; }
    [[nodiscard]] errc client_fault() const noexcept { return client_fault_; }

    // Back to the cache: the answer ended cleanly and the connection may carry another.
    void keep();
    // Closed for good.
    void drop() noexcept;

  private:
    outcome fail(pool::transport_failure f, std::string detail = {});
    // Takes in what the upstream sends while we are still sending; true: an answer has begun.
    bool answer_begun();
    // What to wait for beside the upstream, and what came of the wait; ok: go on.
    [[nodiscard]] net::events client_events() const noexcept {
        return draining_ ? 0 : net::hangup_a;
    }
    outcome judge_wait(net::events got, mono_time& deadline, pool::transport_failure late);

    worker& worker_;
    client_connection& client_;
    const upstream_target* target_ = nullptr;
    std::chrono::nanoseconds drain_time_{};
    bool draining_ = false;  // the client is gone, the answer is waited for all the same
    std::unique_ptr<net::stream> stream_;
    net::http_head head_;
    std::string in_;
    std::string unsent_;
    std::size_t body_at_ = 0;
    std::string detail_;
    pool::transport_failure failure_ = pool::transport_failure::none;
    errc client_fault_ = errc::ok;
    bool expects_upgrade_ = false;
    bool reused_ = false;
    bool sent_any_ = false;
    bool sent_all_ = false;
    bool broken_ = false;  // the upstream closed while we were sending
};

}  // namespace kw::proxy
