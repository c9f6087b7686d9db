// Little-endian numbers and length-prefixed texts in a string, for this folder's own files.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace kw::store {

static_assert(std::endian::native == std::endian::little, "files are written as memory lies");

inline void put_u64(std::string& out, std::uint64_t n) {
    char bytes[sizeof n];
    std::memcpy(bytes, &n, sizeof n);
    out.append(bytes, sizeof bytes);
}

inline void put_text(std::string& out, std::string_view text) {
    put_u64(out, text.size());
    out += text;
}

[[nodiscard]] inline bool take_u64(std::string_view& in, std::uint64_t& n) noexcept {
    if (in.size() < sizeof n) return false;
    std::memcpy(&n, in.data(), sizeof n);
    in.remove_prefix(sizeof n);
    return true;
}

[[nodiscard]] inline bool take_text(std::string_view& in, std::string& text) {
    std::uint64_t size = 0;
    if (!take_u64(in, size) || size > in.size()) return false;
    text.assign(in.substr(0, size));
    in.remove_prefix(size);
    return true;
}

}  // namespace kw::store
