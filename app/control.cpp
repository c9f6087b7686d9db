// The control thread: admin requests, the store's changes, health of keys.
#include <algorithm>

#include "admin/holder_api.hpp"
#include "admin/lease_api.hpp"
#include "app/runtime_impl.hpp"
#include "auth/pepper.hpp"
#include "config/base_url.hpp"
#include "core/log.hpp"
#include "net/http_client.hpp"
#include "net/url.hpp"

namespace kw::app {
namespace {

using namespace std::chrono_literals;

constexpr auto feed_interval = 400ms;
constexpr auto resealing_interval = 50ms;
constexpr auto watch_interval = 2s;
constexpr auto sharing_interval = 200ms;

}  // namespace

void runtime::impl::handle(net::control_request request,
                           std::function<void(net::control_response)> done) {
    control_.get().post([this, r = std::make_shared<net::control_request>(std::move(request)),
                         done = std::move(done)] {
        const bool leases = r->path.starts_with("/api-keys") || r->path == "/release";
        if (!leases && !r->path.starts_with("/v1/")) return admin_->handle(*r, done);
        const auth::access_key* key = catalog_->access_keys().find(r->access_key_id);
        if (leases) {
            // A copy: the records change while the desk works.
            const auto holder = key != nullptr ? std::optional(*key) : std::nullopt;
            return done(admin::answer_lease_call(*r, holder ? &*holder : nullptr, *leases_));
        }
        done(admin::answer_holder(*r, {.store = *store_, .admission = *admission_, .key = key}));
    });
}

// Opens the key under which access keys are hashed; made once for all replicas.
result<void> runtime::impl::open_pepper() {
    const store::record* r = catalog_->find(auth::pepper_kind, auth::pepper_id);
    if (r == nullptr) {
        // Of several replicas that start at once, one wins; all read the winner's.
        const secret made = auth::make_pepper();
        auto put = store_->put(auth::seal_pepper(made, *sealer_));
        if (!put && put.error().code != errc::store_conflict)
            return error(put.error().code, "the store cannot be written: " + put.error().context);
        if (auto read = catalog_->refresh(); !read) return read.error();
        r = catalog_->find(auth::pepper_kind, auth::pepper_id);
    }
    if (r == nullptr)
        return error(errc::internal, "the store holds no key for hashing access keys");
    auto opened = auth::open_pepper(*r, *sealer_);
    if (!opened)
        return error(opened.error().code,
                     "the stored secrets cannot be opened with this encryption key: " +
                         opened.error().context);
    pepper_ = std::move(*opened);
    return {};
}

// Those that came with imported access keys; one that does not open voids these keys alone.
std::vector<secret> runtime::impl::more_peppers() const {
    std::vector<secret> out;
    for (const store::record* r : catalog_->of_kind(auth::pepper_kind)) {
        if (!auth::is_other_pepper(*r) || out.size() + 1 >= auth::max_peppers) continue;
        auto opened = auth::open_pepper(*r, *sealer_);
        if (opened)
            out.push_back(std::move(*opened));
        else
            log::event(log::level::error, "record.unreadable",
                       {{"kind", r->kind}, {"id", r->id}, {"err", opened.error().context}});
    }
    return out;
}

// With the store at hand for the first time: its secrets, and what the configuration declares.
result<void> runtime::impl::join_store() {
    if (auto ok = check_master_keys(); !ok) return ok;
    if (auto done = open_pepper(); !done) return done;
    if (auto done = jobs::seed(*settings(), *catalog_, seeding()); !done)
        return error(done.error().code,
                     "the declared keys cannot be stored: " + done.error().context);
    seeded_ = true;
    if (auto read = catalog_->refresh(); !read) return read.error();
    return {};
}

// Of access keys with limits as they are seen; again where the store was away.
void runtime::impl::load_budgets() {
    for (auto& key : catalog_->access_keys().take_limited())
        limited_.push_back(std::move(key));
    std::erase_if(limited_, [this](const auto& key) { return budgets_->load(*key); });
}

// By the shipper: a process died before it could put real amounts in the place of what it had
// reserved. Twice, or for what was settled, changes nothing.
void runtime::impl::settle_recovered(std::span<const store::ledger_record_view> records) {
    struct ended {
        store::lease_ref which;
        store::amounts real;
        bool priced;
    };
    std::vector<ended> all;
    for (const store::ledger_record_view& r : records) {
        if (r.access_key_id.empty() || r.operator_cost) continue;
        const bool asked = r.attempts > 0 || r.outcome == store::usage_outcome::estimated;
        all.push_back({{std::string(r.access_key_id), std::string(r.id)},
                       {.requests = asked ? 1 : 0,
                        .tokens = r.tokens.total(),
                        .cost = r.rated_cost.value_or(0)},
                       r.rated_cost || r.tokens.total() == 0});
    }
    if (all.empty()) return;
    control_.get().post([this, all = std::move(all)] {
        for (const auto& e : all) {
            const auth::access_key* key = catalog_->access_keys().find(e.which.access_key_id);
            if (key == nullptr || !key->limits) continue;
            // Of unknown price: what was reserved for that stays where it counts.
            const bool costs = std::ranges::any_of(
                key->limits.set->items(),
                [](const store::limit& l) { return l.unit == store::limit_unit::cost; });
            if (e.priced || !costs) admission_->settle(e.which, e.real);
        }
    });
}

// By any worker: the key's time begins now.
void runtime::impl::note_first_use(const std::string& access_key_id) {
    control_.get().post(
        [this, id = access_key_id, at = clock_.wall()] { first_uses_->note(id, at); });
}

// Takes in the store's changes and hands the workers a new snapshot if there were any.
void runtime::impl::refresh(bool force) {
    auto changed = catalog_->refresh();
    const bool stale = !changed;
    if (changed && !seeded_) {
        if (auto done = join_store(); !done)
            log::event(log::level::error, "store.not_joined", {{"err", done.error().context}});
        changed = true;
    }
    resealer_->follow();
    // Published by the reload that they bring about.
    if (!stale && stored_settings_changed() && reload_settings()) return;
    if (force || stale != stale_ || (!stale && *changed)) {
        stale_ = stale;
        publish();
        if (!stale && saver_) saver_->note_change();
    }
    if (!stale && catalog_->take_unsaved() && saver_) saver_->note_change();
    if (!stale) load_budgets();
    ready_ = !pepper_.empty();
}

// Another admin secret counts at once; one that is refused leaves the one before.
void runtime::impl::renew_admin_key() {
    const secret next = settings()->auth.admin_key;
    if (next == admin_key_) return;
    auto guard = auth::admin_guard::make(next, config::is_loopback(admin_host()));
    if (!guard) {
        log::event(log::level::error, "admin_key.refused", {{"err", guard.error().context}});
        return;
    }
    admin_->set_guard(std::move(*guard));
    admin_key_ = next;
}

void runtime::impl::publish() {
    renew_admin_key();
    catalog_->access_keys().set_default_limits(auth::default_limits(settings()->limits));
    auto next = builder_.build(settings(), *catalog_, pepper_, more_peppers(), stale_);
    if (!next) {
        log::event(log::level::error, "snapshot.refused", {{"err", next.error().context}});
        return;
    }
    show_caps();
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        proxy::worker* w = workers_[i].get();
        threads_[i]->get().post([w, snap = *next] { w->replace_snapshot(snap); });
    }
}

void runtime::impl::report(const std::vector<pool::health_event>& events) {
    for (const auto& e : events) {
        const auto key = catalog_->keys().find(e.key_id);
        const std::string alias = key == catalog_->keys().end() ? e.key_id : key->second->alias;
        tell_of(e, alias);
        if (e.kind != pool::health_event::kind_t::state_changed) {
            const bool open = e.kind == pool::health_event::kind_t::breaker_opened;
            log::event(open ? log::level::error : log::level::info,
                       open ? "upstream.breaker_opened" : "upstream.breaker_closed",
                       {{"host", e.host}});
            continue;
        }
        log::event(log::level::warn, "key.state_changed",
                   {{"key", alias},
                    {"from", pool::to_string(e.from)},
                    {"to", pool::to_string(e.to)},
                    {"reason", pool::to_string(e.reason)},
                    {"status", e.status}});
        if (e.firm) sharer_->decided(e.slot);
    }
}

// Expiry itself holds at once, in every worker; this says it to the operator.
void runtime::impl::report_expired_keys() {
    const wall_time now = clock_.wall();
    for (const auth::access_key* key : catalog_->access_keys().expired_between(expiry_seen_, now))
        log::event(log::level::warn, "access_key.expired", {{"id", key->id}, {"name", key->name}});
    expiry_seen_ = now;
}

std::optional<jobs::probe_subject> runtime::impl::find_probe(const std::string& key_id) {
    const auto key = catalog_->keys().find(key_id);
    if (key == catalog_->keys().end() || key->second->value.empty()) return std::nullopt;
    const auto group = catalog_->groups().find(key->second->group_id);
    if (group == catalog_->groups().end()) return std::nullopt;
    auto target = builder_.probe_target(*settings(), *key->second, *group->second);
    if (!target) return std::nullopt;
    return jobs::probe_subject{key->second, std::move(*target)};
}

net::task<jobs::probe_answer> runtime::impl::call_probe(jobs::probe_subject subject) {
    return jobs::probe(control_.get(), *control_dns_, std::move(subject),
                       settings()->pool.probe_timeout);
}

// By the way that the key's own requests go.
net::task<result<std::string>> runtime::impl::ask_quota(std::string key_id) {
    auto subject = find_probe(key_id);
    if (!subject) co_return error(errc::store_not_found, "there is no such key");
    const auto group = catalog_->groups().find(subject->key->group_id);
    if (group == catalog_->groups().end())
        co_return error(errc::store_not_found, "there is no such group");
    const auto& g = *group->second;
    std::string url = g.quota.url;
    if (url.starts_with('/')) {
        std::string base = subject->key->base_url.empty() ? g.base_url : subject->key->base_url;
        while (base.ends_with('/'))
            base.pop_back();
        url.insert(0, base);
    }
    // Wherever the group came from: no key goes to a metadata service.
    const auto parsed = net::parse_url(url);
    if (!parsed || (config::is_link_local(parsed->host) && !settings()->upstream.allow_link_local))
        co_return error(errc::invalid_argument, "the URL may not be asked");
    net::http_request r;
    r.url = std::move(url);
    r.credential = {subject->target.header, secret(subject->target.value_prefix +
                                                   std::string(subject->key->value.reveal()))};
    r.deadline = control_.get().now() + settings()->quota.timeout;
    r.tls = subject->target.tls;
    r.proxy = subject->target.proxy;
    auto answer = co_await net::request(control_.get(), *control_dns_, std::move(r));
    if (!answer) co_return error(answer.error().code, std::string(to_string(answer.error().code)));
    if (answer->status != 200)
        co_return error(errc::upstream_malformed, "status " + std::to_string(answer->status));
    co_return std::move(answer->body);
}

net::task<void> runtime::impl::feed_rounds() {
    net::waiter w(control_.get());
    while (!stopping_) {
        refresh(false);
        if (!stale_) first_uses_->write(*catalog_);
        if (!stale_) labels_->write(*catalog_);
        const bool more = !stale_ && resealer_->round();
        if (saver_) saver_->round();
        co_await net::sleep_until(
            w, control_.get().now() + (more ? resealing_interval : feed_interval));
    }
}

// Of the keys of the view that was built last.
void runtime::impl::show_caps() {
    lessee_->begin_keys();
    for (const auto& [id, key] : catalog_->keys())
        lessee_->see_key(id, key->caps);
    lessee_->end_keys();
}

// For caps a day that are met for the first time: today's tokens in the books.
std::int64_t runtime::impl::tokens_today(const std::string& key_id) {
    if (tokens_today_at_ == mono_time{} || clock_.mono() - tokens_today_at_ > 1min) {
        tokens_today_.clear();
        tokens_today_at_ = clock_.mono();
        store::usage_query q;
        q.by = store::dimension::upstream_key;
        q.length = store::span::day;
        q.from = std::chrono::floor<std::chrono::days>(clock_.wall());
        q.page.limit = 10'000;
        do {
            const auto page = store_->usage(q);
            if (!page) break;
            for (const auto& a : page->items)
                tokens_today_[a.subject] += a.tokens.total();
            q.page.cursor = page->next;
        } while (!q.page.cursor.empty());
    }
    const auto found = tokens_today_.find(key_id);
    return found == tokens_today_.end() ? 0 : found->second;
}

// What is found out about keys reaches the other replicas, and theirs this one, in a round or two.
net::task<void> runtime::impl::key_rounds() {
    net::waiter w(control_.get());
    while (!stopping_) {
        report(health_.drain());
        sharer_->round();
        lessee_->round();
        co_await net::sleep_until(w, control_.get().now() + sharing_interval);
    }
}

net::task<void> runtime::impl::second_rounds() {
    net::waiter w(control_.get());
    auto next_clean_up = clock_.mono() + 60s;
    expiry_seen_ = clock_.wall();
    while (!stopping_) {
        const auto mono = clock_.mono();
        const auto wall = clock_.wall();
        health_.tick(mono, wall);
        admission_->sweep();
        lines_.set_replicas(admission_->health().replicas);
        report_expired_keys();
        prober_->run_due();
        const auto quota = settings()->quota;
        quotas_->run_due({quota.interval, quota.jitter, quota.parallel});
        admin_->tick();
        leases_->sweep();
        notice_round();
        if (mono >= next_clean_up) {
            const auto removed = store_->clean_up();
            next_clean_up = mono + (removed && *removed > 0 ? 1s : 60s);
        }
        co_await net::sleep_until(w, control_.get().now() + 1s);
    }
}

// Looks at the files that the configuration came from and at the listener's certificate; a change
// is a reload.
net::task<void> runtime::impl::watch_rounds() {
    net::waiter w(control_.get());
    for (const std::string& file : loaded_.files)
        watched_[file] = modified_at(file);
    if (services_->tls) {
        const auto& server = loaded_.values.server;
        for (const std::string& file : {server.tls_certificate, server.tls_key})
            watched_[file] = modified_at(file);
    }
    while (!stopping_) {
        co_await net::sleep_until(w, control_.get().now() + watch_interval);
        bool changed = false;
        for (auto& [file, at] : watched_) {
            const std::int64_t now = modified_at(file);
            if (now != at && now != 0) changed = true;
            at = now;
        }
        if (changed) reload();
    }
}

}  // namespace kw::app
