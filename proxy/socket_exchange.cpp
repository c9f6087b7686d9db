// An exchange that becomes a WebSocket: the handshakes on both sides and the socket's own record.
// Until the upstream has answered 101 it is a request like any other, with tries and refusals.
#include <algorithm>

#include "auth/credential.hpp"
#include "core/log.hpp"
#include "net/websocket_handshake.hpp"
#include "pool/health.hpp"
#include "proxy/error_response.hpp"
#include "proxy/exchange.hpp"
#include "proxy/message_heads.hpp"
#include "proxy/socket_books.hpp"
#include "proxy/socket_relay.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t max_protocols = 16;
constexpr std::size_t max_moves = 3;  // keys that are tried
constexpr auto parting_time = 5s;     // for a client to take our last words

// The query with another model's name.
std::string with_model(std::string_view target, std::string_view model) {
    const std::size_t question = target.find('?');
    std::string out(target.substr(0, question + 1));
    std::string_view rest = target.substr(question + 1);
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('&'), rest.size());
        const std::string_view pair = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (out.back() != '?') out += '&';
        if (auth::query_values(pair, "model").empty()) {
            out += pair;
            continue;
        }
        out += "model=";
        for (const char c : model) {
            const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                               (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_';
            constexpr std::string_view digits = "0123456789ABCDEF";
            const auto byte = static_cast<unsigned char>(c);
            if (plain)
                out += c;
            else
                out.append({'%', digits[byte >> 4U], digits[byte & 15U]});
        }
    }
    return out;
}

struct counted {
    metrics::gauge& of;
    explicit counted(metrics::gauge& g) : of(g) { of.add(1); }
    ~counted() { of.add(-1); }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
};

}  // namespace

// Nothing: go on, as a WebSocket or as the ordinary request that it is.
net::task<std::optional<bool>> exchange::read_upgrade() {
    if (!net::asks_for_websocket(head_)) co_return std::nullopt;
    const auto refuse_with = [this](std::uint16_t status, std::string_view why,
                                    std::string_view lines = {}) {
        return refuse(error(errc::malformed_request, std::string(why), error_source::downstream),
                      {.status = status, .own_lines = lines});
    };
    if (const auto fault = net::check_websocket_request(head_))
        co_return co_await refuse_with(fault->status, fault->message,
                                       fault->status == 426 ? "Sec-WebSocket-Version: 13\r\n" : "");
    // No browser asks before it opens a WebSocket.
    if (head_.has(net::header_id::origin) && client_.cors.empty() &&
        !snap_.settings->server.cors_origins.empty())
        co_return co_await refuse(
            error(errc::client_not_allowed, "Pages of this origin may not open WebSockets here.",
                  error_source::downstream),
            {.code = "origin_not_allowed"});
    auto made = std::make_unique<socket_upgrade>();
    made->accept = net::websocket_accept(head_.find("sec-websocket-key"));
    const bool account =
        snap_.settings->upstream.keep_organization_headers || !own_credential_.empty();
    net::for_each_subprotocol(head_, [&](std::string_view one) {
        const bool of_account =
            one.starts_with("openai-organization.") || one.starts_with("openai-project.");
        if (one.starts_with(auth::subprotocol_prefix) || (of_account && !account)) return;
        made->protocols.emplace_back(one);
    });
    if (made->protocols.size() > max_protocols)
        co_return co_await refuse_with(400, "Too many subprotocols are offered.");

    // The responses socket names the model with each response, any other in its URL or not at all.
    const auto models = auth::query_values(head_.query(), "model");
    if (models.size() > 1) co_return co_await refuse_with(400, "The model is named twice.");
    if (endpoint_.model_in == usage::model_place::none &&
        (!models.empty() || endpoint_.family != "responses"))
        endpoint_.model_in = usage::model_place::query;
    endpoint_.billable = true;
    record_.stream = true;
    upgrade_ = std::move(made);
    call_.expect_upgrade();
    co_return std::nullopt;
}

void exchange::plan_upgrade() {
    upgrade_->key = net::make_websocket_key(w_.random());
    std::string& lines = upgrade_->lines;
    lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    lines.append("Sec-WebSocket-Key: ").append(upgrade_->key).append("\r\n");
    std::string_view before = "Sec-WebSocket-Protocol: ";
    for (const std::string& one : upgrade_->protocols) {
        lines.append(before).append(one);
        before = ", ";
    }
    if (!upgrade_->protocols.empty()) lines += "\r\n";
    if (endpoint_.model_in == usage::model_place::query && !record_.model_asked.empty() &&
        route_.model != record_.model_asked)
        target_ = with_model(target_, route_.model);
}

upstream_call::outcome exchange::check_upgrade() {
    if (call_.head().status() != 101) return upstream_call::outcome::ok;
    const auto answer =
        net::check_websocket_answer(call_.head(), upgrade_->key, upgrade_->protocols);
    if (!answer.fault.empty()) return call_.refuse_answer(answer.fault);
    upgrade_->chosen = answer.protocol;
    return upstream_call::outcome::ok;
}

net::task<result<pool::picked>> exchange::move_socket(std::string_view account,
                                                      pool::model_route route) {
    const std::string protocol = upgrade_->chosen;
    call_.drop();
    use_ = {};
    route_ = std::move(route);
    if (!account.empty()) {
        restrict_to(account);
        objects_->pinned = true;
    }
    tried_.clear();
    fresh_connection_ = true;
    while (tried_.size() < max_moves) {
        auto picked = w_.selector().pick(*snap_.pool, pick_request_now());
        if (!picked) break;
        tried_.push_back(picked->slot);
        if (snap_.targets->find(picked->key) == nullptr) continue;
        note_key(*picked);
        const auto outcome = co_await dispatch(*picked);
        if (outcome == upstream_call::outcome::client_gone) co_return error(errc::client_closed);
        const bool open = outcome == upstream_call::outcome::ok && call_.head().status() == 101 &&
                          upgrade_->chosen == protocol;
        if (open) {
            if (!picked->resting) w_.shared().health.on_success(picked->slot, w_.mono(), w_.wall());
            co_return std::move(*picked);
        }
        pool::upstream_result r;
        if (outcome == upstream_call::outcome::ok)
            r.status = static_cast<std::uint16_t>(call_.head().status());
        else
            r.transport = call_.failure();
        const pool::verdict v = pool::classify(r, picked->of->fault_rules, snap_.policy);
        if (picked->of->automatic) w_.shared().health.apply(picked->slot, v, w_.mono(), w_.wall());
        use_ = {};
        call_.drop();
    }
    co_return account.empty()
        ? error(errc::no_upstream_key,
                "No upstream key that serves the model '" + route_.model + "' can be used now.",
                error_source::upstream)
        : error(errc::upstream_key_unavailable,
                "The upstream account that keeps what this message refers to has no key that can "
                "be used now.",
                error_source::upstream);
}

// The socket is open towards the client and leads nowhere.
net::task<exchange::step> exchange::close_unmoved(error e) {
    call_.drop();
    if (e.code != errc::client_closed) {
        std::string last;
        net::append_frame(last, net::websocket_opcode::text,
                          make_error_message(e, make_id("event_", w_.wall(), w_.random()),
                                             snap_.settings->limits.quota_status));
        net::append_frame(last, net::websocket_opcode::close,
                          net::close_payload(net::close_try_later, to_string(e.code)));
        co_await client_.stream->write_all(client_.wait, last, w_.loop().now() + parting_time);
    }
    const bool gone = e.code == errc::client_closed;
    finish(gone ? store::exchange_end::client_closed : store::exchange_end::failed, e.code);
    co_return step::close;
}

net::task<exchange::step> exchange::relay_socket(pool::picked& picked) {
    using store::exchange_end;
    const auto& settings = *snap_.settings;
    record_.status = 101;
    const auto ours = (w_.mono() - body_done_) - upstream_time_ - waited_ - queued_;
    record_.overhead_us = std::max<std::int64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(ours).count(), 0);

    std::string own = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
    own.append(upgrade_->accept).append("\r\n");
    if (!upgrade_->chosen.empty())
        own.append("Sec-WebSocket-Protocol: ").append(upgrade_->chosen).append("\r\n");
    own += own_header_lines(false, false);
    std::string head;
    append_downstream_head(head, {.from = call_.head(),
                                  .drop_rate_limits = !limit_states_.empty(),
                                  .drop_cors = !client_.cors.empty(),
                                  .own_lines = own});
    const auto sent = co_await client_.stream->write_all(
        client_.wait, head, w_.loop().now() + settings.server.send_timeout);
    if (!sent.ok()) {
        call_.drop();
        co_await refuse(error(errc::client_closed));
        co_return step::close;
    }

    const counted open(w_.metrics().sockets_open);
    socket_plan plan;
    plan.hold_messages = endpoint_.family == "responses";
    plan.max_message = settings.websocket.max_message_bytes;
    plan.idle_limit = settings.websocket.idle_timeout;
    plan.send_limit = settings.server.send_timeout;
    // Before everything is cut, so that there is time for a good-bye.
    const auto stop = settings.server.shutdown_timeout;
    plan.drain_time = stop - std::min<std::chrono::milliseconds>(2s, stop / 2);
    plan.total_deadline = w_.loop().now() + settings.websocket.max_duration;
    socket_books books(*this, picked);
    socket_relay through(w_, client_, call_, books, plan);
    socket_end how = co_await through.run();
    pool::picked other;
    const pool::picked* on = &picked;
    if (how == socket_end::moves) {
        auto to = co_await move_socket(books.wanted().account, books.wanted().route);
        if (!to) co_return co_await close_unmoved(to.error());
        other = std::move(*to);
        on = &other;
        books.moved(other);
        through.go_on();
        how = co_await through.run();
    }
    record_.bytes_in = static_cast<std::int64_t>(through.bytes_in());
    record_.bytes_out = static_cast<std::int64_t>(through.bytes_out());

    exchange_end end = exchange_end::completed;
    errc why = errc::ok;
    switch (how) {
        case socket_end::closed:
            books.finish(exchange_end::client_closed, errc::client_closed);
            break;
        case socket_end::client_gone:
            end = exchange_end::client_closed;
            why = errc::client_closed;
            break;
        case socket_end::upstream_cut: {
            end = exchange_end::upstream_cut;
            why = errc::upstream_stream_cut;
            pool::upstream_result r;
            r.transport = pool::transport_failure::stream_cut;
            const pool::verdict v = pool::classify(r, on->of->fault_rules, snap_.policy);
            if (on->of->automatic && own_credential_.empty())
                w_.shared().health.apply(on->slot, v, w_.mono(), w_.wall());
            w_.metrics().count_attempt_failed(pool::to_string(r.transport));
            break;
        }
        case socket_end::moves:  // only once
        case socket_end::ended_here:
            end = exchange_end::upstream_cut;
            why = through.ending().why;
            break;
    }
    books.finish(end, why);
    call_.drop();
    socket_tokens_ = books.tokens();
    log::event(log::level::info, "socket.closed",
               {{"request_id", record_.id},
                {"close_code",
                 how == socket_end::ended_here ? through.ending().code : through.close_code()},
                {"error", to_string(why)}});
    finish(end, why);
    co_return step::close;
}

}  // namespace kw::proxy
