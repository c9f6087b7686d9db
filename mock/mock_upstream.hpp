// The mock upstream: an OpenAI-compatible server with scripted behaviour, faults and books of its
// own. It stands in for a provider in demos, tests and benchmarks; mock/README.md is its contract.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace kw::mock {

struct mock_options {
    std::string host = "127.0.0.1";
    std::uint16_t port = 0;  // 0: any free one, told by start()

    // TLS: a certificate chain and its key, each as PEM text or as the path of a PEM file; or a
    // certificate made at start for localhost, 127.0.0.1 and ::1, with itself as its CA.
    std::string tls_certificate;
    std::string tls_key;
    bool self_signed = false;
    // Where to write the self-signed certificate, for a client to trust; empty: nowhere.
    std::string ca_out;

    unsigned threads = 1;
    std::uint64_t seed = 1;                    // words of answers, ids, cached tokens
    std::chrono::milliseconds pace{0};         // between two events of a stream
    std::chrono::milliseconds first_token{0};  // before the head of every answer
    unsigned tokens = 200;                     // of an answer, where the request sets no limit
    std::size_t keep_entries = 200'000;        // entries of the books; the sums go on past it
    std::size_t keep_seen = 1'000;             // requests kept for /__seen; 0 in benchmarks
    // Accounts that do not see one another's objects, as "sk-a,sk-b;sk-c": two, the first with two
    // keys. All other keys share one that answers do not name.
    std::string accounts;
};

// Owns its threads, one loop each. Made, started and stopped by one thread; everything else goes
// over its socket. Throws std::runtime_error or std::system_error from start() alone.
class mock_upstream {
  public:
    explicit mock_upstream(mock_options options);
    mock_upstream(const mock_upstream&) = delete;
    mock_upstream& operator=(const mock_upstream&) = delete;
    ~mock_upstream();  // stops

    // Binds and serves; returns the bound port.
    std::uint16_t start();
    // Closes everything at once, exchanges under way included. Safe to call twice.
    void stop();
    // Blocks until stop() is called on another thread.
    void wait();

    // PEM text of the certificate to trust; empty without self_signed. Valid after start().
    [[nodiscard]] const std::string& ca_pem() const noexcept;

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace kw::mock
