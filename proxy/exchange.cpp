// The part of an exchange before any upstream is asked: identity, body, model.
#include "proxy/exchange.hpp"

#include "auth/credential.hpp"
#include "core/spans.hpp"
#include "proxy/identity.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {
namespace {

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) noexcept {
    return text.size() >= prefix.size() &&
           net::equal_ignoring_case(text.substr(0, prefix.size()), prefix);
}

}  // namespace

exchange::exchange(worker& w, client_connection& client, net::http_head& head)
    : w_(w),
      client_(client),
      head_(head),
      held_(w.hold()),
      snap_(**held_),
      started_(w.mono()),
      body_done_(started_),
      body_(w.kept_bodies()),
      call_(w, client) {
    record_.started = w.wall();
    record_.id = make_id("req_", record_.started, w.random());
    endpoint_ = usage::classify(head.method(), head.path());
    record_.endpoint = endpoint_.family;
    if (endpoint_.dialect == usage::dialect::anthropic) shape_ = error_shape::anthropic;
    if (w.shared().spans != nullptr && w.shared().spans->on()) begin_trace();
    w_.metrics().exchanges_running.add(1);
    w_.shared().now.exchanges.fetch_add(1, std::memory_order_relaxed);
}

exchange::~exchange() {
    finish(store::exchange_end::client_closed, errc::client_closed);
    w_.shared().now.exchanges.fetch_sub(1, std::memory_order_relaxed);
    w_.metrics().exchanges_running.add(-1);
}

net::task<bool> exchange::run() {
    const auto& server = snap_.settings->server;
    // First of all: whoever refuses must know of a body that is still to come.
    body_framer_.start(head_.body(), head_.body_length());
    if (w_.shared().now.exchanges.load(std::memory_order_relaxed) > server.max_exchanges ||
        w_.shared().now.in_flight.full()) {
        co_return co_await refuse(
            error(errc::overloaded, "Too many requests are being served; try again shortly."));
    }
    if (auto known = identify(); !known) co_return co_await refuse(known.error());
    if (head_.wants_upgrade()) {
        const auto answered = co_await read_upgrade();
        if (answered) co_return *answered;
    }

    streaming_body_ = !body_is_kept();
    if (head_.expect_continue() && head_.body() != net::framing::none) {
        co_await client_.stream->write_all(client_.wait, "HTTP/1.1 100 Continue\r\n\r\n",
                                           w_.loop().now() + server.send_timeout);
    }
    if (!streaming_body_) {
        auto taken = co_await take_body();
        if (!taken) co_return co_await refuse(taken.error());
    }
    body_done_ = w_.mono();
    if (auto found = find_model(); !found) co_return co_await refuse(found.error());
    if (auto allowed = check_model(); !allowed)
        co_return co_await refuse(allowed.error(), {.param = "model"});

    if (endpoint_.billable && !w_.journal().writable() &&
        snap_.settings->store.journal_full == config::full_policy::refuse) {
        co_return co_await refuse(
            error(errc::journal_unavailable,
                  "keywheel cannot write its journal (disk full?), so it takes no request that "
                  "costs money; the operator must free space in the data directory."),
            {.retry_after = std::chrono::seconds(10)});
    }
    const step admitted = co_await admit();
    if (admitted != step::again) co_return admitted == step::done;
    if (!own_credential_.empty()) co_return co_await serve_pass_through();
    if (is_about_objects()) {
        const step found = co_await find_account();
        if (found != step::again) co_return found == step::done;
        if (merges_list()) co_return co_await serve_list();
    }
    has_sessions_ =
        snap_.settings->pool.sessions != config::session_policy::off || snap_.pool->has_sessions();
    if (has_sessions_) name_session();
    co_return co_await serve();
}

result<void> exchange::identify() {
    auto known = identify_caller(w_, snap_, head_, client_.address);
    if (!known && takes_own_credential(known.error())) return {};
    if (!known) return known.error();
    access_ = known->key;
    leased_ = known->leased;
    if (!access_) return {};
    record_.access_key_id = access_->id;
    if (!auth::may_use_endpoint(*access_, endpoint_.family)) {
        return error(errc::endpoint_not_allowed,
                     "This access key may not use the endpoint family '" +
                         std::string(endpoint_.family) + "'.",
                     error_source::downstream);
    }
    return {};
}

// A body is kept when it must be read (its model decides) or can be sent again by a retry.
bool exchange::body_is_kept() const noexcept {
    if (head_.body() == net::framing::none) return true;
    if (endpoint_.body_streams) return false;
    if (endpoint_.model_in == usage::model_place::json ||
        endpoint_.model_in == usage::model_place::multipart)
        return true;
    // What may name objects is read.
    if (starts_with_ignoring_case(head_.content_type(), "application/json") &&
        route_objects(head_.method(), head_.path()).refers)
        return true;
    return head_.body() == net::framing::length &&
           head_.body_length() <= snap_.settings->server.max_kept_body_bytes;
}

net::task<result<void>> exchange::take_body() {
    auto taken = co_await read_body(w_, client_, body_framer_, body_,
                                    snap_.settings->server.max_kept_body_bytes);
    record_.bytes_in = static_cast<std::int64_t>(body_.text().size());
    co_return taken;
}

result<void> exchange::find_model() {
    using usage::model_place;
    switch (endpoint_.model_in) {
        case model_place::none:
            break;
        case model_place::path:
            record_.model_asked = usage::model_in_path(head_.path());
            break;
        case model_place::query:
            if (auto named = auth::query_values(head_.query(), "model"); !named.empty())
                record_.model_asked = std::move(named.front());
            break;
        case model_place::json:
        case model_place::multipart: {
            const std::string_view type = head_.content_type();
            const std::string_view coding = head_.content_encoding();
            if (body_.text().empty() || !(coding.empty() || coding == "identity")) break;
            if (starts_with_ignoring_case(type, "multipart/form-data")) {
                auto read = usage::read_multipart_fields(body_.text(), type);
                if (!read) return read.error();
                multipart_ = std::move(*read);
                record_.model_asked = multipart_.model;
                record_.stream = multipart_.stream;
            } else {
                auto read = usage::read_request_fields(body_.text());
                if (!read) return read.error();
                fields_ = std::move(*read);
                json_read_ = true;
                record_.model_asked = fields_.model;
                record_.stream = fields_.stream;
            }
            break;
        }
    }
    alias_ = snap_.aliases->find(record_.model_asked);
    route_ = alias_ ? alias_->target : pool::model_route{record_.model_asked, {}};
    return {};
}

result<void> exchange::check_model() const {
    if (!access_) return {};
    const bool restricted =
        !access_->options->models_allow.empty() || !access_->options->models_deny.empty();
    if (!restricted || endpoint_.model_in == usage::model_place::none) return {};
    if (record_.model_asked.empty() && endpoint_.family == "models") return {};
    if (!record_.model_asked.empty() && auth::may_use_model(*access_, record_.model_asked))
        return {};
    return error(errc::model_not_allowed,
                 record_.model_asked.empty()
                     ? std::string("This access key is limited to certain models, and the request "
                                   "names none that can be read.")
                     : "This access key may not use the model '" + record_.model_asked + "'.",
                 error_source::downstream);
}

// Answers with an error of ours. True: the connection can go on.
net::task<bool> exchange::refuse(error e, error_details details) {
    if (e.code == errc::client_closed) {
        record_.status = 499;
        finish(store::exchange_end::client_closed, e.code);
        co_return false;
    }
    const bool keep = head_.keep_alive() && body_framer_.complete() && !w_.shared().draining.load();
    details.request_id = record_.id;
    details.close = !keep;
    std::string lines = client_.cors;
    if (!lines.empty()) details.own_lines = lines.append(details.own_lines);
    if (e.code == errc::overloaded && !details.retry_after)
        details.retry_after = std::chrono::seconds(1);
    record_.status = details.status.value_or(http_status(e.code));
    const std::string text =
        make_error_response(e, shape_, details, head_.method_kind() == net::method_id::head);
    record_.bytes_out = static_cast<std::int64_t>(text.size());
    finish(record_.attempts == 0 ? store::exchange_end::refused : store::exchange_end::failed,
           e.code);
    const auto sent = co_await client_.stream->write_all(
        client_.wait, text, w_.loop().now() + snap_.settings->server.send_timeout);
    co_return keep&& sent.ok();
}

}  // namespace kw::proxy
