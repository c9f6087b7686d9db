// Decoding of records and following of the change feed.
#include "admin/catalogue.hpp"

#include <algorithm>
#include <tuple>

#include "pool/sealed_proxy.hpp"

namespace kw::admin {

// The records behind this revision, without the access keys that the feed would bring.
result<void> catalogue::begin(std::uint64_t revision) {
    for (const std::string_view kind :
         {key_kind, group_kind, auth::admin_kind, auth::admin_token_kind}) {
        store::page_request at{.limit = 10'000, .cursor = {}};
        do {
            auto page = from_.store.list(kind, at);
            if (!page) return page.error();
            for (auto& r : page->items)
                take({std::move(r), false});
            at.cursor = std::move(page->next);
        } while (!at.cursor.empty());
    }
    revision_ = revision;
    return {};
}

result<void> catalogue::sync() {
    const std::uint64_t level = from_.follow();
    if (revision_ == 0 && level != 0) {
        if (const auto done = begin(level); !done) return done;
    }
    while (true) {
        const auto changes = from_.store.changes_since(revision_, store::feed_run, server_);
        if (!changes) return changes.error();
        if (changes->reset) {
            keys_.clear();
            by_value_.clear();
            groups_.clear();
            admins_.clear();
            tokens_.clear();
        }
        for (const auto& c : changes->items)
            take(c);
        revision_ = changes->revision;
        server_ = changes->server;
        if (!changes->more) return {};
    }
}

void catalogue::take(const store::change& c) {
    const store::record& r = c.after;
    if (r.kind == key_kind) {
        forget_key(r.id);
        if (c.erased) return;
        auto key = pool::key_from_json(r.json, from_.sealer);
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
        auto group = pool::stored_group(r.json, from_.sealer);
        if (!group) return;
        groups_.emplace(r.id, group_entry{std::make_shared<const pool::group>(std::move(*group)),
                                          r.revision, false});
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

const auth::access_key* catalogue::access_key(std::string_view id) const {
    const auth::access_key* key = any_access_key(id);
    return key == nullptr || key->deleted ? nullptr : key;
}

const auth::access_key* catalogue::any_access_key(std::string_view id) const {
    const auth::access_key* key = from_.access_keys.find(id);
    return key == nullptr || auth::is_leased(*key) ? nullptr : key;
}

std::vector<group_entry> catalogue::groups() const {
    auto all = groups_;
    if (from_.declared) {
        for (auto& g : from_.declared()) {
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
    if (!hash_) hash_ = std::make_unique<crypto::hmac_sha256>(from_.pepper);
    return (*hash_)(value.reveal());
}

std::string catalogue::key_with(std::string_view group, const crypto::digest& value) const {
    const auto at = by_value_.find(std::pair(std::string(group), value));
    return at == by_value_.end() ? std::string() : at->second;
}

}  // namespace kw::admin
