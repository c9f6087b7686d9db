// Taking and giving back, by compare-and-set on the book of one upstream key.
#include "admin/lease_desk.hpp"

#include <algorithm>

#include "admin/trail.hpp"
#include "auth/authenticator.hpp"
#include "auth/key_text.hpp"
#include "config/settings.hpp"
#include "core/log.hpp"

namespace kw::admin {
namespace {

using namespace std::chrono_literals;
using pool::lease;
using pool::lease_book;

// Each lost race is another's success, so few are lost in a row.
constexpr int max_races = 50;
// So many keys are found to be fully leased before the answer is that all are.
constexpr std::size_t max_looks = 256;

constexpr std::size_t public_at = 6;  // of "sk-kw-"
constexpr std::size_t public_size = 12;

// The record's id of a key that is handed out is told by the key's public part, so that a lease is
// found by the key alone.
std::string access_key_id_of(std::string_view text) {
    return "ak_lease_" + std::string(text.substr(public_at, public_size));
}

result<lease_book> read_book(const store::record& r) {
    auto book = lease_book::from_json(r.json);
    if (!book)
        log::event(log::level::error, "record.unreadable",
                   {{"kind", r.kind}, {"id", r.id}, {"err", book.error().context}});
    return book;
}

}  // namespace

bool lease_desk::usable(const pool::upstream_key& key) const {
    if (key.status != pool::admin_status::enabled || key.value.empty()) return false;
    const auto slot = with_.states.find(key.id);
    const auto* state = slot ? std::as_const(with_.states).get(*slot) : nullptr;
    return state == nullptr || state->status() == pool::key_status::active ||
           state->status() == pool::key_status::cooling;
}

bool lease_desk::may_use(const auth::access_key& holder, const pool::upstream_key& key,
                         const std::string& group) const {
    if (!group.empty() && key.group_id != group) return false;
    const auth::key_options& bound = *holder.options;
    if (!bound.group.empty() && key.group_id != bound.group) return false;
    return bound.upstream_key.empty() || key.id == bound.upstream_key;
}

std::size_t lease_desk::most_of(const pool::upstream_key& key) const {
    if (key.max_leases) return *key.max_leases;
    const auto group = with_.groups.find(key.group_id);
    if (group != with_.groups.end() && group->second->max_leases) return *group->second->max_leases;
    return with_.settings()->leases.max_per_key;
}

template <class Change>
result<lease_book> lease_desk::edit(store::store& in, const std::string& upstream_key,
                                    const Change& change) {
    for (int race = 0; race < max_races; ++race) {
        auto stored = in.get(pool::lease_book_kind, upstream_key);
        if (!stored && stored.error().code != errc::store_not_found) return stored.error();
        lease_book book;
        store::record r{std::string(pool::lease_book_kind), upstream_key, 0, {}};
        if (stored) {
            auto known = read_book(*stored);
            if (!known) return known.error();
            book = std::move(*known);
            r.revision = stored->revision;
        }
        if (!change(book)) return book;
        r.json = book.to_json();
        const auto put = in.put(r);
        if (put) return book;
        if (put.error().code != errc::store_conflict) return put.error();
    }
    return error(errc::store_unavailable, "too many at once", error_source::store);
}

lease_desk::attempt lease_desk::add(const pool::upstream_key& key, const lease& lease,
                                    std::size_t most) {
    bool taken = false;
    std::vector<pool::lease> gone;
    const auto done = edit(with_.store, key.id, [&](lease_book& book) {
        const wall_time now = with_.clock.wall();
        // After an answer that was lost, the lease may be there already.
        taken = book.find(lease.id) != nullptr;
        if (taken) return false;
        gone = book.tidy(now);
        taken = book.add(lease, most, now);
        return taken;
    });
    if (!done) return attempt::away;
    if (taken) erase_access_keys(gone);
    return taken ? attempt::taken : attempt::full;
}

lease_desk::outcome<lease_grant> lease_desk::allocate(const auth::access_key& holder,
                                                      const std::string& group,
                                                      std::chrono::seconds ttl,
                                                      const std::string& source) {
    if (!auth::has_permission(holder, auth::permission_lease)) return refusal::not_permitted;
    const auto& rules = with_.settings()->leases;
    if (ttl == 0s) ttl = std::chrono::duration_cast<std::chrono::seconds>(rules.ttl);
    if (ttl < 1s || ttl > rules.max_ttl) return refusal::bad_ttl;
    if (!group.empty() && !with_.groups.contains(group)) return refusal::no_such_group;

    const wall_time now = with_.clock.wall();
    std::map<std::string, std::size_t, std::less<>> taken;
    for (const store::record* r : with_.books())
        if (const auto book = read_book(*r)) taken.emplace(r->id, book->running(now));
    std::vector<candidate> found;
    bool any = false;
    for (const auto& [id, key] : with_.keys) {
        if (!may_use(holder, *key, group) || !usable(*key)) continue;
        any = true;
        const auto at = taken.find(id);
        candidate c{key, at == taken.end() ? 0 : at->second, most_of(*key)};
        if (c.most > 0) found.push_back(c);
    }
    if (!any) return refusal::no_key;
    // The one with the most room first. What seems to be full may have room by now.
    std::ranges::sort(found, {}, [](const candidate& c) {
        const double share = static_cast<double>(c.taken) / static_cast<double>(c.most);
        return std::pair(share, std::string_view(c.key->id));
    });

    const secret text = auth::make_key_text();
    lease given;
    given.holder = holder.id;
    given.since = now;
    given.until = std::chrono::floor<std::chrono::milliseconds>(now + ttl);
    if (holder.expires_at) given.until = std::min(given.until, *holder.expires_at);
    const std::string unique(text.reveal().substr(public_at, public_size));
    std::size_t looks = 0;
    for (const candidate& c : found) {
        const auto owner = with_.groups.find(c.key->group_id);
        if (owner == with_.groups.end()) continue;
        const bool raw = owner->second->lease_raw;
        given.id = pool::make_lease_id(unique, c.key->id);
        given.access_key = raw ? std::string() : access_key_id_of(text.reveal());
        const auto got = add(*c.key, given, c.most);
        if (got == attempt::full) {
            if (++looks == max_looks) break;
            continue;
        }
        if (got == attempt::away) return refusal::store_away;
        const bool done =
            raw ? note_raw(holder, given, *c.key, source) : hand_out(holder, given, *c.key, text);
        if (!done) {
            static_cast<void>(release(&holder, given.id));
            return refusal::store_away;
        }
        if (with_.changed) with_.changed();
        return lease_grant{given.id, raw ? c.key->value : text,
                           std::chrono::ceil<std::chrono::seconds>(given.until - now), given.until};
    }
    return refusal::all_taken;
}

bool lease_desk::hand_out(const auth::access_key& holder, const lease& lease,
                          const pool::upstream_key& key, const secret& text) {
    auth::access_key made;
    made.id = lease.access_key;
    made.name = "lease of " + holder.name;
    made.hash = auth::hash_key_text(text, with_.pepper);
    made.masked = text.masked();
    made.created = lease.since;
    made.expires_at = lease.until;
    auto& options = made.options.edit();
    options.upstream_key = key.id;
    options.lease = lease.id;
    options.holder = holder.hash;
    return with_.store.put(auth::to_record(made)).has_value();
}

// Before the upstream's own key leaves, the audit trail has it.
bool lease_desk::note_raw(const auth::access_key& holder, const lease& lease,
                          const pool::upstream_key& key, const std::string& source) {
    act what;
    what.who.id = holder.id;
    what.who.name = holder.name;
    what.method = "POST";
    what.route = "/api-keys/allocate";
    what.subject = lease.id;
    what.source = source;
    const auto noted = with_.audit.note(what, "lease.raw_key", [&](json_writer& w) {
        w.key("upstream_key").begin_object();
        w.field("id", key.id).field("alias", key.alias).end_object();
    });
    if (!noted) return false;
    log::event(log::level::warn, "lease.raw_key",
               {{"lease", lease.id}, {"holder", holder.id}, {"key", key.alias}});
    return true;
}

// What was handed out is refused from now on; the sweep takes it out of the store.
bool lease_desk::end_access_key(store::store& in, const std::string& id) {
    if (id.empty()) return true;
    for (int race = 0; race < max_races; ++race) {
        const auto stored = in.get(auth::access_key_kind, id);
        if (!stored) return stored.error().code == errc::store_not_found;
        auto key = auth::access_key_from(*stored);
        const wall_time now = with_.clock.wall();
        if (!key || auth::expired(*key, now)) return true;
        key->expires_at = std::chrono::floor<std::chrono::milliseconds>(now);
        const auto put = in.put(auth::to_record(*key));
        if (put) return true;
        if (put.error().code != errc::store_conflict) return false;
    }
    return false;
}

void lease_desk::erase_access_keys(const std::vector<pool::lease>& of) {
    for (const lease& l : of)
        if (!l.access_key.empty())
            static_cast<void>(with_.store.erase(auth::access_key_kind, l.access_key, 0));
}

lease_desk::outcome<lease_end> lease_desk::release(const auth::access_key* holder,
                                                   const std::string& lease_id) {
    const std::string upstream_key(pool::upstream_key_of(lease_id));
    if (upstream_key.empty()) return refusal::unknown;
    store::store& in = holder != nullptr ? with_.store : with_.audit;
    const auto stored = in.get(pool::lease_book_kind, upstream_key);
    if (!stored)
        return stored.error().code == errc::store_not_found ? refusal::unknown
                                                            : refusal::store_away;
    const auto known = read_book(*stored);
    const lease* found = known ? known->find(lease_id) : nullptr;
    if (found == nullptr) return refusal::unknown;
    if (holder != nullptr && found->holder != holder->id) return refusal::not_yours;
    // First the key, then its place: there are never more keys about than places.
    if (!end_access_key(in, found->access_key)) return refusal::store_away;
    const auto book = edit(in, upstream_key, [&](lease_book& b) {
        const wall_time now = with_.clock.wall();
        const lease* l = b.find(lease_id);
        return l != nullptr && lease_book::runs(*l, now) && b.release(lease_id, now);
    });
    if (!book) return refusal::store_away;
    if (with_.changed) with_.changed();
    return lease_end{book->running(with_.clock.wall())};
}

lease_desk::outcome<lease_end> lease_desk::release_key(const auth::access_key& holder,
                                                       const secret& text) {
    if (auth::shape_of(text.reveal()) == auth::key_shape::ours) {
        const auto stored = with_.store.get(auth::access_key_kind, access_key_id_of(text.reveal()));
        if (!stored)
            return stored.error().code == errc::store_not_found ? refusal::unknown
                                                                : refusal::store_away;
        const auto key = auth::access_key_from(*stored);
        const auto hash = crypto::to_hex(auth::hash_key_text(text, with_.pepper));
        if (!key || !auth::is_leased(*key) || !equal_constant_time(crypto::to_hex(key->hash), hash))
            return refusal::unknown;
        return release(&holder, key->options->lease);
    }
    // The upstream's own key: of several leases of it, the holder's first that goes on.
    for (const auto& [id, key] : with_.keys) {
        if (!equal_constant_time(key->value.reveal(), text.reveal())) continue;
        const auto stored = with_.store.get(pool::lease_book_kind, id);
        if (!stored) continue;
        const auto book = read_book(*stored);
        if (!book) continue;
        const lease* mine = nullptr;
        for (const lease& l : book->all()) {
            if (l.holder != holder.id || !l.access_key.empty()) continue;
            if (mine == nullptr || (!lease_book::runs(*mine, with_.clock.wall()) &&
                                    lease_book::runs(l, with_.clock.wall())))
                mine = &l;
        }
        if (mine != nullptr) return release(&holder, mine->id);
    }
    return refusal::unknown;
}

std::vector<lease_view> lease_desk::running() const {
    std::vector<lease_view> out;
    const wall_time now = with_.clock.wall();
    for (const store::record* r : with_.books()) {
        const auto book = read_book(*r);
        if (!book) continue;
        for (const lease& l : book->all())
            if (lease_book::runs(l, now)) out.push_back({l, r->id});
    }
    return out;
}

std::chrono::seconds lease_desk::next_end(const auth::access_key& holder) const {
    const wall_time now = with_.clock.wall();
    wall_time first = now + 60s;
    for (const auto& view : running()) {
        const auto key = with_.keys.find(view.upstream_key);
        if (key != with_.keys.end() && may_use(holder, *key->second, {}))
            first = std::min(first, view.lease.until);
    }
    return std::max(std::chrono::ceil<std::chrono::seconds>(first - now), 1s);
}

void lease_desk::sweep() {
    const wall_time now = with_.clock.wall();
    const auto books = with_.books();
    std::erase_if(due_, [&](const auto& known) {
        return std::ranges::none_of(books, [&](const auto* r) { return r->id == known.first; });
    });
    std::vector<std::string> over;
    for (const store::record* r : books) {
        auto& [revision, at] = due_[r->id];
        if (revision != r->revision) {
            const auto book = read_book(*r);
            revision = r->revision;
            at = book ? book->due() : wall_time::max();
        }
        if (at <= now) over.push_back(r->id);
    }
    for (const std::string& id : over) {
        std::vector<lease> gone;
        const auto done = edit(with_.store, id, [&](lease_book& book) {
            gone = book.tidy(now);
            return !gone.empty();
        });
        if (!done) return;  // the store is away: later
        erase_access_keys(gone);
    }
}

}  // namespace kw::admin
