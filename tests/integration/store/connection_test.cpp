// Connecting to servers that answer what no healthy Redis would: made-up ones, each with a script.
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <thread>

#include "store/redis/connection.hpp"

using namespace kw;
using namespace kw::store;
using namespace std::chrono_literals;

namespace {

// Answers each command by its name, one connection at a time.
class made_up_server {
  public:
    using answers = std::function<std::string(std::string_view command)>;

    // Sends at most `piece` bytes at a time.
    explicit made_up_server(answers how, std::size_t piece = 65'536)
        : how_(std::move(how)),
          piece_(piece),
          socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        REQUIRE(::bind(socket_, reinterpret_cast<sockaddr*>(&at), size) == 0);
        REQUIRE(::listen(socket_, 8) == 0);
        REQUIRE(::getsockname(socket_, reinterpret_cast<sockaddr*>(&at), &size) == 0);
        port_ = std::to_string(ntohs(at.sin_port));
        thread_ = std::thread([this] { run(); });
    }
    ~made_up_server() {
        stopping_ = true;
        thread_.join();
        ::close(socket_);
    }
    made_up_server(const made_up_server&) = delete;
    made_up_server& operator=(const made_up_server&) = delete;

    [[nodiscard]] const std::string& port() const { return port_; }

  private:
    bool readable(int fd) const {
        pollfd p{fd, POLLIN, 0};
        return ::poll(&p, 1, 20) > 0;
    }
    void run() const {
        while (!stopping_) {
            if (!readable(socket_)) continue;
            const int fd = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
            while (!stopping_ && talk(fd)) {
            }
            ::close(fd);
        }
    }
    // Commands come whole on the same machine: "*2\r\n$4\r\nNAME\r\n…", often several at once.
    bool talk(int fd) const {
        if (!readable(fd)) return true;
        std::string bytes(65'536, '\0');
        const auto got = ::recv(fd, bytes.data(), bytes.size(), 0);
        if (got <= 0) return false;
        bytes.resize(static_cast<std::size_t>(got));
        std::string out;
        for (std::size_t at = 0; at < bytes.size();) {
            const auto words = std::stoul(bytes.substr(at + 1));
            at = bytes.find("\r\n", at) + 2;
            for (std::size_t i = 0; i < words; ++i) {
                const auto size = std::stoul(bytes.substr(at + 1));
                at = bytes.find("\r\n", at) + 2;
                if (i == 0) out += how_(std::string_view(bytes).substr(at, size));
                at += size + 2;
            }
        }
        for (std::string_view left = out; !left.empty();
             left.remove_prefix(std::min(piece_, left.size())))
            if (::send(fd, left.data(), std::min(piece_, left.size()), MSG_NOSIGNAL) <= 0)
                return false;
        return true;
    }

    const answers how_;
    const std::size_t piece_;
    const int socket_;
    std::string port_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

std::string bulk(std::string_view text) {
    return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n";
}

made_up_server::answers server_in_role(std::string role) {
    return [role = std::move(role)](std::string_view command) -> std::string {
        if (command == "ROLE") return "*3\r\n" + bulk(role) + ":0\r\n*0\r\n";
        if (command == "PING") return bulk(role);
        return "+OK\r\n";
    };
}

made_up_server::answers sentinel_that_names(std::string port) {
    return [port = std::move(port)](std::string_view command) -> std::string {
        if (command == "SENTINEL") return "*2\r\n" + bulk("127.0.0.1") + bulk(port);
        return "+OK\r\n";
    };
}

redis::deadline in(std::chrono::seconds time) {
    return std::chrono::steady_clock::now() + time;
}

}  // namespace

TEST_CASE("a Sentinel that names a master of old is passed over", "[store][redis]") {
    const made_up_server old(server_in_role("slave"));
    const made_up_server master(server_in_role("master"));
    const made_up_server behind(sentinel_that_names(old.port()));
    const made_up_server right(sentinel_that_names(master.port()));
    redis_options o;
    o.mode = redis_mode::sentinel;
    o.master_name = "prime";
    const auto connect = [&](const std::string& places) {
        o.url = secret("redis://" + places);
        auto on = std::make_unique<redis::connection>();
        auto opened = on->open(*redis::parse_target(o), in(20s));
        if (!opened) return opened.error().context;
        redis::pipeline ask;
        ask.add({"PING"});
        return on->exchange(ask, in(20s))->front().text;
    };
    const auto at = [](const made_up_server& s) { return "127.0.0.1:" + s.port(); };
    CHECK(connect(at(behind) + "," + at(right)) == "master");
    CHECK(connect(at(right) + "," + at(behind)) == "master");
    // With none that knows better it is said, and no replica is taken for the master.
    CHECK(connect(at(behind)).find("is not the master any more") != std::string::npos);
}

TEST_CASE("a password that a server repeats in its refusal is not shown", "[store][redis]") {
    const made_up_server server([](std::string_view command) -> std::string {
        if (command == "AUTH")
            return "-ERR unknown command 'AUTH', with args beginning with: 'me' 'hush-hush'\r\n";
        return "+OK\r\n";
    });
    redis_options o;
    o.url = secret("redis://me:hush-hush@127.0.0.1:" + server.port());
    redis::connection on;
    const auto refused = on.open(*redis::parse_target(o), in(20s));
    REQUIRE(refused.has_error());
    CHECK(refused.error().context.find("refused us: ERR unknown command") != std::string::npos);
    CHECK(refused.error().context.find("hush") == std::string::npos);
    CHECK(refused.error().context.find("me'") == std::string::npos);
}

TEST_CASE("replies are read alike, in whichever pieces they come", "[store][redis]") {
    const auto piece =
        GENERATE(std::size_t{65'536}, std::size_t{1}, std::size_t{2}, std::size_t{7});
    const std::string large(100'000, 'x');
    const auto several = bulk("a\r\n$3\r\nb") + ":-7\r\n+OK\r\n$-1\r\n" + bulk("") + "-ERR no\r\n" +
                         "*2\r\n:1\r\n" + bulk("in it") + ":8\r\n" +
                         (piece > 2 ? bulk(large) : bulk("")) + bulk("last");
    const made_up_server server([&](std::string_view) { return std::string(several); }, piece);
    redis_options o;
    o.url = secret("redis://127.0.0.1:" + server.port());
    redis::connection on;
    auto to = *redis::parse_target(o);
    to.client_name.clear();
    REQUIRE(on.open(to, in(20s)).has_value());
    redis::pipeline ask;
    for (int i = 0; i < 3; ++i)
        ask.add({"X"});
    std::vector<redis::reply> got;
    const auto until = in(20s);
    // Nothing is there yet, and nothing is looked for.
    REQUIRE(on.turn(ask.unsent(), got, false).has_value());
    while (got.size() < 30 && std::chrono::steady_clock::now() < until) {
        pollfd p{on.descriptor(), POLLIN, 0};
        ::poll(&p, 1, 100);
        REQUIRE(on.turn(ask.unsent(), got).has_value());
    }
    REQUIRE(got.size() == 30);
    using enum redis::reply::kind;
    for (std::size_t i = 0; i < got.size(); i += 10) {
        CHECK(got[i].text == "a\r\n$3\r\nb");
        CHECK((got[i + 1].is == integer && got[i + 1].number == -7));
        CHECK((got[i + 2].is == status && got[i + 2].text == "OK"));
        CHECK(got[i + 3].is == nil);
        CHECK((got[i + 4].is == text && got[i + 4].text.empty()));
        CHECK((got[i + 5].is_error() && got[i + 5].text == "ERR no"));
        REQUIRE(got[i + 6].items.size() == 2);
        CHECK(got[i + 6].items[1].text == "in it");
        CHECK(got[i + 7].number == 8);
        CHECK(got[i + 8].text == (piece > 2 ? large : ""));
        CHECK(got[i + 9].text == "last");
    }
}
