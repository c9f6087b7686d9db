// Sends one mail by SMTP (RFC 5321): TLS from the beginning, STARTTLS, or neither; login by PLAIN
// or LOGIN. On the control thread's loop, without blocking it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "config/channel.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/secret.hpp"
#include "net/loop.hpp"
#include "net/task.hpp"

namespace kw::net {
class dns_cache;
class tls_client_context;
}  // namespace kw::net

namespace kw::jobs {

struct mail {
    config::mail_server server;
    std::shared_ptr<net::tls_client_context> tls;  // but for security::none
    std::string user;                              // "": no login
    secret password;
    std::string from;
    std::vector<std::string> to;
    std::string text;  // as compose_mail() makes it
    mono_time deadline{};
};

// Sent to those of `to` whom the server takes, and delivered if that is anybody.
// errc::invalid_argument: refused for good (5xx); others: it may go later. The context holds no
// text of the server's but its status.
[[nodiscard]] net::task<result<void>> send_mail(net::loop& on, net::dns_cache& dns, mail m);

}  // namespace kw::jobs
