// The cryptography over OpenSSL's EVP interface.
#include "core/crypto.hpp"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>
#include <mutex>
#include <stdexcept>

namespace kw::crypto {

namespace {

constexpr std::string_view sealed_prefix = "kw1.";
constexpr std::size_t key_id_chars = 8;
constexpr std::size_t nonce_size = 12;
constexpr std::size_t tag_size = 16;

// A master key comes from an operator's secret store; the salt only keeps our derivation apart
// from other programs'. N = 2^14 needs 16 MiB and some 40 ms at start.
constexpr std::string_view scrypt_salt = "keywheel master key v1";
constexpr std::uint64_t scrypt_n = 1U << 14U;
constexpr std::uint64_t scrypt_r = 8;
constexpr std::uint64_t scrypt_p = 1;
constexpr std::uint64_t scrypt_memory = 64U << 20U;

template <auto Free>
struct freer {
    template <class T>
    void operator()(T* p) const noexcept {
        Free(p);
    }
};
using cipher_context = std::unique_ptr<EVP_CIPHER_CTX, freer<&EVP_CIPHER_CTX_free>>;
using mac_algorithm = std::unique_ptr<EVP_MAC, freer<&EVP_MAC_free>>;
using mac_context = std::unique_ptr<EVP_MAC_CTX, freer<&EVP_MAC_CTX_free>>;

void require(bool ok, const char* what) {
    if (!ok) throw std::runtime_error(std::string("OpenSSL failed: ") + what);
}

[[nodiscard]] const unsigned char* bytes_of(std::string_view text) noexcept {
    return reinterpret_cast<const unsigned char*>(text.data());
}

constexpr std::string_view base64_alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

constexpr auto base64_values = [] {
    std::array<std::int8_t, 256> table{};
    table.fill(-1);
    for (std::size_t i = 0; i < base64_alphabet.size(); ++i) {
        table[static_cast<unsigned char>(base64_alphabet[i])] = static_cast<std::int8_t>(i);
    }
    return table;
}();

// CRC-32 of IEEE 802.3, eight bytes a step: tables[k][b] is byte b followed by k zero bytes.
constexpr auto crc_tables = [] {
    std::array<std::array<std::uint32_t, 256>, 8> tables{};
    for (std::uint32_t b = 0; b < 256; ++b) {
        std::uint32_t c = b;
        for (int bit = 0; bit < 8; ++bit)
            c = (c >> 1) ^ ((c & 1) != 0 ? 0xedb88320U : 0);
        tables[0][b] = c;
    }
    for (std::size_t k = 1; k < 8; ++k) {
        for (std::size_t b = 0; b < 256; ++b) {
            const auto c = tables[k - 1][b];
            tables[k][b] = (c >> 8) ^ tables[0][c & 0xff];
        }
    }
    return tables;
}();

[[nodiscard]] error not_openable(std::string why) {
    return error(errc::invalid_argument, "sealed text does not open: " + std::move(why));
}

}  // namespace

void random_bytes(std::span<std::uint8_t> out) {
    require(RAND_bytes(out.data(), static_cast<int>(out.size())) == 1, "RAND_bytes");
}

digest sha256(std::string_view text) noexcept {
    digest out;
    EVP_Digest(text.data(), text.size(), out.data(), nullptr, EVP_sha256(), nullptr);
    return out;
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const auto byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

std::string to_base64url(std::span<const std::uint8_t> bytes) {
    std::string text;
    text.reserve((bytes.size() * 4 + 2) / 3);
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const auto byte : bytes) {
        bits = (bits << 8) | byte;
        for (held += 8; held >= 6;) {
            held -= 6;
            text += base64_alphabet[(bits >> held) & 63];
        }
    }
    if (held > 0) text += base64_alphabet[(bits << (6 - held)) & 63];
    return text;
}

result<std::string> from_base64url(std::string_view text) {
    std::string bytes;
    bytes.reserve(text.size() * 3 / 4);
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const char c : text) {
        const auto value = base64_values[static_cast<unsigned char>(c)];
        if (value < 0) return error(errc::invalid_argument, "not base64url");
        bits = (bits << 6) | static_cast<std::uint32_t>(value);
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes += static_cast<char>((bits >> held) & 0xff);
        }
    }
    // Left-over bits must be zero and fewer than a character's: one spelling for each text.
    if (held >= 6 || (bits & ((1U << held) - 1)) != 0) {
        return error(errc::invalid_argument, "base64url of a wrong length");
    }
    return bytes;
}

std::uint32_t crc32(std::string_view bytes) noexcept {
    const auto& t = crc_tables;
    const unsigned char* p = bytes_of(bytes);
    std::size_t left = bytes.size();
    std::uint32_t crc = ~0U;
    for (; left >= 8; left -= 8, p += 8) {
        crc ^= static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8 |
               static_cast<std::uint32_t>(p[2]) << 16 | static_cast<std::uint32_t>(p[3]) << 24;
        crc = t[7][crc & 0xff] ^ t[6][(crc >> 8) & 0xff] ^ t[5][(crc >> 16) & 0xff] ^
              t[4][crc >> 24] ^ t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]];
    }
    for (; left > 0; --left, ++p)
        crc = (crc >> 8) ^ t[0][(crc ^ *p) & 0xff];
    return ~crc;
}

struct hmac_sha256::impl {
    mac_context context;
};

hmac_sha256::hmac_sha256(const secret& key) : impl_(std::make_unique<impl>()) {
    const mac_algorithm algorithm(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
    require(algorithm != nullptr, "EVP_MAC_fetch");
    impl_->context.reset(EVP_MAC_CTX_new(algorithm.get()));
    require(impl_->context != nullptr, "EVP_MAC_CTX_new");
    char digest_name[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest_name, 0),
        OSSL_PARAM_construct_end()};
    // An empty key still has to be a non-null pointer: null means "keep the key" to OpenSSL.
    const auto text = key.empty() ? std::string_view("") : key.reveal();
    require(EVP_MAC_init(impl_->context.get(), bytes_of(text), text.size(), params) == 1,
            "EVP_MAC_init");
}

hmac_sha256::hmac_sha256(hmac_sha256&&) noexcept = default;
hmac_sha256& hmac_sha256::operator=(hmac_sha256&&) noexcept = default;
hmac_sha256::~hmac_sha256() = default;

digest hmac_sha256::operator()(std::string_view text) noexcept {
    digest out;
    std::size_t size = 0;
    EVP_MAC_CTX* context = impl_->context.get();
    EVP_MAC_init(context, nullptr, 0, nullptr);  // the key's two hash states are kept
    EVP_MAC_update(context, bytes_of(text), text.size());
    EVP_MAC_final(context, out.data(), &size, out.size());
    return out;
}

struct sealer::master_key {
    explicit master_key(const secret& text);
    master_key(const master_key&) = delete;
    master_key& operator=(const master_key&) = delete;
    ~master_key();
    std::array<std::uint8_t, 32> bytes{};
    std::string id;
    digest given;  // of the text: the same one need not be derived again
};

// A key that is made never changes: who seals or opens holds it, not the lock.
struct sealer::ring {
    mutable std::mutex mutex;
    std::vector<std::shared_ptr<const master_key>> keys;
    std::shared_ptr<const master_key> seals;

    [[nodiscard]] std::shared_ptr<const master_key> find(std::string_view id) const {
        const std::lock_guard lock(mutex);
        const auto at = std::ranges::find(keys, id, [](const auto& k) { return k->id; });
        return at == keys.end() ? nullptr : *at;
    }
    [[nodiscard]] std::shared_ptr<const master_key> find_given(const digest& given) const {
        const std::lock_guard lock(mutex);
        const auto at = std::ranges::find(keys, given, [](const auto& k) { return k->given; });
        return at == keys.end() ? nullptr : *at;
    }
    [[nodiscard]] std::shared_ptr<const master_key> sealing() const {
        const std::lock_guard lock(mutex);
        return seals;
    }
};

sealer::master_key::master_key(const secret& text) {
    const auto all = text.reveal();
    if (all.size() < bytes.size()) {
        throw std::invalid_argument("the master key needs 32 characters or more");
    }
    given = sha256(all);
    if (all.size() == bytes.size()) {
        std::copy(all.begin(), all.end(), bytes.begin());
    } else {
        require(EVP_PBE_scrypt(all.data(), all.size(), bytes_of(scrypt_salt), scrypt_salt.size(),
                               scrypt_n, scrypt_r, scrypt_p, scrypt_memory, bytes.data(),
                               bytes.size()) == 1,
                "EVP_PBE_scrypt");
    }
    const auto hash =
        sha256(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    id = to_hex(hash).substr(0, key_id_chars);
}

sealer::master_key::~master_key() {
    OPENSSL_cleanse(bytes.data(), bytes.size());
}

sealer::sealer(const secret& master_key) : ring_(std::make_shared<ring>()) {
    ring_->seals = ring_->keys.emplace_back(std::make_shared<const struct master_key>(master_key));
}

std::string sealer::add(const secret& master_key) {
    // To derive one takes 50 ms and 16 MiB.
    if (const auto known = ring_->find_given(sha256(master_key.reveal()))) return known->id;
    auto made = std::make_shared<const struct master_key>(master_key);
    if (ring_->find(made->id) == nullptr) {
        const std::lock_guard lock(ring_->mutex);
        ring_->keys.push_back(made);
    }
    return made->id;
}

bool sealer::knows(std::string_view key_id) const {
    return ring_->find(key_id) != nullptr;
}

bool sealer::seal_with(std::string_view key_id) {
    auto key = ring_->find(key_id);
    if (key == nullptr) return false;
    const std::lock_guard lock(ring_->mutex);
    ring_->seals = std::move(key);
    return true;
}

std::string sealer::key_id() const {
    return ring_->sealing()->id;
}

std::vector<std::string> sealer::key_ids() const {
    const std::lock_guard lock(ring_->mutex);
    std::vector<std::string> out;
    for (const auto& key : ring_->keys)
        out.push_back(key->id);
    return out;
}

std::string_view sealed_by(std::string_view sealed) noexcept {
    if (!sealed.starts_with(sealed_prefix)) return {};
    sealed.remove_prefix(sealed_prefix.size());
    if (sealed.size() < key_id_chars + 1 || sealed[key_id_chars] != '.') return {};
    return sealed.substr(0, key_id_chars);
}

std::string sealer::seal(const secret& plain, std::string_view associated) const {
    const auto key = ring_->sealing();
    const auto text = plain.reveal();
    std::string packed(nonce_size + text.size() + tag_size, '\0');
    auto* nonce = reinterpret_cast<std::uint8_t*>(packed.data());
    std::uint8_t* body = nonce + nonce_size;
    random_bytes({nonce, nonce_size});
    const cipher_context context(EVP_CIPHER_CTX_new());
    int size = 0;
    require(context != nullptr &&
                EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key->bytes.data(),
                                   nonce) == 1 &&
                EVP_EncryptUpdate(context.get(), nullptr, &size, bytes_of(associated),
                                  static_cast<int>(associated.size())) == 1 &&
                EVP_EncryptUpdate(context.get(), body, &size, bytes_of(text),
                                  static_cast<int>(text.size())) == 1 &&
                EVP_EncryptFinal_ex(context.get(), body + size, &size) == 1 &&
                EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, tag_size,
                                    body + text.size()) == 1,
            "AES-256-GCM");
    return std::string(sealed_prefix) + key->id + '.' + to_base64url({nonce, packed.size()});
}

result<secret> sealer::open(std::string_view sealed, std::string_view associated) const {
    const auto id = sealed_by(sealed);
    if (id.empty()) return not_openable("not made by keywheel");
    const auto key = ring_->find(id);
    if (key == nullptr)
        return not_openable("it was sealed under another master key (" + std::string(id) +
                            ", ours is " + key_id() + ")");
    auto packed = from_base64url(sealed.substr(sealed_prefix.size() + key_id_chars + 1));
    if (!packed || packed->size() < nonce_size + tag_size) return not_openable("it is damaged");

    const unsigned char* nonce = bytes_of(*packed);
    const unsigned char* body = nonce + nonce_size;
    const std::size_t body_size = packed->size() - nonce_size - tag_size;
    std::array<unsigned char, tag_size> tag;
    std::copy_n(body + body_size, tag_size, tag.begin());
    std::string plain(body_size, '\0');
    auto* out = reinterpret_cast<unsigned char*>(plain.data());
    const cipher_context context(EVP_CIPHER_CTX_new());
    int size = 0;
    const bool ok =
        context != nullptr &&
        EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, key->bytes.data(), nonce) ==
            1 &&
        EVP_DecryptUpdate(context.get(), nullptr, &size, bytes_of(associated),
                          static_cast<int>(associated.size())) == 1 &&
        EVP_DecryptUpdate(context.get(), out, &size, body, static_cast<int>(body_size)) == 1 &&
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, tag_size, tag.data()) == 1 &&
        EVP_DecryptFinal_ex(context.get(), out + size, &size) == 1;
    secret opened(std::move(plain));
    if (!ok) return not_openable("it was changed, or belongs to another record");
    return opened;
}

namespace {

constexpr std::string_view passphrase_prefix = "kwp1.";
constexpr std::size_t passphrase_salt_size = 16;
constexpr std::uint64_t passphrase_n = 1U << 15U;
constexpr std::uint64_t passphrase_p = 3;

[[nodiscard]] sealer sealer_of(const secret& passphrase, std::string_view salt) {
    std::string key(32, '\0');
    const auto text = passphrase.reveal();
    require(EVP_PBE_scrypt(text.data(), text.size(), bytes_of(salt), salt.size(), passphrase_n,
                           scrypt_r, passphrase_p, scrypt_memory,
                           reinterpret_cast<unsigned char*>(key.data()), key.size()) == 1,
            "EVP_PBE_scrypt");
    return sealer(secret(std::move(key)));
}

}  // namespace

std::string seal_by_passphrase(const secret& passphrase, const secret& plain,
                               std::string_view associated) {
    std::array<std::uint8_t, passphrase_salt_size> salt;
    random_bytes(salt);
    const auto with =
        sealer_of(passphrase, {reinterpret_cast<const char*>(salt.data()), salt.size()});
    return std::string(passphrase_prefix) + to_base64url(salt) + '.' + with.seal(plain, associated);
}

result<secret> open_by_passphrase(const secret& passphrase, std::string_view sealed,
                                  std::string_view associated) {
    if (!sealed.starts_with(passphrase_prefix)) return not_openable("not sealed by a passphrase");
    sealed.remove_prefix(passphrase_prefix.size());
    const auto dot = std::min(sealed.find('.'), sealed.size());
    const auto salt = from_base64url(sealed.substr(0, dot));
    if (!salt || salt->size() != passphrase_salt_size) return not_openable("it is damaged");
    auto opened = sealer_of(passphrase, *salt)
                      .open(sealed.substr(std::min(dot + 1, sealed.size())), associated);
    if (!opened) return not_openable("the passphrase is another, or it was changed");
    return opened;
}

}  // namespace kw::crypto
