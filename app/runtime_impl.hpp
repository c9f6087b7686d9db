// What the runtime is made of, for the files that implement it: runtime.cpp (construction, start,
// end), control.cpp (the control thread's rounds), settings.cpp (settings at run time) and
// master_key.cpp (what seals stored secrets).
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "admin/admin_api.hpp"
#include "admin/config_port.hpp"
#include "admin/lease_desk.hpp"
#include "admin/trail.hpp"
#include "app/runtime.hpp"
#include "app/snapshot_builder.hpp"
#include "auth/waiting_lines.hpp"
#include "config/loader.hpp"
#include "core/clock.hpp"
#include "core/crypto.hpp"
#include "core/ids.hpp"
#include "core/incidents.hpp"
#include "core/metrics.hpp"
#include "core/spans.hpp"
#include "jobs/account_labels.hpp"
#include "jobs/budget_loader.hpp"
#include "jobs/cap_lessee.hpp"
#include "jobs/catalog.hpp"
#include "jobs/first_uses.hpp"
#include "jobs/key_sharer.hpp"
#include "jobs/key_tester.hpp"
#include "jobs/late_biller.hpp"
#include "jobs/notifier.hpp"
#include "jobs/prober.hpp"
#include "jobs/quota_sync.hpp"
#include "jobs/resealer.hpp"
#include "jobs/seed.hpp"
#include "jobs/side_thread.hpp"
#include "jobs/snapshot_saver.hpp"
#include "jobs/span_exporter.hpp"
#include "jobs/told_notices.hpp"
#include "jobs/watcher.hpp"
#include "mock/mock_upstream.hpp"
#include "net/control_port.hpp"
#include "net/resolver.hpp"
#include "net/worker_thread.hpp"
#include "pool/health.hpp"
#include "pool/key_state.hpp"
#include "proxy/worker.hpp"
#include "store/admission.hpp"
#include "store/caps.hpp"
#include "store/journal.hpp"
#include "store/journal_shipper.hpp"
#include "store/objects.hpp"
#include "store/store.hpp"

namespace kw::app {

[[nodiscard]] std::int64_t modified_at(const std::string& path) noexcept;  // 0: no such file

[[nodiscard]] std::string name_of_host();
// Host and process, for a person.
[[nodiscard]] std::string name_of_process();

[[nodiscard]] pool::health_settings health_of(const config::pool_settings& s);

struct runtime::impl final : net::control_port, admin::config_port {
    explicit impl(serve_options o);
    ~impl() override;

    // ---- start-up, main thread
    void open_store();
    void open_sealer();
    void make_resealer();
    [[nodiscard]] result<void> check_master_keys() const;
    void open_secrets();
    void start_demo();
    void take_stored_settings();
    result<void> open_pepper();
    [[nodiscard]] std::vector<secret> more_peppers() const;
    result<void> join_store();
    void first_access_key();
    void open_listeners();

    // ---- control thread
    void handle(net::control_request request,
                std::function<void(net::control_response)> done) override;
    [[nodiscard]] bool ready() const noexcept override { return ready_.load(); }
    net::task<void> feed_rounds();
    net::task<void> key_rounds();
    void show_caps();
    [[nodiscard]] std::int64_t tokens_today(const std::string& key_id);
    net::task<void> second_rounds();
    net::task<void> watch_rounds();
    void refresh(bool force);
    void publish();
    void renew_admin_key();
    [[nodiscard]] std::string_view admin_host() const noexcept;
    void load_budgets();
    void settle_recovered(std::span<const store::ledger_record_view> records);
    void add_master_keys();
    [[nodiscard]] result<std::string> wanted_master_key();
    void master_key_finished(const std::string& id);
    void note_first_use(const std::string& access_key_id);
    void report(const std::vector<pool::health_event>& events);
    void report_expired_keys();
    [[nodiscard]] std::optional<jobs::probe_subject> find_probe(const std::string& key_id);
    [[nodiscard]] net::task<result<std::string>> ask_quota(std::string key_id);
    // ---- what operators are told (notices.cpp)
    void make_notifier();
    [[nodiscard]] net::task<result<void>> send_notice(config::channel_settings to,
                                                      jobs::notice_message m);
    [[nodiscard]] std::vector<config::channel_settings> channels();
    void tell_of(const pool::health_event& e, const std::string& alias);
    [[nodiscard]] jobs::readings read_now();
    void look_at_budgets();
    void notice_round();
    [[nodiscard]] net::task<result<int>> send_traces(net::http_request r);
    net::task<void> trace_rounds();
    void say_last_words(const std::function<bool()>& hurry);
    [[nodiscard]] std::string deliveries_of(const std::string& channel_id) const;

    void make_late_biller();
    void count_late(const store::ledger_record& record, const std::string& exchange_id);
    [[nodiscard]] net::task<void> ask_for_late(jobs::late_biller::debt debt);
    net::task<void> late_rounds();
    [[nodiscard]] net::task<jobs::probe_answer> call_probe(jobs::probe_subject subject);
    void apply_configuration(config::loaded next);
    void reload();
    bool reload_settings();
    [[nodiscard]] config::load_result load_all();
    [[nodiscard]] config::stored_settings stored_settings() const;
    [[nodiscard]] bool stored_settings_changed() const;
    void keep_demo(config::settings& next) const;
    [[nodiscard]] const config::loaded& in_force() const override { return loaded_; }
    [[nodiscard]] config::load_result with(const config::stored_settings& stored) const override;
    [[nodiscard]] std::optional<std::string> variable(const std::string& name) const override;
    [[nodiscard]] jobs::seed_context seeding() {
        return {*store_, *sealer_, pepper_, clock_, random_};
    }
    [[nodiscard]] std::shared_ptr<const config::settings> settings() const {
        const std::lock_guard lock(settings_mutex_);
        return settings_;
    }
    void watch_metrics();

    serve_options options_;
    system_clock_source clock_;
    random_source random_;
    mutable std::mutex settings_mutex_;
    std::shared_ptr<const config::settings> settings_;
    config::loaded loaded_;
    std::uint64_t settings_revision_ = 0;  // of the stored settings that are in force

    std::unique_ptr<mock::mock_upstream> demo_;
    std::unique_ptr<crypto::sealer> sealer_;
    std::string wanted_key_;  // id of the master key that the configuration names
    std::unique_ptr<store::store> store_;
    std::unique_ptr<store::journal> journal_;
    std::unique_ptr<store::journal_shipper> shipper_;
    secret pepper_;
    std::string first_key_note_;

    metrics::registry registry_;
    pool::state_table states_;
    pool::health health_;
    std::unique_ptr<jobs::catalog> catalog_;
    std::unique_ptr<jobs::snapshot_saver> saver_;  // none with the embedded store
    std::unique_ptr<jobs::resealer> resealer_;
    snapshot_builder builder_{states_};
    std::unique_ptr<admin::trail> trail_;
    std::unique_ptr<admin::lease_desk> leases_;
    std::unique_ptr<admin::admin_api> admin_;
    secret admin_key_;                             // as the admin API knows it
    std::unique_ptr<store::admission> admission_;  // outlives the workers
    auth::waiting_lines lines_{registry_};
    std::unique_ptr<jobs::budget_loader> budgets_;
    std::unique_ptr<jobs::first_uses> first_uses_;
    std::unique_ptr<jobs::account_labels> labels_;
    std::unique_ptr<jobs::late_biller> late_;
    std::unique_ptr<store::object_desk> objects_;  // its answers go to the workers' loops
    std::unique_ptr<jobs::key_sharer> sharer_;
    std::unique_ptr<store::cap_board> caps_;
    std::unique_ptr<jobs::cap_lessee> lessee_;
    std::map<std::string, std::int64_t> tokens_today_;  // by upstream key
    mono_time tokens_today_at_{};
    std::unique_ptr<proxy::services> services_;
    net::resolver resolver_;

    net::worker_thread control_;
    jobs::side_thread aside_{8};  // hashes passwords; ends before the thread that it answers to
    std::unique_ptr<net::dns_cache> control_dns_;
    std::unique_ptr<jobs::prober> prober_;
    std::unique_ptr<jobs::key_tester> tester_;
    std::unique_ptr<jobs::quota_sync> quotas_;
    struct read_channel {
        std::uint64_t revision = 0;
        std::optional<config::channel_settings> channel;  // none: it does not open
    };
    incidents noticed_;  // by workers and admin API
    span_queue spans_;
    std::unique_ptr<jobs::span_exporter> traces_;
    std::unique_ptr<jobs::notifier> notifier_;
    std::unique_ptr<jobs::watcher> watcher_;
    std::unique_ptr<jobs::told_notices> told_;
    std::map<std::string, read_channel> channels_;
    std::set<std::string> near_keys_;            // access keys with a budget near its end
    std::string budgets_seen_to_;                // the walk over all access keys: the last one
    std::vector<metrics::gauge*> budgets_near_;  // by period
    metrics::gauge* certificate_end_ = nullptr;  // null: no TLS
    std::uint64_t memory_limit_ = 0;
    double cpus_ = 1;
    std::vector<std::unique_ptr<net::worker_thread>> threads_;
    std::vector<std::unique_ptr<proxy::worker>> workers_;
    std::atomic<bool> ready_{false};
    std::atomic<bool> stopping_{false};
    bool stale_ = false;   // the store is away; what is known is as of its last answer
    bool seeded_ = false;  // what the configuration declares has been compared with the store
    std::map<std::string, std::int64_t> watched_;
    wall_time expiry_seen_{};
    std::vector<auth::access_key_ptr> limited_;  // whose budgets are to be loaded
};

}  // namespace kw::app
