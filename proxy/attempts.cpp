// The tries of an exchange: pick a key, send, look at the answer, and pass it on or try elsewhere.
#include <algorithm>
#include <array>
#include <cctype>

#include "auth/credential.hpp"
#include "pool/health.hpp"
#include "proxy/exchange.hpp"
#include "proxy/head_log.hpp"
#include "proxy/message_heads.hpp"
#include "proxy/worker.hpp"
#include "usage/estimate.hpp"

namespace kw::proxy {
namespace {

using namespace std::chrono_literals;
using pool::transport_failure;

constexpr std::size_t max_error_body = 64 * 1024;
constexpr auto error_body_time = 5s;

bool is_reasoning_model(std::string_view model) noexcept {
    return model.starts_with("o1") || model.starts_with("o3") || model.starts_with("o4") ||
           model.starts_with("gpt-5") || model.find("reason") != std::string_view::npos ||
           model.find("think") != std::string_view::npos;
}

std::string describe(transport_failure f, std::string_view group, const std::string& detail) {
    std::string text = "The upstream of group '" + std::string(group) + "' ";
    switch (f) {
        case transport_failure::dns:
            text += "could not be found by name";
            break;
        case transport_failure::connect:
            text += "refused the connection";
            break;
        case transport_failure::connect_timeout:
            text += "could not be reached in time";
            break;
        case transport_failure::tls:
            text += "failed the TLS handshake";
            break;
        case transport_failure::tls_timeout:
            text += "did not finish the TLS handshake";
            break;
        case transport_failure::egress_proxy:
            text += "could not be reached by its proxy";
            break;
        case transport_failure::stale_connection:
        case transport_failure::reset:
            text += "closed the connection without an answer";
            break;
        case transport_failure::first_byte_timeout:
            text += "did not begin to answer in time";
            break;
        case transport_failure::first_token_timeout:
            text += "sent no first token in time";
            break;
        case transport_failure::idle_timeout:
            text += "stopped in the middle";
            break;
        case transport_failure::total_timeout:
            text += "took longer than the total limit";
            break;
        case transport_failure::malformed:
            text += "sent an answer that is not valid HTTP";
            break;
        case transport_failure::stream_cut:
        case transport_failure::none:
            text += "broke off its answer";
            break;
    }
    if (!detail.empty()) text += " (" + detail + ")";
    return text + ".";
}

}  // namespace

pool::pick_request exchange::pick_request_now() const {
    const std::int64_t estimate =
        usage::estimate_tokens(record_.bytes_in) + std::max<std::int64_t>(fields_.max_tokens, 0);
    pool::pick_request r;
    r.model = route_.model;
    r.only_group = route_.group;
    if (access_) {
        r.bound_group = access_->options->group;
        r.bound_key = (leased_ ? leased_ : access_)->options->upstream_key;
    }
    r.tried = {tried_.data(), tried_.size()};
    r.estimated_tokens = endpoint_.billable
                             ? static_cast<std::int32_t>(std::min<std::int64_t>(estimate, 1 << 30))
                             : 0;
    r.now = w_.mono();
    r.strict = snap_.settings->pool.multi_tier == config::tier_policy::strict;
    r.resting_too = fallbacks_used_ > 0;
    if (objects_ && !objects_->account.empty()) {
        r.restricted = true;
        r.only = objects_->members;
    }
    return r;
}

bool exchange::switch_route(pool::fallback_cause cause) {
    if (!alias_ || body_started_) return false;
    const pool::model_route* next = snap_.aliases->next(alias_->name, cause, fallbacks_used_);
    if (!next) return false;
    route_ = *next;
    ++fallbacks_used_;
    tries_on_model_ = 0;
    tried_.clear();
    return true;
}

net::task<bool> exchange::serve() {
    const auto& pool_settings = snap_.settings->pool;
    for (;;) {
        // Nobody is there for another try's answer.
        if (client_.gone()) co_return co_await refuse(error(errc::client_closed));
        pool::pick_request wanted = pick_request_now();
        if (session_kind_ != pool::session_policy::off) prefer_session_key(wanted);
        auto picked = w_.selector().pick(*snap_.pool, wanted);
        if (picked) {
            if (session_kind_ != pool::session_policy::off)
                keep_session(*picked, wanted.session_slot);
            const step s = co_await attempt(*picked);
            if (s == step::again) continue;
            co_return s == step::done;
        }
        const pool::refusal refusal = picked.error();
        // A key that is back in a moment is better than an error.
        const auto pause = refusal.retry_after + 1ms;
        if (refusal.code == errc::upstream_keys_rate_limited && refusal.retry_after > 0ns &&
            pool_settings.retry && waited_ + pause <= pool_settings.retry_wait_max) {
            waited_ += pause;
            const auto got = co_await client_.wait.wait(
                net::hangup_a, w_.mono() + std::chrono::duration_cast<mono_time::duration>(pause));
            if (!(got & net::hangup_a)) continue;
            co_return co_await refuse(error(errc::client_closed));
        }
        if (move_home() || switch_route(pool::fallback_cause::unavailable)) continue;
        co_return co_await answer_refusal(refusal);
    }
}

net::task<bool> exchange::answer_refusal(const pool::refusal& r) {
    const bool pinned = objects_ && objects_->pinned;
    if (pinned && r.code != errc::upstream_keys_rate_limited) {
        const step s = co_await refuse_pinned();
        co_return s == step::done;
    }
    error e(r.code, {}, error_source::upstream);
    error_details details;
    details.already_retried = record_.attempts > 1;
    if (r.retry_after > 0ns)
        details.retry_after = std::chrono::ceil<std::chrono::milliseconds>(r.retry_after);
    switch (r.code) {
        case errc::model_not_served:
            e.context = "No group of upstream keys serves the model '" + route_.model +
                        "'; the operator can add it to a group's or a key's models.";
            details.param = "model";
            break;
        case errc::upstream_keys_rate_limited:
            e.context = "Every upstream key that could serve this request is rate-limited.";
            break;
        case errc::bound_key_unavailable:
            e.context = "The upstream key that this access key is bound to is not available.";
            break;
        default:
            e.context =
                "No upstream key is available for this request now; keys may be cooling "
                "down, banned or disabled.";
            break;
    }
    co_return co_await refuse(std::move(e), details);
}

bool exchange::holds_first_token() const noexcept {
    if (!alias_ || !record_.stream || body_started_) return false;
    if (!snap_.aliases->next(alias_->name, pool::fallback_cause::first_token, fallbacks_used_))
        return false;
    return alias_->first_token_limit.has_value() || !is_reasoning_model(route_.model);
}

mono_time exchange::first_token_deadline(const upstream_target& target) const noexcept {
    return dispatched_ + std::chrono::duration_cast<mono_time::duration>(
                             alias_->first_token_limit.value_or(target.limits.first_token));
}

// The changes that this try's body needs: another model's name, and the usage of a stream.
void exchange::plan_edits(const pool::group& group) {
    edits_ = {};
    hide_usage_ = false;
    if (multipart_.model != route_.model && !multipart_.model.empty()) {
        if (auto edit = usage::plan_model(multipart_, route_.model)) edits_.add(std::move(*edit));
    }
    if (!json_read_) return;
    std::optional<usage::splice> model = usage::plan_model(fields_, route_.model);
    if (fields_.model.empty()) model.reset();
    std::optional<usage::splice> options;
    if (endpoint_.chat_stream && fields_.stream && group.include_usage &&
        snap_.settings->usage.include_usage)
        options = usage::plan_include_usage(fields_);
    hide_usage_ = options.has_value();
    if (model && options && options->offset < model->offset) std::swap(model, options);
    if (model) edits_.add(std::move(*model));
    if (options) edits_.add(std::move(*options));
}

net::task<exchange::step> exchange::attempt(pool::picked& picked) {
    const upstream_target* target = snap_.targets->find(picked.key);
    if (!target) {
        tried_.push_back(picked.slot);
        co_return tried_.size() < tried_.capacity() ? step::again : step::close;
    }
    note_key(picked);
    plan_edits(*picked.of);
    book_start();

    const mono_time from = w_.mono();
    const auto outcome = co_await dispatch(picked);
    const mono_time to = w_.mono();
    upstream_time_ += to - from;

    switch (outcome) {
        case upstream_call::outcome::ok:
            answered_ = to;
            break;
        case upstream_call::outcome::client_gone:
            may_be_billed_ = call_.sent_any();
            call_.drop();
            record_.status = 499;
            finish(store::exchange_end::client_closed, errc::client_closed);
            co_return step::close;
        case upstream_call::outcome::client_error:
            call_.drop();
            co_await refuse(error(call_.client_fault(), "The request's body could not be read.",
                                  error_source::downstream));
            co_return step::close;
        case upstream_call::outcome::failed: {
            pool::upstream_result r;
            r.transport = call_.failure();
            may_be_billed_ = r.transport == transport_failure::first_byte_timeout ||
                             r.transport == transport_failure::first_token_timeout;
            co_return co_await after_failure(picked, r);
        }
    }

    // Some upstreams quote the key they refuse; it is not the client's to know, nor the log's.
    if (call_.head().status() >= 400 || snap_.settings->log.http_heads)
        call_.mask(picked.key->value.reveal());
    if (snap_.settings->log.http_heads)
        log::event(log::level::info, "http.upstream_answer",
                   {{"request_id", record_.id},
                    {"key", key_alias_},
                    {"head", describe_response(call_.head())}});
    note_account(picked);
    const auto hints = read_hints();
    w_.shared().health.observe_limits(picked.slot, hints, w_.mono(), w_.wall());
    if (call_.head().status() >= 400) co_return co_await take_error_answer(picked);
    if (!picked.resting) w_.shared().health.on_success(picked.slot, w_.mono(), w_.wall());
    if (has_sessions_) learn_turn(picked);
    if (call_.head().status() == 101) co_return co_await relay_socket(picked);
    co_return co_await relay_answer(picked, false);
}

net::task<upstream_call::outcome> exchange::dispatch(const pool::picked& picked) {
    const upstream_target& target = target_of(picked);
    using outcome = upstream_call::outcome;
    dispatched_ = w_.mono();
    const bool drain = endpoint_.billable && !upgrade_ &&
                       picked.of->on_disconnect == pool::disconnect_policy::drain;
    const auto opened = co_await call_.open(target, fresh_connection_,
                                            drain ? snap_.settings->disconnect.drain_timeout : 0ms);
    if (opened != outcome::ok) co_return opened;
    (call_.reused() ? w_.metrics().upstream_connections_reused
                    : w_.metrics().upstream_connections_new)
        .add();

    target_.clear();
    if (endpoint_.model_in == usage::model_place::path && route_.model != record_.model_asked)
        target_ = usage::replace_model_in_path(head_.path(), route_.model);
    else
        target_ = head_.path();
    const std::size_t path_size = target_.size();
    if (!head_.query().empty()) {
        target_ += '?';
        auth::append_query_without_key(target_, head_.query());
        if (target_.size() == path_size + 1) target_.pop_back();
    }

    if (upgrade_) plan_upgrade();

    net::framing framing = head_.body();
    std::uint64_t length = head_.body_length();
    if (!streaming_body_ && framing != net::framing::none) {
        framing = net::framing::length;
        length = edits_.size_after(body_.text().size());
    }
    const std::string traceparent = trace_ ? trace_->upstream_traceparent() : std::string();
    upstream_head_.clear();
    // The key, our Host and the framing come on top of what the client sent.
    upstream_head_.reserve(head_.raw().size() + 512);
    append_upstream_head(
        upstream_head_,
        {.from = head_,
         .dialect = *target.dialect,
         .base_path = target.base_path,
         .authority = target.authority,
         .target = target_,
         .key = picked.key->value,
         .framing = framing,
         .length = length,
         .identity_encoding = hide_usage_,
         .keep_account_headers =
             snap_.settings->upstream.keep_organization_headers || !own_credential_.empty(),
         .organization = picked.organization(),
         .project = picked.project(),
         .traceparent = traceparent,
         .own_lines = upgrade_ ? std::string_view(upgrade_->lines) : std::string_view()});

    const mono_time limit =
        dispatched_ + std::chrono::duration_cast<mono_time::duration>(target.limits.first_byte);
    outcome sent{};
    if (streaming_body_) {
        body_started_ = true;
        sent = co_await call_.send_streaming(upstream_head_, body_framer_);
        record_.bytes_in = static_cast<std::int64_t>(body_framer_.payload_bytes());
    } else {
        boost::container::static_vector<std::string_view, 8> pieces;
        pieces.push_back(upstream_head_);
        edits_.for_each_piece(body_.text(), [&](std::string_view p) { pieces.push_back(p); });
        sent = co_await call_.send({pieces.data(), pieces.size()}, limit);
    }
    if (sent != outcome::ok) co_return sent;

    const bool head_only = head_.method_kind() == net::method_id::head;
    const mono_time deadline =
        w_.mono() + std::chrono::duration_cast<mono_time::duration>(target.limits.first_byte);
    // Without a head there is no first token either.
    if (holds_first_token() && first_token_deadline(target) < deadline)
        co_return co_await call_.read_head(head_only, first_token_deadline(target),
                                           transport_failure::first_token_timeout);
    const outcome read =
        co_await call_.read_head(head_only, deadline, transport_failure::first_byte_timeout);
    if (read == outcome::ok && upgrade_) co_return check_upgrade();
    co_return read;
}

pool::limit_hints exchange::read_hints() const {
    pool::limit_hints hints;
    const wall_time now = w_.wall();
    std::array<char, 64> lower;
    for (const auto& h : call_.head()) {
        if (h.id != net::header_id::other && h.id != net::header_id::retry_after &&
            h.id != net::header_id::retry_after_ms && h.id != net::header_id::x_should_retry)
            continue;
        const char first = static_cast<char>(h.name[0] | 0x20);
        if ((first != 'x' && first != 'a' && first != 'r') || h.name.size() > lower.size())
            continue;
        std::ranges::transform(h.name, lower.begin(), [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
        });
        pool::read_limit_header(hints, {lower.data(), h.name.size()}, h.value, now);
    }
    return hints;
}

// An answer of 400 or more: read enough of it to know whose fault it is.
net::task<exchange::step> exchange::take_error_answer(pool::picked& picked) {
    const bool whole =
        co_await call_.read_small_body(error_body_, max_error_body, w_.mono() + error_body_time);
    call_.mask(picked.key->value.reveal());  // the body came after the head was masked
    upstream_call::blot(error_body_, picked.key->value.reveal());
    std::string plain;
    usage::decoder decoder;
    decoder.start(usage::parse_encoding(call_.head().content_encoding()));
    decoder.feed(error_body_, [&](std::string_view piece) {
        if (plain.size() < max_error_body) plain += piece;
    });
    const pool::error_details details = pool::read_error_body(plain);
    pool::upstream_result r;
    r.status = static_cast<std::uint16_t>(call_.head().status());
    r.code = details.code;
    r.type = details.type;
    r.message = details.message;
    r.hints = read_hints();

    const pool::verdict v = pool::classify(r, picked.of->fault_rules, snap_.policy);
    if (v.success || v.fault == pool::fault_class::none || (!v.retry && !v.fallback)) {
        if (picked.of->automatic) w_.shared().health.apply(picked.slot, v, w_.mono(), w_.wall());
        co_return co_await relay_answer(picked, true);
    }
    record_.error_code = details.code;
    const bool reusable = whole && call_.head().keep_alive() && call_.sent_all();
    const step s = co_await after_failure(picked, r);
    // Another try drops or reuses the connection when it opens its own.
    if (s == step::again && reusable) call_.keep();
    co_return s;
}

// Judges a failed try and does what the policy says.
net::task<exchange::step> exchange::after_failure(pool::picked& picked, pool::upstream_result r) {
    const pool::verdict v = pool::classify(r, picked.of->fault_rules, snap_.policy);
    if (picked.of->automatic) w_.shared().health.apply(picked.slot, v, w_.mono(), w_.wall());
    w_.metrics().count_attempt_failed(r.status ? std::string_view("status")
                                               : pool::to_string(r.transport));
    if (trace_)
        trace_->end_try(r.status, r.status ? std::string_view() : pool::to_string(r.transport),
                        w_.wall());
    log::event(log::level::debug, "attempt.failed",
               {{"request_id", record_.id},
                {"key", key_alias_},
                {"status", r.status},
                {"failure", pool::to_string(r.transport)},
                {"detail", call_.detail()}});

    const auto cause = pool::cause_of(r, v);
    auto others = pick_request_now();
    // Another account will do unless this one has what is asked for.
    if (others.restricted && !objects_->pinned) others.restricted = false;
    boost::container::static_vector<pool::slot_id, 16> excluded = tried_;
    if (excluded.size() < excluded.capacity()) excluded.push_back(picked.slot);
    others.tried = {excluded.data(), excluded.size()};
    auto same = pick_request_now();
    same.bound_key = picked.key->id;
    use_ = {};

    const auto& settings = snap_.settings->pool;
    pool::exchange_state x;
    x.tries_on_model = tries_on_model_;
    x.tries_in_all = record_.attempts;
    x.body_replayable = !body_started_;
    x.other_key_available = w_.selector().can_pick(*snap_.pool, others);
    x.fallback_available = cause && alias_ && alias_->allows(*cause) &&
                           snap_.aliases->next(alias_->name, *cause, fallbacks_used_) != nullptr;
    const auto* target = snap_.targets->find(picked.key);
    x.time_left = target->limits.total - (w_.mono() - started_);
    x.same_key_usable = w_.selector().can_pick(*snap_.pool, same);
    pool::retry_settings rules;
    rules.enabled = settings.retry && picked.of->retry;
    rules.retries_per_model = static_cast<std::uint16_t>(settings.retry_max);
    rules.tries_in_all = static_cast<std::uint16_t>(settings.retry_total);
    rules.longest_wait = settings.retry_wait_max;

    const pool::retry_decision decision = pool::would_retry(x, r, v, rules);
    if (may_be_billed_) book_abandoned();
    fresh_connection_ = false;
    switch (decision.step) {
        case pool::retry_step::fresh_connection:
            fresh_connection_ = true;
            --record_.attempts;
            --tries_on_model_;
            co_return step::again;
        case pool::retry_step::other_key:
            tried_.push_back(picked.slot);
            if (tried_.size() < tried_.capacity()) co_return co_await pause(settings.retry_delay);
            co_return co_await end_failed(r);
        case pool::retry_step::same_key_after:
            co_return co_await pause(
                std::max<pool::nanoseconds>(decision.wait, settings.retry_delay));
        case pool::retry_step::fallback_model:
            if (cause && switch_route(*cause)) co_return step::again;
            break;
        case pool::retry_step::give_up:
            break;
    }
    // The upstream's own answer is better than one of ours.
    if (r.status != 0) co_return co_await relay_answer(picked, true);
    co_return co_await end_failed(r);
}

// Before another try.
net::task<exchange::step> exchange::pause(std::chrono::nanoseconds length) {
    if (length == 0ns) co_return step::again;
    waited_ += length;
    const auto got = co_await client_.wait.wait(
        net::hangup_a, w_.mono() + std::chrono::duration_cast<mono_time::duration>(length));
    if (!(got & net::hangup_a)) co_return step::again;
    co_await refuse(error(errc::client_closed));
    co_return step::close;
}

net::task<exchange::step> exchange::end_failed(const pool::upstream_result& r) {
    const errc code =
        r.transport == transport_failure::none ? errc::no_upstream_key : pool::to_errc(r.transport);
    error e(code, describe(r.transport, record_.group_id, call_.detail()), error_source::upstream);
    call_.drop();
    const bool keep = co_await refuse(std::move(e), {.already_retried = record_.attempts > 1});
    co_return keep ? step::done : step::close;
}

}  // namespace kw::proxy
