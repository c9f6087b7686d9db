// The upstream's answer on its way to the client: the head with ours in it, the relay, how it
// ended.
#include <algorithm>

#include "pool/health.hpp"
#include "proxy/exchange.hpp"
#include "proxy/message_heads.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {

std::string exchange::own_header_lines(bool whole, bool last_try) const {
    const auto& on = snap_.settings->headers;
    std::string lines = client_.cors;
    lines.reserve(256);
    const auto add = [&](std::string_view name, std::string_view value) {
        lines.append(name).append(": ").append(value).append("\r\n");
    };
    if (on.request_id) add("x-keywheel-request-id", record_.id);
    if (on.key) add("x-keywheel-key", key_alias_);
    if (on.attempts) {
        lines += "x-keywheel-attempts: ";
        append_number(lines, record_.attempts);
        lines += "\r\n";
    }
    if (on.overhead) {
        lines += "x-keywheel-overhead-us: ";
        append_number(lines, static_cast<std::uint64_t>(record_.overhead_us));
        lines += "\r\n";
    }
    if (on.cost && whole && record_.cost)
        add("x-keywheel-cost", format_dollars(record_.rated_cost.value_or(*record_.cost)));
    if (on.model && alias_) add("x-keywheel-model", route_.model);
    lines += rate_limit_lines();
    if (last_try && record_.attempts > 1) add("x-should-retry", "false");
    return lines;
}

// When the whole answer came with its head, its usage is known before anything leaves.
bool exchange::scan_whole_answer() {
    const net::http_head& head = call_.head();
    const std::string_view early = call_.early_body();
    if (head.body() == net::framing::length ? early.size() < head.body_length()
                                            : !early.ends_with(net::last_chunk))
        return false;
    net::body_framer framer(head.body(), head.body_length(), net::trailer_rule::skip);
    framer.consume(early, [this](std::string_view piece) { scanner_.feed(piece); });
    if (!framer.complete()) {
        scanner_.configure(head.content_type(), head.content_encoding());
        return false;
    }
    scanner_.finish(true);
    settle_usage();
    return true;
}

net::task<exchange::step> exchange::relay_answer(pool::picked& picked, bool error_answer) {
    const net::http_head& head = call_.head();
    const upstream_target& target = target_of(picked);
    const auto& settings = *snap_.settings;
    const bool event_stream = head.is_event_stream();
    record_.status = static_cast<std::uint16_t>(head.status());
    may_be_billed_ = !error_answer;
    count_answer_ = !error_answer && head.status() < 300 && endpoint_.billable;

    bool whole = false;
    if (count_answer_) {
        scanner_.configure(head.content_type(), head.content_encoding());
        if (!event_stream && head.body() != net::framing::until_close) whole = scan_whole_answer();
    }

    relay_plan plan;
    plan.split_events =
        event_stream && (head.content_encoding().empty() || head.content_encoding() == "identity");
    const bool http11 = head_.minor_version() >= 1;
    plan.client_framing = head.body();
    if (head.body() != net::framing::none) {
        if (plan.split_events || head.body() == net::framing::until_close)
            plan.client_framing = http11 ? net::framing::chunked : net::framing::until_close;
        else if (head.body() == net::framing::chunked && !http11)
            plan.client_framing = net::framing::until_close;
    }
    plan.hide_usage = hide_usage_;
    plan.expect_end_event = count_answer_;
    const auto drain = picked.of->on_disconnect == pool::disconnect_policy::drain;
    plan.drain = drain && count_answer_;
    plan.drain_bytes = settings.disconnect.drain_bytes;
    plan.drain_time = settings.disconnect.drain_timeout;
    plan.idle_limit = target.limits.idle;
    plan.send_limit = settings.server.send_timeout;
    plan.total_deadline =
        started_ + std::chrono::duration_cast<mono_time::duration>(target.limits.total);
    plan.hold_first_token = plan.split_events && count_answer_ && holds_first_token();
    if (plan.hold_first_token) plan.first_token_deadline = first_token_deadline(target);
    plan.dialect = endpoint_.dialect == usage::dialect::anthropic ? frame_dialect::anthropic
                   : endpoint_.family == "responses"              ? frame_dialect::responses
                                                                  : frame_dialect::chat;
    plan.request_id = record_.id;

    const bool keep = head_.keep_alive() && plan.client_framing != net::framing::until_close &&
                      body_framer_.complete() && !w_.shared().draining.load();
    const auto ours = (w_.mono() - body_done_) - upstream_time_ - waited_ - queued_;
    record_.overhead_us = std::max<std::int64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(ours).count(), 0);
    std::string client_head;
    {
        const std::string own = own_header_lines(whole, error_answer);
        client_head.reserve(head.raw().size() + own.size() + 128);
        append_downstream_head(
            client_head, {.from = head,
                          .framing = plan.client_framing,
                          .length = head.content_length().value_or(0),
                          .state_length = head.body() == net::framing::none &&
                                          head.status() != 204 && head.content_length().has_value(),
                          .event_stream = event_stream,
                          .keep_alive = keep,
                          .drop_should_retry = error_answer && record_.attempts > 1,
                          .drop_rate_limits = !limit_states_.empty(),
                          .drop_cors = !client_.cors.empty(),
                          .own_lines = own});
    }
    plan.head = client_head;

    if (!error_answer && learns_from_answer(picked)) co_await learn_answer(picked, plan);

    // Bytes have left: there is no other try, and what made this one and the answer's head is not
    // needed while the rest is waited for.
    const auto under_way = [this, &client_head] {
        body_.release();
        std::string().swap(upstream_head_);
        std::string().swap(client_head);
        call_.trim_to_head();
        client_.trim_to(head_);
        if (objects_) objects_->route.id = objects_->route.object = objects_->route.base = {};
    };
    const relay* running = nullptr;
    const auto before_last = [this, error_answer, &running](std::uint64_t bytes) {
        first_content_ = running->first_content_at();
        record_.bytes_out = static_cast<std::int64_t>(bytes);
        finish(error_answer ? store::exchange_end::failed : store::exchange_end::completed,
               errc::ok);
    };
    relay through(w_, client_, call_, count_answer_ && !whole ? &scanner_ : nullptr, plan,
                  under_way, before_last);
    running = &through;
    const relay_end end = co_await through.run(
        net::body_framer(head.body(), head.body_length(), net::trailer_rule::skip));
    if (!finished_) record_.bytes_out = static_cast<std::int64_t>(through.bytes_out());
    first_content_ = through.first_content_at();

    switch (end) {
        case relay_end::completed:
            finish(store::exchange_end::completed, errc::ok);
            if (through.upstream_clean() && head.keep_alive() && call_.sent_all())
                call_.keep();
            else
                call_.drop();
            co_return keep ? step::done : step::close;
        case relay_end::client_gone:
            if (through.upstream_clean() && head.keep_alive() && call_.sent_all())
                call_.keep();
            else
                call_.drop();
            finish(store::exchange_end::client_closed, errc::client_closed);
            co_return step::close;
        case relay_end::upstream_cut: {
            pool::upstream_result r;
            r.transport = through.failure();
            const pool::verdict v = pool::classify(r, picked.of->fault_rules, snap_.policy);
            if (picked.of->automatic && own_credential_.empty())
                w_.shared().health.apply(picked.slot, v, w_.mono(), w_.wall());
            w_.metrics().count_attempt_failed(pool::to_string(r.transport));
            call_.drop();
            finish(store::exchange_end::upstream_cut, pool::to_errc(r.transport));
            co_return step::close;
        }
        case relay_end::overloaded:
            call_.drop();
            finish(store::exchange_end::upstream_cut, errc::overloaded);
            co_return step::close;
        case relay_end::nothing_sent:
            break;
    }
    pool::upstream_result r;
    r.transport = through.failure();
    if (!own_credential_.empty()) {  // there is no other key to try
        w_.metrics().count_attempt_failed(pool::to_string(r.transport));
        co_return co_await end_failed(r);
    }
    co_return co_await after_failure(picked, r);
}

}  // namespace kw::proxy
