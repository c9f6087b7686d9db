// One worker: a thread's loop with everything that its sessions use and share with no other
// thread. What workers do share (services) is read-only or made of atomics.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>

#include <boost/unordered/unordered_flat_set.hpp>

#include "auth/authenticator.hpp"
#include "auth/waiting_lines.hpp"
#include "core/clock.hpp"
#include "core/ids.hpp"
#include "net/connection_cache.hpp"
#include "net/control_port.hpp"
#include "net/listener.hpp"
#include "net/loop.hpp"
#include "net/resolver.hpp"
#include "pool/health.hpp"
#include "pool/selector.hpp"
#include "pool/sessions.hpp"
#include "proxy/lease_renewer.hpp"
#include "proxy/memory_budget.hpp"
#include "proxy/metrics.hpp"
#include "proxy/object_cache.hpp"
#include "proxy/place_finder.hpp"
#include "proxy/recent_names.hpp"
#include "proxy/snapshot.hpp"
#include "store/journal.hpp"
#include "usage/late_work.hpp"

namespace kw {
class incidents;
class span_queue;
}  // namespace kw

namespace kw::net {
class tls_server_context;
}

namespace kw::proxy {

class session;
// What a connection may ask for.
enum class session_scope : std::uint8_t { all, health, admin };

// Counted over all workers, bounded by settings.
struct load {
    std::atomic<std::int64_t> connections{0};
    std::atomic<std::int64_t> exchanges{0};
    memory_budget kept_bodies;
    memory_budget in_flight;
};

// Made by the composition root; outlives the workers.
struct services {
    const clock_source& clock;
    store::admission* admission = nullptr;  // null: limits of access keys are not counted
    auth::waiting_lines& lines;
    net::resolver& resolver;
    pool::state_table& key_states;
    pool::health& health;
    metrics::registry& registry;
    net::control_port& control;
    // Any thread: this access key's time begins now. Told again and again until its end is known.
    std::function<void(const std::string& access_key_id)> first_used;
    // Any thread: an answer has told the account of this upstream key.
    std::function<void(const std::string& key_id, const std::string& label)> account_told;
    // Any thread: an answer has told that long-lived work has ended, and what it cost.
    std::function<void(usage::late_state)> late_seen;
    store::object_desk* objects = nullptr;         // null: accounts of objects are not kept
    incidents* noticed = nullptr;                  // null: nobody wants to know
    span_queue* spans = nullptr;                   // null: nothing is traced
    std::shared_ptr<net::tls_server_context> tls;  // null: plain HTTP
    pool::session_table sessions{};
    load now;
    std::atomic<bool> draining{false};
    bool own_admin_port = false;  // /admin is on a listener of its own and nowhere else
};

// Made and destroyed by the composition root while its loop does not run; between these, everything
// is called on the loop's thread only.
class worker {
  public:
    worker(net::loop& on, services& shared, store::journal_writer& journal,
           std::shared_ptr<const snapshot> first);
    worker(const worker&) = delete;
    worker& operator=(const worker&) = delete;
    ~worker();

    // Throws std::runtime_error when the address cannot be had.
    void listen(const net::listen_options& at);
    // Plain HTTP, health and metrics alone. Once set, the other port answers no metrics.
    void listen_for_health(const net::listen_options& at);
    // /admin and health alone, by TLS where the other port has it.
    void listen_for_admin(const net::listen_options& at);
    [[nodiscard]] std::uint16_t port() const noexcept;

    // From the next exchange on.
    void replace_snapshot(std::shared_ptr<const snapshot> next);

    // Graceful stop: no new connections, idle ones are closed, running exchanges end theirs.
    void drain();
    // What still runs is cut.
    void cut_all();
    [[nodiscard]] std::size_t session_count() const noexcept { return sessions_.size(); }

    [[nodiscard]] net::loop& loop() noexcept { return loop_; }
    [[nodiscard]] services& shared() noexcept { return shared_; }
    [[nodiscard]] const snapshot& current() const noexcept { return **snapshot_; }
    // Holds the current snapshot at the price of a count that only this thread touches.
    [[nodiscard]] std::shared_ptr<const std::shared_ptr<const snapshot>> hold() const noexcept {
        return snapshot_;
    }
    [[nodiscard]] wall_time wall() const noexcept { return shared_.clock.wall(); }
    [[nodiscard]] mono_time mono() const noexcept { return shared_.clock.mono(); }
    [[nodiscard]] random_source& random() noexcept { return random_; }
    [[nodiscard]] net::dns_cache& dns() noexcept { return dns_; }
    [[nodiscard]] net::connection_cache& connections() noexcept { return connections_; }
    [[nodiscard]] pool::selector& selector() noexcept { return selector_; }
    [[nodiscard]] auth::authenticator& authenticator() noexcept { return authenticator_; }
    [[nodiscard]] store::journal_writer& journal() noexcept { return journal_; }
    [[nodiscard]] object_cache& objects() noexcept { return objects_; }
    // Only where accounts of objects are kept.
    [[nodiscard]] place_finder& places() noexcept { return *places_; }
    // True once for each key and snapshot.
    [[nodiscard]] bool is_first_answer_of(const pool::upstream_key* key) {
        return answered_.insert(key).second;
    }
    // Null where there is no admission.
    [[nodiscard]] lease_renewer* leases() noexcept { return leases_ ? &*leases_ : nullptr; }
    [[nodiscard]] worker_metrics& metrics() noexcept { return metrics_; }

    // The line before the budget of kept bodies.
    [[nodiscard]] memory_queue& kept_bodies() noexcept { return kept_bodies_; }

    // The line before the budget of what streams hold.
    [[nodiscard]] memory_queue& in_flight() noexcept { return in_flight_; }

    // The one large read buffer. Its content is lost at the next co_await.
    [[nodiscard]] std::span<char> scratch() noexcept { return {scratch_.get(), scratch_size}; }
    // As much of it as a stream may read at once: what it reads it may have to hold.
    [[nodiscard]] std::span<char> stream_scratch() noexcept {
        return scratch().first(shared_.now.in_flight.full() ? scarce_read : scratch_size);
    }
    // An empty text with room, for one step; whoever takes it gives back what it has grown to.
    [[nodiscard]] std::string& spare_text() noexcept { return spare_text_; }
    [[nodiscard]] net::endpoint_id endpoint(const upstream_target& target) {
        return connections_.id_for(target.identity);
    }

    // True once for each model; of more models than anyone has, for none.
    [[nodiscard]] bool is_first_unpriced(std::string_view model);

    // Into the journal: what was ordered by an exchange that is long over. False: it is full.
    [[nodiscard]] bool book_late(const store::ledger_record& record);

    // About once a second for each access key whose budget is near its end.
    [[nodiscard]] bool is_time_to_tell(const std::string& access_key_id) {
        return near_end_.insert(access_key_id, loop_.now());
    }

    // Tells of it once for each snapshot.
    void note_first_use(const std::string& access_key_id);

    void add(session& s);
    void remove(session& s) noexcept;

  private:
    static constexpr std::size_t scratch_size = 64 * 1024;
    static constexpr std::size_t scarce_read = 4 * 1024;

    static constexpr std::size_t max_refusals = 256;  // under way at a time

    std::unique_ptr<net::listener> open(const net::listen_options& at, session_scope scope);
    void apply_limits() noexcept;
    void accepted(std::unique_ptr<net::stream> client, session_scope scope);
    net::task<void> refuse(std::unique_ptr<net::stream> client);

    net::loop& loop_;
    services& shared_;
    store::journal_writer& journal_;
    std::shared_ptr<const std::shared_ptr<const snapshot>> snapshot_;
    random_source random_;
    net::dns_cache dns_;
    net::connection_cache connections_;
    pool::selector selector_;
    auth::authenticator authenticator_;
    worker_metrics metrics_;
    std::unique_ptr<store::admission> lane_;  // null: all workers use the one
    std::optional<lease_renewer> leases_;
    memory_queue kept_bodies_;
    memory_queue in_flight_;
    std::unique_ptr<char[]> scratch_;
    std::string spare_text_;
    std::unique_ptr<net::listener> listener_;
    std::unique_ptr<net::listener> health_listener_;
    std::unique_ptr<net::listener> admin_listener_;
    std::unordered_set<session*> sessions_;
    std::size_t refusals_ = 0;
    std::unordered_set<std::string> unpriced_;
    std::unordered_set<std::string> first_used_;
    recent_names near_end_;
    object_cache objects_;
    std::optional<place_finder> places_;
    boost::unordered_flat_set<const pool::upstream_key*> answered_;
};

}  // namespace kw::proxy
