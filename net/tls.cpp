// TLS contexts over OpenSSL, session resumption, and the handshake.
#include "net/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <ctime>
#include <mutex>
#include <unordered_map>

namespace kw::net {
namespace {

constexpr std::size_t max_session_keys = 4096;
constexpr unsigned char http11[] = "\x08http/1.1";
constexpr unsigned http11_size = sizeof http11 - 1;

struct free_ctx {
    void operator()(SSL_CTX* p) const noexcept { SSL_CTX_free(p); }
};
using ctx_ptr = std::unique_ptr<SSL_CTX, free_ctx>;

// The first error of the thread's queue as text; empties the queue.
std::string take_reason() {
    const unsigned long code = ERR_get_error();
    const char* const reason = ERR_reason_error_string(code);
    ERR_clear_error();
    return reason ? reason : "unknown TLS failure";
}

error refused(const std::string& what) {
    return error(errc::invalid_argument, what + ": " + take_reason());
}

ctx_ptr new_context(const SSL_METHOD* method) {
    ctx_ptr ctx(SSL_CTX_new(method));
    if (!ctx) return ctx;
    SSL_CTX_set_min_proto_version(ctx.get(), TLS1_2_VERSION);
    SSL_CTX_set_read_ahead(ctx.get(), 1);
    SSL_CTX_set_mode(ctx.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(ctx.get(), SSL_OP_NO_RENEGOTIATION);
    return ctx;
}

// The sessions that may be resumed. Belongs to the SSL_CTX, so that a connection which outlives our
// context can still bring a ticket.
struct session_store {
    struct slot {
        session_store* store = nullptr;
        SSL_SESSION* session = nullptr;  // guarded by the store's mutex
    };
    std::mutex mutex;
    std::unordered_map<std::string, slot> slots;  // nodes stay where they are, none is erased

    ~session_store() {
        for (auto& [key, s] : slots)
            SSL_SESSION_free(s.session);
    }

    slot* find(std::string_view key) {
        const std::lock_guard lock(mutex);
        if (slots.size() >= max_session_keys && !slots.contains(std::string(key))) return nullptr;
        slot& s = slots[std::string(key)];
        s.store = this;
        return &s;
    }

    static int index() {
        static const int made = SSL_CTX_get_ex_new_index(
            0, nullptr, nullptr, nullptr, [](void*, void* p, CRYPTO_EX_DATA*, int, long, void*) {
                delete static_cast<session_store*>(p);
            });
        return made;
    }

    static int on_new(SSL* ssl, SSL_SESSION* session) {
        auto* const s = static_cast<slot*>(SSL_get_app_data(ssl));
        if (!s) return 0;
        const std::lock_guard lock(s->store->mutex);
        SSL_SESSION_free(s->session);
        s->session = session;
        return 1;  // the reference is ours now
    }

    static void offer(slot& s, SSL* ssl) {
        SSL_set_app_data(ssl, &s);
        const std::lock_guard lock(s.store->mutex);
        if (s.session && SSL_SESSION_is_resumable(s.session)) SSL_set_session(ssl, s.session);
    }
};

int select_http11(SSL*, const unsigned char** out, unsigned char* out_size,
                  const unsigned char* offered, unsigned offered_size, void*) {
    unsigned char* chosen = nullptr;
    if (SSL_select_next_proto(&chosen, out_size, http11, http11_size, offered, offered_size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

}  // namespace

// ---- client ----

struct tls_client_context::impl {
    ctx_ptr ctx;
    session_store* sessions = nullptr;  // owned by ctx
    bool verify = true;
};

tls_client_context::tls_client_context() : impl_(std::make_unique<impl>()) {
    static std::atomic<std::uint64_t> last{0};
    id_ = ++last;
}
tls_client_context::~tls_client_context() = default;

result<std::shared_ptr<tls_client_context>> tls_client_context::create(const options& opts) {
    ERR_clear_error();
    std::shared_ptr<tls_client_context> made(new tls_client_context);
    impl& self = *made->impl_;
    self.verify = opts.verify;
    self.ctx = new_context(TLS_client_method());
    if (!self.ctx) return refused("TLS client context");
    SSL_CTX* const ctx = self.ctx.get();
    if (opts.verify) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
        if ((opts.ca_file.empty() || opts.beside_system) &&
            SSL_CTX_set_default_verify_paths(ctx) != 1)
            return refused("system's CA certificates");
        if (!opts.ca_file.empty() && SSL_CTX_load_verify_file(ctx, opts.ca_file.c_str()) != 1)
            return refused("CA file " + opts.ca_file);
    }
    SSL_CTX_set_alpn_protos(ctx, http11, http11_size);
    self.sessions = new session_store;
    if (SSL_CTX_set_ex_data(ctx, session_store::index(), self.sessions) != 1) {
        delete self.sessions;
        return refused("TLS client context");
    }
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, session_store::on_new);
    return made;
}

result<void> tls_client_context::start(stream& on, std::string_view name,
                                       std::string_view session_key) {
    ERR_clear_error();
    const auto failed = [] {
        return error(errc::upstream_tls_error, take_reason(), error_source::upstream,
                     retry_class::other_key);
    };
    SSL* const ssl = SSL_new(impl_->ctx.get());
    if (!ssl) return failed();
    on.adopt_tls(ssl);
    SSL_set_connect_state(ssl);
    const std::string host(name);
    const bool literal = ip_address::parse(host).has_value();
    bool fine = true;
    if (literal) {
        fine = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1;
    } else {
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        fine = SSL_set1_host(ssl, host.c_str()) == 1 &&
               SSL_set_tlsext_host_name(ssl, host.c_str()) == 1;
    }
    // An empty name would verify nothing.
    if (!fine || host.empty()) return failed();
    if (!session_key.empty())
        if (auto* const s = impl_->sessions->find(session_key)) session_store::offer(*s, ssl);
    return {};
}

// ---- server ----

struct tls_server_context::impl {
    options opts;
    mutable std::mutex mutex;
    ctx_ptr current;        // guarded by mutex; a connection holds its own reference
    wall_time not_after{};  // guarded by mutex
};

tls_server_context::tls_server_context(const options& opts) : impl_(std::make_unique<impl>()) {
    impl_->opts = opts;
}
tls_server_context::~tls_server_context() = default;

result<std::shared_ptr<tls_server_context>> tls_server_context::create(const options& opts) {
    std::shared_ptr<tls_server_context> made(new tls_server_context(opts));
    if (auto r = made->reload(); !r) return r.error();
    return made;
}

result<void> tls_server_context::reload() {
    ERR_clear_error();
    const auto& opts = impl_->opts;
    ctx_ptr ctx = new_context(TLS_server_method());
    if (!ctx) return refused("TLS server context");
    if (SSL_CTX_use_certificate_chain_file(ctx.get(), opts.certificate_file.c_str()) != 1)
        return refused("certificate file " + opts.certificate_file);
    if (SSL_CTX_use_PrivateKey_file(ctx.get(), opts.key_file.c_str(), SSL_FILETYPE_PEM) != 1)
        return refused("key file " + opts.key_file);
    if (SSL_CTX_check_private_key(ctx.get()) != 1)
        return refused("key file " + opts.key_file + " for " + opts.certificate_file);
    static constexpr unsigned char id[] = "keywheel";
    SSL_CTX_set_session_id_context(ctx.get(), id, sizeof id - 1);
    // Tickets only: no session table that all workers lock.
    SSL_CTX_set_session_cache_mode(ctx.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx.get(), 1);
    SSL_CTX_set_alpn_select_cb(ctx.get(), select_http11, nullptr);

    std::tm when{};
    wall_time not_after{};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(ctx.get())), &when) == 1)
        not_after = wall_time(std::chrono::seconds(::timegm(&when)));

    const std::lock_guard lock(impl_->mutex);
    impl_->current = std::move(ctx);
    impl_->not_after = not_after;
    return {};
}

result<void> tls_server_context::start(stream& on) {
    ERR_clear_error();
    SSL* ssl = nullptr;
    {
        const std::lock_guard lock(impl_->mutex);
        ssl = SSL_new(impl_->current.get());
    }
    if (!ssl) return error(errc::internal, take_reason());
    on.adopt_tls(ssl);
    SSL_set_accept_state(ssl);
    return {};
}

wall_time tls_server_context::expires() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->not_after;
}

// ---- handshake ----

task<result<void>> handshake(stream& on, waiter& w, mono_time deadline) {
    SSL* const ssl = on.tls();
    const auto failed = [](errc code, std::string why) {
        return error(code, std::move(why), error_source::upstream, retry_class::other_key);
    };
    for (;;) {
        ERR_clear_error();
        const int rc = SSL_do_handshake(ssl);
        if (rc == 1) co_return result<void>();
        const int why = SSL_get_error(ssl, rc);
        events bit = 0;
        if (why == SSL_ERROR_WANT_READ) {
            bit = on.read_bit();
        } else if (why == SSL_ERROR_WANT_WRITE) {
            bit = on.write_bit();
        } else if (why == SSL_ERROR_SSL) {
            std::string text = take_reason();
            if (const long verdict = SSL_get_verify_result(ssl); verdict != X509_V_OK)
                text += std::string(": ") + X509_verify_cert_error_string(verdict);
            co_return failed(errc::upstream_tls_error, std::move(text));
        } else {
            ERR_clear_error();
            co_return failed(errc::upstream_tls_error,
                             "the peer closed the connection during the TLS handshake");
        }
        const events got = co_await w.wait(bit, deadline);
        if (got & timed_out)
            co_return failed(errc::upstream_tls_timeout, "no end of the TLS handshake in time");
    }
}

}  // namespace kw::net
