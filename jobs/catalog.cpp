// Applying the change feed record by record.
#include "jobs/catalog.hpp"

#include <algorithm>

#include "auth/admin_account.hpp"
#include "config/channel.hpp"
#include "core/log.hpp"
#include "jobs/notifier.hpp"
#include "jobs/told_notices.hpp"
#include "pool/sealed_proxy.hpp"

namespace kw::jobs {
namespace {

void complain(const store::record& r, const error& e) {
    log::event(log::level::error, "record.unreadable",
               {{"kind", r.kind}, {"id", r.id}, {"err", e.context}});
}

// A login is no reason for another snapshot, and the file of the last one needs no passwords.
// What a provider says of a quota goes to the pool's state, not into a snapshot.
bool changes_no_snapshot(std::string_view kind) noexcept {
    return kind == pool::quota_kind || kind == config::channel_record;
}

bool is_read_elsewhere(std::string_view kind) noexcept {
    return kind == auth::admin_kind || kind == auth::admin_token_kind ||
           kind == notice_claim_record || kind == told_record;
}

}  // namespace

catalog::catalog(store::store& from, const crypto::sealer& sealer)
    : store_(from), sealer_(sealer) {}

result<bool> catalog::refresh() {
    bool changed = false;
    for (;;) {
        // What came from the file is replaced as a whole by the first answer of the store.
        auto got = store_.changes_since(from_file_ ? 0 : revision_, store::feed_run, server_);
        if (!got) return got.error();
        if (got->reset || from_file_) {
            clear();
            changed = unsaved_ = true;
        }
        from_file_ = false;
        revision_ = got->revision;
        server_ = got->server;
        for (const store::change& c : got->items) {
            if (is_read_elsewhere(c.after.kind)) continue;
            changed = changed || !changes_no_snapshot(c.after.kind);
            unsaved_ = unsaved_ || c.after.kind != pool::quota_kind;
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

store::snapshot catalog::save() {
    std::vector<std::shared_ptr<const store::record>> records;
    records.reserve(records_.size());
    for (const auto& [name, r] : records_)
        records.push_back(r);
    // The table holds the access keys, all but those whose hash another one has.
    const auto table = access_.table();
    std::vector<auth::access_key_ptr> hidden;
    if (table->size() != access_.all().size()) {
        for (const auto& key : access_.all())
            if (table->find(key->hash) != key.get()) hidden.push_back(key);
    }
    return {revision_, [=, records = std::move(records)](const store::record_sink& to) {
                std::vector<const auth::access_key*> keys;
                keys.reserve(table->size() + hidden.size());
                table->for_each([&](const auth::access_key& key) { keys.push_back(&key); });
                for (const auto& key : hidden)
                    keys.push_back(key.get());
                std::ranges::sort(keys, {}, [](const auth::access_key* k) -> const std::string& {
                    return k->id;
                });
                for (const auth::access_key* key : keys)
                    to(auth::to_record(*key));
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

std::uint64_t catalog::revision_of(std::string_view kind, std::string_view id) const {
    if (kind == auth::access_key_kind) {
        const auth::access_key* key = access_.find(id);
        return key == nullptr ? 0 : key->revision;
    }
    const store::record* r = find(kind, id);
    return r == nullptr ? 0 : r->revision;
}

void catalog::take(const store::record& r) {
    if (r.kind == group_kind) {
        auto g = pool::stored_group(r.json, sealer_);
        if (!g) return complain(r, g.error());
        groups_[r.id] = std::make_shared<const pool::group>(std::move(*g));
    } else if (r.kind == upstream_key_kind) {
        auto k = pool::key_from_json(r.json, sealer_);
        if (!k) return complain(r, k.error());
        keys_[r.id] = std::make_shared<const pool::upstream_key>(std::move(*k));
    } else if (r.kind == auth::access_key_kind) {
        if (auto taken = access_.take(r); !taken) complain(r, taken.error());
        return;
    }
    ++generation_;
    records_.insert_or_assign(std::pair(r.kind, r.id), std::make_shared<const store::record>(r));
}

void catalog::drop(std::string_view kind, const std::string& id) {
    if (kind == group_kind) groups_.erase(id);
    if (kind == upstream_key_kind) keys_.erase(id);
    if (kind == auth::access_key_kind) return access_.drop(id);
    ++generation_;
    records_.erase(std::pair(std::string(kind), id));
}

void catalog::clear() {
    ++generation_;
    records_.clear();
    groups_.clear();
    keys_.clear();
    access_.clear();
}

}  // namespace kw::jobs
