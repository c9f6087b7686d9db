// Turns of a WebSocket: reserved, journalled, priced and settled one by one.
#include "proxy/socket_books.hpp"

#include <algorithm>

#include "core/log.hpp"
#include "proxy/error_response.hpp"
#include "proxy/identity.hpp"
#include "proxy/rate_limit_headers.hpp"
#include "proxy/worker.hpp"
#include "usage/estimate.hpp"
#include "usage/request_fields.hpp"

namespace kw::proxy {
namespace {

using namespace std::chrono_literals;
using store::exchange_end;
using store::limit_kind;
using store::limit_unit;
using usage::socket_event;

constexpr std::size_t max_turns = 64;  // at a time
// So long a response waits for another one of unknown size, where little of a budget is left.
constexpr auto longest_wait = 5s;
constexpr auto wait_pause = 20ms;
// No limit is as large; an exact double for a store that counts with such.
constexpr std::int64_t no_cap = 9'000'000'000'000'000;
// 24,000 samples of two bytes a second in base64, and 20 tokens for a second of speech.
constexpr std::int64_t audio_bytes_per_token = 3'200;
constexpr std::int64_t text_bytes_per_token = 3;
constexpr std::int64_t added_tokens = 64;

std::int64_t micros(std::chrono::nanoseconds d) noexcept {
    return std::chrono::duration_cast<std::chrono::microseconds>(d).count();
}

}  // namespace

socket_books::socket_books(exchange& of, const pool::picked& on)
    : x_(of), seen_(of.held_), access_(of.access_), leased_(of.leased_), on_(&on) {
    moved(on);
    first_ = x_.own_credential_.empty() && x_.endpoint_.family == "responses";
    take_limits();
}

socket_books::~socket_books() {
    finish(exchange_end::client_closed, errc::client_closed);
}

// The socket itself holds the slot; its responses need none of their own.
void socket_books::take_limits() {
    limits_ = counts_ = nullptr;
    if (!access_ || !access_->limits || x_.w_.leases() == nullptr) return;
    std::vector<store::limit> some;
    for (const store::limit& l : access_->limits.set->items())
        if (l.kind != limit_kind::concurrency) some.push_back(l);
    if (some.empty()) return;
    auto made = store::limit_set::make(std::move(some));
    if (!made) return;
    limits_ = *made;
    counts_ = limits_->with_caps(std::vector<std::int64_t>(limits_->items().size(), no_cap));
}

// ---- what the server says

void socket_books::server_begins() {
    server_.begin(false);
}

void socket_books::server_piece(std::string_view piece) {
    server_.feed(piece);
}

bool socket_books::server_ends() {
    server_.end();
    switch (server_.kind()) {
        case socket_event::text:
        case socket_event::audio:
            if (!turns_.empty()) {
                turn& t = turns_.back();
                (server_.kind() == socket_event::text ? t.text : t.audio) += server_.generated();
                if (t.first_content == mono_time{}) t.first_content = x_.w_.loop().now();
            }
            return false;
        case socket_event::response_begins:
        case socket_event::response_ends:
        case socket_event::transcribed:
            return true;
        case socket_event::failed:
            drop_unanswered();
            return false;
        case socket_event::session:
            bind_session();
            return false;
        default:
            return false;
    }
}

net::task<std::optional<socket_ending>> socket_books::settle() {
    switch (server_.kind()) {
        case socket_event::response_begins:
            co_return co_await begin_response();
        case socket_event::response_ends:
            co_return co_await end_response();
        default:
            co_return co_await book_transcription();
    }
}

std::vector<socket_books::turn>::iterator socket_books::find(std::string_view response_id) {
    return std::ranges::find(turns_, response_id, &turn::response_id);
}

net::task<socket_books::ending> socket_books::begin_response() {
    co_await bind_response();
    if (find(server_.response_id()) != turns_.end()) co_return std::nullopt;
    // The client's wish for it was looked at before it went up.
    if (const auto asked = find(""); asked != turns_.end()) {
        asked->response_id = server_.response_id();
        co_return std::nullopt;
    }
    if (turns_.size() >= max_turns) co_return std::nullopt;
    turns_.push_back(make_turn(server_.session_model()));
    turn& t = turns_.back();
    t.response_id = server_.response_id();
    journal_start(t);
    const auto refused = co_await reserve(t, 0, true);
    if (!refused) co_return check();
    co_return ending_for(*refused);
}

net::task<socket_books::ending> socket_books::end_response() {
    const std::string id = server_.response_id();
    auto at = find(id);
    if (at == turns_.end()) {
        if (!id.empty() && id == last_ended_) co_return std::nullopt;  // told twice
        at = find("");
    }
    if (at == turns_.end()) {
        turns_.push_back(make_turn(server_.session_model()));
        at = std::prev(turns_.end());
        journal_start(*at);
        static_cast<void>(co_await reserve(*at, 0, true));
    }
    last_ended_ = id;
    turn done = std::move(*at);
    turns_.erase(at);
    settle_usage(done, server_.usage());
    if (done.record.outcome == store::usage_outcome::exact) last_input_ = done.record.tokens.input;
    close_turn(done, exchange_end::completed, errc::ok);
    co_return std::nullopt;
}

net::task<socket_books::ending> socket_books::book_transcription() {
    turn t = make_turn(server_.transcription_model());
    settle_usage(t, server_.usage());
    if (t.record.outcome == store::usage_outcome::none) co_return std::nullopt;
    journal_start(t);
    t.reserved = {
        .requests = 0, .tokens = t.record.tokens.total(), .cost = t.record.rated_cost.value_or(0)};
    const auto refused = co_await ask(t, true, true);
    close_turn(t, exchange_end::completed, errc::ok);
    if (!refused) co_return std::nullopt;
    co_return ending_for(*refused);
}

// An error in answer to a response.create that began nothing.
void socket_books::drop_unanswered() {
    const auto at = find("");
    if (at == turns_.end()) return;
    turn t = std::move(*at);
    turns_.erase(at);
    close_turn(t, exchange_end::failed, errc::ok);
}

// ---- what the client says

net::task<socket_watch::verdict> socket_books::client_message(std::string& text) {
    client_.begin(true);
    client_.feed(text);
    client_.end();
    verdict v;
    const auto refuse = [&](const error& e) {
        v.pass = false;
        v.event = message_for(e);
    };
    auto fields = usage::read_request_fields(text);
    if (!fields) {
        refuse(fields.error());
        co_return v;
    }
    if (!client_.creates() && fields->model.empty()) {
        first_ = false;
        co_return v;
    }
    const std::string asked = fields->model;
    const pool::model_alias* alias = x_.snap_.aliases->find(asked);
    const pool::model_route route = alias ? alias->target : pool::model_route{asked, {}};
    if (access_ &&
        (!access_->options->models_allow.empty() || !access_->options->models_deny.empty()) &&
        (asked.empty() || !auth::may_use_model(*access_, asked))) {
        refuse(error(errc::model_not_allowed,
                     asked.empty()
                         ? std::string("This access key is limited to certain models, and "
                                       "the message names none.")
                         : "This access key may not use the model '" + asked + "'.",
                     error_source::downstream));
        co_return v;
    }
    auto account = co_await account_of_objects(text);
    if (!account) {
        refuse(account.error());
        co_return v;
    }
    if (first_ && client_.creates() &&
        ((!account->empty() && !is_of(*account)) || !serves(route))) {
        wish_ = {route, std::move(*account)};
        v.moves = true;
        co_return v;
    }
    if (!route.group.empty() && route.group != x_.record_.group_id) {
        refuse(error(errc::model_not_served,
                     "The model '" + asked +
                         "' is served by another group than this WebSocket's; name it in the "
                         "WebSocket's URL (?model=) to be led there.",
                     error_source::downstream));
        co_return v;
    }
    if (const auto edit = usage::plan_model(*fields, route.model); edit && !asked.empty()) {
        usage::splice_list edits;
        edits.add(*edit);
        text = edits.apply(text);
    }
    first_ = false;
    if (!client_.creates()) co_return v;
    if (auto e = check()) {
        v.pass = false;
        v.end = std::move(e);
        co_return v;
    }
    if (turns_.size() >= max_turns) {
        refuse(error(errc::overloaded, "Too many responses are under way in this WebSocket."));
        co_return v;
    }
    if (!x_.w_.journal().writable() &&
        x_.snap_.settings->store.journal_full == config::full_policy::refuse) {
        refuse(error(errc::journal_unavailable,
                     "keywheel cannot write its journal (disk full?), so "
                     "it takes nothing that costs money."));
        co_return v;
    }
    turn t = make_turn(route.model);
    t.record.model_asked = asked;
    t.record.bytes_in = static_cast<std::int64_t>(text.size());
    t.tier = fields->service_tier;
    const auto refused = co_await reserve(t, fields->max_tokens, false);
    if (refused) {
        refuse(*refused);
        // A window opens again, a budget does not.
        if (refused->code == errc::insufficient_quota) {
            v.event.clear();
            v.end = ending_for(*refused);
        }
        co_return v;
    }
    journal_start(t);
    turns_.push_back(std::move(t));
    co_return v;
}

// ---- limits

net::task<std::optional<error>> socket_books::reserve(turn& t, std::int64_t max_tokens,
                                                      bool begun) {
    const auto& settings = x_.snap_.settings->limits;
    // A conversation's input is what came before and what is new; audio says little of its tokens.
    usage::quantities most;
    most.tokens.input = last_input_ + added_tokens + t.record.bytes_in / text_bytes_per_token;
    most.tokens.output = max_tokens > 0 ? std::min<std::int64_t>(max_tokens, 100'000'000)
                                        : settings.default_output_tokens;
    const auto charge = x_.snap_.prices->cost(
        x_.record_.provider, t.record.model_served, t.record.model_served, most, t.tier,
        {1'000'000, access_ ? access_->multiplier_ppm : 1'000'000});
    t.reserved = {.requests = 1,
                  .tokens = most.tokens.total(),
                  .cost = charge.rated.value_or(settings.default_cost.value_or(0))};
    co_return co_await ask(t, max_tokens > 0 && charge.rated.has_value(), begun);
}

net::task<std::optional<error>> socket_books::ask(turn& t, bool bounded, bool begun) {
    if (!limits_) co_return std::nullopt;
    store::admit_request q;
    q.ledger_id = t.record.id;
    q.access_key_id = access_->id;
    q.limits = begun ? counts_ : limits_;
    q.reservation = t.reserved;
    q.bounded = bounded || begun;
    q.lease_ttl = lease_ttl;
    const mono_time until = x_.w_.loop().now() + longest_wait;
    for (;;) {
        auto answer = co_await x_.ask_admission(q);
        if (!answer) {
            // Nobody is there to be told; what has begun is booked all the same.
            if (begun && answer.error().code == errc::client_closed) co_return std::nullopt;
            co_return answer.error();
        }
        const bool waits = answer->is == store::admit_answer::outcome::waits;
        if (waits && x_.w_.loop().now() < until) {
            const auto got =
                co_await x_.client_.wait.wait(net::hangup_a, x_.w_.loop().now() + wait_pause);
            if (got & net::hangup_a) co_return error(errc::client_closed);
            continue;
        }
        if (answer->admitted()) {
            // Where requests alone count, that was all.
            t.admitted = !q.limits->counts_only();
            if (t.admitted) x_.w_.leases()->admission().release({q.access_key_id, q.ledger_id});
        }
        co_return judge(t, *answer, begun);
    }
}

std::optional<error> socket_books::judge(const turn& t, const store::admit_answer& answer,
                                         bool begun) const {
    const auto refusal = [&](std::size_t index) {
        const store::limit& l = limits_->items()[index];
        store::limit_state state =
            index < answer.states.size() ? answer.states[index] : store::limit_state{};
        state.cap = l.cap;
        return limit_error(l, state);
    };
    if (!answer.admitted()) {
        if (answer.is == store::admit_answer::outcome::unavailable) return unknown_limits();
        return refusal(answer.refused_by);
    }
    if (!begun) return std::nullopt;
    for (std::size_t i = 0; i < answer.states.size() && i < limits_->items().size(); ++i) {
        const store::limit& l = limits_->items()[i];
        const std::int64_t own = l.unit == limit_unit::requests ? t.reserved.requests
                                 : l.unit == limit_unit::tokens ? t.reserved.tokens
                                                                : t.reserved.cost;
        if (answer.states[i].used - own >= l.cap) return refusal(i);
    }
    return std::nullopt;
}

std::optional<socket_ending> socket_books::check() {
    if (!access_) return std::nullopt;
    const wall_time now = x_.w_.wall();
    if (auto latest = x_.w_.hold(); latest != seen_) {
        auto known = identify_caller(x_.w_, **latest, x_.head_, x_.client_.address);
        if (!known) {
            // What cannot be judged now was good when the socket was opened.
            if (known.error().code == errc::store_unavailable) return std::nullopt;
            return ending_for(known.error());
        }
        seen_ = std::move(latest);
        access_ = known->key;
        leased_ = known->leased;
        if (!access_) return std::nullopt;
        take_limits();
        if (!auth::may_use_endpoint(*access_, x_.endpoint_.family))
            return ending_for(error(errc::endpoint_not_allowed,
                                    "This access key may not use this endpoint any more.",
                                    error_source::downstream));
    }
    if (auth::expired(*access_, now) || (leased_ != nullptr && auth::expired(*leased_, now)))
        return ending_for(
            error(errc::key_expired, "This access key has expired.", error_source::downstream));
    return std::nullopt;
}

socket_ending socket_books::ending_for(const error& e) const {
    const bool later = e.code == errc::store_unavailable || e.code == errc::overloaded;
    std::string reason(to_string(e.code));
    if (!e.context.empty()) reason += ": " + e.context;
    return {.code = later ? net::close_try_later : net::close_policy,
            .reason = std::move(reason),
            .event = message_for(e),
            .why = e.code};
}

std::string socket_books::message_for(const error& e) const {
    return make_error_message(e, make_id("event_", x_.w_.wall(), x_.w_.random()),
                              x_.snap_.settings->limits.quota_status);
}

// ---- records

socket_books::turn socket_books::make_turn(std::string_view model) const {
    turn t;
    store::ledger_record& r = t.record;
    r = x_.record_;
    r.started = x_.w_.wall();
    r.id = make_id("req_", r.started, x_.w_.random());
    r.model_served = !model.empty() ? std::string(model) : x_.route_.model;
    if (r.model_asked.empty()) r.model_asked = r.model_served;
    r.status = 200;
    r.attempts = 1;
    r.overhead_us = r.first_byte_us = r.bytes_in = r.bytes_out = 0;
    t.begun = x_.w_.mono();
    return t;
}

void socket_books::journal_start(turn& t) {
    usage::quantities most;
    most.tokens.input = std::max(last_input_, usage::estimate_tokens(t.record.bytes_in));
    const auto start = x_.start_of(t.record, t.record.model_served, most, t.tier, rates());
    t.journaled = x_.w_.journal().append_start(start, false) == errc::ok;
}

usage::multipliers socket_books::rates() const noexcept {
    return {x_.group_ppm_, access_ ? access_->multiplier_ppm : 1'000'000};
}

void socket_books::settle_usage(turn& t, const usage::scan_result& scan) const {
    store::ledger_record& r = t.record;
    const std::string asked = r.model_served;
    const usage::settled booked = usage::settle(scan, r.bytes_in, true, true);
    r.tokens = booked.tokens;
    r.outcome = booked.outcome;
    if (!scan.model.empty()) r.model_served = scan.model;
    r.service_tier = scan.service_tier;
    usage::quantities q;
    q.tokens = booked.tokens;
    q.duration_ms = scan.duration_ms;
    q.searches = scan.searches;
    x_.price(r, asked, q, r.service_tier, rates());
}

void socket_books::close_turn(turn& t, exchange_end end, errc why) {
    store::ledger_record& r = t.record;
    const mono_time now = x_.w_.mono();
    r.end = end;
    if (why != errc::ok) r.error_code = to_string(why);
    if (end == exchange_end::failed) r.model_served.clear();
    r.total_us = micros(now - t.begun);
    if (t.first_content != mono_time{}) r.first_byte_us = micros(t.first_content - t.begun);
    r.bytes_out = t.text + t.audio;
    tokens_ += r.tokens.total();
    if (t.admitted) {
        store::amounts real = t.reserved;
        real.tokens = r.tokens.total();
        real.cost = r.rated_cost ? *r.rated_cost : real.tokens > 0 ? t.reserved.cost : 0;
        x_.w_.leases()->admission().settle({r.access_key_id, r.id}, real);
    }
    if (x_.w_.journal().append_end(r, t.journaled) != errc::ok) x_.w_.metrics().records_lost.add();
    x_.w_.metrics().count(r, x_.key_alias_, r.first_byte_us);
    log::event(log::level::info, "socket.response",
               {{"request_id", r.id},
                {"socket", x_.record_.id},
                {"endpoint", r.endpoint},
                {"client_id", r.access_key_id},
                {"model_served", r.model_served},
                {"key", x_.key_alias_},
                {"error", r.error_code},
                {"input_tokens", r.tokens.input},
                {"output_tokens", r.tokens.output},
                {"total_us", r.total_us}});
}

void socket_books::finish(exchange_end end, errc why) {
    for (turn& t : turns_) {
        store::ledger_record& r = t.record;
        // The conversation so far is its input; what was heard of it is its output.
        r.tokens.input = std::max(last_input_, usage::estimate_tokens(r.bytes_in));
        r.tokens.audio_out = t.audio / audio_bytes_per_token;
        r.tokens.output = usage::estimate_tokens(t.text) + r.tokens.audio_out;
        r.outcome = store::usage_outcome::estimated;
        usage::quantities q;
        q.tokens = r.tokens;
        x_.price(r, r.model_served, q, r.service_tier, rates());
        close_turn(t, end, why);
    }
    turns_.clear();
}

}  // namespace kw::proxy
