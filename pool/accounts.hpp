// Upstream accounts: what one of them keeps (files, batches, stored responses), the others do not
// see. Keys with the same label share an account; a key without one is an account by itself.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pool/pool_view.hpp"

namespace kw::pool {

// Immutable, part of a snapshot; made from the pool's view, which outlives it.
class account_table {
  public:
    using labels = std::map<std::string, std::string, std::less<>>;

    account_table() = default;
    // learned: labels told by answers, by key id; a label that the operator has set goes before.
    account_table(const pool_view& view, const labels& learned);

    // The key's label, else its id.
    [[nodiscard]] std::string_view of(const upstream_key& key) const noexcept;
    // The operator has set no label: answers may tell one.
    [[nodiscard]] static bool may_learn(const upstream_key& key) noexcept {
        return key.account.empty();
    }
    // An account by its label; or by the id of a key that had no label then. Empty: there is none.
    [[nodiscard]] std::vector<account_member> members(std::string_view account) const;
    // The label behind such a name.
    [[nodiscard]] std::string_view canonical(std::string_view account) const noexcept;
    [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }
    // At most `most` accounts, those that an owner's objects should go to first: the same order
    // wherever it is asked for, another one for each owner.
    [[nodiscard]] std::vector<std::string_view> order_for(std::string_view owner,
                                                          std::size_t most) const;

  private:
    const pool_view* view_ = nullptr;
    labels learned_;
    std::map<std::string, std::vector<account_member>, std::less<>> labelled_;
    std::vector<std::pair<std::uint64_t, std::string_view>> all_;  // with their hashes
};

}  // namespace kw::pool
