// The way of a request that brings the client's own upstream credential: with that credential
// alone, to the one upstream that the operator has named for it.
#include <algorithm>
#include <array>

#include "auth/credential.hpp"
#include "auth/key_text.hpp"
#include "proxy/exchange.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view booked_as = "pass-through";
// Of access keys, of admins' tokens and sessions.
constexpr std::array<std::string_view, 3> our_prefixes = {"sk-kw-", "kwt-", "kws-"};
constexpr std::size_t max_error_body = 64 * 1024;
constexpr auto error_body_time = 5s;

}  // namespace

// What may leave: a Bearer that is no secret of ours, as far as that can be known. `why`: the
// judgement on it as an access key; one that was ever ours is known, whatever became of it.
bool exchange::takes_own_credential(const error& why) {
    if (!snap_.pass_through || why.code != errc::invalid_api_key) return false;
    const std::string_view text =
        auth::pick_credential({.authorization = head_.find(net::header_id::authorization)});
    if (text.empty() || text.size() > auth::max_credential_size) return false;
    const auto begins = [&](std::string_view prefix) { return text.starts_with(prefix); };
    if (std::ranges::any_of(our_prefixes, begins)) return false;
    if (w_.authenticator().knows(text, *snap_.access_keys)) return false;
    const secret& admin = snap_.settings->auth.admin_key;
    if (!admin.empty() && equal_constant_time(text, admin.reveal())) return false;
    own_credential_ = secret(std::string(text));
    record_.access_key_id = booked_as;
    return true;
}

net::task<bool> exchange::serve_pass_through() {
    using outcome = upstream_call::outcome;
    alias_ = nullptr;
    route_ = {record_.model_asked, {}};
    pool::upstream_key key;
    key.id = key.alias = booked_as;
    key.group_id = snap_.pass_through->group->id;
    key.value = own_credential_;
    pool::picked picked;
    picked.key = &key;
    picked.of = snap_.pass_through->group.get();

    for (;;) {
        note_key(picked);
        plan_edits(*picked.of);
        book_start();
        const mono_time from = w_.mono();
        const auto got = co_await dispatch(picked);
        const mono_time to = w_.mono();
        upstream_time_ += to - from;
        if (got == outcome::ok) {
            answered_ = to;
            break;
        }
        if (got == outcome::client_gone) {
            may_be_billed_ = call_.sent_any();
            call_.drop();
            co_return co_await refuse(error(errc::client_closed));
        }
        if (got == outcome::client_error) {
            call_.drop();
            co_await refuse(error(call_.client_fault(), "The request's body could not be read.",
                                  error_source::downstream));
            co_return false;
        }
        pool::upstream_result r;
        r.transport = call_.failure();
        w_.metrics().count_attempt_failed(pool::to_string(r.transport));
        // A connection that had gone stale says nothing: the same request on a fresh one.
        if (r.transport == pool::transport_failure::stale_connection && !body_started_ &&
            !fresh_connection_) {
            fresh_connection_ = true;
            --record_.attempts;
            continue;
        }
        may_be_billed_ = r.transport == pool::transport_failure::first_byte_timeout;
        co_return co_await end_failed(r) == step::done;
    }

    if (call_.head().status() == 101) co_return co_await relay_socket(picked) == step::done;
    if (call_.head().status() < 400) co_return co_await relay_answer(picked, false) == step::done;
    call_.mask(key.value.reveal());
    static_cast<void>(
        co_await call_.read_small_body(error_body_, max_error_body, w_.mono() + error_body_time));
    call_.mask(key.value.reveal());  // the body came after the head was masked
    co_return co_await relay_answer(picked, true) == step::done;
}

const upstream_target& exchange::target_of(const pool::picked& picked) const {
    return own_credential_.empty() ? *snap_.targets->find(picked.key) : *snap_.pass_through->target;
}

}  // namespace kw::proxy
