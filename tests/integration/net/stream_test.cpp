// Streams over real sockets: relays of megabytes, ends of every kind.
#include "net/stream.hpp"

#include <sys/socket.h>

#include "tests/integration/net/loopback.hpp"

using namespace kw;
using namespace kw::net;
using namespace kw::test;

namespace {

std::string pattern(std::size_t n, unsigned seed) {
    std::string out(n, '\0');
    unsigned x = seed;
    for (auto& c : out) {
        x = x * 1664525 + 1013904223;
        c = static_cast<char>(x >> 24);
    }
    return out;
}

// Writes in pieces of odd sizes through writev, and reads at the same time.
task<std::string> exchange_all(stream& s, waiter& w, std::string_view out, std::size_t expect,
                               mono_time by) {
    std::string in;
    std::array<char, 3000> some;
    std::size_t sent = 0;
    int full = 0;
    while (in.size() < expect) {
        events want = read_b;
        if (sent < out.size()) {
            const auto at = [&](std::size_t from, std::size_t n) {
                from = std::min(from, out.size());
                const auto part = out.substr(from, n);
                return iovec{const_cast<char*>(part.data()), part.size()};
            };
            const std::array pieces{at(sent, 37), at(sent + 37, 0), at(sent + 37, 9000),
                                    at(sent + 9037, 40'000)};
            const auto r = s.write(pieces);
            if (r.ok()) {
                sent += r.bytes;
            } else if (r.would_block()) {
                ++full;
                want |= s.bit_for(r.status);
            } else {
                co_return "write failed";
            }
        }
        const auto r = s.read(some);
        if (r.ok()) {
            in.append(some.data(), r.bytes);
            continue;
        }
        if (!r.would_block()) co_return "read failed";
        if (sent < out.size() && want == read_b) continue;
        const events got = co_await w.wait(want, by);
        if (got & timed_out) co_return "timed out";
    }
    CHECK(full > 0);  // the test is worth something only if writes were refused
    co_return in;
}

task<void> end_with(loop& on, std::unique_ptr<stream> s, std::shared_ptr<tls_server_context> tls,
                    std::string kind) {
    waiter w(on);
    s->attach(&w, read_a, write_a);
    if (tls) {
        if (!tls->start(*s)) co_return;
        const auto shaken = co_await handshake(*s, w, on.now() + 10s);
        if (!shaken) co_return;
    }
    co_await s->write_all(w, "last words", on.now() + 10s);
    // Until the client has read them: a reset would throw them away.
    co_await read_n(*s, w, 1, on.now() + 10s);
    if (kind == "clean") s->shutdown_write();
    if (kind == "cut") ::shutdown(s->fd(), SHUT_WR);
    if (kind == "reset") s->close_with_reset();
    if (kind != "reset") co_await read_n(*s, w, 1, on.now() + 10s);
    if (kind == "cut") s->close_with_reset();  // sends nothing more
}

task<io_status> read_to_end(loop& on, dns_cache& dns, connect_options opts) {
    waiter w(on);
    auto made = co_await connect(on, w, dns, opts);
    REQUIRE(made.has_value());
    stream& s = **made;
    const std::string words = co_await read_n(s, w, 10, opts.deadline);
    CHECK(words == "last words");
    co_await s.write_all(w, "k", opts.deadline);
    char c[16];
    for (;;) {
        const auto r = s.read(c);
        if (!r.would_block()) co_return r.status;
        const events got = co_await w.wait(s.bit_for(r.status), opts.deadline);
        if (got & timed_out) co_return io_status::timed_out;
    }
}

task<std::string> send_and_receive(loop& on, dns_cache& dns, connect_options opts,
                                   std::string data) {
    waiter w(on);
    auto made = co_await connect(on, w, dns, opts);
    if (!made) co_return made.error().context;
    co_return co_await exchange_all(**made, w, data, data.size(), opts.deadline);
}

}  // namespace

TEST_CASE("megabytes pass both ways byte for byte", "[net][stream]") {
    bench b;
    const bool tls = GENERATE(false, true);
    server srv(b.on, [&](std::unique_ptr<stream> s) {
        return echo(b.on, std::move(s), tls ? b.server_tls : nullptr);
    });
    auto opts = b.to(srv.port());
    if (tls) opts.to.tls = b.client_tls();
    const std::string data = pattern(6'000'000, 7);
    const std::string back = run(b.on, send_and_receive(b.on, b.dns, opts, data));
    REQUIRE(back.size() == data.size());
    CHECK((back == data));
}

TEST_CASE("an orderly end, a cut and a reset are told apart", "[net][stream]") {
    bench b;
    const bool tls = GENERATE(false, true);
    const std::string kind = GENERATE("clean", "cut", "reset");
    server srv(b.on, [&](std::unique_ptr<stream> s) {
        return end_with(b.on, std::move(s), tls ? b.server_tls : nullptr, kind);
    });
    auto opts = b.to(srv.port());
    if (tls) opts.to.tls = b.client_tls();
    const io_status got = run(b.on, read_to_end(b.on, b.dns, opts));
    INFO("tls " << tls << " " << kind);
    if (kind == "reset") {
        CHECK(got == io_status::reset);
    } else if (kind == "cut" && tls) {
        CHECK(got == io_status::reset);
    } else {
        CHECK(got == io_status::eof);
    }
}

namespace {
task<io_result> write_into_nothing(loop& on, dns_cache& dns, connect_options opts) {
    waiter w(on);
    auto made = co_await connect(on, w, dns, opts);
    REQUIRE(made.has_value());
    const std::string lots(32 << 20, 'x');
    co_return co_await (*made)->write_all(w, lots, on.now() + 200ms);
}
task<void> hold(loop& on, std::unique_ptr<stream> s) {
    waiter w(on);
    co_await sleep_until(w, on.now() + 500ms);
}
}  // namespace

TEST_CASE("a write that nobody reads ends at its deadline", "[net][stream]") {
    bench b;
    server srv(b.on, [&](std::unique_ptr<stream> s) { return hold(b.on, std::move(s)); });
    const auto r = run(b.on, write_into_nothing(b.on, b.dns, b.to(srv.port())));
    CHECK(r.status == io_status::timed_out);
    CHECK(r.bytes > 0);
    CHECK(r.bytes < (32U << 20));
}
