// Declared keys: those that environment, file or a mounted secret name. Compares them with the
// stored ones and says what to change; keys made through the API are not touched.
#pragma once

#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/crypto.hpp"
#include "core/ids.hpp"
#include "pool/upstream_key.hpp"

namespace kw::pool {

// Reason of a key that was disabled because nothing declares it any more; only such a key comes
// back by itself when it is declared again.
inline constexpr std::string_view no_longer_declared = "no longer declared";

struct declared_key {
    std::string name;  // "" : known by its secret only (a list in an environment variable)
    std::string group_id;
    std::string alias;  // "" : made from the group's id and a number
    secret value;
    std::vector<std::string> models;
    std::uint32_t weight_ppm = one_ppm;
};

// Whole records, ready to be stored. A replaced one keeps its id, so its counters go on.
struct declared_diff {
    std::vector<upstream_key> to_add;
    std::vector<upstream_key> to_replace;
    std::vector<upstream_key> to_disable;
    [[nodiscard]] bool empty() const noexcept {
        return to_add.empty() && to_replace.empty() && to_disable.empty();
    }
};

// Pure but for ids and time. Secrets are compared by `fingerprint` (HMAC under the store's own
// key), within a group; equal secrets of one group are one key. A named key is also matched by its
// name (kept as the alias), so that a changed secret replaces the old one.
[[nodiscard]] declared_diff diff_declared(const std::vector<declared_key>& declared,
                                          const std::vector<upstream_key>& stored,
                                          crypto::hmac_sha256& fingerprint, wall_time now,
                                          random_source& random);

}  // namespace kw::pool
