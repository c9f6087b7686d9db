// Base64 with padding (RFC 4648 §4). The form for URLs, without padding, is in core/crypto.hpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace kw {

[[nodiscard]] std::string to_base64(std::span<const std::uint8_t> bytes);
[[nodiscard]] std::string to_base64(std::string_view bytes);

}  // namespace kw
