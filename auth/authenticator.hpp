// Who is calling: from the text of a credential to the access key, or the reason why not.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "auth/access_key.hpp"
#include "auth/key_table.hpp"
#include "core/clock.hpp"
#include "core/crypto.hpp"
#include "core/error.hpp"
#include "core/secret.hpp"

namespace kw::auth {

// The hash under which a key's text is stored; for those who make and declare keys.
[[nodiscard]] crypto::digest hash_key_text(const secret& text, const secret& pepper);

// One per worker (the hash context is not for several threads). No cache of texts: a hash is a
// quarter of a microsecond, and what is not kept cannot be confused.
class authenticator {
  public:
    // `more`: the peppers of access keys that came from other stores.
    explicit authenticator(const secret& pepper, std::span<const secret> more = {});

    // The key, valid as long as the table; or missing_api_key (empty text), invalid_api_key
    // (unknown, mistyped, deleted, or an earlier text after its time), key_disabled, key_expired
    // (by `now`, at once). The error says nothing of the credential.
    [[nodiscard]] result<const access_key*> identify(std::string_view credential, wall_time now,
                                                     const key_table& table);

    // Whether this is or was the text of an access key, whatever became of that.
    [[nodiscard]] bool knows(std::string_view credential, const key_table& table);

    // Of a key that a lease handed out: the key that took the lease, judged in the same way; a text
    // that was replaced opens the door to its leases no longer than to itself.
    [[nodiscard]] static result<const access_key*> holder_of(const access_key& leased,
                                                             wall_time now, const key_table& table);

  private:
    std::vector<crypto::hmac_sha256> hashes_;  // this store's first
};

}  // namespace kw::auth
