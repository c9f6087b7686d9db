// Certificates and TLS contexts over OpenSSL.
#include "mock/tls.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace kw::mock {
namespace {

template <auto Free>
struct freer {
    template <class T>
    void operator()(T* p) const noexcept {
        Free(p);
    }
};
using bio_ptr = std::unique_ptr<BIO, freer<BIO_free_all>>;
using x509_ptr = std::unique_ptr<X509, freer<X509_free>>;
using pkey_ptr = std::unique_ptr<EVP_PKEY, freer<EVP_PKEY_free>>;

void require(bool ok, const char* what) {
    if (!ok) throw std::runtime_error(std::string("mock upstream: ") + what);
}

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

void add_extension(X509* to, int nid, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, to, to, nullptr, nullptr, 0);
    std::unique_ptr<X509_EXTENSION, freer<X509_EXTENSION_free>> extension(
        X509V3_EXT_conf_nid(nullptr, &context, nid, value));
    require(extension && X509_add_ext(to, extension.get(), -1) == 1, "certificate extension");
}

int choose_http11(SSL*, const unsigned char** out, unsigned char* out_size,
                  const unsigned char* offered, unsigned int size, void*) {
    static constexpr unsigned char wanted[] = "\x08http/1.1";
    unsigned char* chosen = nullptr;
    if (SSL_select_next_proto(&chosen, out_size, wanted, sizeof wanted - 1, offered, size) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

std::string pem_text(const std::string& text_or_path) {
    if (text_or_path.starts_with("-----BEGIN")) return text_or_path;
    std::ifstream file(text_or_path, std::ios::binary);
    require(file.is_open(), "cannot open the PEM file");
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

certificate make_self_signed() {
    const pkey_ptr key(EVP_EC_gen("P-256"));
    const x509_ptr cert(X509_new());
    require(key && cert, "certificate key");
    X509_set_version(cert.get(), 2);
    // A serial of its own each time: two certificates of one issuer must not share one.
    std::uint64_t serial = 0;
    require(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), 7) == 1, "random serial");
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert.get()), serial | 1);
    X509_gmtime_adj(X509_getm_notBefore(cert.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert.get()), 10L * 365 * 86400);
    X509_set_pubkey(cert.get(), key.get());
    X509_NAME* name = X509_get_subject_name(cert.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("keywheel mock upstream"), -1,
                               -1, 0);
    X509_set_issuer_name(cert.get(), name);
    add_extension(cert.get(), NID_basic_constraints, "critical,CA:TRUE");
    add_extension(cert.get(), NID_subject_key_identifier, "hash");
    add_extension(cert.get(), NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1");
    require(X509_sign(cert.get(), key.get(), EVP_sha256()) > 0, "certificate signature");

    const bio_ptr chain(BIO_new(BIO_s_mem()));
    const bio_ptr secret(BIO_new(BIO_s_mem()));
    require(PEM_write_bio_X509(chain.get(), cert.get()) == 1, "certificate text");
    require(PEM_write_bio_PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                     nullptr) == 1,
            "key text");
    return {text_of(chain.get()), text_of(secret.get())};
}

certificate load_certificate(const std::string& chain, const std::string& key) {
    return {pem_text(chain), pem_text(key)};
}

ssl_context make_context(const certificate& from) {
    ssl_context context(SSL_CTX_new(TLS_server_method()));
    require(context != nullptr, "TLS context");
    SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                        SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_SERVER);
    static constexpr unsigned char id[] = "mock";
    SSL_CTX_set_session_id_context(context.get(), id, sizeof id - 1);
    SSL_CTX_set_alpn_select_cb(context.get(), choose_http11, nullptr);

    const bio_ptr chain(
        BIO_new_mem_buf(from.chain_pem.data(), static_cast<int>(from.chain_pem.size())));
    const x509_ptr leaf(PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr));
    require(leaf && SSL_CTX_use_certificate(context.get(), leaf.get()) == 1,
            "no usable certificate");
    while (X509* next = PEM_read_bio_X509(chain.get(), nullptr, nullptr, nullptr)) {
        SSL_CTX_add_extra_chain_cert(context.get(), next);
    }
    ERR_clear_error();
    const bio_ptr secret(
        BIO_new_mem_buf(from.key_pem.data(), static_cast<int>(from.key_pem.size())));
    const pkey_ptr key(PEM_read_bio_PrivateKey(secret.get(), nullptr, nullptr, nullptr));
    require(key && SSL_CTX_use_PrivateKey(context.get(), key.get()) == 1 &&
                SSL_CTX_check_private_key(context.get()) == 1,
            "key does not fit the certificate");
    return context;
}

}  // namespace kw::mock
