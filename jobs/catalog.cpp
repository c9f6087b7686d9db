// Applying the change feed record by record.
#include "jobs/catalog.hpp"

#include <algorithm>

#include "auth/admin_account.hpp"
#include "core/log.hpp"

namespace kw::jobs {
namespace {

void complain(const store::record& r, const error& e) {
    log::event(log::level::error, "record.unreadable",
               {{"kind", r.kind}, {"id", r.id}, {"err", e.context}});
}

// A login is no reason for another snapshot, and the file of the last one needs no passwords.
// What a provider says of a quota goes to the pool's state, not into a snapshot.
bool changes_no_snapshot(std::string_view kind) noexcept {
    return kind == pool::quota_kind;
}

bool is_for_admins_alone(std::string_view kind) noexcept {
    return kind == auth::admin_kind || kind == auth::admin_token_kind;
}

}  // namespace

catalog::catalog(store::store& from, const crypto::sealer& sealer)
    : store_(from), sealer_(sealer) {}

result<bool> catalog::refresh() {
    bool changed = false;
    for (;;) {
        // What came from the file is replaced as a whole by the first answer of the store.
        auto got = store_.changes_since(from_file_ ? 0 : revision_);
        if (!got) return got.error();
        if (got->reset || from_file_) {
            clear();
            changed = true;
        }
        from_file_ = false;
        revision_ = got->revision;
        for (const store::change& c : got->items) {
            if (is_for_admins_alone(c.after.kind)) continue;
            changed = changed || !changes_no_snapshot(c.after.kind);
            if (c.erased)
                drop(c.after.kind, c.after.id);
            else
                take(c.after);
        }
        if (!got->more) return changed;
    }
}

result<void> catalog::load(const store::snapshot_file& saved) {
    clear();
    const auto revision = saved.load([this](const store::record& r) { take(r); });
    if (!revision) {
        clear();
        return revision.error();
    }
    from_file_ = true;
    revision_ = *revision;
    return {};
}

store::snapshot catalog::save() const {
    std::vector<std::shared_ptr<const store::record>> records;
    records.reserve(records_.size());
    for (const auto& [name, r] : records_)
        records.push_back(r);
    return {revision_, [records = std::move(records)](const store::record_sink& to) {
                for (const auto& r : records)
                    to(*r);
            }};
}

std::vector<const store::record*> catalog::of_kind(std::string_view kind) const {
    std::vector<const store::record*> out;
    for (auto at = records_.lower_bound(std::pair(std::string(kind), std::string()));
         at != records_.end() && at->first.first == kind; ++at)
        out.push_back(at->second.get());
    return out;
}

const store::record* catalog::find(std::string_view kind, std::string_view id) const {
    const auto it = records_.find(std::pair(std::string(kind), std::string(id)));
    return it == records_.end() ? nullptr : it->second.get();
}

void catalog::take(const store::record& r) {
    if (r.kind == group_kind) {
        auto g = pool::group_from_json(r.json);
        if (!g) return complain(r, g.error());
        groups_[r.id] = std::make_shared<const pool::group>(std::move(*g));
    } else if (r.kind == upstream_key_kind) {
        auto k = pool::key_from_json(r.json, sealer_);
        if (!k) return complain(r, k.error());
        keys_[r.id] = std::make_shared<const pool::upstream_key>(std::move(*k));
    } else if (r.kind == auth::access_key_kind) {
        auto k = auth::access_key_from(r);
        if (!k) return complain(r, k.error());
        if (!auth::is_leased(*k)) auth::apply_default(k->limits, default_limits_);
        access_.insert_or_assign(r.id, std::move(*k));
        access_changed_ = true;
    }
    records_.insert_or_assign(std::pair(r.kind, r.id), std::make_shared<const store::record>(r));
}

void catalog::drop(std::string_view kind, const std::string& id) {
    if (kind == group_kind) groups_.erase(id);
    if (kind == upstream_key_kind) keys_.erase(id);
    if (kind == auth::access_key_kind) access_changed_ = access_.erase(id) > 0 || access_changed_;
    records_.erase(std::pair(std::string(kind), id));
}

void catalog::clear() {
    records_.clear();
    groups_.clear();
    keys_.clear();
    access_.clear();
    access_changed_ = true;
}

void catalog::set_default_limits(auth::key_limits limits) {
    if (limits == default_limits_) return;
    default_limits_ = std::move(limits);
    for (auto& [id, key] : access_) {
        if (!auth::is_leased(key) && auth::apply_default(key.limits, default_limits_))
            access_changed_ = true;
    }
}

std::shared_ptr<const auth::key_table> catalog::access_keys() {
    if (access_changed_ || !table_) {
        std::vector<auth::access_key> all;
        all.reserve(access_.size());
        expiries_.clear();
        for (const auto& [id, key] : access_) {
            all.push_back(key);
            if (key.expires_at && !key.deleted && !auth::is_leased(key))
                expiries_.emplace_back(*key.expires_at, id);
        }
        std::ranges::sort(expiries_);
        table_ = std::make_shared<const auth::key_table>(std::move(all));
        access_changed_ = false;
    }
    return table_;
}

std::vector<const auth::access_key*> catalog::expired_between(wall_time from, wall_time to) const {
    std::vector<const auth::access_key*> ended;
    for (auto it = std::ranges::upper_bound(expiries_, from, {},
                                            &std::pair<wall_time, std::string>::first);
         it != expiries_.end() && it->first <= to; ++it) {
        const auto key = access_.find(it->second);
        if (key != access_.end()) ended.push_back(&key->second);
    }
    return ended;
}

}  // namespace kw::jobs
