// The DNS cache over a scripted lookup: hits, staleness, failures, bounds.
#include "net/resolver.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <map>
#include <mutex>

#include "tests/support/loop_runner.hpp"

using namespace kw;
using namespace kw::net;
using namespace std::chrono_literals;

namespace {

// What the helper threads see; the gate holds lookups back until it is opened.
struct script {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::string, std::string> names;
    int lookups = 0;
    bool open = true;

    resolver::options options(unsigned threads = 1, std::size_t queued = 256) {
        resolver::options o;
        o.threads = threads;
        o.max_queued = queued;
        o.look_up = [this](const std::string& host) -> result<std::vector<ip_address>> {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return open; });
            ++lookups;
            changed.notify_all();
            const auto at = names.find(host);
            if (at == names.end()) return error(errc::upstream_dns_error, host + ": no such name");
            return std::vector<ip_address>{*ip_address::parse(at->second)};
        };
        return o;
    }
    void set(const std::string& host, const std::string& ip) {
        const std::lock_guard lock(mutex);
        names[host] = ip;
    }
    void gate(bool opened) {
        const std::lock_guard lock(mutex);
        open = opened;
        changed.notify_all();
    }
    int count() {
        const std::lock_guard lock(mutex);
        return lookups;
    }
};

struct fixture {
    script dns;
    manual_clock clock;
    loop on{clock};
    resolver helper{dns.options()};
    dns_cache cache{on, helper};

    std::string ask(const std::string& host) {
        auto r = test::run(on, cache.resolve(host, no_deadline));
        return r ? (*r)->front().to_string() : "error: " + r.error().context;
    }
    // Time passes for the loop as well.
    void advance(std::chrono::seconds by) {
        clock.advance(by);
        on.run_turn(0);
    }
};

task<void> note(dns_cache& cache, std::string host, mono_time deadline,
                std::vector<std::string>& out) {
    auto r = co_await cache.resolve(std::move(host), deadline);
    out.push_back(r ? "found" : r.error().context);
}

}  // namespace

TEST_CASE("literals are answered without a lookup", "[net][resolver]") {
    fixture f;
    CHECK(f.ask("10.1.2.3") == "10.1.2.3");
    CHECK(f.ask("2001:db8::1") == "2001:db8::1");
    CHECK(f.dns.count() == 0);
}

TEST_CASE("an answer is kept, then served stale while it is looked up anew", "[net][resolver]") {
    fixture f;
    f.dns.set("a.example", "10.0.0.1");
    CHECK(f.ask("a.example") == "10.0.0.1");
    f.advance(29s);
    CHECK(f.ask("a.example") == "10.0.0.1");
    CHECK(f.dns.count() == 1);
    f.dns.set("a.example", "10.0.0.2");
    f.advance(2s);
    CHECK(f.ask("a.example") == "10.0.0.1");  // stale, at once
    test::run_until(f.on, [&] { return f.dns.count() == 2; });
    test::run_until(f.on, [&] { return f.ask("a.example") == "10.0.0.2"; });
    CHECK(f.dns.count() == 2);
}

TEST_CASE("a failing refresh lets the old answer serve five minutes, no longer",
          "[net][resolver]") {
    fixture f;
    f.dns.set("a.example", "10.0.0.1");
    CHECK(f.ask("a.example") == "10.0.0.1");
    {
        const std::lock_guard lock(f.dns.mutex);
        f.dns.names.clear();
    }
    f.advance(60s);
    CHECK(f.ask("a.example") == "10.0.0.1");
    test::run_until(f.on, [&] { return f.dns.count() == 2; });
    CHECK(f.ask("a.example") == "10.0.0.1");
    f.advance(300s);
    CHECK(f.ask("a.example") == "error: a.example: no such name");
}

TEST_CASE("a failure is remembered for a moment", "[net][resolver]") {
    fixture f;
    CHECK(f.ask("b.example") == "error: b.example: no such name");
    f.dns.set("b.example", "10.0.0.3");
    CHECK(f.ask("b.example") == "error: b.example: no such name");
    CHECK(f.dns.count() == 1);
    f.advance(3s);
    CHECK(f.ask("b.example") == "10.0.0.3");
}

TEST_CASE("many who ask for one name share one lookup; a deadline ends a wait", "[net][resolver]") {
    fixture f;
    f.dns.set("c.example", "10.0.0.4");
    f.dns.gate(false);
    std::vector<std::string> out;
    std::vector<std::string> late;
    spawn("t", note(f.cache, "c.example", no_deadline, out));
    spawn("t", note(f.cache, "c.example", no_deadline, out));
    spawn("t", note(f.cache, "c.example", f.clock.mono() + 1s, late));
    f.advance(2s);
    REQUIRE(late.size() == 1);
    CHECK(late[0] == "c.example: no answer in time");
    CHECK(out.empty());
    f.dns.gate(true);
    test::run_until(f.on, [&] { return out.size() == 2; });
    CHECK(out == std::vector<std::string>{"found", "found"});
    CHECK(f.dns.count() == 1);
}

TEST_CASE("waiters and names in the queue are bounded", "[net][resolver]") {
    script dns;
    manual_clock clock;
    loop on(clock);
    dns.gate(false);
    resolver helper(dns.options(1, 2));
    dns_cache::options few;
    few.max_waiting = 3;
    dns_cache cache(on, helper, few);
    std::vector<std::string> out;
    spawn("t", note(cache, "n1", no_deadline, out));
    spawn("t", note(cache, "n2", no_deadline, out));
    spawn("t", note(cache, "n3", no_deadline, out));  // the queue holds two names
    REQUIRE(out.size() == 1);
    CHECK(out[0] == "n3: too many lookups wait");
    spawn("t", note(cache, "n1", no_deadline, out));
    spawn("t", note(cache, "n1", no_deadline, out));  // three wait already
    CHECK(out.size() == 2);
    dns.gate(true);
    test::run_until(on, [&] { return out.size() == 5; });
}

TEST_CASE("a cache may go while a lookup runs, and the resolver while one hangs",
          "[net][resolver]") {
    script dns;
    dns.set("d.example", "10.0.0.5");
    manual_clock clock;
    loop on(clock);
    dns.gate(false);
    {
        resolver helper(dns.options());
        {
            dns_cache cache(on, helper);
            std::vector<std::string> out;
            owned_root asking;
            asking.start("t", note(cache, "d.example", no_deadline, out));
        }
    }
    // Nothing waited for the lookup. Let it end before the script goes.
    dns.gate(true);
    std::unique_lock lock(dns.mutex);
    const bool ended = dns.changed.wait_for(lock, 10s, [&] { return dns.lookups == 1; });
    lock.unlock();
    on.run_turn(0);
    SUCCEED();
    CHECK((ended || dns.lookups == 0));
}
