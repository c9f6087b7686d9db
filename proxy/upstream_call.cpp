// Connection, sending and head of one try.
#include "proxy/upstream_call.hpp"

#include <sys/uio.h>

#include <algorithm>
#include <array>

#include "net/connection_cache.hpp"
#include "net/connector.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {
namespace {

using pool::transport_failure;

constexpr std::size_t max_pieces = 8;
constexpr std::size_t uncounted = 4 * 1024;
constexpr std::size_t not_worth_it = 256;  // bytes that could be let go

transport_failure failure_of(errc code) noexcept {
    switch (code) {
        case errc::upstream_dns_error:
            return transport_failure::dns;
        case errc::upstream_connect_timeout:
            return transport_failure::connect_timeout;
        case errc::upstream_tls_error:
            return transport_failure::tls;
        case errc::upstream_tls_timeout:
            return transport_failure::tls_timeout;
        case errc::egress_proxy_error:
            return transport_failure::egress_proxy;
        default:
            return transport_failure::connect;
    }
}

net::head_limits upstream_head_limits() noexcept {
    return {.max_head = 64 * 1024, .max_target = 8 * 1024, .max_headers = 128};
}

}  // namespace

upstream_call::upstream_call(worker& w, client_connection& client) noexcept
    : worker_(w), client_(client), head_(upstream_head_limits()) {}

upstream_call::~upstream_call() {
    drop();
}

upstream_call::outcome upstream_call::fail(transport_failure f, std::string detail) {
    failure_ = f;
    detail_ = std::move(detail);
    return outcome::failed;
}

net::task<upstream_call::outcome> upstream_call::open(const upstream_target& target, bool fresh,
                                                      std::chrono::nanoseconds drain_time) {
    drop();
    target_ = &target;
    drain_time_ = drain_time;
    draining_ = false;
    head_.reset();
    in_.clear();
    unsent_.clear();
    body_at_ = 0;
    failure_ = transport_failure::none;
    reused_ = sent_any_ = sent_all_ = broken_ = false;

    if (!fresh) stream_ = worker_.connections().take(worker_.endpoint(target));
    if (stream_) {
        reused_ = true;
    } else {
        auto opened =
            co_await net::connect(worker_.loop(), client_.wait, worker_.dns(), target.connect);
        if (!opened) co_return fail(failure_of(opened.error().code), opened.error().context);
        stream_ = std::move(*opened);
    }
    stream_->handle().attach(&client_.wait, net::read_b, net::write_b, net::hangup_b);
    // Nothing has been asked yet: nobody wants the answer.
    co_return client_.gone() ? outcome::client_gone : outcome::ok;
}

upstream_call::outcome upstream_call::judge_wait(net::events got, mono_time& deadline,
                                                 transport_failure late) {
    if (got & net::timed_out) return draining_ ? outcome::client_gone : fail(late);
    if (!(got & net::hangup_a)) return outcome::ok;
    if (drain_time_.count() == 0) return outcome::client_gone;
    draining_ = true;
    deadline = std::min(deadline, worker_.loop().now() +
                                      std::chrono::duration_cast<mono_time::duration>(drain_time_));
    return outcome::ok;
}

bool upstream_call::answer_begun() {
    const auto scratch = worker_.scratch();
    const auto r = stream_->read(scratch);
    if (r.ok()) {
        in_.append(scratch.data(), r.bytes);
        return true;
    }
    if (!r.would_block()) broken_ = true;
    return broken_;
}

net::task<upstream_call::outcome> upstream_call::send(std::span<const std::string_view> pieces,
                                                      mono_time deadline) {
    std::array<iovec, max_pieces> iov{};
    std::size_t count = 0;
    for (const std::string_view piece : pieces) {
        if (piece.empty() || count == max_pieces) continue;
        iov[count++] = {const_cast<char*>(piece.data()), piece.size()};
    }
    std::size_t first = 0;
    while (first < count) {
        const auto r = stream_->write(std::span(iov).subspan(first, count - first));
        if (r.ok()) {
            sent_any_ = true;
            std::size_t left = r.bytes;
            while (first < count && left >= iov[first].iov_len)
                left -= iov[first++].iov_len;
            if (left > 0) {
                iov[first].iov_base = static_cast<char*>(iov[first].iov_base) + left;
                iov[first].iov_len -= left;
            }
            continue;
        }
        if (!r.would_block()) {
            // It may have answered before it closed.
            broken_ = true;
            co_return outcome::ok;
        }
        const auto got = co_await client_.wait.wait(
            stream_->bit_for(r.status) | net::read_b | client_events(), deadline);
        const auto judged = judge_wait(got, deadline, transport_failure::first_byte_timeout);
        if (judged != outcome::ok) co_return judged;
        if ((got & net::read_b) && answer_begun()) co_return outcome::ok;
    }
    sent_all_ = true;
    co_return outcome::ok;
}

net::task<upstream_call::outcome> upstream_call::send_streaming(std::string_view head,
                                                                net::body_framer& body) {
    const auto held = worker_.hold();  // settings may be replaced while we wait
    const auto& server = (*held)->settings->server;
    memory_share held_here(worker_.in_flight());
    // Counted before each wait; what a slow upstream needed once is not kept.
    const auto count = [&] {
        if (unsent_.empty() && unsent_.capacity() > uncounted) std::string().swap(unsent_);
        held_here.count(unsent_.capacity() > uncounted ? unsent_.capacity() : 0);
    };
    unsigned reads = 0;
    unsent_ = head;
    for (;;) {
        if (unsent_.empty()) {
            if (body.complete()) break;
            std::string_view data = client_.unread();
            const bool from_buffer = !data.empty();
            if (!from_buffer) {
                // One that always has something to send lets others go first now and then.
                if (++reads > reads_in_a_row) {
                    reads = 0;
                    co_await client_.wait.yield();
                }
                const auto scratch = worker_.stream_scratch();
                const auto r = client_.stream->read(scratch);
                if (r.would_block()) {
                    reads = 0;
                    count();
                    const auto got =
                        co_await client_.wait.wait(client_.stream->bit_for(r.status) | net::read_b,
                                                   worker_.loop().now() + server.body_timeout);
                    if (got & net::timed_out) {
                        client_fault_ = errc::body_timeout;
                        co_return outcome::client_error;
                    }
                    if ((got & net::read_b) && answer_begun()) co_return outcome::ok;
                    continue;
                }
                if (!r.ok()) co_return outcome::client_gone;
                data = {scratch.data(), r.bytes};
            }
            const auto step = body.consume(data, [](std::string_view) {});
            if (step.status == net::body_status::malformed) {
                client_fault_ = errc::malformed_request;
                co_return outcome::client_error;
            }
            if (body.payload_bytes() > server.max_body_bytes) {
                client_fault_ = errc::body_too_large;
                co_return outcome::client_error;
            }
            if (from_buffer) {
                client_.used += step.consumed;
            } else if (step.consumed < data.size()) {
                client_.next.append(data.substr(step.consumed));
            }
            const std::string_view raw = data.substr(0, step.consumed);
            const auto w = stream_->write(raw);
            if (w.ok()) {
                sent_any_ = true;
                unsent_.assign(raw.substr(w.bytes));
            } else if (w.would_block()) {
                unsent_.assign(raw);
            } else {
                broken_ = true;
                co_return outcome::ok;
            }
            continue;
        }
        const auto w = stream_->write(unsent_);
        if (w.ok()) {
            sent_any_ = true;
            unsent_.erase(0, w.bytes);
            continue;
        }
        if (!w.would_block()) {
            broken_ = true;
            co_return outcome::ok;
        }
        reads = 0;
        count();
        const auto got =
            co_await client_.wait.wait(stream_->bit_for(w.status) | net::read_b | net::hangup_a,
                                       worker_.loop().now() + target_->limits.idle);
        if (got & net::timed_out) co_return fail(transport_failure::idle_timeout);
        if (got & net::hangup_a) co_return outcome::client_gone;
        if ((got & net::read_b) && answer_begun()) co_return outcome::ok;
    }
    sent_all_ = true;
    co_return outcome::ok;
}

net::task<upstream_call::outcome> upstream_call::read_head(bool head_request, mono_time deadline,
                                                           transport_failure late) {
    unsigned interim = 0;
    for (;;) {
        if (!in_.empty()) {
            const auto parsed = head_.parse_response(in_, head_request);
            if (parsed == net::parse_status::bad)
                co_return fail(transport_failure::malformed, std::string(head_.fault().message));
            if (parsed == net::parse_status::done) {
                body_at_ = head_.consumed();
                if (!head_.informational()) co_return outcome::ok;
                if (head_.status() == 101 && expects_upgrade_) co_return outcome::ok;
                if (head_.status() == 101 || ++interim > 16)
                    co_return fail(transport_failure::malformed, "unasked-for interim answers");
                in_.erase(0, body_at_);
                head_.reset();
                continue;
            }
        }
        if (broken_) {
            co_return fail(reused_ && in_.empty() ? transport_failure::stale_connection
                                                  : transport_failure::reset);
        }
        const auto scratch = worker_.scratch();
        const auto r = stream_->read(scratch);
        if (r.ok()) {
            in_.append(scratch.data(), r.bytes);
            continue;
        }
        if (!r.would_block()) {
            broken_ = true;
            continue;
        }
        const auto got =
            co_await client_.wait.wait(stream_->bit_for(r.status) | client_events(), deadline);
        if (const auto judged = judge_wait(got, deadline, late); judged != outcome::ok)
            co_return judged;
    }
}

net::task<bool> upstream_call::read_small_body(std::string& payload, std::size_t limit,
                                               mono_time deadline) {
    net::body_framer framer(head_.body(), head_.body_length(), net::trailer_rule::skip);
    std::size_t seen = body_at_;
    payload.clear();
    for (;;) {
        const auto step = framer.consume(std::string_view(in_).substr(seen),
                                         [&](std::string_view piece) { payload += piece; });
        seen += step.consumed;
        if (step.status != net::body_status::more)
            co_return step.status == net::body_status::complete&& seen == in_.size();
        if (payload.size() >= limit || in_.size() - body_at_ >= 2 * limit) co_return false;
        const auto scratch = worker_.scratch();
        const auto r = stream_->read(scratch);
        if (r.ok()) {
            in_.append(scratch.data(), r.bytes);
            head_.rebase(in_.data());
            continue;
        }
        if (!r.would_block()) co_return false;
        const auto got =
            co_await client_.wait.wait(stream_->bit_for(r.status) | net::hangup_a, deadline);
        if (got & (net::timed_out | net::hangup_a)) co_return false;
    }
}

void upstream_call::trim_to_head() {
    if (in_.capacity() < body_at_ + not_worth_it) return;
    std::string(in_, 0, body_at_).swap(in_);
    head_.rebase(in_.data());
}

void upstream_call::blot(std::string& text, std::string_view secret) noexcept {
    if (secret.empty()) return;
    for (std::size_t at = 0; (at = text.find(secret, at)) != std::string::npos; at += secret.size())
        text.replace(at, secret.size(), secret.size(), '*');
}

void upstream_call::keep() {
    if (!stream_) return;
    stream_->handle().attach(nullptr, 0, 0);
    worker_.connections().put(worker_.endpoint(*target_), std::move(stream_));
}

void upstream_call::drop() noexcept {
    if (!stream_) return;
    stream_->handle().attach(nullptr, 0, 0);
    stream_.reset();
}

}  // namespace kw::proxy
