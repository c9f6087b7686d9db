// A real redis-server on a unix socket in a folder of its own, ended with the test.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "store/redis/connection.hpp"
#include "store/store.hpp"
#include "tests/unit/store/temp_folder.hpp"

namespace kw::store::test {

class redis_server {
  public:
    redis_server() { start(); }
    // With settings of its own, as on the command line.
    explicit redis_server(std::vector<std::string> settings) : settings_(std::move(settings)) {
        start();
    }
    ~redis_server() { stop(SIGKILL); }
    redis_server(const redis_server&) = delete;
    redis_server& operator=(const redis_server&) = delete;

    void start() {
        std::vector<std::string> words{"redis-server",
                                       "--port",
                                       "0",
                                       "--unixsocket",
                                       socket(),
                                       "--dir",
                                       folder_.path,
                                       "--appendonly",
                                       "yes",
                                       "--appendfsync",
                                       "always",
                                       "--save",
                                       ""};
        words.insert(words.end(), settings_.begin(), settings_.end());
        std::vector<char*> arguments;
        for (auto& word : words)
            arguments.push_back(word.data());
        arguments.push_back(nullptr);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that is killed leaves nothing behind
            const int null = ::open("/dev/null", O_RDWR);
            ::dup2(null, 1);
            ::dup2(null, 2);
            ::execvp(arguments[0], arguments.data());
            ::_exit(127);
        }
    }
    void stop(int signal_number) {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGCONT);
        ::kill(pid_, signal_number);
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }
    void signal(int number) const { ::kill(pid_, number); }
    [[nodiscard]] std::string socket() const { return folder_.path + "/redis.sock"; }

    [[nodiscard]] redis_options options() const {
        redis_options o;
        o.url = secret("unix://" + socket());
        o.call_timeout = std::chrono::milliseconds(500);
        o.min_backoff = std::chrono::milliseconds(10);
        o.max_backoff = std::chrono::milliseconds(50);
        return o;
    }
    // What Redis itself says that it spent in EVALSHA; 0 if it did not say.
    [[nodiscard]] double microseconds_in_scripts() const {
        redis::target to;
        to.socket = socket();
        redis::connection c;
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
        redis::pipeline ask;
        ask.add({"INFO", "commandstats"});
        if (!c.open(to, until)) return 0;
        const auto answers = c.exchange(ask, until);
        if (!answers) return 0;
        const auto& text = answers->front().text;
        const auto line = text.find("cmdstat_evalsha:");
        const auto at = text.find("usec=", line);
        return line == std::string::npos ? 0 : std::stod(text.substr(at + 5));
    }
    // Until it answers; false after ten seconds.
    static bool wait_for(store& s) {
        const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (std::chrono::steady_clock::now() < until) {
            if (s.ping()) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        return false;
    }

  private:
    temp_folder folder_;
    std::vector<std::string> settings_;
    pid_t pid_ = -1;
};

}  // namespace kw::store::test
