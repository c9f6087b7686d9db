// CRC-32C by the SSE 4.2 instruction where there is one, else by a table.
#include "core/crc32c.hpp"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace kw {
namespace {

constexpr std::uint32_t reversed_polynomial = 0x82F6'3B78;

constexpr auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < t.size(); ++i) {
        std::uint32_t crc = i;
        for (int bit = 0; bit < 8; ++bit)
            crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? reversed_polynomial : 0);
        t[i] = crc;
    }
    return t;
}();

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t by_instruction(std::string_view bytes) noexcept {
    std::uint64_t crc = 0xFFFF'FFFF;
    const char* p = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 8; left -= 8, p += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, p, sizeof word);
        crc = _mm_crc32_u64(crc, word);
    }
    auto narrow = static_cast<std::uint32_t>(crc);
    for (; left > 0; --left, ++p)
        narrow = _mm_crc32_u8(narrow, static_cast<unsigned char>(*p));
    return ~narrow;
}
#endif

}  // namespace

std::uint32_t crc32c_portable(std::string_view bytes) noexcept {
    std::uint32_t crc = 0xFFFF'FFFF;
    for (const char c : bytes)
        crc = (crc >> 8U) ^ table[(crc ^ static_cast<unsigned char>(c)) & 0xFFU];
    return ~crc;
}

std::uint32_t crc32c(std::string_view bytes) noexcept {
#if defined(__x86_64__)
    static const bool known = __builtin_cpu_supports("sse4.2") != 0;
    if (known) return by_instruction(bytes);
#endif
    return crc32c_portable(bytes);
}

}  // namespace kw
