// What operators are told: the wiring of watcher, notifier and traces, what they look at, and how
// their messages leave.
#include <algorithm>
#include <array>
#include <future>
#include <thread>

#include "admin/values.hpp"
#include "app/runtime_impl.hpp"
#include "config/base_url.hpp"
#include "config/channel.hpp"
#include "core/cpu_quota.hpp"
#include "core/json_writer.hpp"
#include "core/log.hpp"
#include "core/resources.hpp"
#include "core/spans.hpp"
#include "jobs/mail_sender.hpp"
#include "jobs/notifier.hpp"
#include "jobs/watcher.hpp"
#include "net/http_client.hpp"
#include "net/tls.hpp"
#include "net/url.hpp"

namespace kw::app {
namespace {

using namespace std::chrono_literals;

constexpr auto trace_interval = 200ms;
constexpr auto message_time = 5s;             // and a message has left, if it can
constexpr auto last_words = 3s;               // for what still waits at the end
constexpr std::size_t max_near_keys = 1'000;  // whose budgets are looked at
constexpr std::size_t walk_step = 2'000;      // of all access keys, in a round
constexpr std::size_t walk_asks = 100;        // of these, whose budgets are asked for
constexpr std::size_t largest_answer = 64 * 1024;

bool is_out(pool::key_status s) noexcept {
    return s == pool::key_status::banned || s == pool::key_status::quarantined;
}

}  // namespace

void runtime::impl::make_notifier() {
    notifier_ = std::make_unique<jobs::notifier>(
        *store_, clock_, registry_,
        [this](config::channel_settings to, jobs::notice_message m) {
            return send_notice(std::move(to), std::move(m));
        },
        random_source(), name_of_process());
    watcher_ = std::make_unique<jobs::watcher>(
        clock_, [this](jobs::notice n) { notifier_->tell(std::move(n)); });
    told_ = std::make_unique<jobs::told_notices>(*store_, clock_, name_of_host());
    constexpr std::array periods = {store::budget_period::day, store::budget_period::week,
                                    store::budget_period::month, store::budget_period::total};
    for (const auto p : periods)
        budgets_near_.push_back(
            &registry_.gauge("keywheel_budgets_near_end",
                             "Budgets of access keys, of those that make requests here, of which "
                             "notifications.budget_warning is used.",
                             {{"per", to_string(p)}}));
    if (services_->tls)
        certificate_end_ = &registry_.gauge("keywheel_certificate_expiry_timestamp_seconds",
                                            "When a certificate ends, in seconds since 1970.",
                                            {{"certificate", "listener"}});
    traces_ = std::make_unique<jobs::span_exporter>(
        spans_, clock_, registry_,
        [this](net::http_request r) { return send_traces(std::move(r)); }, KEYWHEEL_VERSION,
        name_of_process());
    traces_->round(settings()->tracing);
    memory_limit_ = memory_limit();
    cpus_ = std::min<double>(affinity_cpus(),
                             cgroup_cpu_quota().value_or(static_cast<double>(affinity_cpus())));
}

net::task<result<void>> runtime::impl::send_notice(config::channel_settings to,
                                                   jobs::notice_message m) {
    const auto values = settings();
    const auto& way = values->upstream;
    const auto deadline = control_.get().now() + values->notifications.timeout;
    const auto now = clock_.wall();
    if (const auto fault = config::fault_of(to, way.allow_link_local))
        co_return error(errc::invalid_argument,
                        std::string(fault->field) + " " + std::string(fault->reason));
    if (to.type == config::channel_type::email) {
        const auto server = config::parse_mail_server(to.url.reveal());
        auto out =
            builder_.way_to(way, server->host, server->by != config::mail_server::security::none);
        if (!out) co_return error(errc::invalid_argument, out.error().context);
        co_return co_await jobs::send_mail(control_.get(), *control_dns_,
                                           {.server = *server,
                                            .tls = std::move(out->tls),
                                            .user = to.user,
                                            .password = to.key,
                                            .from = to.from,
                                            .to = to.to,
                                            .text = jobs::compose_mail(to, m, now),
                                            .deadline = deadline});
    }
    auto r = jobs::compose_request(to, m, now);
    const auto url = net::parse_url(r.url);
    if (!url) co_return error(errc::invalid_argument, "the URL cannot be used");
    auto out = builder_.way_to(way, url->host, url->tls);
    if (!out) co_return error(errc::invalid_argument, out.error().context);
    r.tls = std::move(out->tls);
    r.proxy = std::move(out->proxy);
    r.deadline = deadline;
    r.max_response_bytes = largest_answer;
    const auto answer = co_await net::request(control_.get(), *control_dns_, std::move(r));
    if (!answer) {
        const auto code = answer.error().code;
        co_return error(code, std::string(to_string(code)));
    }
    co_return jobs::judge_answer(to.type, *answer);
}

// Declared ones go before stored ones of the same id.
std::vector<config::channel_settings> runtime::impl::channels() {
    auto out = settings()->channels;
    const std::size_t declared = out.size();
    std::map<std::string, read_channel> known;
    for (const store::record* r : catalog_->of_kind(config::channel_record)) {
        auto& held = known[r->id];
        const auto before = channels_.find(r->id);
        if (before != channels_.end() && before->second.revision == r->revision) {
            held = std::move(before->second);
        } else {
            held.revision = r->revision;
            auto read = config::channel_from_json(r->json, r->id, *sealer_);
            if (read)
                held.channel = std::move(*read);
            else
                log::event(log::level::error, "record.unreadable",
                           {{"kind", r->kind}, {"id", r->id}, {"err", read.error().context}});
        }
        const auto same = [&](const auto& c) { return c.id == r->id; };
        if (held.channel &&
            std::none_of(out.begin(), out.begin() + static_cast<long>(declared), same))
            out.push_back(*held.channel);
    }
    channels_ = std::move(known);
    return out;
}

void runtime::impl::tell_of(const pool::health_event& e, const std::string& alias) {
    using config::notice_kind;
    if (!notifier_) return;
    if (e.kind == pool::health_event::kind_t::breaker_opened) {
        notifier_->tell({notice_kind::upstream_down, e.host,
                         "keys of this host fail one after the other: it is left alone for a while",
                         true});
    } else if (e.kind == pool::health_event::kind_t::state_changed) {
        std::string text =
            std::string(pool::to_string(e.from)) + " → " + std::string(pool::to_string(e.to));
        if (e.reason != pool::block_reason::none)
            text += ": " + std::string(pool::to_string(e.reason));
        if (e.status != 0) text += " (status " + std::to_string(e.status) + ")";
        if (is_out(e.to) && !is_out(e.from))
            notifier_->tell({notice_kind::key_banned, alias, text, true});
        else if (is_out(e.from) && e.to == pool::key_status::active)
            notifier_->tell({notice_kind::key_recovered, alias, text, true});
    }
}

jobs::readings runtime::impl::read_now() {
    jobs::readings out;
    std::map<std::string, jobs::readings::group> groups;
    for (const auto& [id, key] : catalog_->keys()) {
        const auto slot = states_.find(id);
        const auto* state = slot ? states_.get(*slot) : nullptr;
        if (state == nullptr || state->status() == pool::key_status::disabled) continue;
        auto& g = groups[key->group_id];
        g.id = key->group_id;
        ++g.total;
        if (state->status() == pool::key_status::active) ++g.usable;
    }
    for (auto& [id, g] : groups)
        out.groups.push_back(std::move(g));
    for (const auto& told : quotas_->told())
        if (const auto key = catalog_->keys().find(told.key_id); key != catalog_->keys().end())
            out.quotas.push_back({key->second->alias, told.remaining, told.allowance});
    auto& served = registry_.counter("keywheel_exchanges_total", "", {{"end", "served"}});
    auto& errors = registry_.counter("keywheel_exchanges_total", "", {{"end", "server_error"}});
    out.errors = errors.value();
    out.requests = served.value() + out.errors;
    const auto& tokens =
        registry_.histogram("keywheel_time_to_first_token_seconds", "", metrics::latency_bounds());
    out.first_tokens = tokens.read();
    out.first_token_bounds = tokens.bounds();
    out.store = store_->health();
    out.free_disk = free_share_of_disk(settings()->store.data_dir);
    if (const auto used = resident_bytes(); used > 0 && memory_limit_ > 0)
        out.memory = static_cast<double>(used) / static_cast<double>(memory_limit_);
    out.cpu_time = process_cpu_time();
    out.cpus = cpus_;
    if (services_->tls) out.certificate_ends = services_->tls->expires();
    return out;
}

// Of access keys that were seen near the end of a budget how these stand now, and of some others.
void runtime::impl::look_at_budgets() {
    std::vector<store::usage_question> questions;
    std::erase_if(near_keys_, [&](const std::string& id) {
        const auth::access_key* key = catalog_->access_keys().find(id);
        if (key != nullptr && !key->deleted && key->limits) {
            questions.push_back({id, key->limits.set});
            return false;
        }
        watcher_->forget_budgets(id);
        return true;
    });
    // The others bit by bit: a key that nobody uses any more, or had used before this start.
    const auto& all = catalog_->access_keys().all();
    std::size_t walked = 0;
    std::size_t asked = 0;
    for (auto at = all.upper_bound(std::string_view(budgets_seen_to_));
         walked < walk_step && asked < walk_asks; ++at, ++walked) {
        if (at == all.end()) {
            budgets_seen_to_.clear();
            break;
        }
        const auth::access_key& key = **at;
        budgets_seen_to_ = key.id;
        if (key.deleted || !key.limits || near_keys_.contains(key.id)) continue;
        const auto& items = key.limits.set->items();
        if (std::ranges::none_of(items,
                                 [](const auto& l) { return l.kind == store::limit_kind::budget; }))
            continue;
        questions.push_back({key.id, key.limits.set});
        ++asked;
    }
    if (questions.empty()) return;
    admission_->peek(questions, [this, questions](std::vector<store::usage_answer> found) {
        control_.get().post([this, questions, found = std::move(found)] {
            const auto values = settings();
            for (std::size_t i = 0; i < std::min(found.size(), questions.size()); ++i) {
                const auto& q = questions[i];
                const auth::access_key* key = catalog_->access_keys().find(q.access_key_id);
                if (key == nullptr || found[i].states.empty()) continue;
                const bool near =
                    watcher_->look_at_budgets(q.access_key_id, key->name, q.limits->items(),
                                              found[i].states, values->notifications);
                if (!near)
                    near_keys_.erase(q.access_key_id);
                else if (near_keys_.size() < max_near_keys)
                    near_keys_.insert(q.access_key_id);
            }
        });
    });
}

void runtime::impl::notice_round() {
    const auto values = settings();
    auto noticed = noticed_.take();
    std::erase_if(noticed, [&](const incidents::item& item) {
        if (item.is != incidents::what::budget_near_end) return false;
        if (near_keys_.size() < max_near_keys) near_keys_.insert(item.subject);
        return true;
    });
    told_->restore(*watcher_);
    watcher_->notice_all(noticed, values->notifications);
    watcher_->look(read_now(), values->notifications);
    look_at_budgets();
    told_->write(watcher_->take_crossings(), values->notifications.dedup_window + message_time);
    for (std::size_t i = 0; i < budgets_near_.size(); ++i)
        budgets_near_[i]->set(
            static_cast<double>(watcher_->near_end(static_cast<store::budget_period>(i))));
    if (certificate_end_ != nullptr)
        certificate_end_->set(static_cast<double>(unix_ms(services_->tls->expires())) / 1000);
    notifier_->round(values->notifications, channels());
}

// A collector is asked as a provider is: by TLS where its URL says so, and by the egress proxy.
net::task<result<int>> runtime::impl::send_traces(net::http_request r) {
    const auto values = settings();
    const auto url = net::parse_url(r.url);
    if (!url) co_return url.error();
    if (config::is_link_local(url->host) && !values->upstream.allow_link_local)
        co_return error(errc::invalid_argument, "a link-local or metadata address");
    auto out = builder_.way_to(values->upstream, url->host, url->tls);
    if (!out) co_return out.error();
    r.tls = std::move(out->tls);
    r.proxy = std::move(out->proxy);
    const auto answer = co_await net::request(control_.get(), *control_dns_, std::move(r));
    if (!answer) co_return answer.error();
    co_return answer->status;
}

net::task<void> runtime::impl::trace_rounds() {
    net::waiter w(control_.get());
    while (!stopping_) {
        traces_->round(settings()->tracing);
        co_await net::sleep_until(w, control_.get().now() + trace_interval);
    }
}

// Messages and traces that wait leave at the end; by the main thread while the control thread runs.
void runtime::impl::say_last_words(const std::function<bool()>& hurry) {
    const auto ask = [this](auto what) {
        std::promise<std::size_t> done;
        control_.get().post([&] { done.set_value(what()); });
        return done.get_future().get();
    };
    const auto write_told = [this, ask] {
        ask([this] {
            told_->write_rest();
            return std::size_t{0};
        });
    };
    const auto all_said = [this] {
        const auto values = settings();
        traces_->flush(values->tracing);
        notifier_->flush(values->notifications, channels());
        return std::size_t{traces_->idle() && spans_.empty() && notifier_->idle()};
    };
    ask([this] {
        notice_round();  // of what has happened since the last one
        return std::size_t{0};
    });
    for (const auto until = clock_.mono() + last_words; clock_.mono() < until && !hurry();) {
        if (ask(all_said) != 0) return write_told();
        std::this_thread::sleep_for(20ms);
    }
    if (const auto lost = ask([this] { return notifier_->drop_all(); }); lost > 0)
        log::event(log::level::warn, "notifications.dropped",
                   {{"messages", lost}, {"reason", "the process ends"}});
    else
        write_told();
}

std::string runtime::impl::deliveries_of(const std::string& channel_id) const {
    const auto s = notifier_->state_of(channel_id);
    std::string out;
    json_writer w(out);
    w.begin_object()
        .field("delivered", s.delivered)
        .field("failed", s.failed)
        .field("waiting", s.waiting);
    admin::write_time(w, "last_delivered", s.last_delivered);
    admin::write_time(w, "last_failed", s.last_failed);
    w.field("last_error", s.last_error).end_object();
    return out;
}

}  // namespace kw::app
