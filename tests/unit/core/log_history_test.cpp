// The log's last lines: what is kept, what readers get, and what they are told they missed.
#include "core/log_history.hpp"

#include <unistd.h>
#include <catch2/catch.hpp>

#include <cstdio>
#include <string>

using namespace kw;

namespace {

std::string line(const std::string& level, const std::string& rest) {
    return R"({"ts":"2026-01-01T00:00:00.000Z","level":")" + level + R"(","event":")" + rest +
           "\"}\n";
}

}  // namespace

TEST_CASE("a reader gets what came since, by level and text") {
    log::history h(10);
    h.add(line("info", "request.done") + line("warn", "key.Banned"));
    h.add(line("debug", "noise"));
    auto got = h.read(1, {}, 1U << 16U);
    REQUIRE(got.lines.size() == 3);
    CHECK(got.lines[1].number == 2);
    CHECK(got.lines[1].text + "\n" == line("warn", "key.Banned"));
    CHECK(got.next == 4);
    CHECK(got.lost == 0);
    CHECK(h.read(got.next, {}, 1U << 16U).lines.empty());

    got = h.read(1, {.least = log::level::info, .text = "kEy.bAN"}, 1U << 16U);
    REQUIRE(got.lines.size() == 1);
    CHECK(got.lines[0].number == 2);
    CHECK(got.next == 4);
    CHECK(h.read(1, {.least = log::level::warn, .text = ""}, 1U << 16U).lines.size() == 1);
}

TEST_CASE("what left the ring is counted for who had not read it") {
    log::history h(3);
    for (int i = 0; i < 10; ++i)
        h.add(line("info", std::to_string(i)));
    const auto got = h.read(2, {}, 1U << 16U);
    CHECK(got.lost == 6);
    REQUIRE(got.lines.size() == 3);
    CHECK(got.lines[0].number == 8);
    h.resize(1);
    CHECK(h.read(8, {}, 1U << 16U).lost == 2);
    h.resize(0);
    CHECK_FALSE(h.wanted());
    h.add(line("info", "unseen"));
    CHECK(h.read(h.next(), {}, 1U << 16U).lines.empty());
    CHECK(h.next() == 12);
}

TEST_CASE("long lines are kept by their bytes, and read in pieces") {
    log::history h(10'000);
    const std::string text(100'000, 'x');
    for (int i = 0; i < 100; ++i)
        h.add(line("info", text));
    const auto kept = h.next() - h.begin_of_last(1000, {});
    CHECK(kept == log::history::max_bytes / line("info", text).size());
    const auto got = h.read(h.next() - 5, {}, 150'000);
    CHECK(got.lines.size() == 2);
    CHECK(got.next == h.next() - 3);
}

TEST_CASE("the last lines that a filter takes") {
    log::history h(10);
    for (int i = 0; i < 6; ++i)
        h.add(line(i % 2 == 0 ? "warn" : "info", std::to_string(i)));
    CHECK(h.begin_of_last(2, {.least = log::level::warn, .text = ""}) == 3);
    CHECK(h.begin_of_last(0, {}) == h.next());
    CHECK(h.begin_of_last(100, {}) == 1);
}

TEST_CASE("the log hands over JSON lines, also where it writes text") {
    char name[] = "/tmp/kw-history-XXXXXX";
    const int fd = mkstemp(name);
    REQUIRE(fd >= 0);
    close(fd);
    log::recent().resize(5);
    const auto from = log::recent().next();
    for (const bool json : {true, false}) {
        log::start({.min = log::level::info, .json = json, .file = name});
        log::event(log::level::warn, "key.cooling", {{"key", "one two"}});
        log::stop();
    }
    const auto got = log::recent().read(from, {.least = log::level::warn, .text = ""}, 1U << 16U);
    log::recent().resize(0);
    std::remove(name);
    REQUIRE(got.lines.size() == 2);
    for (const auto& one : got.lines)
        CHECK(one.text.find(R"("level":"warn","event":"key.cooling","key":"one two"})") !=
              std::string::npos);
}
