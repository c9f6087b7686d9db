// Self-signed certificates, for a first look and for tests.
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>

#include "net/address.hpp"
#include "net/tls.hpp"

namespace kw::net {
namespace {

template <auto Free>
struct freed_by {
    template <class T>
    void operator()(T* p) const noexcept {
        Free(p);
    }
};
using key_ptr = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using cert_ptr = std::unique_ptr<X509, freed_by<X509_free>>;
using bio_ptr = std::unique_ptr<BIO, freed_by<BIO_free_all>>;
using extension_ptr = std::unique_ptr<X509_EXTENSION, freed_by<X509_EXTENSION_free>>;

bool is_name(const std::string& host) {
    return !host.empty() && host.size() <= 253 && std::all_of(host.begin(), host.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '.' || c == '*' || c == '_';
    });
}

bool add_extension(X509* cert, int nid, const std::string& value) {
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, cert, cert, nullptr, nullptr, 0);
    const extension_ptr ext(X509V3_EXT_conf_nid(nullptr, &ctx, nid, value.c_str()));
    return ext && X509_add_ext(cert, ext.get(), -1) == 1;
}

std::string text_of(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

}  // namespace

result<certificate_pair> make_self_signed(std::span<const std::string> hosts, int days) {
    if (hosts.empty() || days < 1 || days > 36'500)
        return error(errc::invalid_argument, "a certificate needs a host and 1 to 36500 days");
    std::string names;
    for (const auto& host : hosts) {
        const bool literal = ip_address::parse(host).has_value();
        if (!literal && !is_name(host))
            return error(errc::invalid_argument, "\"" + host + "\" is no host name or address");
        if (!names.empty()) names += ',';
        names += (literal ? "IP:" : "DNS:") + host;
    }
    const key_ptr key(EVP_EC_gen("P-256"));
    const cert_ptr cert(X509_new());
    const bio_ptr cert_text(BIO_new(BIO_s_mem()));
    const bio_ptr key_text(BIO_new(BIO_s_secmem()));
    unsigned char serial[16] = {};
    bool fine = key && cert && cert_text && key_text && RAND_bytes(serial, sizeof serial) == 1;
    if (fine) {
        // Positive, and without a leading zero byte, which DER does not allow (X.690 8.3.2).
        serial[0] = static_cast<unsigned char>((serial[0] & 0x7fU) | 0x40U);
        ASN1_STRING_set(X509_get_serialNumber(cert.get()), serial, sizeof serial);
        X509_set_version(cert.get(), X509_VERSION_3);
        // An hour back, for clocks that differ.
        X509_gmtime_adj(X509_getm_notBefore(cert.get()), -3600);
        X509_time_adj_ex(X509_getm_notAfter(cert.get()), days, 0, nullptr);
        X509_NAME* const name = X509_get_subject_name(cert.get());
        const std::string common = hosts.front().substr(0, 64);
        fine = X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                          reinterpret_cast<const unsigned char*>(common.c_str()),
                                          -1, -1, 0) == 1 &&
               X509_set_issuer_name(cert.get(), name) == 1 &&
               X509_set_pubkey(cert.get(), key.get()) == 1 &&
               add_extension(cert.get(), NID_subject_alt_name, names) &&
               add_extension(cert.get(), NID_basic_constraints, "critical,CA:TRUE") &&
               add_extension(cert.get(), NID_ext_key_usage, "serverAuth") &&
               add_extension(cert.get(), NID_subject_key_identifier, "hash") &&
               X509_sign(cert.get(), key.get(), EVP_sha256()) > 0 &&
               PEM_write_bio_X509(cert_text.get(), cert.get()) == 1 &&
               PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                        nullptr) == 1;
    }
    if (!fine) {
        ERR_clear_error();
        return error(errc::internal, "the certificate could not be made");
    }
    return certificate_pair{text_of(cert_text.get()), secret(text_of(key_text.get()))};
}

}  // namespace kw::net
