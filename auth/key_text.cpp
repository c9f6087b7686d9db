// Making and recognising the text of an access key.
#include "auth/key_text.hpp"

#include <algorithm>
#include <array>
#include <string>

namespace kw::auth {

namespace {

constexpr std::string_view prefix = "sk-kw-";
constexpr std::size_t public_size = 12;
constexpr std::size_t secret_size = 43;
constexpr std::size_t check_size = 6;
constexpr std::size_t dash_at = prefix.size() + public_size;
constexpr std::size_t check_at = dash_at + 1 + secret_size;
static_assert(check_at + check_size == key_text_size);

constexpr std::string_view base62 =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

std::array<char, check_size> check_of(std::string_view text) noexcept {
    std::uint32_t crc = crypto::crc32(text);
    std::array<char, check_size> out;
    for (char& c : out) {
        c = base62[crc % base62.size()];
        crc /= static_cast<std::uint32_t>(base62.size());
    }
    return out;
}

}  // namespace

secret make_key_text() {
    std::string text;
    text.reserve(key_text_size);  // so that no copy of it is left in freed memory
    text = prefix;
    while (text.size() < dash_at) {
        std::array<std::uint8_t, 16> bytes;
        crypto::random_bytes(bytes);
        for (const std::uint8_t b : bytes) {
            // 248 = 4 × 62: what is above would favour some characters.
            if (b < 248 && text.size() < dash_at) text.push_back(base62[b % base62.size()]);
        }
    }
    text.push_back('-');
    std::array<std::uint8_t, 32> bytes;
    crypto::random_bytes(bytes);
    text += secret(crypto::to_base64url(bytes)).reveal();
    bytes.fill(0);
    const auto check = check_of(text);
    text.append(check.data(), check.size());
    return secret(std::move(text));
}

key_shape shape_of(std::string_view text) noexcept {
    if (text.size() != key_text_size || !text.starts_with(prefix) || text[dash_at] != '-')
        return key_shape::foreign;
    const auto check = check_of(text.substr(0, check_at));
    return text.substr(check_at) == std::string_view(check.data(), check.size())
               ? key_shape::ours
               : key_shape::mistyped;
}

bool declarable(std::string_view text) noexcept {
    return text.size() >= 8 && text.size() <= max_credential_size &&
           std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7F' && c != ','; }) &&
           shape_of(text) != key_shape::mistyped;
}

}  // namespace kw::auth
