// The rounds of a takeover: a question, its answers, and sealing by compare-and-set.
#include "jobs/resealer.hpp"

#include <algorithm>

#include "auth/pepper.hpp"
#include "core/log.hpp"

namespace kw::jobs {
namespace {

using namespace std::chrono_literals;
using auth::takeover;
using auth::takeover_state;

constexpr std::size_t batch = 200;
constexpr int batches_a_round = 5;
// A replica that has just come counts as alive after its first beat.
constexpr auto least_wait = 3s;
constexpr auto longest_wait = 15s;
// Of who watches another that does not get on.
constexpr auto patience = 3s;
// A write that was on its way when the other key took over is seen in this time.
constexpr auto quiet = 1s;

}  // namespace

resealer::resealer(surroundings s)
    : with_(std::move(s)), id_(make_id("mk_", with_.clock.wall(), with_.random)) {}

takeover resealer::stored(std::uint64_t* revision) const {
    const auto* r = with_.known.find(auth::master_key_kind, auth::master_key_id);
    if (revision != nullptr) *revision = r == nullptr ? 0 : r->revision;
    if (r == nullptr) return {};
    auto t = auth::takeover_from(*r);
    return t ? std::move(*t) : takeover{};
}

void resealer::follow() {
    std::string id = stored().seals();
    if (id.empty()) {
        const auto* pepper = with_.known.find(auth::pepper_kind, auth::pepper_id);
        if (pepper != nullptr) id = auth::sealed_by(*pepper);
    }
    if (id.empty() || with_.sealer.seal_with(id) || complained_ == id) return;
    complained_ = id;
    log::event(log::level::error, "master_key.unknown",
               {{"id", id},
                {"hint",
                 "another master key seals the stored secrets: give it to this process, "
                 "too; upstream keys that do not open are out of use here"}});
}

bool resealer::write(const takeover& next, std::uint64_t revision) {
    return with_.store
        .put({std::string(auth::master_key_kind), std::string(auth::master_key_id), revision,
              auth::to_json(next)})
        .has_value();
}

result<void> resealer::begin() {
    std::uint64_t revision = 0;
    const auto last = stored(&revision);
    if (last.state == takeover_state::resealing)
        return error(errc::store_conflict, "one master key takes over from another already");
    const auto wanted = with_.wanted();
    if (!wanted) return wanted.error();
    if (*wanted == with_.sealer.key_id())
        return error(errc::invalid_argument,
                     "master key " + *wanted +
                         " seals already: give every replica the new one as ENCRYPTION_KEY and "
                         "this one as ENCRYPTION_KEY_OLD, then ask again");
    forget_answers({});
    takeover t;
    t.state = takeover_state::asking;
    t.from = with_.sealer.key_id();
    t.to = *wanted;
    t.ask = make_id("", with_.clock.wall(), with_.random);
    t.started = with_.clock.wall();
    const auto put =
        with_.store.put({std::string(auth::master_key_kind), std::string(auth::master_key_id),
                         revision, auth::to_json(t)});
    if (!put) return put.error();
    asked_ = t;
    asked_at_ = with_.clock.mono();
    finished_.clear();
    log::event(log::level::info, "master_key.asking", {{"from", t.from}, {"to", t.to}});
    return {};
}

void resealer::answer(const takeover& t) {
    if (answered_ == t.ask) return;
    const auth::master_key_answer a{t.ask, with_.name, with_.sealer.knows(t.to)};
    const auto put = with_.store.put(auth::to_record(a, t.ask + "." + id_));
    if (put || put.error().code == errc::store_conflict) answered_ = t.ask;
}

void resealer::forget_answers(std::string_view ask) {
    for (const auto* r : with_.known.of_kind(auth::master_key_answer_kind))
        if (r->id.starts_with(ask)) (void)with_.store.erase(r->kind, r->id, 0);
}

void resealer::count_answers(const takeover& t, std::uint64_t revision) {
    const auto waited = with_.clock.mono() - asked_at_;
    const auto alive = with_.replicas();
    std::uint64_t good = 0;
    takeover next = t;
    for (const auto* r : with_.known.of_kind(auth::master_key_answer_kind)) {
        const auto a = auth::answer_from(*r);
        if (!a || a->ask != t.ask) continue;
        if (a->knows) {
            ++good;
            continue;
        }
        next.reason = "replica " + a->replica + " does not have master key " + t.to +
                      ": give it to every replica as ENCRYPTION_KEY, and " + t.from +
                      " as ENCRYPTION_KEY_OLD, then ask again";
    }
    if (next.reason.empty()) {
        if (good >= alive && (alive <= 1 || waited >= least_wait)) {
            next.state = takeover_state::resealing;
            for (const auto kind : auth::sealed_kinds) {
                for (const auto* r : with_.known.of_kind(kind)) {
                    const auto by = auth::sealed_by(*r);
                    if (!by.empty() && by != t.to && with_.sealer.knows(by)) ++next.total;
                }
            }
        } else if (waited < longest_wait) {
            return;
        } else {
            next.reason = std::to_string(good) + " of " + std::to_string(alive) +
                          " replicas have answered in time; ask again when all are up, or 10 s "
                          "after the last one went down";
        }
    }
    if (!next.reason.empty()) {
        next.state = takeover_state::refused;
        next.ended = with_.clock.wall();
    }
    if (!write(next, revision)) return;
    asked_ = {};
    mine_ = next.state == takeover_state::resealing;
    left_since_ = with_.clock.mono();
    forget_answers(t.ask);
    if (mine_)
        log::event(log::level::info, "master_key.resealing",
                   {{"from", t.from}, {"to", t.to}, {"records", next.total}});
    else
        log::event(log::level::warn, "master_key.refused", {{"reason", next.reason}});
}

// Records that were sealed anew; `left` counts those of the catalog that were not this key's.
std::size_t resealer::seal_some(std::size_t& left) {
    const auto active = with_.sealer.key_id();
    std::vector<store::change> writes;
    std::size_t sealed = 0;
    int batches = 0;
    left = 0;
    const auto send = [&] {
        for (const auto& done : with_.store.write_all(writes))
            sealed += done ? 1U : 0U;
        writes.clear();
        ++batches;
    };
    for (const auto kind : auth::sealed_kinds) {
        for (const auto* r : with_.known.of_kind(kind)) {
            const auto by = auth::sealed_by(*r);
            if (by.empty() || by == active || !with_.sealer.knows(by)) continue;
            if (broken_.contains({r->id, r->revision})) continue;
            ++left;
            if (batches >= batches_a_round) continue;
            auto next = auth::sealed_anew(*r, with_.sealer);
            if (!next) {
                --left;
                broken_.emplace(r->id, r->revision);
                log::event(log::level::error, "record.unreadable",
                           {{"kind", r->kind}, {"id", r->id}, {"err", next.error().context}});
                continue;
            }
            writes.push_back({std::move(*next), false});
            if (writes.size() == batch) send();
        }
    }
    if (!writes.empty()) send();
    return sealed;
}

bool resealer::reseal(const takeover& t, std::uint64_t revision) {
    const auto now = with_.clock.mono();
    std::size_t left = 0;
    if (mine_) {
        if (seal_some(left) > 0 || left > 0) left_since_ = now;
        // Quiet for a while by the catalog, which is fresh: nothing of the old key's comes any
        // more.
        if (left > 0 || now - left_since_ < quiet) return true;
        takeover next = t;
        next.state = takeover_state::done;
        next.ended = with_.clock.wall();
        if (write(next, revision))
            log::event(log::level::info, "master_key.done",
                       {{"from", t.from}, {"to", t.to}, {"records", t.total}});
        mine_ = false;
        return true;
    }
    // Whoever began may be gone.
    left = progress().remaining;
    if (left_since_ == mono_time{} || left != left_) {
        left_ = left;
        left_since_ = now;
    } else if (now - left_since_ >= patience) {
        log::event(log::level::info, "master_key.goes_on", {{"to", t.to}, {"records", left}});
        mine_ = true;
        left_since_ = now;
    }
    return false;
}

void resealer::tell_finished(const std::string& id) {
    if (finished_ == id || progress().remaining > 0) return;
    finished_ = id;
    with_.finished(id);
}

bool resealer::round() {
    std::uint64_t revision = 0;
    const auto t = stored(&revision);
    if (t.state == takeover_state::asking) {
        answer(t);
        if (asked_.ask == t.ask) count_answers(t, revision);
        return false;
    }
    if (!with_.sealer.knows(t.seals())) return false;
    if (t.state == takeover_state::resealing) return reseal(t, revision);
    left_since_ = {};
    // A replica that was cut off may have sealed with the key before.
    if (looked_at_ != with_.known.revision()) {
        std::size_t left = 0;
        (void)seal_some(left);
        if (left == 0) looked_at_ = with_.known.revision();
        if (t.state == takeover_state::done && left == 0) tell_finished(t.to);
    }
    return false;
}

auth::takeover_progress resealer::progress() const {
    auth::takeover_progress out;
    out.last = stored();
    // What was just begun is on its way through the change feed.
    if (!asked_.ask.empty() && out.last.ask != asked_.ask) out.last = asked_;
    out.active = with_.sealer.key_id();
    out.known = with_.sealer.key_ids();
    for (const auto kind : auth::sealed_kinds) {
        for (const auto* r : with_.known.of_kind(kind)) {
            const auto by = auth::sealed_by(*r);
            if (by.empty()) continue;
            ++out.sealed;
            if (!with_.sealer.knows(by) || broken_.contains({r->id, r->revision}))
                ++out.unreadable;
            else if (by != out.active)
                ++out.remaining;
        }
    }
    return out;
}

}  // namespace kw::jobs
