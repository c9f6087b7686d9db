// The books of an exchange: the journal's start and end, usage, cost, metrics and the access log.
#include "core/incidents.hpp"
#include "core/log.hpp"
#include "core/spans.hpp"
#include "net/origin.hpp"
#include "proxy/book_fields.hpp"
#include "proxy/exchange.hpp"
#include "proxy/worker.hpp"
#include "usage/estimate.hpp"

namespace kw::proxy {
namespace {

std::int64_t micros(std::chrono::nanoseconds d) noexcept {
    return std::chrono::duration_cast<std::chrono::microseconds>(d).count();
}

std::string_view end_name(store::exchange_end end) noexcept {
    switch (end) {
        case store::exchange_end::completed:
            return "completed";
        case store::exchange_end::client_closed:
            return "client_closed";
        case store::exchange_end::upstream_cut:
            return "upstream_cut";
        case store::exchange_end::refused:
            return "refused";
        case store::exchange_end::failed:
            return "failed";
    }
    return "failed";
}

}  // namespace

void exchange::note_key(const pool::picked& picked) {
    use_ = std::move(const_cast<pool::picked&>(picked).use);
    ++record_.attempts;
    ++tries_on_model_;
    may_be_billed_ = false;
    record_.upstream_key_id = picked.key->id;
    record_.group_id = picked.of->id;
    record_.provider = picked.key->provider.empty() ? picked.of->provider : picked.key->provider;
    record_.model_served = route_.model;
    key_alias_ = picked.key->alias;
    group_ppm_ = picked.of->multiplier_ppm;
    if (trace_) trace_try(picked);
}

void exchange::begin_trace() {
    const auto sent = parse_traceparent(head_.find(net::header_id::traceparent));
    if (exchange_trace::wanted(sent, snap_.settings->tracing.sample_ratio.value, w_.random()))
        trace_ = std::make_unique<exchange_trace>(sent, record_.started, w_.random());
}

void exchange::trace_try(const pool::picked& picked) {
    const auto& to = target_of(picked).connect.to;
    trace_->begin_try({.model = route_.model,
                       .provider = record_.provider,
                       .group = record_.group_id,
                       .key = key_alias_,
                       .host = to.host,
                       .port = to.port},
                      endpoint_.family, w_.wall());
}

// What an operator may want to be told of.
void exchange::note_incident(errc code) {
    incidents* const noticed = w_.shared().noticed;
    if (noticed == nullptr) return;
    if (code == errc::model_not_served)
        noticed->note(incidents::what::unknown_model, route_.model);
    else if (code == errc::invalid_api_key)
        noticed->note(incidents::what::refused_credential, net::origin_of(client_.address));
}

usage::multipliers exchange::rates() const noexcept {
    return {group_ppm_, access_ ? access_->multiplier_ppm : 1'000'000};
}

store::exchange_start exchange::start_of(const store::ledger_record& r, std::string_view model,
                                         const usage::quantities& most, std::string_view tier,
                                         usage::multipliers rates) const {
    store::exchange_start start;
    start.id = r.id;
    copy_parties(r, start);
    start.model = model;
    start.started = r.started;
    start.input_tokens = most.tokens.input;
    start.output_tokens = most.tokens.output;
    start.stream = r.stream;
    const auto charge = snap_.prices->cost(r.provider, model, model, most, tier, rates);
    start.cost = charge.cost.value_or(-1);
    start.rated_cost = charge.rated.value_or(-1);
    return start;
}

void exchange::price(store::ledger_record& r, std::string_view asked, const usage::quantities& q,
                     std::string_view tier, usage::multipliers rates) const {
    const auto charge = snap_.prices->cost(r.provider, r.model_served, asked, q, tier, rates);
    r.cost = charge.cost;
    r.rated_cost = charge.rated;
}

void exchange::book_start() {
    if (!endpoint_.billable) return;
    usage::quantities most;
    most.tokens.input = usage::estimate_tokens(record_.bytes_in);
    most.tokens.output = fields_.max_tokens;
    const auto start = start_of(record_, route_.model, most, fields_.service_tier, rates());
    // A journal that is full was looked at before; with `serve` the request goes on unjournalled.
    if (w_.journal().append_start(start, journaled_) == errc::ok) journaled_ = true;
}

// What the answer, as far as it was seen, has cost.
void exchange::settle_usage() {
    const usage::scan_result scan = scanner_.result();
    const usage::settled booked =
        usage::settle(scan, record_.bytes_in, count_answer_ || may_be_billed_, endpoint_.billable);
    record_.tokens = booked.tokens;
    record_.outcome = booked.outcome;
    if (!scan.model.empty()) record_.model_served = scan.model;
    if (!scan.service_tier.empty()) record_.service_tier = scan.service_tier;
    usage::quantities q;
    q.tokens = booked.tokens;
    q.images = scan.images;
    q.duration_ms = scan.duration_ms;
    q.searches = scan.searches;
    price(record_, route_.model, q, record_.service_tier, rates());
    if (!record_.cost && booked.tokens.total() > 0 && w_.is_first_unpriced(record_.model_served)) {
        log::event(log::level::warn, "price.unknown",
                   {{"model", record_.model_served},
                    {"provider", record_.provider},
                    {"remedy",
                     "add it to prices or set usage.default_input_price and "
                     "usage.default_output_price; until then its cost is booked as "
                     "unknown"}});
    }
}

// A try that was given up although the upstream may have generated for it: the operator's cost.
void exchange::book_abandoned() {
    may_be_billed_ = false;
    if (!endpoint_.billable) return;
    store::ledger_record lost = record_;
    lost.id += '#' + std::to_string(record_.attempts);
    lost.operator_cost = true;
    lost.end = store::exchange_end::failed;
    lost.outcome = store::usage_outcome::estimated;
    lost.tokens = {};
    lost.tokens.input = usage::estimate_tokens(record_.bytes_in);
    usage::quantities q;
    q.tokens = lost.tokens;
    const auto charge =
        snap_.prices->cost(lost.provider, route_.model, route_.model, q, fields_.service_tier);
    lost.cost = charge.cost;
    lost.rated_cost = charge.cost ? std::optional<nanodollars>(0) : std::nullopt;
    lost.total_us = micros(w_.mono() - dispatched_);
    if (w_.journal().append_end(lost, false) != errc::ok) w_.metrics().records_lost.add();
}

void exchange::finish(store::exchange_end end, errc code) {
    if (finished_) return;
    finished_ = true;
    record_.end = end;
    if (code != errc::ok) {
        record_.error_code = to_string(code);
        note_incident(code);
    }
    // Sums by model count what was served: a made-up name must not become a subject of its own.
    if (end == store::exchange_end::refused || end == store::exchange_end::failed)
        record_.model_served.clear();
    // Usage is booked once a try may have cost something; a whole answer has been settled already
    // when its cost went into the head.
    if (record_.outcome == store::usage_outcome::none && (count_answer_ || may_be_billed_) &&
        end != store::exchange_end::refused && end != store::exchange_end::failed)
        settle_usage();
    leave_to_late_work();
    use_.settle(record_.tokens.total() + socket_tokens_);
    settle_limits();
    tell_late_work(end == store::exchange_end::completed);

    const mono_time now = w_.mono();
    record_.total_us = micros(now - started_);
    if (answered_ != mono_time{}) record_.first_byte_us = micros(answered_ - started_);
    const bool known = access_ != nullptr || snap_.settings->auth.open || !own_credential_.empty();
    if (known && w_.journal().append_end(record_, journaled_) != errc::ok)
        w_.metrics().records_lost.add();

    const std::int64_t first_token_us =
        first_content_ == mono_time{} ? 0 : micros(first_content_ - started_);
    w_.metrics().count(record_, key_alias_, first_token_us);
    if (session_kind_ != pool::session_policy::off) w_.metrics().count_session(record_.tokens);
    if (trace_ && known)
        w_.shared().spans->push(trace_->finish(record_, head_.method(), w_.wall()));
    log::event(log::level::info, "request.done",
               {{"request_id", record_.id},
                {"endpoint", record_.endpoint},
                {"client_id", record_.access_key_id},
                {"model", record_.model_asked},
                {"model_served", record_.model_served},
                {"group", record_.group_id},
                {"key", key_alias_},
                {"attempts", record_.attempts},
                {"status", record_.status},
                {"end", end_name(end)},
                {"error", record_.error_code},
                {"input_tokens", record_.tokens.input},
                {"output_tokens", record_.tokens.output},
                {"ttfb_us", record_.first_byte_us},
                {"total_us", record_.total_us},
                {"bytes_in", record_.bytes_in},
                {"bytes_out", record_.bytes_out}});
}

}  // namespace kw::proxy
