// Composition root: construction in order of dependency, the control thread's rounds, and the end.
#include "app/runtime_impl.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "app/opening.hpp"
#include "auth/key_text.hpp"
#include "auth/pepper.hpp"
#include "config/base_url.hpp"
#include "config/describe.hpp"
#include "core/cpu_quota.hpp"
#include "core/log.hpp"
#include "core/log_history.hpp"
#include "core/resources.hpp"
#include "jobs/seed.hpp"
#include "mock/mock_upstream.hpp"
#include "net/worker_thread.hpp"
#include "pool/strategy.hpp"
#include "proxy/worker.hpp"
#include "store/data_dir.hpp"
#include "store/journal_shipper.hpp"
#include "store/snapshot_file.hpp"

namespace kw::app {
namespace {

using namespace std::chrono_literals;

[[noreturn]] void give_up(const std::string& message) {
    throw std::runtime_error(message);
}

template <class T>
T value_or_give_up(result<T> r, const std::string& what) {
    if (!r) give_up(what + ": " + r.error().context);
    return std::move(*r);
}

store::fsync_policy fsync_of(config::fsync_policy p) noexcept {
    switch (p) {
        case config::fsync_policy::always:
            return store::fsync_policy::always;
        case config::fsync_policy::no:
            return store::fsync_policy::no;
        case config::fsync_policy::everysec:
            break;
    }
    return store::fsync_policy::everysec;
}

}  // namespace

std::int64_t modified_at(const std::string& path) noexcept {
    struct stat s{};
    if (::stat(path.c_str(), &s) != 0) return 0;
    return s.st_mtim.tv_sec * 1'000'000'000LL + s.st_mtim.tv_nsec;
}

config::load_result load_configuration(const std::string& file, const config::environment& env,
                                       const config::stored_settings& stored,
                                       bool leave_out_faults) {
    static const std::vector<std::string> strategies = pool::strategies::names();
    static const std::vector<std::string_view> views(strategies.begin(), strategies.end());
    static constexpr std::array<std::string_view, 6> providers = {
        "openai", "openai-compatible", "anthropic", "google", "gemini", "demo"};
    const config::known_names known{.strategies = views, .providers = providers};
    auto loaded = leave_out_faults ? config::load_over(file, env, known, stored)
                                   : config::load(file, env, known, stored);
    if (!loaded) return loaded;
    config::problem_list bad;
    const auto check = [&](const secret& text, const std::string& key) {
        if (auth::declarable(text.reveal())) return;
        const auto from = loaded->origins.find(key);
        bad.items.push_back({from == loaded->origins.end() ? config::origin{} : from->second, key,
                             "holds a text that cannot be an access key",
                             "use 8 to 512 visible ASCII characters without a comma"});
    };
    for (const secret& text : loaded->values.auth.access_keys)
        check(text, "auth.access_keys");
    const auto refuse = [&](const std::string& key, const std::string& origin, const error& why) {
        const auto from = loaded->origins.find(origin);
        bad.items.push_back({from == loaded->origins.end() ? config::origin{} : from->second, key,
                             "holds what is no limit", why.context});
    };
    for (const auto& key : loaded->values.access_keys) {
        const auto name = "access_keys." + key.name;
        check(key.key, name);
        if (const auto read = auth::limits_from_texts(key.limits); !read)
            refuse(name + ".limits", name, read.error());
        if (std::ranges::any_of(key.permissions,
                                [](const auto& p) { return p != auth::permission_lease; }))
            refuse(name + ".permissions", name,
                   error(errc::invalid_argument, "write lease, or nothing"));
    }
    if (const auto read = auth::limits_from_texts(loaded->values.limits.defaults); !read)
        refuse("limits.defaults", "limits.defaults", read.error());
    if (!bad.items.empty()) return bad;
    return loaded;
}

namespace {

config::loaded load_or_give_up(const serve_options& o) {
    auto loaded = load_configuration(o.config_file, o.env);
    if (loaded) return std::move(*loaded);
    std::string text = "the configuration is refused:";
    for (const auto& p : loaded.error().items)
        text += "\n  " + p.to_string();
    give_up(text);
}

// Nobody else reads the embedded store: uses go to its disk now and then, for the next start.
jobs::sharing_options sharing_of(const config::settings& s) {
    jobs::sharing_options o;
    o.peers = !s.store.redis_url.empty();
    if (!o.peers) o.uses_every = 10s;
    return o;
}

unsigned worker_count_of(const config::settings& s) {
    if (s.server.workers > 0) return s.server.workers;
    return worker_count(affinity_cpus(), cgroup_cpu_quota());
}

}  // namespace

runtime::impl::impl(serve_options o)
    : options_(std::move(o)),
      loaded_(load_or_give_up(options_)),
      registry_(worker_count_of(loaded_.values) + 2),
      health_(states_, health_of(loaded_.values.pool)),
      control_("kw-control", clock_) {
    log::recent().resize(loaded_.values.log.history_lines);
    log::start({.min = loaded_.values.log.level,
                .json = loaded_.values.log.format == config::log_format::json,
                .file = loaded_.values.log.file,
                .keep_days = loaded_.values.log.keep_days});
    for (const std::string& warning : loaded_.warnings)
        log::event(log::level::warn, "configuration.warning", {{"text", warning}});
    net::raise_descriptor_limit();
    start_demo();
    settings_ = std::make_shared<const config::settings>(loaded_.values);
    open_store();
    take_stored_settings();
    open_secrets();
    if (!stale_) first_access_key();
    open_listeners();
}

void runtime::impl::start_demo() {
    auto& values = loaded_.values;
    const bool any_key =
        std::ranges::any_of(values.groups, [](const auto& g) { return !g.keys.empty(); });
    if (!options_.demo_if_no_keys || any_key) return;
    mock::mock_options o;
    o.pace = 20ms;
    o.tokens = 40;
    demo_ = std::make_unique<mock::mock_upstream>(o);
    const std::uint16_t port = demo_->start();
    config::group_settings g;
    g.id = "demo";
    g.name = "Demo";
    g.description = "Made-up answers by the built-in mock upstream.";
    g.base_url = "http://127.0.0.1:" + std::to_string(port) + "/v1";
    g.upstream = values.upstream;
    g.pool = values.pool;
    g.disconnect = values.disconnect;
    g.keys = {secret("demo-key-1"), secret("demo-key-2"), secret("demo-key-3")};
    values.groups.push_back(std::move(g));
}

void runtime::impl::open_store() {
    const auto& s = loaded_.values.store;
    auto made = store::make_folder(s.data_dir);
    if (!made) give_up("store.data_dir: " + made.error().context);
    open_sealer();
    if (s.redis_url.empty()) {
        store_ = value_or_give_up(
            store::open_embedded({.data_dir = s.data_dir, .keep = retention_of(loaded_.values)},
                                 clock_),
            "the embedded store in " + s.data_dir);
        admission_ = store::make_embedded_admission({}, clock_);
        caps_ = store::make_embedded_caps(clock_);
        objects_ = std::make_unique<store::object_desk>(value_or_give_up(
            store::open_embedded_objects(s.data_dir, loaded_.values.objects.max_bound, clock_),
            "the objects in " + s.data_dir));
    } else {
        const store::redis_options r = redis_options_of(loaded_.values);
        store_ = value_or_give_up(store::open_redis(r, clock_), "store.redis_url");
        admission_ =
            value_or_give_up(store::open_redis_admission(r, {}, clock_), "store.redis_url");
        caps_ = value_or_give_up(store::open_redis_caps(r, clock_), "store.redis_url");
        objects_ = std::make_unique<store::object_desk>(
            value_or_give_up(store::open_redis_objects(r, loaded_.values.objects.max_bound, clock_),
                             "store.redis_url"));
        if (auto found = store_->preflight(); found && !found->empty()) {
            for (const std::string& text : *found)
                log::event(log::level::warn, "redis.preflight", {{"text", text}});
            if (s.redis_preflight == config::preflight_policy::strict)
                give_up("Redis is not set up safely (store.redis_preflight is strict): " +
                        found->front());
        }
    }
    catalog_ = std::make_unique<jobs::catalog>(*store_, *sealer_);
    make_resealer();
    catalog_->access_keys().set_default_limits(auth::default_limits(loaded_.values.limits));
    journal_ = value_or_give_up(store::journal::open({.folder = s.data_dir + "/journal",
                                                      .fsync = fsync_of(s.journal_fsync),
                                                      .max_bytes = s.journal_max_bytes},
                                                     worker_count_of(loaded_.values)),
                                "the journal in " + s.data_dir + "/journal");
    store::shipper_options shipping;
    shipping.recovered = [this](std::span<const store::ledger_record_view> records) {
        settle_recovered(records);
    };
    shipper_ = std::make_unique<store::journal_shipper>(*journal_, *store_, clock_, shipping);

    const auto read = catalog_->refresh();
    if (s.redis_url.empty()) {  // its file is at hand, or nothing is
        if (!read) give_up("the embedded store in " + s.data_dir + ": " + read.error().context);
        return;
    }
    const std::string saved_snapshot = s.data_dir + "/snapshot.sealed";
    saver_ = std::make_unique<jobs::snapshot_saver>(
        saved_snapshot, *sealer_, [this] { return catalog_->save(); }, clock_, registry_);
    if (!read) {
        stale_ = true;
        const auto old = catalog_->load(store::snapshot_file(saved_snapshot, *sealer_));
        if (!old && old.error().code != errc::store_not_found)
            give_up("the store is out of reach (" + read.error().context +
                    ") and the saved snapshot cannot be used (" + old.error().context + ")");
        log::event(
            log::level::warn, "store.unavailable_at_start",
            {{"err", read.error().context},
             {"hint", old ? "serving from the saved snapshot"
                          : "there is no saved snapshot: not ready until the store is back"}});
    }
}

void runtime::impl::open_secrets() {
    if (auto ok = check_master_keys(); !ok) give_up(ok.error().context);
    resealer_->follow();
    if (!stale_) {
        if (auto done = join_store(); !done) give_up(done.error().context);
    } else if (catalog_->find(auth::pepper_kind, auth::pepper_id) != nullptr) {
        if (auto done = open_pepper(); !done) give_up(done.error().context);
    }
}

void runtime::impl::first_access_key() {
    const auto& values = loaded_.values;
    if (values.auth.open || !catalog_->access_keys().all().empty()) return;
    if (!config::is_loopback(values.server.host)) {
        give_up("there is no access key, so anybody who reaches " + values.server.host +
                " would spend your upstream keys: set API_ACCESS_KEY, or auth.open: true if that "
                "is what you want, or listen on 127.0.0.1");
    }
    const secret text =
        value_or_give_up(jobs::make_access_key("first", seeding()), "the first access key");
    const std::string file = values.store.data_dir + "/first_access_key";
    auto kept = store::replace_file(file, std::string(text.reveal()) + "\n");
    first_key_note_ = std::string(text.reveal());
    if (!kept)
        log::event(log::level::warn, "first_access_key.not_kept", {{"err", kept.error().context}});
    (void)catalog_->refresh();
}

void runtime::impl::open_listeners() {
    const auto& server = loaded_.values.server;
    auto first = builder_.build(settings_, *catalog_, pepper_, more_peppers(), stale_);
    if (!first) give_up(first.error().context);
    sharer_ = std::make_unique<jobs::key_sharer>(
        *store_, states_, health_, clock_, random_,
        [this](const std::string& id) { return catalog_->keys().contains(id); },
        sharing_of(loaded_.values));
    sharer_->round();  // what was known before the last stop
    lessee_ = std::make_unique<jobs::cap_lessee>(
        *caps_, states_, clock_, random_,
        [this](const std::string& id) { return tokens_today(id); });
    show_caps();
    lessee_->round();

    std::shared_ptr<net::tls_server_context> tls;
    if (!server.tls_certificate.empty()) {
        tls = value_or_give_up(
            net::tls_server_context::create(
                {.certificate_file = server.tls_certificate, .key_file = server.tls_key}),
            "server.tls_certificate");
    }
    admin_key_ = loaded_.values.auth.admin_key;
    auto guard = auth::admin_guard::make(admin_key_, config::is_loopback(admin_host()));
    if (!guard) give_up("auth.admin_key: " + guard.error().context);
    trail_ = std::make_unique<admin::trail>(*store_, clock_, random_source());
    budgets_ = std::make_unique<jobs::budget_loader>(*store_, *admission_, clock_);
    // Budgets in memory begin with the books: what a dead process left belongs to these.
    if (loaded_.values.store.redis_url.empty() && !shipper_->flush(1min))
        log::event(log::level::warn, "journal.not_flushed",
                   {{"records", shipper_->stats().backlog_records},
                    {"hint", "budgets count these requests from the next start on"}});
    load_budgets();
    first_uses_ = std::make_unique<jobs::first_uses>(*store_);
    labels_ = std::make_unique<jobs::account_labels>(*store_);
    const auto find = [this](const std::string& id) { return find_probe(id); };
    const auto call = [this](jobs::probe_subject s) { return call_probe(std::move(s)); };
    prober_ = std::make_unique<jobs::prober>(health_, states_, clock_, find, call);
    tester_ = std::make_unique<jobs::key_tester>(health_, states_, clock_, find, call);
    quotas_ = std::make_unique<jobs::quota_sync>(
        *store_, *catalog_, states_, clock_,
        [this](std::string id) { return ask_quota(std::move(id)); }, random_source());
    leases_ = std::make_unique<admin::lease_desk>(admin::lease_desk::surroundings{
        .store = *store_,
        .audit = *trail_,
        .states = states_,
        .clock = clock_,
        .pepper = pepper_,
        .keys = catalog_->keys(),
        .groups = catalog_->groups(),
        .settings = [this] { return settings(); },
        .books = [this] { return catalog_->of_kind(pool::lease_book_kind); },
        .changed = [this] { refresh(false); }});
    admin_ = std::make_unique<admin::admin_api>(
        admin::admin_services{
            .store = *trail_,
            .access_keys = catalog_->access_keys(),
            .follow =
                [this] {
                    refresh(false);
                    return catalog_->from_file() ? 0 : catalog_->revision();
                },
            .sealer = *sealer_,
            .pepper = pepper_,
            .states = states_,
            .health = health_,
            .registry = registry_,
            .clock = clock_,
            .tests = *tester_,
            .aside =
                [this](std::function<void()> work, std::function<void()> then) {
                    return aside_.run([this, work = std::move(work), then = std::move(then)] {
                        work();
                        control_.get().post(then);
                    });
                },
            .changed = [this] { refresh(false); },
            .settings = [this] { return settings(); },
            .prices = [this] { return builder_.prices(); },
            .shipper = [this] { return shipper_->stats(); },
            .journal_healthy = [this] { return journal_->healthy(); },
            .declared_groups = {},
            .workers = worker_count_of(loaded_.values),
            .admission = admission_.get(),
            .config = this,
            .lines = &lines_,
            .leases = leases_.get(),
            .master_keys = resealer_.get(),
            .sync_quotas = [this] { return quotas_->sync_all(); },
            .test_channel =
                [this](config::channel_settings to, std::function<void(result<void>)> done) {
                    notifier_->test(std::move(to), std::move(done));
                },
            .deliveries_of = [this](const std::string& id) { return deliveries_of(id); },
            .noticed = &noticed_,
            .quota_of = [this](const std::string& id) { return quotas_->describe(id); }},
        std::move(*guard));
    make_late_biller();
    services_ = std::unique_ptr<proxy::services>(new proxy::services{
        .clock = clock_,
        .admission = admission_.get(),
        .lines = lines_,
        .resolver = resolver_,
        .key_states = states_,
        .health = health_,
        .registry = registry_,
        .control = *this,
        .first_used = [this](const std::string& id) { note_first_use(id); },
        .account_told =
            [this](const std::string& id, const std::string& label) {
                control_.get().post([this, id, label] { labels_->note(id, label); });
            },
        .late_seen =
            [this](usage::late_state state) {
                control_.get().post(
                    [this, s = std::move(state)]() mutable { late_->seen(std::move(s)); });
            },
        .objects = objects_.get(),
        .noticed = &noticed_,
        .spans = &spans_,
        .tls = tls,
        .now = {},
        .draining = {},
        .own_admin_port = loaded_.values.admin.port != 0});
    const unsigned count = worker_count_of(loaded_.values);
    std::uint16_t port = server.port;
    for (unsigned i = 0; i < count; ++i) {
        threads_.push_back(
            std::make_unique<net::worker_thread>("kw-worker-" + std::to_string(i), clock_));
        workers_.push_back(std::make_unique<proxy::worker>(threads_[i]->get(), *services_,
                                                           journal_->writer(i), *first));
        workers_[i]->listen({.host = server.host, .port = port});
        port = workers_[i]->port();
    }
    if (server.health_port != 0)
        workers_.front()->listen_for_health(
            {.host = server.host, .port = server.health_port, .reuse_port = false});
    if (loaded_.values.admin.port != 0)
        workers_.front()->listen_for_admin({.host = std::string(admin_host()),
                                            .port = loaded_.values.admin.port,
                                            .reuse_port = false});
    watch_metrics();
    make_notifier();
}

// Where /admin can be reached.
std::string_view runtime::impl::admin_host() const noexcept {
    const auto& admin = loaded_.values.admin;
    return admin.host.empty() ? loaded_.values.server.host : admin.host;
}

void runtime::impl::watch_metrics() {
    auto& up = registry_.gauge("keywheel_store_up", "Whether the store answers.");
    auto& backlog = registry_.gauge("keywheel_journal_backlog_records",
                                    "Records in the journal that the store has not confirmed.");
    auto& age = registry_.gauge("keywheel_journal_oldest_unconfirmed_seconds",
                                "Age of the oldest such record.");
    auto& bytes = registry_.gauge("keywheel_journal_disk_bytes", "Size of the journal on disk.");
    auto& kept = registry_.gauge("keywheel_kept_body_bytes",
                                 "Request bodies (and large heads) held in memory.");
    auto& bodies_waiting =
        registry_.gauge("keywheel_bodies_waiting", "Request bodies that wait unread for memory.");
    auto& in_flight = registry_.gauge("keywheel_bytes_in_flight", "Memory that streams hold.");
    auto& events_waiting = registry_.gauge("keywheel_events_waiting",
                                           "Streams that wait unread for memory of a large event.");
    auto& dropped = registry_.gauge("keywheel_log_lines_dropped", "Log lines that were lost.");
    std::vector<metrics::gauge*> by_status;
    constexpr std::array all = {pool::key_status::active, pool::key_status::cooling,
                                pool::key_status::quarantined, pool::key_status::banned,
                                pool::key_status::disabled};
    for (const auto s : all)
        by_status.push_back(&registry_.gauge("keywheel_upstream_keys", "Upstream keys by state.",
                                             {{"status", pool::to_string(s)}}));
    registry_.before_render([this, &up, &backlog, &age, &bytes, &kept, &bodies_waiting, &in_flight,
                             &events_waiting, &dropped, by_status] {
        up.set(store_->health().up ? 1 : 0);
        const auto stats = shipper_->stats();
        backlog.set(static_cast<double>(stats.backlog_records));
        age.set(static_cast<double>(stats.oldest_unconfirmed.count()) / 1000);
        bytes.set(static_cast<double>(journal_->disk_bytes()));
        kept.set(static_cast<double>(services_->now.kept_bodies.used()));
        bodies_waiting.set(static_cast<double>(services_->now.kept_bodies.waiting()));
        in_flight.set(static_cast<double>(services_->now.in_flight.used()));
        events_waiting.set(static_cast<double>(services_->now.in_flight.waiting()));
        dropped.set(static_cast<double>(log::dropped()));
        std::array<std::size_t, 5> count{};
        for (const auto& [id, slot] : states_.all()) {
            if (const auto* state = states_.get(slot))
                ++count[static_cast<std::size_t>(state->status())];
        }
        for (std::size_t i = 0; i < count.size(); ++i)
            by_status[i]->set(static_cast<double>(count[i]));
    });
}

runtime::impl::~impl() {
    log::stop();
}

// ---- the main thread's view

runtime::runtime(serve_options options) : impl_(std::make_unique<impl>(std::move(options))) {}
runtime::~runtime() = default;

void runtime::start() {
    impl& m = *impl_;
    m.shipper_->start();
    for (auto& t : m.threads_)
        t->start();
    m.control_.start([&m](net::loop& on) {
        m.control_dns_ = std::make_unique<net::dns_cache>(on, m.resolver_);
        m.refresh(true);
        net::spawn("feed", m.feed_rounds());
        net::spawn("keys", m.key_rounds());
        net::spawn("rounds", m.second_rounds());
        net::spawn("watch", m.watch_rounds());
        net::spawn("late work", m.late_rounds());
        net::spawn("traces", m.trace_rounds());
    });
    log::event(log::level::info, "server.started",
               {{"version", KEYWHEEL_VERSION},
                {"host", m.settings()->server.host},
                {"port", port()},
                {"workers", m.workers_.size()},
                {"store", m.store_->name()}});
}

void runtime::reload() {
    impl& m = *impl_;
    m.control_.get().post([&m] { m.reload(); });
}

void runtime::stop(const std::function<bool()>& hurry) {
    impl& m = *impl_;
    m.services_->draining = true;
    log::event(log::level::info, "server.draining");
    const auto each = [&m](void (proxy::worker::*call)()) {
        for (std::size_t i = 0; i < m.workers_.size(); ++i) {
            proxy::worker* w = m.workers_[i].get();
            m.threads_[i]->get().post([w, call] { (w->*call)(); });
        }
    };
    const auto wait_for_sessions = [&m](mono_time until, const std::function<bool()>& give_up_now) {
        while (m.services_->now.connections.load() > 0 && m.clock_.mono() < until && !give_up_now())
            std::this_thread::sleep_for(5ms);
    };
    each(&proxy::worker::drain);
    wait_for_sessions(m.clock_.mono() + m.settings()->server.shutdown_timeout, hurry);
    each(&proxy::worker::cut_all);
    wait_for_sessions(m.clock_.mono() + 2s, [] { return false; });
    for (auto& t : m.threads_) {
        t->stop();
        t->join();
    }
    m.say_last_words(hurry);
    m.stopping_ = true;
    m.control_.stop();
    m.control_.join();
    if (m.saver_) m.saver_->finish();
    m.report(m.health_.drain());
    m.lessee_->leave();
    if (!m.sharer_->flush(3s)) log::event(log::level::warn, "keys.not_flushed");
    if (!m.shipper_->flush(5s))
        log::event(log::level::warn, "journal.not_flushed",
                   {{"records", m.shipper_->stats().backlog_records},
                    {"hint", "the next start ships them"}});
    m.shipper_->stop();
    // Sends what it still has. Its answers go to the loops, so it ends before them.
    m.admission_.reset();
    m.objects_.reset();
    log::event(log::level::info, "server.stopped");
}

std::uint16_t runtime::port() const noexcept {
    return impl_->workers_.front()->port();
}

std::string runtime::greeting() const {
    const impl& m = *impl_;
    const auto settings = m.settings();
    const std::string base = (settings->server.tls_certificate.empty() ? "http://" : "https://") +
                             settings->server.host + ":" + std::to_string(port());
    std::string text = "keywheel " KEYWHEEL_VERSION " serves on " + base + "\n";
    if (m.demo_)
        text +=
            "No upstream key is set, so a demo upstream with made-up answers stands in.\n"
            "Set OPENAI_API_KEY to use a real one.\n";
    std::string key = "YOUR_ACCESS_KEY";
    const std::string file = settings->store.data_dir + "/first_access_key";
    if (!m.first_key_note_.empty()) {
        key = m.first_key_note_;
        text += "Access key (made now, also in " + file + "): " + key + "\n";
    } else if (modified_at(file) != 0) {
        key = "$(cat " + file + ")";
    }
    if (settings->auth.open) key = "any";
    text += "Try it:\n  curl " + base + "/v1/chat/completions -H \"Authorization: Bearer " + key +
            "\" -H 'Content-Type: application/json' -d "
            "'{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'"
            "\n";
    return text;
}

}  // namespace kw::app
