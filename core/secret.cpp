// Wiping, masking and constant-time comparison of secret text.
#include "core/secret.hpp"

#include <openssl/crypto.h>

#include <utility>

namespace kw {

bool equal_constant_time(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

secret::secret(secret&& other) noexcept : text_(std::move(other.text_)) {
    other.wipe();
}

secret& secret::operator=(const secret& other) {
    if (this != &other) *this = secret(other);
    return *this;
}

secret& secret::operator=(secret&& other) noexcept {
    if (this != &other) {
        wipe();
        text_ = std::move(other.text_);
        other.wipe();
    }
    return *this;
}

secret::~secret() {
    wipe();
}

std::string secret::masked() const {
    if (text_.size() < 20) return "***";
    return text_.substr(0, 3) + "…" + text_.substr(text_.size() - 4);
}

bool operator==(const secret& a, const secret& b) noexcept {
    return equal_constant_time(a.text_, b.text_);
}

// The whole capacity: a moved-from short string keeps its bytes in place.
void secret::wipe() noexcept {
    OPENSSL_cleanse(text_.data(), text_.capacity());
    text_.clear();
}

}  // namespace kw
