// The dialogue with a mail server that refuses some receivers, or all.
#include "jobs/mail_sender.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "core/clock.hpp"
#include "net/connector.hpp"
#include "net/resolver.hpp"
#include "tests/support/loop_runner.hpp"

using namespace kw;

namespace {

// Serves one connection; an address is answered with the code that it begins with.
class server {
  public:
    server() {
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        auto* name = reinterpret_cast<sockaddr*>(&at);
        REQUIRE(::bind(listener_, name, size) == 0);
        REQUIRE(::listen(listener_, 1) == 0);
        REQUIRE(::getsockname(listener_, name, &size) == 0);
        port_ = ntohs(at.sin_port);
        thread_ = std::thread([this] { serve(); });
    }
    ~server() { end(); }
    server(const server&) = delete;
    server& operator=(const server&) = delete;

    [[nodiscard]] std::uint16_t port() const noexcept { return port_; }
    // All that it was told.
    std::string end() {
        ::shutdown(listener_, SHUT_RDWR);
        if (thread_.joinable()) thread_.join();
        if (listener_ >= 0) ::close(std::exchange(listener_, -1));
        return heard_;
    }

  private:
    void serve() {
        const int to = ::accept(listener_, nullptr, nullptr);
        if (to < 0) return;
        const auto say = [&](const std::string& line) {
            static_cast<void>(::send(to, (line + "\r\n").c_str(), line.size() + 2, MSG_NOSIGNAL));
        };
        say("220 test");
        std::string line;
        bool in_text = false;
        for (char c = 0; ::recv(to, &c, 1, 0) == 1;) {
            line += c;
            if (c != '\n') continue;
            heard_ += line;
            if (in_text) {
                in_text = line != ".\r\n";
                if (!in_text) say("250 taken");
            } else if (line.starts_with("RCPT TO:<")) {
                say(line.substr(9, 3) + " so it is");
            } else if (line.starts_with("DATA")) {
                in_text = true;
                say("354 tell");
            } else {
                say("250 fine");
            }
            line.clear();
        }
        ::close(to);
    }

    int listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    std::uint16_t port_ = 0;
    std::string heard_;
    std::thread thread_;
};

struct sent {
    errc code = errc::ok;
    std::string heard;
};

sent send(std::vector<std::string> to) {
    manual_clock clock;
    net::loop on{clock};
    net::resolver helper;
    net::dns_cache dns{on, helper};
    server by;
    const auto out =
        test::run(on, jobs::send_mail(on, dns,
                                      {.server = {.by = config::mail_server::security::none,
                                                  .host = "127.0.0.1",
                                                  .port = by.port()},
                                       .tls = {},
                                       .user = {},
                                       .password = {},
                                       .from = "keywheel@example.com",
                                       .to = std::move(to),
                                       .text = "canary\r\n",
                                       .deadline = net::no_deadline}));
    return {out ? errc::ok : out.error().code, by.end()};
}

}  // namespace

TEST_CASE("a mail goes to those whom the server takes, and fails if that is nobody") {
    const auto some = send({"550@a.example", "250@b.example", "450@c.example", "250@d.example"});
    CHECK(some.code == errc::ok);
    CHECK(some.heard.find("RCPT TO:<250@d.example>") != std::string::npos);
    CHECK(some.heard.find("canary\r\n.\r\n") != std::string::npos);
    const auto none = send({"550@a.example", "553@b.example"});
    CHECK(none.code == errc::invalid_argument);
    CHECK(none.heard.find("DATA") == std::string::npos);
    // What may be taken later is worth another try.
    CHECK(send({"550@a.example", "450@b.example", "550@c.example"}).code == errc::upstream_reset);
}
