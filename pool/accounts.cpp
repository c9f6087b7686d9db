// Accounts out of the pool's view.
#include "pool/accounts.hpp"

#include <algorithm>

namespace kw::pool {
namespace {

// The same in every process (FNV-1a, then mixed).
std::uint64_t hash_of(std::string_view text) noexcept {
    std::uint64_t h = 0xcbf29ce484222325U;
    for (const char c : text)
        h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    return h;
}

std::uint64_t mixed(std::uint64_t h) noexcept {
    h = (h ^ (h >> 30U)) * 0xbf58476d1ce4e5b9U;
    h = (h ^ (h >> 27U)) * 0x94d049bb133111ebU;
    return h ^ (h >> 31U);
}

}  // namespace

account_table::account_table(const pool_view& view, const labels& learned)
    : view_(&view), learned_(learned) {
    for (const auto& g : view.groups()) {
        for (std::uint32_t i = 0; i < g->keys().size(); ++i) {
            const upstream_key& key = *g->keys()[i].key;
            const std::string_view label = of(key);
            if (label == key.id) {
                all_.emplace_back(hash_of(key.id), key.id);
                continue;
            }
            auto at = labelled_.find(label);
            if (at == labelled_.end()) {
                at = labelled_.emplace(label, std::vector<account_member>()).first;
                all_.emplace_back(hash_of(label), at->first);
            }
            at->second.push_back({g.get(), i});
        }
    }
}

std::string_view account_table::of(const upstream_key& key) const noexcept {
    if (!key.account.empty()) return key.account;
    const auto told = learned_.find(key.id);
    return told == learned_.end() ? std::string_view(key.id) : std::string_view(told->second);
}

std::string_view account_table::canonical(std::string_view account) const noexcept {
    if (view_ == nullptr || labelled_.contains(account)) return account;
    for (const auto& g : view_->groups())
        if (const member* m = g->find(account)) return of(*m->key);
    return account;
}

std::vector<account_member> account_table::members(std::string_view account) const {
    const std::string_view name = canonical(account);
    if (const auto at = labelled_.find(name); at != labelled_.end()) return at->second;
    if (view_ == nullptr) return {};
    for (const auto& g : view_->groups())
        if (const member* m = g->find(name))
            return {{g.get(), static_cast<std::uint32_t>(m - g->keys().data())}};
    return {};
}

std::vector<std::string_view> account_table::order_for(std::string_view owner,
                                                       std::size_t most) const {
    const std::uint64_t salt = mixed(hash_of(owner));
    std::vector<std::pair<std::uint64_t, std::string_view>> ranked;
    ranked.reserve(all_.size());
    for (const auto& [hash, name] : all_)
        ranked.emplace_back(mixed(hash ^ salt), name);
    most = std::min(most, ranked.size());
    std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(most),
                      ranked.end());
    std::vector<std::string_view> out;
    out.reserve(most);
    for (std::size_t i = 0; i < most; ++i)
        out.push_back(ranked[i].second);
    return out;
}

}  // namespace kw::pool
