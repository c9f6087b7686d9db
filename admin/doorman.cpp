// Checks of credentials, in the order: delay of the source, the admin secret, a text of ours.
#include "admin/doorman.hpp"

#include <algorithm>

#include "admin/call.hpp"
#include "auth/admin_account.hpp"
#include "core/incidents.hpp"
#include "core/log.hpp"
#include "core/metrics.hpp"
#include "net/origin.hpp"

namespace kw::admin {
namespace {

constexpr std::size_t max_summary = 256;  // sources; further ones are counted together
// Names are held up for less than sources, so that a stranger cannot shut out whom he knows of.
constexpr auth::throttle_limits name_limits{.free_guesses = 10,
                                            .longest_delay = std::chrono::seconds(60)};

void add_retry_after(reply& r, std::chrono::milliseconds wait) {
    if (wait.count() <= 0) return;
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
    r.headers.emplace_back("Retry-After", std::to_string(seconds));
}

reply wait_answer(std::chrono::milliseconds wait) {
    auto out =
        refuse(429, "too_many_guesses", "too many wrong credentials from this address: wait");
    add_retry_after(out, wait);
    return out;
}

}  // namespace

doorman::doorman(auth::admin_guard guard, catalogue& records, const secret& pepper,
                 const clock_source& clock, metrics::registry& registry, incidents* noticed)
    : guard_(std::move(guard)),
      records_(records),
      pepper_(pepper),
      clock_(clock),
      registry_(registry),
      noticed_(noticed),
      names_(name_limits) {}

void doorman::set_guard(auth::admin_guard guard) {
    guard.guesses() = std::move(guard_.guesses());
    guard_ = std::move(guard);
}

doorman::verdict doorman::identify(const net::control_request& request) {
    if (!request.admin_key.empty()) {
        const auto got =
            guard_.check(request.admin_key.reveal(), net::origin_of(request.source), clock_.mono());
        if (got.verdict == auth::admin_verdict::allowed)
            return {caller{.kind = caller_kind::admin_key,
                           .id = {},
                           .name = "admin key",
                           .is = auth::role::owner,
                           .routes = {},
                           .session_id = {},
                           .session_text = {},
                           .by_cookie = false},
                    {},
                    false};
        if (got.verdict == auth::admin_verdict::wrong) {
            note_refusal("admin_key", request.source, request.admin_key.reveal());
            auto out = refuse(401, "invalid_admin_key", "x-admin-key is wrong");
            add_retry_after(out, got.retry_after);
            return {std::nullopt, std::move(out), false};
        }
        note_refusal("throttled", request.source);
        return {std::nullopt, wait_answer(got.retry_after), false};
    }
    if (!request.bearer.empty()) return by_text(request.bearer, request, false);
    if (!request.session.empty()) return by_text(request.session, request, true);
    note_refusal("missing", request.source);
    return {std::nullopt,
            refuse(401, "missing_admin_key",
                   "send the admin secret as x-admin-key, or a token or session as bearer"),
            false};
}

doorman::verdict doorman::by_text(const secret& text, const net::control_request& request,
                                  bool cookie) {
    const auto now = clock_.mono();
    if (const auto wait = guard_.guesses().wait(net::origin_of(request.source), now);
        wait.count() > 0) {
        note_refusal("throttled", request.source);
        return {std::nullopt, wait_answer(wait), false};
    }
    const auto credential = auth::read_admin_text(text.reveal());
    verdict out;
    if (credential.is != auth::admin_text::none &&
        (!cookie || credential.is == auth::admin_text::session)) {
        // What is known counts where the store is away: it held when it was last seen.
        out.synced = records_.sync().has_value();
        out.who = find(credential, text);
    }
    if (out.who) {
        out.who->by_cookie = cookie;
        return out;
    }
    // A cookie that outlived its session is no guess: browsers send it by themselves.
    const bool session = credential.is == auth::admin_text::session;
    if (!cookie) {
        guard_.guesses().wrong(net::origin_of(request.source), now);
        note_refusal(session ? "session" : "token", request.source, text.reveal());
    } else {
        note_refusal("session", request.source);
    }
    out.refused = session ? refuse(401, "session_ended", "this session has ended: log in again")
                          : refuse(401, "invalid_token", "this token is unknown or has expired");
    return out;
}

std::optional<caller> doorman::find(const auth::admin_credential& c, const secret& text) {
    const auto hash = auth::hash_admin_text(text, pepper_);
    const auto now = clock_.wall();
    caller out;
    if (c.is == auth::admin_text::token) {
        const auto t = records_.tokens().find(c.id);
        if (t == records_.tokens().end() || !equal_constant_time(t->second.hash, hash) ||
            (t->second.expires && *t->second.expires <= now))
            return std::nullopt;
        out.kind = caller_kind::token;
        out.id = t->second.id;
        out.name = t->second.name;
        out.is = t->second.is;
        out.routes = t->second.routes;
        return out;
    }
    const auto a = records_.admins().find(c.id);
    if (a == records_.admins().end() || a->second.disabled) return std::nullopt;
    for (const auto& s : a->second.sessions) {
        if (!equal_constant_time(s.hash, hash) || s.expires <= now) continue;
        out.kind = caller_kind::session;
        out.id = a->second.id;
        out.name = a->second.name;
        out.is = a->second.is;
        out.session_id = s.id;
        out.session_text = text;
        return out;
    }
    return std::nullopt;
}

bool doorman::still_in(const caller& who) const {
    const auto now = clock_.wall();
    if (who.kind == caller_kind::admin_key) return guard_.enabled();
    if (who.kind == caller_kind::token) {
        const auto t = records_.tokens().find(who.id);
        return t != records_.tokens().end() && (!t->second.expires || *t->second.expires > now);
    }
    const auto a = records_.admins().find(who.id);
    return a != records_.admins().end() && !a->second.disabled &&
           std::ranges::any_of(a->second.sessions, [&](const auto& s) {
               return s.id == who.session_id && s.expires > now;
           });
}

std::optional<reply> doorman::refuse_foreign(const net::control_request& request) {
    if (request.origin.empty()) return std::nullopt;
    const std::string_view origin = request.origin;
    const auto scheme = origin.find("://");
    if (scheme != std::string_view::npos && origin.substr(scheme + 3) == request.host)
        return std::nullopt;
    note_refusal("origin", request.source);
    return refuse(403, "foreign_origin", "this page is of another site");
}

std::optional<reply> doorman::refuse_forged(const net::control_request& request,
                                            const caller& who) {
    if (!who.by_cookie || request.method == "GET" || request.method == "HEAD") return std::nullopt;
    if (auto foreign = refuse_foreign(request)) return foreign;
    if (equal_constant_time(request.csrf, auth::csrf_text(who.session_text, pepper_)))
        return std::nullopt;
    note_refusal("csrf", request.source);
    return refuse(403, "csrf_token",
                  "send the csrf_token of the login or of /admin/me as x-csrf-token");
}

std::chrono::milliseconds doorman::login_wait(const std::string& source, const std::string& name) {
    const auto now = clock_.mono();
    return std::max(guard_.guesses().wait(net::origin_of(source), now), names_.wait(name, now));
}

void doorman::begin_login(const std::string& source, const std::string& name) {
    guard_.guesses().wrong(net::origin_of(source), clock_.mono());
    names_.wrong(name, clock_.mono());
}

void doorman::undo_login(const std::string& source, const std::string& name) {
    guard_.guesses().undo(net::origin_of(source));
    names_.undo(name);
}

void doorman::end_login(const std::string& source, const std::string& name) {
    guard_.guesses().right(net::origin_of(source));
    names_.right(name);
}

void doorman::note_refusal(std::string_view reason, const std::string& source,
                           std::string_view presented) {
    registry_
        .counter("keywheel_admin_refused_total", "Admin requests refused, by reason.",
                 {{"reason", reason}})
        .add();
    // A call without a credential is no news.
    if (reason == "missing") return;
    // A wrong credential, that is: neither a right one for something that it may not do, nor a
    // cookie that a browser goes on sending after its session, which presents nothing.
    const bool wrong = reason == "admin_key" || reason == "token" || reason == "login" ||
                       (reason == "session" && !presented.empty());
    if (wrong && noticed_ != nullptr)
        noticed_->note(incidents::what::refused_credential, net::origin_of(source));
    std::string key(reason);
    if (!presented.empty()) {
        crypto::hmac_sha256 hash(pepper_);
        key += " " + crypto::to_hex(hash("refused\n" + std::string(presented))).substr(0, 12);
    }
    refused_.note(source, key, clock_.wall());
    const bool room = summary_.size() < max_summary || summary_.contains(source);
    ++summary_[room ? source : "others"];
    log::event(log::level::warn, "admin.refused", {{"source", source}, {"reason", reason}});
}

void doorman::note_login() {
    registry_.counter("keywheel_admin_logins_total", "Logins of admins.").add();
}

void doorman::note_lost_entry() {
    registry_
        .counter("keywheel_audit_lost_total", "Acts whose entry of the audit trail was not kept.")
        .add();
}

doorman::summary doorman::take_summary() {
    return std::exchange(summary_, {});
}

}  // namespace kw::admin
