// A Redis Cluster of one node for the whole run, for what must hold on a Cluster: that it is found
// by its slots, and that the keys of each command and script lie in one. Each user has a prefix.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "tests/integration/store/redis_server.hpp"

namespace kw::store::test {

class redis_cluster {
  public:
    [[nodiscard]] static redis_options options() {
        static const redis_cluster one;
        static int used = 0;
        auto o = one.server_.options();
        o.url = secret("redis://127.0.0.1:" + one.port_);
        o.mode = redis_mode::cluster;
        o.prefix = "kw" + std::to_string(++used) + ":";
        return o;
    }

  private:
    // Below the ports that connections take, and with the bus 10,000 above.
    static std::string free_port() {
        for (std::uint16_t port = 12'000 + static_cast<std::uint16_t>(::getpid() % 9'000);;
             ++port) {
            const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            sockaddr_in at{};
            at.sin_family = AF_INET;
            at.sin_port = htons(port);
            at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            const bool free = ::bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
            ::close(fd);
            if (free) return std::to_string(port);
        }
    }

    redis_cluster() {
        redis::target to;
        to.socket = server_.socket();
        redis::pipeline assign;
        assign.add({"CLUSTER", "ADDSLOTSRANGE", "0", "16383"});
        redis::pipeline ask;
        ask.add({"CLUSTER", "INFO"});
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        // A master waits two seconds before it takes writes.
        for (bool assigned = false; std::chrono::steady_clock::now() < until;) {
            redis::connection c;
            if (c.open(to, until)) {
                if (!assigned) assigned = c.exchange(assign, until).has_value();
                const auto told = c.exchange(ask, until);
                if (told && told->front().text.find("cluster_state:ok") != std::string::npos)
                    return;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
    }

    std::string port_ = free_port();
    redis_server server_{{"--port", port_, "--bind", "127.0.0.1", "--cluster-enabled", "yes"}};
};

}  // namespace kw::store::test
