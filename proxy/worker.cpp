// Construction of a worker and the life of its sessions.
#include "proxy/worker.hpp"

#include <stdexcept>

#include "proxy/error_response.hpp"
#include "proxy/session.hpp"

namespace kw::proxy {
namespace {

std::shared_ptr<const std::shared_ptr<const snapshot>> holder(std::shared_ptr<const snapshot> s) {
    return std::make_shared<const std::shared_ptr<const snapshot>>(std::move(s));
}

net::connection_cache::options cache_options(const config::upstream_settings& s) {
    return {.max_idle_per_endpoint = s.max_idle_connections,
            .max_idle = 4096,
            .idle_timeout = std::chrono::ceil<std::chrono::seconds>(s.idle_connection_timeout)};
}

}  // namespace

worker::worker(net::loop& on, services& shared, store::journal_writer& journal,
               std::shared_ptr<const snapshot> first)
    : loop_(on),
      shared_(shared),
      journal_(journal),
      snapshot_(holder(std::move(first))),
      dns_(on, shared.resolver),
      connections_(on, cache_options(current().settings->upstream)),
      selector_(shared.key_states, random_source()),
      authenticator_(current().pepper, current().more_peppers),
      metrics_(shared.registry),
      kept_bodies_(shared.now.kept_bodies),
      in_flight_(shared.now.in_flight),
      scratch_(std::make_unique<char[]>(scratch_size)) {
    if (shared.admission != nullptr) {
        lane_ = shared.admission->lane(on);
        leases_.emplace(on, lane_ ? *lane_ : *shared.admission);
    }
    if (shared_.objects != nullptr) places_.emplace(on, *shared_.objects);
    apply_limits();
}

worker::~worker() = default;

std::unique_ptr<net::listener> worker::open(const net::listen_options& at, session_scope scope) {
    auto opened = net::listener::open(
        loop_, at,
        [this, scope](std::unique_ptr<net::stream> client) { accepted(std::move(client), scope); });
    if (!opened) throw std::runtime_error(opened.error().context);
    return std::move(*opened);
}

void worker::listen(const net::listen_options& at) {
    listener_ = open(at, session_scope::all);
}

void worker::listen_for_health(const net::listen_options& at) {
    health_listener_ = open(at, session_scope::health);
}

void worker::listen_for_admin(const net::listen_options& at) {
    admin_listener_ = open(at, session_scope::admin);
}

std::uint16_t worker::port() const noexcept {
    return listener_ ? listener_->local().port : 0;
}

void worker::accepted(std::unique_ptr<net::stream> client, session_scope scope) {
    metrics_.connections.add();
    const auto open = shared_.now.connections.load(std::memory_order_relaxed);
    if (open < current().settings->server.max_connections) {
        net::spawn("session", session::run(*this, std::move(client), scope));
    } else if (refusals_ < max_refusals && (!shared_.tls || scope == session_scope::health)) {
        net::spawn("refuse", refuse(std::move(client)));
    }
}

// Too many connections: says so and closes. With TLS it is closed without a word, since a handshake
// costs more than what is to be saved. What the client has sent is read first, for closing with
// unread bytes would take the answer back (RST).
net::task<void> worker::refuse(std::unique_ptr<net::stream> client) {
    ++refusals_;
    metrics_.count_refused_head(503);
    net::waiter wait(loop_);
    client->attach(&wait, net::read_a, net::write_a, net::hangup_a);
    const error e(errc::overloaded, "Too many connections are open; try again shortly.");
    const std::string text = make_error_response(
        e, error_shape::openai, {.retry_after = std::chrono::seconds(1), .close = true});
    (void)client->write(text);
    client->shutdown_write();
    const mono_time deadline = loop_.now() + std::chrono::seconds(1);
    for (std::size_t seen = 0; seen < scratch_size;) {
        const auto r = client->read(scratch());
        if (r.ok()) {
            seen += r.bytes;
            continue;
        }
        if (!r.would_block()) break;
        const net::events got = co_await wait.wait(net::read_a, deadline);
        if (got & net::timed_out) break;
    }
    --refusals_;
}

void worker::replace_snapshot(std::shared_ptr<const snapshot> next) {
    if (next->pepper != current().pepper || next->more_peppers != current().more_peppers)
        authenticator_ = auth::authenticator(next->pepper, next->more_peppers);
    snapshot_ = holder(std::move(next));
    apply_limits();
    first_used_.clear();
    answered_.clear();
}

// Every worker says the same.
void worker::apply_limits() noexcept {
    shared_.now.kept_bodies.set_limit(current().settings->server.max_kept_bytes);
    shared_.now.in_flight.set_limit(current().settings->server.max_bytes_in_flight);
    objects_.set_limit(current().settings->objects.cache_entries);
}

bool worker::book_late(const store::ledger_record& record) {
    if (journal_.append_end(record, false) != errc::ok) return false;
    metrics_.count_usage(record);
    return true;
}

void worker::note_first_use(const std::string& access_key_id) {
    if (shared_.first_used && first_used_.insert(access_key_id).second)
        shared_.first_used(access_key_id);
}

bool worker::is_first_unpriced(std::string_view model) {
    constexpr std::size_t most = 1000;
    return unpriced_.size() < most && unpriced_.emplace(model).second;
}

void worker::add(session& s) {
    sessions_.insert(&s);
    metrics_.sessions_open.add(1);
    shared_.now.connections.fetch_add(1, std::memory_order_relaxed);
}

void worker::remove(session& s) noexcept {
    sessions_.erase(&s);
    metrics_.sessions_open.add(-1);
    shared_.now.connections.fetch_sub(1, std::memory_order_relaxed);
}

void worker::drain() {
    if (listener_) listener_->close();
    if (admin_listener_) admin_listener_->close();
    for (session* s : sessions_)
        s->drain();
    connections_.clear();
}

void worker::cut_all() {
    for (session* s : sessions_)
        s->cut();
}

}  // namespace kw::proxy
