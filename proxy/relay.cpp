// The relay's loop: read what is there, look at it, pass it on, wait.
#include "proxy/relay.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <array>

#include "proxy/worker.hpp"

namespace kw::proxy {
namespace {

using pool::transport_failure;

// An unfinished event may grow to this (base64 images come in one), a held-back start to the other.
constexpr std::size_t max_event = 32U << 20U;
constexpr std::size_t max_held = 256U << 10U;
// What a stream may hold uncounted; a buffer that grew beyond is not kept.
constexpr std::size_t free_of_charge = 4U << 10U;
// The most that a worker keeps at hand for the next round.
constexpr std::size_t largest_spare = 64U << 10U;
// So long an event waits for memory before it is cut.
constexpr auto memory_patience = std::chrono::seconds(30);
// So long the upstream may be silent inside an event that has the pass to grow.
constexpr auto pass_patience = std::chrono::seconds(1);

void forget(std::string& buffer) noexcept {
    if (buffer.capacity() > free_of_charge)
        std::string().swap(buffer);
    else
        buffer.clear();
}

}  // namespace

relay::relay(worker& w, client_connection& client, upstream_call& call, usage::scanner* scanner,
             const relay_plan& plan, std::function<void()> under_way,
             std::function<void(std::uint64_t)> before_last)
    : worker_(w),
      client_(client),
      call_(call),
      scanner_(scanner),
      plan_(plan),
      under_way_(std::move(under_way)),
      before_last_(std::move(before_last)),
      share_(w.in_flight()) {}

void relay::take_events(std::string_view payload) {
    const auto on_event = [this](const net::sse_event& e) {
        if (plan_.ids && e.data_lines == 1) plan_.ids->on_event(e.data);
        if (!scanner_ || e.data_lines == 0) return true;
        std::string_view data = e.data;
        if (e.data_lines > 1) {
            joined_.clear();
            net::append_data(joined_, e);
            data = joined_;
        }
        const usage::event_info info = scanner_->on_event(data);
        if (info.broken) return false;
        if (info.content && !content_) {
            content_ = true;
            content_at_ = worker_.loop().now();
        }
        if (info.terminal || info.done || info.error) terminal_ = true;
        return !(info.usage_only && plan_.hide_usage);
    };
    const auto on_run = [this](std::string_view run) { out_ += run; };
    if (!stash_.empty()) {
        stash_ += payload;
        return;
    }
    while (!payload.empty()) {
        const auto step = splitter_.feed(payload, on_event, on_run);
        payload.remove_prefix(step.consumed);
        if (step.status == net::sse_status::ok) break;
        const std::size_t next = next_event_limit();
        if (next <= splitter_.limit()) {
            overflow_ = true;
            return;
        }
        if (!share_.try_grow(next - splitter_.limit())) {
            stash_ = payload;
            return;
        }
        splitter_.raise_limit(next);
    }
    forget(joined_);
    if (share_.held() > 0 && splitter_.memory() <= net::sse_splitter::default_limit) {
        share_.release();
        splitter_.lower_limit(net::sse_splitter::default_limit);
    }
}

std::size_t relay::next_event_limit() const noexcept {
    const auto all = static_cast<std::size_t>(worker_.shared().now.in_flight.limit());
    return std::min({splitter_.limit() * 2, max_event, all});
}

net::task<bool> relay::enlarge_event() {
    settle_down();
    const std::size_t next = next_event_limit();
    const mono_time now = worker_.loop().now();
    const mono_time deadline =
        std::min({now + memory_patience,
                  now + std::chrono::duration_cast<mono_time::duration>(plan_.idle_limit),
                  plan_.total_deadline});
    const auto answer =
        co_await share_.grow(client_.wait, next - splitter_.limit(), deadline, net::hangup_a);
    if (answer == memory_answer::given_up) gone_ = true;
    if (answer != memory_answer::granted) co_return false;
    splitter_.raise_limit(next);
    const std::string rest = std::exchange(stash_, {});
    take_events(rest);
    co_return true;
}

void relay::settle_down() {
    if (committed_ && under_way_) std::exchange(under_way_, nullptr)();
    // A string may take more than it is asked for.
    const std::size_t granted = static_cast<std::size_t>(share_.held());
    const std::size_t tail = splitter_.memory() - std::min(splitter_.memory(), granted);
    const std::size_t held =
        tail + out_.capacity() + unsent_.capacity() + joined_.capacity() + stash_.capacity();
    share_.count(held > free_of_charge ? held : 0);
}

// A round's output is gone by the next wait, so that one buffer does for all streams of a worker.
void relay::lend_out() noexcept {
    if (out_.empty() && out_.capacity() < worker_.spare_text().capacity())
        out_.swap(worker_.spare_text());
}

void relay::forget_out() noexcept {
    out_.clear();
    std::string& spare = worker_.spare_text();
    if (out_.capacity() > spare.capacity() && out_.capacity() <= largest_spare) out_.swap(spare);
    if (out_.capacity() > std::string().capacity()) std::string().swap(out_);
}

bool relay::offer(std::string_view a, std::string_view b, std::string_view c) {
    if (gone_) return false;
    if (!unsent_.empty()) {
        unsent_.append(a).append(b).append(c);
        return true;
    }
    std::array<iovec, 3> iov{};
    std::size_t count = 0;
    for (const std::string_view piece : {a, b, c})
        if (!piece.empty()) iov[count++] = {const_cast<char*>(piece.data()), piece.size()};
    if (count == 0) return true;
    const auto r = client_.stream->write(std::span(iov).first(count));
    std::size_t sent = 0;
    if (r.ok()) {
        sent = r.bytes;
        bytes_out_ += sent;
        sent_any_ = true;
    } else if (!r.would_block()) {
        gone_ = true;
        return false;
    }
    for (const std::string_view piece : {a, b, c}) {
        if (sent >= piece.size()) {
            sent -= piece.size();
        } else {
            unsent_.append(piece.substr(sent));
            sent = 0;
        }
    }
    return true;
}

net::task<bool> relay::send_rest() {
    std::size_t at = 0;
    while (at < unsent_.size()) {
        const auto r = client_.stream->write(std::string_view(unsent_).substr(at));
        if (r.ok()) {
            at += r.bytes;
            bytes_out_ += r.bytes;
            sent_any_ = true;
            continue;
        }
        if (r.would_block()) {
            reads_ = 0;
            share_.give_pass();
            settle_down();
            const auto got =
                co_await client_.wait.wait(client_.stream->bit_for(r.status) | net::hangup_a,
                                           worker_.loop().now() + plan_.send_limit);
            if (!(got & (net::timed_out | net::hangup_a))) continue;
        }
        gone_ = true;
        break;
    }
    // A buffer that a slow client needed once is not kept for the rest of the stream.
    std::string().swap(unsent_);
    co_return !gone_;
}

// Sends what this round gave: raw as it came, or out_ in the client's framing.
bool relay::emit(std::string_view raw, bool last) {
    std::string_view head;
    if (!committed_) {
        committed_ = true;
        head = plan_.head;
    }
    std::array<char, net::max_chunk_head> chunk{};
    std::string_view chunk_head;
    std::string_view bytes = out_;
    if (!plan_.split_events && plan_.client_framing == call_.head().body()) {
        bytes = raw;
    } else if (plan_.client_framing == net::framing::chunked) {
        if (!out_.empty()) {
            chunk_head = {chunk.data(), net::write_chunk_head(chunk.data(), out_.size())};
            out_ += net::chunk_end;
        }
        if (last) out_ += net::last_chunk;
        bytes = out_;
    }
    if (last && before_last_) {
        before_last_(bytes_out_ + unsent_.size() + head.size() + chunk_head.size() + bytes.size());
    }
    return offer(head, chunk_head, bytes);
}

net::task<relay_end> relay::run(net::body_framer body) {
    const bool rewrite = plan_.split_events || plan_.client_framing != call_.head().body();
    mono_time drain_deadline = net::no_deadline;
    std::uint64_t drained_bytes = 0;
    std::string_view data = call_.early_body();
    bool eof = false;

    for (;;) {
        // 1. What came.
        net::body_framer::step step{0, body.status()};
        if (!holding()) lend_out();
        if (!data.empty() || body.complete()) {
            step = body.consume(data, [&](std::string_view payload) {
                if (plan_.split_events) {
                    take_events(payload);
                } else {
                    if (scanner_) scanner_->feed(payload);
                    if (plan_.ids) plan_.ids->feed(payload);
                    if (rewrite) out_ += payload;
                }
            });
            if (plan_.ids && plan_.ids->has_found()) plan_.found_ids();
            if (gone_) drained_bytes += step.consumed;
        }
        if (eof && !body.complete() && body.at_eof()) step.status = net::body_status::complete;
        while (!stash_.empty() && !overflow_ && step.status != net::body_status::malformed) {
            // What came before it need not wait; the body's end is not told before its last event.
            if (!out_.empty() && !holding() && !gone_) {
                emit({}, false);
                forget_out();
                if (!unsent_.empty()) co_await send_rest();
            }
            if (gone_) co_return relay_end::client_gone;
            if (out_.empty()) forget_out();
            const bool enlarged = co_await enlarge_event();
            if (enlarged) continue;
            if (gone_) co_return relay_end::client_gone;
            co_return co_await end_overloaded();
        }
        if (step.status == net::body_status::malformed || overflow_)
            co_return co_await end_cut(transport_failure::malformed);
        const bool complete = step.status == net::body_status::complete;
        if (eof && !complete) co_return co_await end_cut(transport_failure::stream_cut);

        if (complete) {
            if (plan_.split_events) {
                const std::string_view tail = splitter_.tail();
                if (!tail.empty()) out_ += tail;
                if (plan_.expect_end_event && content_ && !terminal_)
                    co_return co_await end_cut(transport_failure::stream_cut);
            } else if (scanner_) {
                scanner_->finish(true);
            }
        }

        // 2. On to the client. While the first token is held back, out_ only grows.
        const bool hold =
            holding() && !content_ && !terminal_ && !complete && out_.size() < max_held;
        if (!hold) {
            const std::string_view raw = data.substr(0, step.consumed);
            if (complete) upstream_clean_ = !eof && step.consumed == data.size();
            if (!gone_ && (complete || !committed_ || !raw.empty())) {
                if (!rewrite || complete || !committed_ || !out_.empty()) emit(raw, complete);
            }
            forget_out();
        }
        if (!unsent_.empty() && !gone_) co_await send_rest();
        if (complete) co_return gone_ ? relay_end::client_gone : relay_end::completed;

        // 3. More.
        data = {};
        while (data.empty() && !eof) {
            if (!gone_ && client_.gone()) gone_ = true;
            if (gone_) {
                if (!plan_.drain || drained_bytes > plan_.drain_bytes)
                    co_return relay_end::client_gone;
                if (drain_deadline == net::no_deadline)
                    drain_deadline = worker_.loop().now() + plan_.drain_time;
                drained_ = true;
            }
            if (++reads_ > reads_in_a_row) {
                reads_ = 0;
                co_await client_.wait.yield();
            }
            const auto scratch = worker_.stream_scratch();
            const auto r = call_.stream().read(scratch);
            if (r.ok()) {
                data = {scratch.data(), r.bytes};
                break;
            }
            if (!r.would_block()) {
                // A broken connection ends a body that ends with the connection no better than any.
                if (r.status != net::io_status::eof && body.status() == net::body_status::more)
                    co_return co_await end_cut(transport_failure::stream_cut);
                eof = true;
                break;
            }
            reads_ = 0;
            settle_down();
            const mono_time now = worker_.loop().now();
            mono_time deadline = std::min(now + plan_.idle_limit, plan_.total_deadline);
            if (gone_) deadline = std::min(deadline, drain_deadline);
            if (holding()) deadline = std::min(deadline, plan_.first_token_deadline);
            const bool passing = share_.has_pass();
            if (passing) deadline = std::min(deadline, now + pass_patience);
            const auto got = co_await client_.wait.wait(
                call_.stream().bit_for(r.status) | (gone_ ? 0 : net::hangup_a), deadline);
            if ((got & net::timed_out) && passing) {
                share_.give_pass();
                continue;
            }
            if (got & net::timed_out) {
                if (gone_) co_return relay_end::client_gone;
                if (worker_.loop().now() >= plan_.total_deadline)
                    co_return co_await end_cut(transport_failure::total_timeout);
                if (holding() && worker_.loop().now() >= plan_.first_token_deadline)
                    co_return co_await end_cut(transport_failure::first_token_timeout);
                co_return co_await end_cut(transport_failure::idle_timeout);
            }
        }
    }
}

// The answer broke off. The unfinished event is dropped and the body is not ended: a client must
// not take half an answer for a whole one.
net::task<relay_end> relay::end_cut(transport_failure why) {
    failure_ = why;
    if (holding()) co_return relay_end::nothing_sent;
    if (gone_) co_return relay_end::client_gone;
    if (plan_.split_events) {
        const errc code =
            why == transport_failure::malformed ? errc::upstream_malformed : pool::to_errc(why);
        emit_error_frame(error(
            code, "The upstream's answer broke off before its end; what came is incomplete."));
    } else if (!committed_) {
        // Not a byte has left: the caller can still answer with an error.
        co_return relay_end::nothing_sent;
    } else if (plan_.client_framing == net::framing::until_close) {
        // The end of such a body is the connection's, and this one must not look like an end.
        client_.stream->close_with_reset();
        client_.cut = true;
        co_return relay_end::upstream_cut;
    }
    if (!unsent_.empty()) co_await send_rest();
    co_return relay_end::upstream_cut;
}

void relay::emit_error_frame(const error& e) {
    out_ += make_error_frame(e, plan_.dialect, plan_.request_id);
    emit({}, false);
    forget_out();
}

net::task<relay_end> relay::end_overloaded() {
    emit_error_frame(error(errc::overloaded,
                           "An event of the answer needs more memory than can be had now; what "
                           "came is incomplete. Try again shortly."));
    if (!unsent_.empty()) co_await send_rest();
    co_return relay_end::overloaded;
}

}  // namespace kw::proxy
