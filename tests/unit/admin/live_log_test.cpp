// Streams of the log: who gets one, what it says, how it ends.
#include "admin/live_log.hpp"

#include <catch2/catch.hpp>

#include <chrono>

#include "tests/unit/admin/admin_fixture.hpp"

using namespace kw;
using namespace kw::admin;
using namespace std::chrono_literals;
using test::fixture;

namespace {

caller admin_named(const std::string& id, const std::string& session = "s") {
    caller out;
    out.kind = caller_kind::session;
    out.id = id;
    out.session_id = session;
    return out;
}

const mono_time start{std::chrono::hours(1)};

std::string take(net::control_stream& s, mono_time now = start, bool more = true) {
    std::string out;
    CHECK(s.take(out, now) == more);
    return out;
}

std::string line(const std::string& level, const std::string& event) {
    return R"({"ts":"2026-01-01T00:00:00.000Z","level":")" + level + R"(","event":")" + event +
           "\"}";
}

}  // namespace

TEST_CASE("a stream begins with history, goes on, and says what it missed") {
    log::history lines(3);
    live_log live(lines, 0xabc);
    lines.add(line("info", "one") + "\n" + line("info", "two") + "\n");
    const auto s = live.open(admin_named("a"), {.filter = {}, .history = 1, .last_event = ""}, 4);
    REQUIRE(s);
    auto out = take(*s);
    CHECK(out.starts_with("retry: 2000\n"));
    CHECK(out.find("event: log\nid: abc-2\ndata: " + line("info", "two") + "\n\n") !=
          std::string::npos);
    CHECK(out.find("\"one\"") == std::string::npos);
    CHECK(take(*s).empty());
    for (int i = 0; i < 5; ++i)
        lines.add(line("info", std::to_string(i)) + "\n");
    out = take(*s);
    CHECK(out.starts_with("event: dropped\ndata: {\"lines\":2}\n\nevent: log\nid: abc-5\n"));
    // Who comes back goes on behind the last event; an id of another process is none.
    const auto again =
        live.open(admin_named("a"), {.filter = {}, .history = 0, .last_event = "abc-6"}, 4);
    REQUIRE(again);
    CHECK(take(*again).find("id: abc-7\n") != std::string::npos);
    const auto other =
        live.open(admin_named("a"), {.filter = {}, .history = 0, .last_event = "abd-6"}, 4);
    REQUIRE(other);
    CHECK(take(*other).find("event: log") == std::string::npos);
}

TEST_CASE("a quiet stream beats, and ends after an hour") {
    log::history lines(3);
    live_log live(lines, 1);
    const auto s = live.open(admin_named("a"), {}, 4);
    REQUIRE(s);
    CHECK_FALSE(take(*s).empty());
    CHECK(take(*s, start + 14s).empty());
    CHECK(take(*s, start + 15s) == ": alive\n\n");
    CHECK(take(*s, start + 29s).empty());
    CHECK(take(*s, start + 1h, false).find("come_again") != std::string::npos);
    std::string out;
    s->stop(out);
    CHECK(out == "event: end\ndata: {\"reason\":\"stopping\"}\n\n");
}

TEST_CASE("streams are bounded by admin, and end with the right to them") {
    log::history lines(3);
    live_log live(lines, 1);
    auto first = live.open(admin_named("a", "s1"), {}, 2);
    const auto second = live.open(admin_named("a", "s2"), {}, 2);
    REQUIRE(first);
    REQUIRE(second);
    CHECK_FALSE(live.open(admin_named("a", "s3"), {}, 2));
    CHECK(live.open(admin_named("b"), {}, 2));  // and closed at once
    live.review([](const caller& who) { return who.session_id != "s1"; });
    CHECK(take(*first, start, false).find("not_allowed") != std::string::npos);
    CHECK_FALSE(take(*second).empty());
    first.reset();
    CHECK(live.open(admin_named("a", "s3"), {}, 2));
    std::vector<std::shared_ptr<net::control_stream>> all;
    while (auto s = live.open(admin_named(std::to_string(all.size())), {}, 2))
        all.push_back(std::move(s));
    CHECK(all.size() == live_log::most_streams - 1);
}

TEST_CASE("the route gives a stream until there are too many, and ends those of a gone token") {
    fixture f;
    f.settings->admin.live_logs = 1;
    const auto made = f.call("POST", "/admin/tokens", R"({"name":"t","role":"viewer"})", 201);
    auto r = fixture::request("GET", "/admin/logs/stream?level=warn&q=key&history=0");
    r.admin_key = secret();
    r.bearer = secret(fixture::text(made, "token"));
    const auto out = f.handle(r);
    CHECK(out.status == 200);
    CHECK(out.content_type.starts_with("text/event-stream"));
    REQUIRE(out.stream);
    CHECK(f.handle(r).status == 429);
    const auto own = f.handle(fixture::request("GET", "/admin/logs/stream"));
    CHECK(own.stream);
    f.clock.advance(10s);
    f.api.tick();
    CHECK_FALSE(take(*out.stream).empty());
    f.call("DELETE", "/admin/tokens/" + fixture::text(made, "id"));
    f.clock.advance(10s);
    f.api.tick();
    CHECK(take(*out.stream, start, false).find("not_allowed") != std::string::npos);
    // Another admin key: those who came with the one before are out.
    CHECK_FALSE(take(*own.stream).empty());
    f.api.set_guard(*auth::admin_guard::make(secret("another-admin-secret-0001"), true));
    CHECK(take(*own.stream, start, false).find("not_allowed") != std::string::npos);

    for (const auto* query : {"level=off", "history=10001", "x=1"})
        CHECK(f.handle([&] {
                   auto bad = fixture::request("GET", std::string("/admin/logs/stream?") + query);
                   bad.admin_key = secret("another-admin-secret-0001");
                   return bad;
               }())
                  .status == 400);
}
