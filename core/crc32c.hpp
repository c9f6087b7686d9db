// The checksum of what lies on disk: CRC-32C (Castagnoli, RFC 3720 appendix B.4), which processors
// compute in hardware.
#pragma once

#include <cstdint>
#include <string_view>

namespace kw {

// Any thread. Not against forgery, only against torn and rotten bytes.
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes) noexcept;

// The same without the processor's instruction: what runs where that is missing.
[[nodiscard]] std::uint32_t crc32c_portable(std::string_view bytes) noexcept;

}  // namespace kw
