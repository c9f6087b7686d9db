// Writing labels of accounts by their record's revision: of several replicas the first wins.
#include "jobs/account_labels.hpp"

#include "core/log.hpp"

namespace kw::jobs {
namespace {

constexpr std::size_t most_noted = 10'000;
constexpr std::size_t most_written = 200;  // a round

}  // namespace

pool::account_table::labels learned_accounts(const catalog& known) {
    pool::account_table::labels out;
    for (const store::record* r : known.of_kind(account_kind))
        if (known.keys().contains(r->id) && r->json.size() > 2)
            out.emplace(r->id, r->json.substr(1, r->json.size() - 2));
    return out;
}

std::vector<pool::key_ptr> keys_of_account(const catalog& known, const std::string& account,
                                           const std::string& first, std::size_t most) {
    const auto learned = learned_accounts(known);
    const auto account_of = [&](const pool::upstream_key& key) -> const std::string& {
        if (!key.account.empty()) return key.account;
        const auto label = learned.find(key.id);
        return label != learned.end() ? label->second : key.id;
    };
    const auto in_use = [](const pool::upstream_key& key) {
        return key.status == pool::admin_status::enabled && !key.value.empty();
    };
    const auto own = known.keys().find(first);
    const bool known_key = own != known.keys().end();
    std::string wanted = account;
    if (wanted.empty() && known_key) wanted = account_of(*own->second);
    std::vector<pool::key_ptr> out;
    if (known_key && in_use(*own->second)) out.push_back(own->second);
    for (const auto& [id, key] : known.keys())
        if (out.size() < most && id != first && in_use(*key) && account_of(*key) == wanted)
            out.push_back(key);
    if (known_key && !in_use(*own->second) && out.size() < most) out.push_back(own->second);
    return out;
}

void account_labels::note(const std::string& key_id, const std::string& label) {
    if (noted_.size() < most_noted) noted_.insert_or_assign(key_id, '"' + label + '"');
}

void account_labels::write(const catalog& known) {
    std::vector<store::change> all;
    for (const auto& [id, label] : noted_) {
        if (all.size() == most_written) break;
        const store::record* held = known.find(account_kind, id);
        if (!known.keys().contains(id) || (held != nullptr && held->json == label)) continue;
        all.push_back(
            {{std::string(account_kind), id, held != nullptr ? held->revision : 0, label}, false});
    }
    const auto noted = std::exchange(noted_, {});
    for (const store::record* r : known.of_kind(account_kind)) {
        if (all.size() == most_written) break;
        if (!known.keys().contains(r->id)) all.push_back({{r->kind, r->id, r->revision, {}}, true});
    }
    if (all.empty()) return;
    const auto done = store_.write_all(all);
    for (std::size_t i = 0; i < all.size() && i < done.size(); ++i)
        if (done[i] && !all[i].erased)
            log::event(log::level::info, "key.account",
                       {{"id", all[i].after.id}, {"account", noted.at(all[i].after.id)}});
}

}  // namespace kw::jobs
