// Hashing of passwords over OpenSSL's scrypt.
#include "core/password.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <vector>

#include "core/crypto.hpp"

namespace kw {
namespace {

struct cost {
    unsigned log_n = 15;
    unsigned r = 8;
    unsigned p = 1;
};
constexpr cost most{20, 16, 4};  // what a stored text may ask for
constexpr std::uint64_t memory_limit = std::uint64_t{3} << 30U;

std::optional<std::string> derive(const secret& password, std::string_view salt, const cost& at) {
    std::string out(32, '\0');
    const auto text = password.reveal();
    const bool ok = EVP_PBE_scrypt(text.data(), text.size(),
                                   reinterpret_cast<const unsigned char*>(salt.data()), salt.size(),
                                   std::uint64_t{1} << at.log_n, at.r, at.p, memory_limit,
                                   reinterpret_cast<unsigned char*>(out.data()), out.size()) == 1;
    return ok ? std::optional(std::move(out)) : std::nullopt;
}

std::string to_text(std::string_view bytes) {
    return crypto::to_base64url(
        {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

bool read(std::string_view text, unsigned most_allowed, unsigned& out) {
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), out);
    return failed == std::errc() && end == text.data() + text.size() && out >= 1 &&
           out <= most_allowed;
}

}  // namespace

std::string hash_password(const secret& password) {
    std::array<std::uint8_t, 16> bytes;
    crypto::random_bytes(bytes);
    const std::string salt(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    constexpr cost now;
    const auto hash = derive(password, salt, now);
    if (!hash) throw std::runtime_error("OpenSSL failed: EVP_PBE_scrypt");
    return "scrypt$" + std::to_string(now.log_n) + "$" + std::to_string(now.r) + "$" +
           std::to_string(now.p) + "$" + to_text(salt) + "$" + to_text(*hash);
}

bool password_matches(const secret& password, std::string_view stored) {
    if (std::ranges::count(stored, '$') != 5) return false;
    std::vector<std::string_view> parts;
    while (parts.size() < 6) {
        const auto end = std::min(stored.find('$'), stored.size());
        parts.push_back(stored.substr(0, end));
        stored.remove_prefix(std::min(end + 1, stored.size()));
    }
    cost at;
    if (parts[0] != "scrypt" || !read(parts[1], most.log_n, at.log_n) ||
        !read(parts[2], most.r, at.r) || !read(parts[3], most.p, at.p))
        return false;
    const auto salt = crypto::from_base64url(parts[4]);
    const auto hash = crypto::from_base64url(parts[5]);
    if (!salt || !hash || hash->empty()) return false;
    const auto got = derive(password, *salt, at);
    return got && equal_constant_time(*got, *hash);
}

std::string_view nobodys_password() noexcept {
    return "scrypt$15$8$1$a2V5d2hlZWwgbm9ib2R5IQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
}

}  // namespace kw
