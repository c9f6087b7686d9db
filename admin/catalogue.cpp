// Decoding of records and following of the change feed.
#include "admin/catalogue.hpp"

#include <algorithm>
#include <tuple>

namespace kw::admin {

catalogue::catalogue(store::store& store, const crypto::sealer& sealer, const secret& pepper,
                     declared_source declared)
    : store_(store), sealer_(sealer), pepper_(pepper), declared_(std::move(declared)) {}

result<void> catalogue::sync() {
    while (true) {
        const auto changes = store_.changes_since(revision_);
        if (!changes) return changes.error();
        if (changes->reset) {
            keys_.clear();
            by_value_.clear();
            access_keys_.clear();
            groups_.clear();
            admins_.clear();
            tokens_.clear();
        }
        for (const auto& c : changes->items)
            take(c);
        revision_ = changes->revision;
        if (!changes->more) return {};
    }
}

void catalogue::take(const store::change& c) {
    const store::record& r = c.after;
    if (r.kind == key_kind) {
        forget_key(r.id);
        if (c.erased) return;
        auto key = pool::key_from_json(r.json, sealer_);
        if (!key) return;
        key_entry entry;
        if (!key->value.empty()) {
            entry.masked = key->value.masked();
            entry.fingerprint = fingerprint(key->value);
            by_value_.emplace(std::pair(key->group_id, entry.fingerprint), r.id);
        }
        key->value = secret();
        entry.key = std::move(*key);
        entry.revision = r.revision;
        keys_.insert_or_assign(r.id, std::move(entry));
    } else if (r.kind == group_kind) {
        groups_.erase(r.id);
        if (c.erased) return;
        auto group = pool::group_from_json(r.json);
        if (!group) return;
        groups_.emplace(r.id, group_entry{std::make_shared<const pool::group>(std::move(*group)),
                                          r.revision, false});
    } else if (r.kind == auth::access_key_kind) {
        access_keys_.erase(r.id);
        if (c.erased) return;
        // What a lease handed out is shown with the leases and goes with them.
        if (auto key = auth::access_key_from(r); key && !auth::is_leased(*key)) {
            auth::apply_default(key->limits, default_limits_);
            access_keys_.emplace(r.id, std::move(*key));
        }
    } else if (r.kind == auth::admin_kind) {
        admins_.erase(r.id);
        if (c.erased) return;
        if (auto admin = auth::admin_from(r)) admins_.emplace(r.id, std::move(*admin));
    } else if (r.kind == auth::admin_token_kind) {
        tokens_.erase(r.id);
        if (c.erased) return;
        if (auto token = auth::admin_token_from(r)) tokens_.emplace(r.id, std::move(*token));
    }
}

void catalogue::forget_key(std::string_view id) {
    const auto at = keys_.find(id);
    if (at == keys_.end()) return;
    const auto value = by_value_.find(std::pair(at->second.key.group_id, at->second.fingerprint));
    if (value != by_value_.end() && value->second == id) by_value_.erase(value);
    keys_.erase(at);
}

const key_entry* catalogue::key(std::string_view id) const {
    const auto at = keys_.find(id);
    return at == keys_.end() ? nullptr : &at->second;
}

void catalogue::set_default_limits(auth::key_limits limits) {
    if (limits == default_limits_) return;
    default_limits_ = std::move(limits);
    for (auto& [id, key] : access_keys_)
        auth::apply_default(key.limits, default_limits_);
}

const auth::access_key* catalogue::access_key(std::string_view id) const {
    const auto at = access_keys_.find(id);
    return at == access_keys_.end() || at->second.deleted ? nullptr : &at->second;
}

std::vector<group_entry> catalogue::groups() const {
    auto all = groups_;
    if (declared_) {
        for (auto& g : declared_()) {
            const auto id = g->id;
            all.insert_or_assign(id, group_entry{std::move(g), 0, true});
        }
    }
    std::vector<group_entry> out;
    out.reserve(all.size());
    for (auto& [id, entry] : all)
        out.push_back(std::move(entry));
    std::ranges::sort(out, [](const group_entry& a, const group_entry& b) {
        return std::tie(a.group->priority, a.group->id) < std::tie(b.group->priority, b.group->id);
    });
    return out;
}

std::optional<group_entry> catalogue::group(std::string_view id) const {
    for (auto& entry : groups()) {
        if (entry.group->id == id) return entry;
    }
    return std::nullopt;
}

crypto::digest catalogue::fingerprint(const secret& value) const {
    // Made when first needed: the pepper may be read from the store after this object was made.
    if (!hash_) hash_ = std::make_unique<crypto::hmac_sha256>(pepper_);
    return (*hash_)(value.reveal());
}

std::string catalogue::key_with(std::string_view group, const crypto::digest& value) const {
    const auto at = by_value_.find(std::pair(std::string(group), value));
    return at == by_value_.end() ? std::string() : at->second;
}

}  // namespace kw::admin
