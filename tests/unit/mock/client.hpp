// A small blocking client on raw sockets: it shows what came, well-formed or not.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace kw::mock::test {

struct reply {
    bool any = false;       // a byte came
    bool complete = false;  // the framing was closed properly
    bool reset = false;     // the connection ended by RST
    std::string early;      // 1xx heads
    int status = 0;
    std::map<std::string, std::string> headers;  // names in lower case
    std::string body;                            // without chunk framing
    std::map<std::string, std::string> trailers;
    std::string raw;
};

// Ends within ten seconds whatever the server does.
class client {
  public:
    explicit client(std::uint16_t port, bool tls = false);
    client(const client&) = delete;
    client& operator=(const client&) = delete;
    ~client();

    [[nodiscard]] bool good() const noexcept { return good_; }
    bool send(std::string_view bytes);
    // One read; empty at the end or on error.
    std::string read_some();
    // A whole answer; no_body after HEAD.
    reply read(bool no_body = false);
    // Sends a request with a key and reads the answer. `headers` are whole lines.
    reply request(std::string_view method, std::string_view target, std::string_view body = {},
                  std::string_view headers = {});
    reply post(std::string_view target, std::string_view json, std::string_view headers = {});

  private:
    bool more(reply& r);

    int fd_ = -1;
    bool good_ = false;
    bool reset_ = false;
    SSL_CTX* context_ = nullptr;
    SSL* ssl_ = nullptr;
    std::string in_;
};

}  // namespace kw::mock::test
