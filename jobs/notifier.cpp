// Windows, claims, lanes.
#include "jobs/notifier.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "core/crypto.hpp"
#include "core/json_writer.hpp"
#include "core/log.hpp"

namespace kw::jobs {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t max_windows = 1'000;
constexpr std::size_t max_made_up = 20;  // windows of a kind whose subject a client chooses
constexpr std::size_t max_claims = 32;   // in a round: each asks the store
constexpr std::size_t max_text = 500;
constexpr std::size_t max_tests = 16;  // under way at a time
constexpr auto longest_delay = 5min;
constexpr auto claim_life = 1h;  // at least
constexpr std::size_t claims_page = 100;
constexpr auto shortest_claim = 10s;      // replicas do not see a thing at the same moment
constexpr auto forgetting_interval = 1h;  // from sweep to sweep

bool is_made_up(config::notice_kind kind) noexcept {
    return kind == config::notice_kind::unknown_model ||
           kind == config::notice_kind::suspicious_access;
}

// What came from a client stays within its line.
void flatten(std::string& text) {
    std::ranges::replace_if(text, [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
}

struct held_claim {
    wall_time at{};
    std::string by;
};

std::optional<held_claim> read_claim(const store::record& r) {
    boost::system::error_code failed;
    const auto v = boost::json::parse(r.json, failed);
    if (failed || !v.is_object()) return std::nullopt;
    const auto* at = v.get_object().if_contains("at_ms");
    const auto* by = v.get_object().if_contains("by");
    if (at == nullptr || !at->is_int64() || by == nullptr || !by->is_string()) return std::nullopt;
    return held_claim{wall_time(std::chrono::milliseconds(at->get_int64())),
                      std::string(by->get_string())};
}

}  // namespace

notifier::notifier(store::store& store, const clock_source& clock, metrics::registry& registry,
                   sender send, random_source random, std::string source)
    : store_(store),
      clock_(clock),
      registry_(registry),
      waiting_(registry.gauge("keywheel_notifications_waiting",
                              "Messages to operators that wait for their delivery.")),
      send_(std::move(send)),
      random_(random),
      source_(std::move(source)),
      id_(make_id("", clock.wall(), random_)) {}

metrics::counter& notifier::count_of(const config::channel_settings& to, std::string_view result) {
    return registry_.counter("keywheel_notifications_total",
                             "Messages to operators by the kind of receiver and what became of "
                             "them.",
                             {{"type", to_string(to.type)}, {"result", result}});
}

void notifier::tell(notice n) {
    if (n.text.size() > max_text) n.text.resize(max_text);
    flatten(n.subject);
    flatten(n.text);
    std::pair key(n.kind, n.subject);
    const auto of_kind = [&] {
        return static_cast<std::size_t>(std::ranges::count_if(
            windows_, [&](const auto& item) { return item.first.first == n.kind; }));
    };
    if (!windows_.contains(key) &&
        (windows_.size() >= max_windows || (is_made_up(n.kind) && of_kind() >= max_made_up))) {
        key.second = n.subject = "(others)";  // so many at once are one message
        n.text = "more of these than can be told one by one";
    }
    auto& w = windows_[std::move(key)];
    if (w.count == 0) {
        w.first = clock_.wall();
        w.opened = clock_.mono();
    }
    w.count += n.count;
    w.last = clock_.wall();
    w.what = std::move(n);
}

notice_message notifier::message_of(const window& w) {
    return {.id = make_id("ntf_", clock_.wall(), random_),
            .kind = w.what.kind,
            .subject = w.what.subject,
            .text = w.what.text,
            .count = w.count,
            .first = w.first,
            .last = w.last,
            .source = source_};
}

// With the store away everybody tells: rather twice than never.
bool notifier::claim(const window& w, std::chrono::milliseconds length) {
    const auto digest = crypto::sha256(std::string(to_string(w.what.kind)) + '\n' + w.what.subject);
    store::record r{std::string(notice_claim_record), crypto::to_hex({digest.data(), 16}), 0, {}};
    const auto now = clock_.wall();
    const auto held = store_.get(r.kind, r.id);
    if (!held && held.error().code != errc::store_not_found) return true;
    if (held) {
        r.revision = held->revision;
        const auto claimed = read_claim(*held);
        // One from further ahead than a window is a clock's fault, and would silence for long.
        if (claimed && claimed->by != id_ && now - claimed->at < length &&
            claimed->at - now <= length)
            return false;
    }
    json_writer(r.json).begin_object().field("at_ms", unix_ms(now)).field("by", id_).end_object();
    const auto put = store_.put(r);
    return put || put.error().code != errc::store_conflict;
}

void notifier::forget_claims(std::chrono::milliseconds window) {
    const auto page =
        store_.list(notice_claim_record, {.limit = claims_page, .cursor = forgotten_to_});
    forgotten_to_ = page ? page->next : std::string();
    if (!page) return;
    const auto life = std::max<std::chrono::milliseconds>(claim_life, 2 * window);
    for (const auto& r : page->items) {
        const auto claimed = read_claim(r);
        const auto age = claimed ? clock_.wall() - claimed->at : wall_time::duration();
        if (!claimed || age > life || -age > life)
            static_cast<void>(store_.erase(r.kind, r.id, r.revision));
    }
}

// But for what is being sent.
void notifier::empty(lane& of) {
    while (of.waiting.size() > (of.busy ? 1 : 0)) {
        of.waiting.pop_back();
        --queued_;
        count_of(of.to, "dropped").add();
    }
    if (of.busy) return;
    of.tries = 0;
    of.next_try = {};
}

void notifier::follow(const channels& all) {
    for (auto& [id, l] : lanes_)
        l.gone = true;
    for (const auto& c : all) {
        auto& l = lanes_[c.id];
        if (l.to.id.empty())  // new: counters that begin with nought show their first step
            for (const auto* result : {"delivered", "failed", "dropped"})
                static_cast<void>(count_of(c, result));
        l.gone = false;
        if (!(l.to == c)) l.to = c;
        if (l.to.disabled) empty(l);
    }
    std::erase_if(lanes_, [this](auto& item) {
        auto& l = item.second;
        if (!l.gone || l.busy) return false;
        queued_ -= l.waiting.size();
        return true;
    });
}

void notifier::enqueue(const notice_message& m, const config::notification_settings& settings) {
    // A part for each: what one receiver does not take is no other's loss.
    const auto open = static_cast<std::size_t>(std::ranges::count_if(
        lanes_, [](const auto& item) { return !item.second.gone && !item.second.to.disabled; }));
    const auto most =
        std::max<std::size_t>(1, settings.queue_size / std::max<std::size_t>(1, open));
    for (auto& [id, l] : lanes_) {
        if (l.gone || l.to.disabled || !l.to.events.has(m.kind)) continue;
        if (l.waiting.size() >= most) {
            count_of(l.to, "dropped").add();
            continue;
        }
        ++queued_;
        l.waiting.push_back(m);
    }
}

void notifier::end_windows(const config::notification_settings& settings, const channels& all,
                           bool every) {
    const auto now = clock_.mono();
    const auto length = std::max<std::chrono::milliseconds>(settings.dedup_window, shortest_claim);
    std::size_t claims = 0;
    for (auto at = windows_.begin(); at != windows_.end();) {
        const auto& what = at->second.what;
        const bool wanted = std::ranges::any_of(
            all, [&](const auto& c) { return !c.disabled && c.events.has(what.kind); });
        const bool asks = wanted && what.shared;
        const bool over = every || now - at->second.opened >= settings.dedup_window;
        if (!over || (asks && claims >= max_claims)) {
            ++at;
            continue;
        }
        if (asks) ++claims;
        const auto w = std::move(at->second);
        at = windows_.erase(at);
        if (wanted && (!asks || claim(w, length))) enqueue(message_of(w), settings);
    }
}

void notifier::begin_deliveries(const config::notification_settings& settings) {
    const auto now = clock_.mono();
    for (auto& [id, l] : lanes_) {
        if (l.busy || l.waiting.empty() || l.next_try > now) continue;
        l.busy = true;
        l.work.reset();
        l.work.start("notification", deliver(l, settings));
    }
    waiting_.set(static_cast<double>(queued_));
}

void notifier::round(const config::notification_settings& settings, const channels& all) {
    const auto now = clock_.mono();
    follow(all);
    for (const auto done : tests_done_)
        tests_.erase(done);
    tests_done_.clear();
    end_windows(settings, all, false);
    begin_deliveries(settings);
    const bool due = now >= next_forgetting_;
    if ((due && next_forgetting_ != mono_time{}) || !forgotten_to_.empty())
        forget_claims(settings.dedup_window);
    if (due) next_forgetting_ = now + forgetting_interval;
}

void notifier::flush(const config::notification_settings& settings, const channels& all) {
    follow(all);
    end_windows(settings, all, true);
    if (!std::exchange(ending_, true))
        for (auto& [id, l] : lanes_)
            l.next_try = {};
    begin_deliveries(settings);
}

std::size_t notifier::drop_all() {
    std::size_t lost = windows_.size();
    windows_.clear();
    for (auto& [id, l] : lanes_) {
        count_of(l.to, "dropped").add(static_cast<std::int64_t>(l.waiting.size()));
        lost += l.waiting.size();
        // What is being sent stays until its coroutine is gone.
        while (l.waiting.size() > (l.busy ? 1 : 0)) {
            l.waiting.pop_back();
            --queued_;
        }
    }
    waiting_.set(static_cast<double>(queued_));
    return lost;
}

// What waits, until a try fails.
net::task<void> notifier::deliver(lane& on, config::notification_settings settings) {
    while (!on.waiting.empty() && !on.gone) {
        const auto sent = co_await send_(on.to, on.waiting.front());
        const bool for_good = !sent && sent.error().code == errc::invalid_argument;
        if (!sent) {
            on.state.last_failed = clock_.wall();
            on.state.last_error = sent.error().context;
        }
        if (!sent && !for_good && on.tries < settings.retry_max) {
            const auto delay = std::min<std::chrono::milliseconds>(
                settings.retry_delay * (1U << std::min(on.tries, 12U)), longest_delay);
            const auto jitter = random_.below(static_cast<std::uint64_t>(delay.count()) / 4 + 1);
            on.next_try = clock_.mono() + delay + std::chrono::milliseconds(jitter);
            ++on.tries;
            break;
        }
        count_of(on.to, sent ? "delivered" : "failed").add();
        ++(sent ? on.state.delivered : on.state.failed);
        if (sent)
            on.state.last_delivered = clock_.wall();
        else
            log::event(log::level::warn, "notification.failed",
                       {{"channel", on.to.id},
                        {"event", to_string(on.waiting.front().kind)},
                        {"reason", sent.error().context}});
        on.tries = 0;
        on.next_try = {};
        on.waiting.pop_front();
        --queued_;
    }
    on.busy = false;
}

void notifier::test(config::channel_settings to, std::function<void(result<void>)> done) {
    if (tests_.size() - tests_done_.size() >= max_tests)
        return done(error(errc::overloaded, "too many tests are under way"));
    window w;
    w.what = {config::notice_kind::test, to.id, "This is a test of the channel."};
    w.count = 1;
    w.first = w.last = clock_.wall();
    const auto number = next_test_++;
    const auto run = [](notifier* self, config::channel_settings c, notice_message m,
                        std::function<void(result<void>)> then,
                        std::uint64_t mine) -> net::task<void> {
        auto sent = co_await self->send_(std::move(c), std::move(m));
        self->tests_done_.push_back(mine);
        then(std::move(sent));
    };
    tests_[number].start("notification test",
                         run(this, std::move(to), message_of(w), std::move(done), number));
}

delivery_state notifier::state_of(const std::string& channel_id) const {
    const auto at = lanes_.find(channel_id);
    if (at == lanes_.end()) return {};
    auto out = at->second.state;
    out.waiting = at->second.waiting.size();
    return out;
}

}  // namespace kw::jobs
