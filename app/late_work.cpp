// Long-lived work: from what workers see and upstreams are asked to the books of who ordered it.
#include "app/runtime_impl.hpp"
#include "config/base_url.hpp"
#include "core/crypto.hpp"
#include "core/log.hpp"
#include "net/http_client.hpp"
#include "net/url.hpp"

namespace kw::app {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t largest_answer = 64U << 20U;
constexpr auto answer_time = 60s;
constexpr std::size_t max_keys_asked = 4;
// No limit is as large; an exact double for a store that counts with such.
constexpr std::int64_t no_cap = 9'000'000'000'000'000;

}  // namespace

void runtime::impl::make_late_biller() {
    std::array<std::uint8_t, 16> random{};
    crypto::random_bytes(random);
    auto kept = std::make_shared<jobs::kept_debts>(loaded_.values.store.data_dir + "/late_orders",
                                                   registry_);
    objects_->set_keeper([kept](const store::object_debt& debt) { return kept->keep(debt); });
    late_ = std::make_unique<jobs::late_biller>(jobs::late_biller::surroundings{
        .objects = *objects_,
        .clock = clock_,
        .claimant = crypto::to_hex(random),
        .home = [this](std::function<void()> work) { control_.get().post(std::move(work)); },
        .prices = [this] { return builder_.prices(); },
        .book =
            [this](const store::ledger_record& record, std::function<void(bool)> done) {
                threads_.front()->get().post(
                    [w = workers_.front().get(), record, done = std::move(done)] {
                        done(w->book_late(record));
                    });
            },
        .count = [this](const store::ledger_record& record,
                        const std::string& exchange_id) { count_late(record, exchange_id); },
        .keep =
            [this] {
                const auto& o = settings()->objects;
                return std::chrono::ceil<std::chrono::seconds>(
                    std::max(o.lifetime, o.response_lifetime));
            },
        .kept = std::move(kept)});
}

// What it cost counts where it is told, whatever the caps are by then.
void runtime::impl::count_late(const store::ledger_record& record, const std::string& exchange_id) {
    const auth::access_key* key = catalog_->access_keys().find(record.access_key_id);
    if (key == nullptr || !key->limits) return;
    admission_->settle({key->id, exchange_id}, {.requests = 1, .tokens = 0, .cost = 0});
    std::vector<store::limit> some;
    for (const store::limit& l : key->limits.set->items())
        if (l.kind != store::limit_kind::concurrency) some.push_back(l);
    if (some.empty()) return;
    const auto set = store::limit_set::make(std::move(some));
    if (!set) return;
    store::admit_request q;
    q.ledger_id = record.id;
    q.access_key_id = key->id;
    q.limits = (*set)->with_caps(std::vector<std::int64_t>((*set)->items().size(), no_cap));
    q.reservation = {
        .requests = 0, .tokens = record.tokens.total(), .cost = record.rated_cost.value_or(0)};
    admission_->admit(q, [](const store::admit_answer&) {});
    // Not settled: so it is known longest, should it be counted again.
    admission_->release({key->id, record.id});
}

// With the key that it was ordered with; where that cannot ask any more, with others of its
// account.
net::task<void> runtime::impl::ask_for_late(jobs::late_biller::debt debt) {
    const auto keys = jobs::keys_of_account(*catalog_, debt.note.account, debt.note.upstream_key_id,
                                            max_keys_asked);
    for (const pool::key_ptr& key : keys) {
        if (stopping_) co_return;
        const auto subject = find_probe(key->id);
        const auto group = catalog_->groups().find(key->group_id);
        if (!subject || group == catalog_->groups().end()) continue;
        std::string url = key->base_url.empty() ? group->second->base_url : key->base_url;
        while (url.ends_with('/'))
            url.pop_back();
        url += debt.note.place;
        const auto parsed = net::parse_url(url);
        if (!parsed ||
            (config::is_link_local(parsed->host) && !settings()->upstream.allow_link_local))
            continue;
        net::http_request r;
        r.url = std::move(url);
        r.credential = {subject->target.header, secret(subject->target.value_prefix +
                                                       std::string(subject->key->value.reveal()))};
        r.deadline = control_.get().now() + answer_time;
        r.max_response_bytes = largest_answer;
        r.tls = subject->target.tls;
        r.proxy = subject->target.proxy;
        const auto answer = co_await net::request(control_.get(), *control_dns_, std::move(r));
        if (!answer) continue;
        if (answer->status == 404 || answer->status == 410) {
            late_->lost(debt.id, debt.note.kind);
            co_return;
        }
        if (answer->status != 200) continue;
        usage::late_reader reader(debt.note.kind);
        reader.feed(answer->body);
        usage::late_state state = reader.state();
        // Of a debt it is known that it was ordered in the background.
        state.late = true;
        if (state.id == debt.id) late_->seen(std::move(state));
        co_return;
    }
}

net::task<void> runtime::impl::late_rounds() {
    net::waiter w(control_.get());
    mono_time next = clock_.mono();
    while (!stopping_) {
        if (!stale_) late_->tell_kept();
        late_->run_due();
        while (auto debt = late_->take_debt())
            co_await ask_for_late(std::move(*debt));
        const auto every = settings()->objects.collect_interval;
        const mono_time now = clock_.mono();
        if (every > 0ms && !stale_ && now >= next) {
            late_->look_for_debts(std::chrono::ceil<std::chrono::seconds>(every));
            // A tenth earlier or later, so that replicas do not ask together.
            const auto tenth = static_cast<std::uint64_t>(every.count() / 10 + 1);
            next = now + every * 9 / 10 +
                   std::chrono::milliseconds(static_cast<std::int64_t>(random_.below(2 * tenth)));
        }
        co_await net::sleep_until(w, control_.get().now() + 1s);
    }
}

}  // namespace kw::app
