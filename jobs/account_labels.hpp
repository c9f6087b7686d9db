// Accounts of upstream keys as answers tell them, kept in the store for all replicas: one record
// for each key that has no label of the operator's.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "jobs/catalog.hpp"
#include "pool/accounts.hpp"

namespace kw::jobs {

inline constexpr std::string_view account_kind = "key_account";

[[nodiscard]] pool::account_table::labels learned_accounts(const catalog& known);

// The keys that may be asked for what this account ("": that of `first`) keeps: those in use, the
// first one before others; where it is not in use, after them. At most `most`.
[[nodiscard]] std::vector<pool::key_ptr> keys_of_account(const catalog& known,
                                                         const std::string& account,
                                                         const std::string& first,
                                                         std::size_t most);

// Control thread only. The store outlives it.
class account_labels {
  public:
    explicit account_labels(store::store& to) : store_(to) {}
    // The label holds visible ASCII without quotes and backslashes.
    void note(const std::string& key_id, const std::string& label);
    // Stores what is new and removes what belongs to no key any more; what fails is noted again by
    // later answers.
    void write(const catalog& known);

  private:
    store::store& store_;
    std::map<std::string, std::string> noted_;  // as JSON
};

}  // namespace kw::jobs
