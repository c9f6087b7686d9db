// An exchange that becomes a WebSocket: the handshakes on both sides and the socket's own record.
// Until the upstream has answered 101 it is a request like any other, with tries and refusals.
#include <algorithm>

#include "auth/credential.hpp"
#include "core/log.hpp"
#include "net/websocket_handshake.hpp"
#include "pool/health.hpp"
#include "proxy/exchange.hpp"
#include "proxy/message_heads.hpp"
#include "proxy/socket_books.hpp"
#include "proxy/socket_relay.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t max_protocols = 16;

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
    socket_books books(*this, *picked.key);
    socket_relay through(w_, client_, call_, books, plan);
    const socket_end how = co_await through.run();
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
            const pool::verdict v = pool::classify(r, picked.of->fault_rules, snap_.policy);
            if (picked.of->automatic && own_credential_.empty())
                w_.shared().health.apply(picked.slot, v, w_.mono(), w_.wall());
            w_.metrics().count_attempt_failed(pool::to_string(r.transport));
            break;
        }
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
