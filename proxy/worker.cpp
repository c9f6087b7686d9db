// Construction of a worker and the life of its sessions.
#include "proxy/worker.hpp"

#include <stdexcept>

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
      authenticator_(shared.pepper),
      metrics_(shared.registry),
      scratch_(std::make_unique<char[]>(scratch_size)) {}

worker::~worker() = default;

void worker::listen(const net::listen_options& at) {
    auto opened = net::listener::open(
        loop_, at, [this](std::unique_ptr<net::stream> client) { accepted(std::move(client)); });
    if (!opened) throw std::runtime_error(opened.error().context);
    listener_ = std::move(*opened);
}

std::uint16_t worker::port() const noexcept {
    return listener_ ? listener_->local().port : 0;
}

void worker::accepted(std::unique_ptr<net::stream> client) {
    metrics_.connections.add();
    net::spawn("session", session::run(*this, std::move(client)));
}

void worker::replace_snapshot(std::shared_ptr<const snapshot> next) {
    snapshot_ = holder(std::move(next));
}

void worker::add(session& s) {
    sessions_.insert(&s);
    metrics_.sessions_open.add(1);
    const auto open = shared_.now.connections.fetch_add(1, std::memory_order_relaxed) + 1;
    if (open >= current().settings->server.max_connections && listener_) listener_->pause();
}

void worker::remove(session& s) noexcept {
    sessions_.erase(&s);
    metrics_.sessions_open.add(-1);
    const auto open = shared_.now.connections.fetch_sub(1, std::memory_order_relaxed) - 1;
    if (open < current().settings->server.max_connections && listener_) listener_->resume();
}

void worker::drain() {
    if (listener_) listener_->close();
    for (session* s : sessions_)
        s->drain();
    connections_.clear();
}

void worker::cut_all() {
    for (session* s : sessions_)
        s->cut();
}

}  // namespace kw::proxy
