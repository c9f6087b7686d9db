// The text of the access keys that keywheel makes:
//   sk-kw-<12 public, base62>-<43 secret, base64url><6 check, base62>
// The check is a CRC-32 of all before it, so that a mistyped key is refused without a hash; it
// protects nothing. The secret part has 256 bits.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/crypto.hpp"
#include "core/secret.hpp"

namespace kw::auth {

inline constexpr std::size_t key_text_size = 68;
// A longer credential is refused unread.
inline constexpr std::size_t max_credential_size = 512;

// From the kernel's generator; any thread.
[[nodiscard]] secret make_key_text();

enum class key_shape : std::uint8_t {
    foreign,   // not of our making: an operator's own text perhaps
    ours,      // our shape and the check agrees
    mistyped,  // our shape and the check does not agree: no such key can exist
};
[[nodiscard]] key_shape shape_of(std::string_view text) noexcept;

// Whether an operator may declare this text as an access key: 8 to 512 visible ASCII
// characters without comma, not of the shape `mistyped`.
[[nodiscard]] bool declarable(std::string_view text) noexcept;

}  // namespace kw::auth
