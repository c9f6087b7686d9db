// TLS contexts of the mock: from files, from PEM text, or from a certificate made on the spot.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

namespace kw::mock {

struct ssl_ctx_deleter {
    void operator()(SSL_CTX* c) const noexcept { SSL_CTX_free(c); }
};
using ssl_context = std::unique_ptr<SSL_CTX, ssl_ctx_deleter>;

struct certificate {
    std::string chain_pem;
    std::string key_pem;
};

// P-256, valid for ten years, for localhost, 127.0.0.1 and ::1, its own authority. Throws
// std::runtime_error.
[[nodiscard]] certificate make_self_signed();
// Both are PEM text, or paths of PEM files. Throws std::runtime_error.
[[nodiscard]] certificate load_certificate(const std::string& chain, const std::string& key);
// HTTP/1.1 by ALPN, session tickets. Throws std::runtime_error.
[[nodiscard]] ssl_context make_context(const certificate& from);

}  // namespace kw::mock
