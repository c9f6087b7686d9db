// The life of a connection.
#include "mock/session.hpp"

#include <charconv>

#include "mock/answers.hpp"

namespace kw::mock {
namespace {

std::int64_t now_ms(const wire& io) {
    return unix_ms(io.owner().clock().wall());
}

// Opens the books for an exchange and closes them whatever happens.
class booking {
  public:
    explicit booking(exchange& x) : x_(x) { x_.shared.ledger.open(x_.record.key); }
    booking(const booking&) = delete;
    booking& operator=(const booking&) = delete;
    ~booking() {
        entry& e = x_.record;
        e.end_ms = now_ms(x_.io);
        e.bytes_in = x_.in.body_bytes;
        if (e.status >= 400) {
            e.outcome = "refused";
            e.tokens = {};
        } else if (x_.cut()) {
            e.outcome = "cut";
        } else if (x_.failed() || e.status == 0) {
            e.outcome = "aborted";
        }
        x_.shared.direct.spend(e.key, e.tokens.input + e.tokens.output);
        x_.shared.ledger.close(std::move(e));
    }

  private:
    exchange& x_;
};

void note_sighting(const exchange& x, std::uint64_t connection) {
    const request& r = x.in;
    sighting s;
    s.number = x.record.number;
    s.connection = connection;
    s.raw_head = r.raw_head;
    s.method = r.method;
    s.target = r.target;
    s.version = r.version;
    s.test_id = x.record.test_id;
    s.headers = r.headers;
    s.trailers = r.trailers;
    s.body = r.body.substr(0, request::keep_bytes);
    s.body_sha256 = r.sha256();
    s.body_bytes = r.body_bytes;
    x.shared.ledger.saw(std::move(s));
}

// False: the connection is over.
// The number of the account that lists this key; "" : none does.
std::string account_of(std::string_view accounts, std::string_view key) {
    for (int number = 1; !accounts.empty(); ++number) {
        const auto end = std::min(accounts.find(';'), accounts.size());
        std::string_view keys = accounts.substr(0, end);
        while (!keys.empty()) {
            const auto comma = std::min(keys.find(','), keys.size());
            if (keys.substr(0, comma) == key) return std::to_string(number);
            keys.remove_prefix(std::min(comma + 1, keys.size()));
        }
        accounts.remove_prefix(std::min(end + 1, accounts.size()));
    }
    return {};
}

net::task<bool> serve_request(server& s, wire& io, std::uint64_t connection,
                              std::uint64_t& answered) {
    request r;
    const auto headed = co_await read_head(io, r);
    if (headed == read_outcome::bad) {
        co_await io.send(
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        co_return false;
    }
    if (headed != read_outcome::ok) co_return false;
    if (r.path.starts_with("/__")) {
        const auto got = co_await read_body(io, r, unlimited);
        if (got != read_outcome::ok) co_return false;
        const bool more = co_await answer_control(s, io, r);
        co_return more&& r.keep_alive;
    }

    exchange x(s, io, r);
    x.record.number = s.next_request.fetch_add(1, std::memory_order_relaxed);
    x.record.key = r.account();
    x.record.test_id = r.header("x-test-id");
    x.record.endpoint = endpoint_name(r);
    x.record.start_ms = now_ms(io);
    const booking booked(x);

    const auto now = io.owner().clock().mono();
    const behaviour before = s.direct.peek(r, x.record.key, now);
    if (before.early > 0) {
        x.close_after();
        co_await x.refuse(before.early);
        // Unread data at close would turn into a reset that can overtake the answer.
        co_await io.pause(std::chrono::milliseconds(200));
        co_return false;
    }
    if (same_name(r.header("expect"), "100-continue")) {
        const bool sent = co_await io.send("HTTP/1.1 100 Continue\r\n\r\n");
        if (!sent) co_return false;
    }
    const auto got = co_await read_body(io, r, before.stop_reading);
    if (got == read_outcome::bad) {
        x.close_after();
        co_await x.refuse(400, {}, "The body's framing is broken.");
        co_return false;
    }
    if (got != read_outcome::ok) co_return false;
    x.record.model = r.model();
    if (r.header("x-mock-hash") == "1") x.record.received_sha256 = r.sha256();
    if (s.ledger.wants_sightings()) note_sighting(x, connection);

    if (x.record.key.empty() && r.method != "OPTIONS") {
        co_await x.refuse(401, {}, "You didn't provide an API key.");
        co_return x.keep_alive();
    }
    x.account = account_of(s.options.accounts, x.record.key);
    if (!x.account.empty()) {
        x.extra.emplace_back("openai-organization", "org-mock-" + x.account);
        x.extra.emplace_back("openai-project", "proj-mock-" + x.account);
    }
    x.faults = s.direct.choose(r, x.record.key, x.record.model, now, x.extra);
    if (x.faults.keep_alive >= 0 && ++answered >= static_cast<std::uint64_t>(x.faults.keep_alive)) {
        x.close_after();
    }
    co_await route(x);
    io.slice(0);
    co_return x.keep_alive() && !x.failed();
}

net::task<bool> shake_hands(server& s, wire& io) {
    const tls_mode mode = s.direct.tls;
    if (mode == tls_mode::reset) {
        io.reset_on_close();
        co_return false;
    }
    if (mode == tls_mode::slow || mode == tls_mode::silent) {
        const int ms = mode == tls_mode::silent ? 86'400'000 : s.direct.tls_delay_ms.load();
        const bool there = co_await io.pause(std::chrono::milliseconds(ms));
        if (!there) co_return false;
    }
    const bool shaken = co_await io.handshake(s.tls.get());
    if (shaken && io.resumed()) ++s.resumed;
    co_return shaken;
}

}  // namespace

net::task<void> serve_connection(worker& w, int fd) {
    server& s = w.shared;
    const std::uint64_t number = ++s.accepted;
    const std::uint64_t open = ++s.open;
    auto most = s.max_open.load();
    while (most < open && !s.max_open.compare_exchange_weak(most, open)) {
    }
    {
        wire io(w.on, fd);
        w.open.insert(&io);
        std::uint64_t answered = 0;
        bool more = true;
        if (s.tls) more = co_await shake_hands(s, io);
        while (more)
            more = co_await serve_request(s, io, number, answered);
        w.open.erase(&io);
    }
    --s.open;
    w.left();
}

net::task<bool> answer_control(server& s, wire& io, request& r) {
    std::string body = R"({"error":"unknown call"})";
    int status = 404;
    const auto number = [&](std::string_view name, std::uint64_t otherwise) {
        const auto text = r.query_value(name);
        std::uint64_t n = otherwise;
        std::from_chars(text.data(), text.data() + text.size(), n);
        return n;
    };
    if (r.path == "/__books") {
        status = 200;
        body = s.ledger.render(number("after", 0), static_cast<std::size_t>(number("limit", 1000)));
    } else if (r.path == "/__books/reset" && r.method == "POST") {
        status = 200;
        s.ledger.reset();
        body = R"({"ok":true})";
    } else if (r.path == "/__seen") {
        status = 200;
        body = s.ledger.render_seen(static_cast<std::size_t>(number("last", 1)),
                                    r.query_value("test_id"));
    } else if (r.path == "/__connections") {
        status = 200;
        body = "{\"accepted\":" + std::to_string(s.accepted) +
               ",\"open\":" + std::to_string(s.open) +
               ",\"tls_resumed\":" + std::to_string(s.resumed) +
               ",\"max_open\":" + std::to_string(s.max_open) + "}";
    } else if (r.path == "/__health") {
        status = 200;
        body = R"({"status":"ok"})";
    } else if (r.path == "/__control" && r.method == "POST") {
        bool good = false;
        body = s.direct.control(r.body, io.owner().clock().mono(), good);
        status = good ? 200 : 400;
    }
    std::string out =
        "HTTP/1.1 " + std::to_string(status) + (status == 200 ? " OK" : " Bad Request") +
        "\r\ncontent-type: application/json\r\ncontent-length: " + std::to_string(body.size()) +
        "\r\n\r\n" + body;
    co_return co_await io.send(out);
}

}  // namespace kw::mock
