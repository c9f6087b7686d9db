// The key that hashes access keys: a record of its own, sealed by the master key, so that a new
// master key or another store voids no access key. Access keys that were imported keep the hash
// that they came with; the pepper they were made under lies in a further record beside it.
#pragma once

#include <string_view>

#include "core/crypto.hpp"
#include "core/error.hpp"
#include "core/secret.hpp"
#include "store/types.hpp"

namespace kw::auth {

inline constexpr std::string_view pepper_kind = "setting";
inline constexpr std::string_view pepper_id = "access_key_pepper";

// Each one costs every unknown credential a hash.
inline constexpr std::size_t max_peppers = 8;

// 32 bytes from the kernel's generator, in base64url.
[[nodiscard]] secret make_pepper();
// The record to put into the store, with revision 0.
[[nodiscard]] store::record seal_pepper(const secret& pepper, const crypto::sealer& sealer);
// errc::invalid_argument: not such a record, or sealed with another master key.
[[nodiscard]] result<secret> open_pepper(const store::record& record, const crypto::sealer& sealer);

// The record of a pepper that came with access keys from elsewhere; its id follows from the pepper.
[[nodiscard]] store::record seal_other_pepper(const secret& pepper, const crypto::sealer& sealer);
[[nodiscard]] bool is_other_pepper(const store::record& record) noexcept;

}  // namespace kw::auth
