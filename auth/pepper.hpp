// The key that hashes access keys: a record of its own, sealed by the master key, so that a new
// master key or another store voids no access key.
#pragma once

#include <string_view>

#include "core/crypto.hpp"
#include "core/error.hpp"
#include "core/secret.hpp"
#include "store/types.hpp"

namespace kw::auth {

inline constexpr std::string_view pepper_kind = "setting";
inline constexpr std::string_view pepper_id = "access_key_pepper";

// 32 bytes from the kernel's generator, in base64url.
[[nodiscard]] secret make_pepper();
// The record to put into the store, with revision 0.
[[nodiscard]] store::record seal_pepper(const secret& pepper, const crypto::sealer& sealer);
// errc::invalid_argument: not such a record, or sealed with another master key.
[[nodiscard]] result<secret> open_pepper(const store::record& record, const crypto::sealer& sealer);

}  // namespace kw::auth
