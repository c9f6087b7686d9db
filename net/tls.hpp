// TLS contexts for both sides and the handshake. TLS 1.2 and later, ALPN http/1.1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/secret.hpp"
#include "net/loop.hpp"
#include "net/stream.hpp"
#include "net/task.hpp"

namespace kw::net {

// Upstream's side: verifies the chain and the host's name, sends SNI, resumes sessions (the latest
// session of each host and port is kept, a bounded number). Any thread; must outlive its streams.
class tls_client_context {
  public:
    struct options {
        std::string ca_file;         // PEM; empty: the system's store
        bool verify = true;          // false only for a provider on a private test machine
        bool beside_system = false;  // with a CA file: the system's store, too
    };
    // errc::invalid_argument: the CA file cannot be read.
    [[nodiscard]] static result<std::shared_ptr<tls_client_context>> create(const options& opts);
    ~tls_client_context();
    tls_client_context(const tls_client_context&) = delete;
    tls_client_context& operator=(const tls_client_context&) = delete;

    // Puts a client's TLS on a connected stream, handshake to follow. name is what the certificate
    // must hold: a host name or an IP literal (verified as such, no SNI then). session_key says
    // whose sessions may be resumed, e.g. "host:port"; empty: none.
    [[nodiscard]] result<void> start(stream& on, std::string_view name,
                                     std::string_view session_key);

    // Tells contexts apart in the identity of an endpoint; unique within the process.
    [[nodiscard]] std::uint64_t id() const noexcept { return id_; }

  private:
    tls_client_context();
    struct impl;
    std::unique_ptr<impl> impl_;
    std::uint64_t id_;
};

// A listener's side. Any thread.
class tls_server_context {
  public:
    struct options {
        std::string certificate_file;  // PEM, the chain, leaf first
        std::string key_file;          // PEM
    };
    // errc::invalid_argument: unreadable, or the key is not the certificate's.
    [[nodiscard]] static result<std::shared_ptr<tls_server_context>> create(const options& opts);
    ~tls_server_context();
    tls_server_context(const tls_server_context&) = delete;
    tls_server_context& operator=(const tls_server_context&) = delete;

    // Reads the files again. New connections get the new certificate, running ones keep theirs; an
    // error leaves all as it was.
    [[nodiscard]] result<void> reload();
    // Puts the server's TLS on an accepted stream, handshake to follow.
    [[nodiscard]] result<void> start(stream& on);
    // The leaf certificate's notAfter.
    [[nodiscard]] wall_time expires() const;

  private:
    explicit tls_server_context(const options& opts);
    struct impl;
    std::unique_ptr<impl> impl_;
};

// Completes the handshake that start() prepared, on either side. The stream must be attached to w.
// errc::upstream_tls_error with the TLS library's reason ("certificate verify failed: …"), or
// errc::upstream_tls_timeout.
[[nodiscard]] task<result<void>> handshake(stream& on, waiter& w, mono_time deadline);

struct certificate_pair {
    std::string cert_pem;
    secret key_pem;
};
// A self-signed ECDSA P-256 certificate for host names and IP literals. Slow enough to keep off a
// worker. The key is a secret; write it with mode 0600.
[[nodiscard]] result<certificate_pair> make_self_signed(std::span<const std::string> hosts,
                                                        int days);

}  // namespace kw::net
