// The cryptography that keywheel uses, over OpenSSL: sealing of secrets at rest, keyed hashes of
// access keys, key derivation, randomness. No algorithm of our own.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "core/secret.hpp"

namespace kw::crypto {

using digest = std::array<std::uint8_t, 32>;

// From the kernel's generator; throws std::runtime_error if that fails.
void random_bytes(std::span<std::uint8_t> out);

[[nodiscard]] digest sha256(std::string_view text) noexcept;
[[nodiscard]] std::string to_hex(std::span<const std::uint8_t> bytes);
[[nodiscard]] std::string to_base64url(std::span<const std::uint8_t> bytes);
[[nodiscard]] result<std::string> from_base64url(std::string_view text);
[[nodiscard]] std::uint32_t crc32(std::string_view bytes) noexcept;

// HMAC-SHA-256 (RFC 2104) with a reused context: one object per thread, not thread-safe.
class hmac_sha256 {
  public:
    explicit hmac_sha256(const secret& key);
    hmac_sha256(hmac_sha256&&) noexcept;
    hmac_sha256& operator=(hmac_sha256&&) noexcept;
    ~hmac_sha256();
    [[nodiscard]] digest operator()(std::string_view text) noexcept;

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

// AES-256-GCM (NIST SP 800-38D) under a master key. A sealed text is
// "kw1.<key id>.<base64url of nonce ‖ ciphertext ‖ tag>"; the associated data (a record's id) is
// not stored, so a sealed text moved to another record does not open. It may know several master
// keys, of which one seals and each opens what it sealed. Any thread may call; copies share what
// they know.
class sealer {
  public:
    // Exactly 32 bytes are the key itself; any other text of 32 or more goes through scrypt with a
    // fixed application salt. Shorter: std::invalid_argument.
    explicit sealer(const secret& master_key);
    // One more key, which opens; its id. One that is known already changes nothing.
    std::string add(const secret& master_key);
    // Seals with this one of the known keys from now on; false: it is not known.
    bool seal_with(std::string_view key_id);
    [[nodiscard]] bool knows(std::string_view key_id) const;

    [[nodiscard]] std::string seal(const secret& plain, std::string_view associated) const;
    // errc::invalid_argument: not ours, tampered with, another key or other associated data.
    [[nodiscard]] result<secret> open(std::string_view sealed, std::string_view associated) const;
    // First 8 hex digits of SHA-256 of the key that seals: tells which master key sealed a record.
    [[nodiscard]] std::string key_id() const;
    [[nodiscard]] std::vector<std::string> key_ids() const;

  private:
    struct master_key;
    struct ring;
    std::shared_ptr<ring> ring_;
};

// The id of the master key of a sealed text; "" if it is no such text.
[[nodiscard]] std::string_view sealed_by(std::string_view sealed) noexcept;

// For what leaves the house: AES-256-GCM under a key that scrypt makes of a passphrase and a random
// salt, some 100 ms and 32 MiB. "kwp1.<salt>.<sealed text>"; the parameters belong to the prefix,
// so that no text can ask for more.
[[nodiscard]] std::string seal_by_passphrase(const secret& passphrase, const secret& plain,
                                             std::string_view associated);
// errc::invalid_argument: another passphrase, or not such a text.
[[nodiscard]] result<secret> open_by_passphrase(const secret& passphrase, std::string_view sealed,
                                                std::string_view associated);

}  // namespace kw::crypto
