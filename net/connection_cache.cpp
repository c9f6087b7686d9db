// The idle connections in two lists: per endpoint for taking, over all for ageing.
#include "net/connection_cache.hpp"

namespace kw::net {

connection_cache::connection_cache(loop& on, const options& opts) : loop_(on), options_(opts) {
    sweeper_.start("connection_cache.sweep", sweep());
}

connection_cache::~connection_cache() {
    clear();
}

endpoint_id connection_cache::id_for(std::string_view identity) {
    if (const auto known = ids_.find(identity); known != ids_.end()) return known->second;
    const auto id = static_cast<endpoint_id>(endpoints_.size());
    ids_.emplace(identity, id);
    endpoints_.emplace_back();
    return id;
}

std::unique_ptr<stream> connection_cache::take(endpoint_id id) noexcept {
    while (endpoints_[id].newest != none) {
        auto s = unlink(endpoints_[id].newest);
        if (s->idle_ok()) {
            ++counters_.reused;
            return s;
        }
        ++counters_.dropped;
    }
    ++counters_.missed;
    return nullptr;
}

void connection_cache::put(endpoint_id id, std::unique_ptr<stream> s) {
    s->attach(nullptr, 0, 0);
    if (!s->idle_ok() || options_.max_idle == 0) return;
    endpoint_list& list = endpoints_[id];
    if (list.count >= options_.max_idle_per_endpoint) return;
    if (idle_ >= options_.max_idle) {
        ++counters_.expired;
        unlink(oldest_);
    }
    if (free_nodes_.empty()) {
        free_nodes_.push_back(static_cast<std::uint32_t>(nodes_.size()));
        nodes_.emplace_back();
        free_nodes_.reserve(nodes_.capacity());
    }
    const std::uint32_t index = free_nodes_.back();
    free_nodes_.pop_back();
    s->handle().on_idle_event = [this, index] { on_event(index); };
    node& n = nodes_[index];
    n.connection = std::move(s);
    n.since = loop_.now();
    n.id = id;
    n.newer = none;
    n.older = list.newest;
    if (n.older != none) nodes_[n.older].newer = index;
    list.newest = index;
    n.all_newer = none;
    n.all_older = newest_;
    (newest_ != none ? nodes_[newest_].all_newer : oldest_) = index;
    newest_ = index;
    ++list.count;
    ++idle_;
}

std::unique_ptr<stream> connection_cache::unlink(std::uint32_t index) noexcept {
    node& n = nodes_[index];
    (n.newer != none ? nodes_[n.newer].older : endpoints_[n.id].newest) = n.older;
    if (n.older != none) nodes_[n.older].newer = n.newer;
    (n.all_newer != none ? nodes_[n.all_newer].all_older : newest_) = n.all_older;
    (n.all_older != none ? nodes_[n.all_older].all_newer : oldest_) = n.all_newer;
    --endpoints_[n.id].count;
    --idle_;
    free_nodes_.push_back(index);
    n.connection->handle().on_idle_event = nullptr;
    return std::move(n.connection);
}

void connection_cache::on_event(std::uint32_t index) noexcept {
    // Session tickets come while idle and are taken in; anything else ends the connection.
    if (nodes_[index].connection->idle_ok()) return;
    ++counters_.dropped;
    unlink(index);
}

void connection_cache::clear(endpoint_id id) noexcept {
    while (endpoints_[id].newest != none)
        unlink(endpoints_[id].newest);
}

void connection_cache::clear() noexcept {
    while (oldest_ != none)
        unlink(oldest_);
}

task<void> connection_cache::sweep() {
    waiter w(loop_);
    for (;;) {
        co_await sleep_until(w, loop_.now() + std::chrono::seconds(1));
        while (oldest_ != none && loop_.now() - nodes_[oldest_].since >= options_.idle_timeout) {
            ++counters_.expired;
            unlink(oldest_);
        }
    }
}

}  // namespace kw::net
