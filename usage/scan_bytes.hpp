// Byte searches that the scanners share: 16 bytes a step where SSE2 is at hand (every x86-64).
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace kw::usage {

// First '"' or '\\' in [p, end), or end.
[[nodiscard]] inline const char* find_quote(const char* p, const char* end) noexcept {
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    for (; end - p >= 16; p += 16) {
        const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        const int mask =
            _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)));
        if (mask != 0) return p + std::countr_zero(static_cast<unsigned>(mask));
    }
#endif
    while (p != end && *p != '"' && *p != '\\')
        ++p;
    return p;
}

// As find_quote, but a control character (below 0x20) stops it too.
[[nodiscard]] inline const char* find_string_stop(const char* p, const char* end) noexcept {
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    const __m128i blank = _mm_set1_epi8(0x1f);
    for (; end - p >= 16; p += 16) {
        const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, blank), v);
        const __m128i ends = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        const int mask = _mm_movemask_epi8(_mm_or_si128(control, ends));
        if (mask != 0) return p + std::countr_zero(static_cast<unsigned>(mask));
    }
#endif
    while (p != end && *p != '"' && *p != '\\' && static_cast<unsigned char>(*p) >= 0x20)
        ++p;
    return p;
}

// First place where '"' is followed by ':' (the end of a key), as a pointer to the '"', or end.
[[nodiscard]] inline const char* find_key_end(const char* p, const char* end) noexcept {
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i colon = _mm_set1_epi8(':');
    for (; end - p >= 17; p += 16) {
        const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 1));
        const int mask =
            _mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(a, quote), _mm_cmpeq_epi8(b, colon)));
        if (mask != 0) return p + std::countr_zero(static_cast<unsigned>(mask));
    }
#endif
    for (; end - p >= 2; ++p)
        if (p[0] == '"' && p[1] == ':') return p;
    return end;
}

// What cannot belong to a number or literal of JSON: blanks, structure, a quote.
inline constexpr auto ends_scalar = [] {
    std::array<bool, 256> ends{};
    for (const char c : std::string_view(",:]}[{ \n\r\t\""))
        ends[static_cast<unsigned char>(c)] = true;
    return ends;
}();

// First byte in [p, end) that ends a number or literal, or end.
[[nodiscard]] inline const char* find_scalar_end(const char* p, const char* end) noexcept {
    while (p != end && !ends_scalar[static_cast<unsigned char>(*p)])
        ++p;
    return p;
}

[[nodiscard]] inline const char* skip_blanks(const char* p, const char* end) noexcept {
    while (p != end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        ++p;
    return p;
}

// The quote that ends the string whose first character is at p, or end.
[[nodiscard]] inline const char* find_string_end(const char* p, const char* end) noexcept {
    for (;;) {
        p = find_quote(p, end);
        if (p == end || *p == '"') return p;
        if (end - p < 2) return end;
        p += 2;
    }
}

}  // namespace kw::usage
