// The comparison of declared keys with stored ones.
#include "pool/declared.hpp"

#include <map>
#include <set>

namespace kw::pool {

declared_diff diff_declared(const std::vector<declared_key>& declared,
                            const std::vector<upstream_key>& stored,
                            crypto::hmac_sha256& fingerprint, wall_time now,
                            random_source& random) {
    const auto print_of = [&](const std::string& group, const secret& value) {
        return group + '\n' + crypto::to_hex(fingerprint(value.reveal()));
    };
    std::map<std::string, const upstream_key*> by_print;
    std::map<std::string, const upstream_key*> by_name;
    std::set<std::string> aliases;
    for (const auto& k : stored) {
        aliases.insert(k.alias);
        if (!k.declared) continue;
        if (!k.value.empty()) by_print.emplace(print_of(k.group_id, k.value), &k);
        by_name.emplace(k.group_id + '\n' + k.alias, &k);
    }
    declared_diff diff;
    std::set<const upstream_key*> kept;
    std::set<std::string> seen;
    std::vector<const declared_key*> unmatched;
    const auto refresh = [&](const upstream_key& old, const declared_key& d) {
        kept.insert(&old);
        upstream_key k = old;
        k.value = d.value;
        k.models = d.models;
        k.weight_ppm = d.weight_ppm;
        if (!d.name.empty()) k.alias = d.name;
        const bool comes_back =
            old.status == admin_status::disabled && old.reason == no_longer_declared;
        if (comes_back) {
            k.status = admin_status::enabled;
            k.reason.clear();
        }
        if (!(old.value == d.value)) k.last_test = test_outcome::untested;
        if (comes_back || !(old.value == k.value) || old.models != k.models ||
            old.weight_ppm != k.weight_ppm || old.alias != k.alias) {
            diff.to_replace.push_back(std::move(k));
        }
    };
    for (const auto& d : declared) {
        if (d.value.empty()) continue;
        const auto print = print_of(d.group_id, d.value);
        if (!seen.insert(print).second) continue;
        if (const auto at = by_print.find(print); at != by_print.end()) {
            refresh(*at->second, d);
        } else {
            unmatched.push_back(&d);
        }
    }
    for (const declared_key* d : unmatched) {
        if (!d->name.empty()) {
            const auto at = by_name.find(d->group_id + '\n' + d->name);
            if (at != by_name.end() && !kept.contains(at->second)) {
                refresh(*at->second, *d);
                continue;
            }
        }
        upstream_key k;
        k.id = make_id("uk_", now, random);
        k.group_id = d->group_id;
        k.alias = !d->name.empty() ? d->name : d->alias;
        if (k.alias.empty()) {
            for (std::size_t n = 1; k.alias.empty() || aliases.contains(k.alias); ++n) {
                k.alias = d->group_id + '-' + std::to_string(n);
            }
        }
        aliases.insert(k.alias);
        k.models = d->models;
        k.weight_ppm = d->weight_ppm;
        k.value = d->value;
        k.created = now;
        k.declared = true;
        diff.to_add.push_back(std::move(k));
    }
    for (const auto& old : stored) {
        if (!old.declared || kept.contains(&old)) continue;
        if (old.status == admin_status::disabled) continue;
        upstream_key k = old;
        k.status = admin_status::disabled;
        k.reason = no_longer_declared;
        diff.to_disable.push_back(std::move(k));
    }
    return diff;
}

}  // namespace kw::pool
