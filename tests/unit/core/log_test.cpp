// Lines as they arrive in the file: format, escaping, levels.
#include <unistd.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <regex>
#include <thread>
#include <vector>

#include "core/log.hpp"

using namespace kw;

namespace {

// A file of its own, removed afterwards.
class log_file {
  public:
    log_file() {
        char name[] = "/tmp/kw-log-XXXXXX";
        const int fd = mkstemp(name);
        REQUIRE(fd >= 0);
        close(fd);
        path_ = name;
    }
    log_file(const log_file&) = delete;
    log_file& operator=(const log_file&) = delete;
    ~log_file() {
        log::stop();
        std::remove(path_.c_str());
    }
    const std::string& path() const { return path_; }
    std::vector<std::string> lines() const {
        log::stop();
        std::ifstream in(path_);
        std::vector<std::string> all;
        for (std::string line; std::getline(in, line);)
            all.push_back(line);
        return all;
    }

  private:
    std::string path_;
};

}  // namespace

TEST_CASE("a file a day has the date in its name") {
    const auto folder = std::filesystem::temp_directory_path() / "kw-log-daily-test";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    log::start({.file = (folder / "keywheel.log").string(), .keep_days = 3});
    log::event(log::level::info, "here");
    log::stop();
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        names.push_back(entry.path().filename().string());
    REQUIRE(names.size() == 1);
    CHECK(std::regex_match(names[0], std::regex(R"(keywheel_\d{4}-\d\d-\d\d\.log)")));
    std::ifstream in(folder / names[0]);
    std::string line;
    REQUIRE(std::getline(in, line));
    CHECK(line.find("here") != std::string::npos);
    std::filesystem::remove_all(folder);
}

TEST_CASE("a JSON line holds the event and its fields") {
    const log_file file;
    log::start({.min = log::level::info, .json = true, .file = file.path()});
    log::event(log::level::info, "request.done",
               {{"path", "/v1/\"x\"\n%v {}"}, {"status", 200}, {"cost", 0.5}, {"stream", true}});
    log::event(log::level::debug, "unseen");
    log::event(log::level::error, "alone");
    const auto lines = file.lines();
    REQUIRE(lines.size() == 2);
    const std::regex first(
        R"re(\{"ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","level":"info","event":"request.done",)re"
        R"re("path":"/v1/\\"x\\"\\n%v \{\}","status":200,"cost":0.5,"stream":true\})re");
    CHECK(std::regex_match(lines[0], first));
    CHECK(lines[1].ends_with(R"("level":"error","event":"alone"})"));
}

TEST_CASE("a text line cannot be split or forged by a value") {
    const log_file file;
    log::start({.min = log::level::trace, .json = false, .file = file.path()});
    log::event(log::level::warn, "key.state",
               {{"key", "k1"}, {"why", "a b\nforged=1"}, {"n", -3}, {"none", ""}});
    const auto lines = file.lines();
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].substr(25) == R"(warn  key.state key=k1 why="a b\nforged=1" n=-3 none="")");
}

TEST_CASE("levels change while running") {
    const log_file file;
    log::start({.min = log::level::warn, .json = true, .file = file.path()});
    CHECK_FALSE(log::enabled(log::level::info));
    log::event(log::level::info, "before");
    log::set_level(log::level::debug);
    CHECK(log::enabled(log::level::debug));
    CHECK_FALSE(log::enabled(log::level::trace));
    CHECK_FALSE(log::enabled(log::level::off));
    log::event(log::level::debug, "after");
    CHECK(file.lines().size() == 1);
    CHECK_FALSE(log::enabled(log::level::error));  // stopped
    log::event(log::level::error, "dropped quietly");
}

TEST_CASE("lines of many threads stay whole") {
    const log_file file;
    log::start({.min = log::level::info, .json = true, .file = file.path()});
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([] {
                for (int i = 0; i < 500; ++i)
                    log::event(log::level::info, "e", {{"i", i}});
            });
        }
    }
    const auto lost = log::dropped();
    const auto lines = file.lines();
    CHECK(lines.size() + lost == 2000);
    for (const auto& line : lines)
        CHECK((line.front() == '{' && line.back() == '}'));
}

TEST_CASE("a reader that does not read costs lines, not memory or the caller's time") {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    log::start(
        {.min = log::level::info, .json = true, .file = "/dev/fd/" + std::to_string(ends[1])});
    const std::string long_value(4000, 'x');
    constexpr std::uint64_t sent = 6000;  // 24 MB, thrice what may wait in memory
    for (std::uint64_t i = 0; i < sent; ++i)
        log::event(log::level::info, "e", {{"value", long_value}});
    const auto lost = log::dropped();
    CHECK(lost > sent / 3);
    CHECK(lost < sent);

    std::uint64_t seen = 0;
    std::thread reader([&] {
        std::vector<char> buffer(1 << 16);
        while (seen < sent - lost) {
            const auto n = ::read(ends[0], buffer.data(), buffer.size());
            if (n <= 0) break;
            seen +=
                static_cast<std::uint64_t>(std::count(buffer.begin(), buffer.begin() + n, '\n'));
        }
    });
    log::stop();
    ::close(ends[1]);
    reader.join();
    ::close(ends[0]);
    CHECK(seen == sent - lost);
}

TEST_CASE("level names") {
    CHECK(log::parse_level("warn").value() == log::level::warn);
    CHECK(log::parse_level("verbose").error().code == errc::invalid_argument);
    CHECK_THROWS_AS(log::start({.min = log::level::info, .json = true, .file = "/dev/null/x.log"}),
                    std::runtime_error);
}
