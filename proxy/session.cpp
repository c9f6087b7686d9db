// The loop of a client connection.
#include "proxy/session.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <charconv>

#include <boost/container/static_vector.hpp>

#include "auth/credential.hpp"
#include "core/ids.hpp"
#include "core/incidents.hpp"
#include "core/log.hpp"
#include "net/origin.hpp"
#include "net/tls.hpp"
#include "proxy/cors.hpp"
#include "proxy/error_response.hpp"
#include "proxy/exchange.hpp"
#include "proxy/head_log.hpp"
#include "proxy/identity.hpp"
#include "proxy/message_heads.hpp"
#include "proxy/request_body.hpp"
#include "proxy/worker.hpp"

namespace kw::proxy {
namespace {

using namespace std::chrono_literals;
using net::header_id;

constexpr std::string_view admin_cookie = "kw_session=";
constexpr std::size_t max_lease_body = 64U << 10U;
constexpr auto control_time = 120s;
constexpr auto stream_interval = 200ms;
constexpr auto stream_farewell = 2s;  // for the end of a stream, once the server stops
constexpr std::size_t head_read_size = 8 * 1024;
constexpr std::size_t common_head = 16 * 1024;  // a larger one is counted

// Of a caller of the control thread's routes; an exchange does so by itself.
void note_refusal(worker& w, const net::ip_address& from, const error& why) {
    if (why.code == errc::invalid_api_key && w.shared().noticed != nullptr)
        w.shared().noticed->note(incidents::what::refused_credential, net::origin_of(from));
}

bool is_under(std::string_view path, std::string_view folder) noexcept {
    return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

// What browsers' pages may call where their origin is allowed.
bool is_for_clients(std::string_view path) noexcept {
    return is_under(path, "/v1") || is_under(path, "/v1beta") || is_under(path, "/api-keys") ||
           path == "/release";
}

constexpr std::array<std::string_view, 5> live_paths = {"/healthz", "/livez", "/health",
                                                        "/health/liveliness", "/health/liveness"};
constexpr std::array<std::string_view, 2> ready_paths = {"/readyz", "/health/readiness"};

template <std::size_t N>
bool is_one_of(std::string_view path, const std::array<std::string_view, N>& list) noexcept {
    return std::ranges::find(list, path) != list.end();
}

// Of an answer that the control thread gave. `framing` is a header line, or nothing where the body
// ends with the connection.
void append_control_head(std::string& text, const net::control_response& r,
                         const std::string& framing, bool keep) {
    text += "HTTP/1.1 ";
    append_number(text, r.status);
    text.append(" ").append(reason_phrase(r.status)).append("\r\nContent-Type: ");
    text += r.content_type;
    text += "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff";
    if (!framing.empty()) text.append("\r\n").append(framing);
    for (const auto& [name, value] : r.headers)
        text.append("\r\n").append(name).append(": ").append(value);
    if (!keep) text += "\r\nConnection: close";
    text += "\r\n\r\n";
}

void append_piece(std::string& text, const std::string& piece, bool chunked, bool last) {
    if (!chunked) {
        text += piece;
        return;
    }
    if (!piece.empty()) {
        char size[20];
        const auto end = std::to_chars(size, size + sizeof size, piece.size(), 16).ptr;
        text.append(size, end).append("\r\n").append(piece).append("\r\n");
    }
    if (last) text += "0\r\n\r\n";
}

net::head_limits limits_of(const config::server_settings& s) noexcept {
    return {.max_head = s.max_header_bytes, .max_target = 8 * 1024, .max_headers = 100};
}

}  // namespace

session::session(worker& w, std::unique_ptr<net::stream> client, session_scope scope)
    : worker_(w),
      scope_(scope),
      client_(std::move(client)),
      large_head_(w.kept_bodies()),
      head_(limits_of(w.current().settings->server)) {
    worker_.add(*this);
}

session::~session() {
    worker_.remove(*this);
}

net::task<void> session::run(worker& w, std::unique_ptr<net::stream> client, session_scope scope) {
    session self(w, std::move(client), scope);
    co_await self.serve();
}

void session::cut() noexcept {
    ::shutdown(client_.stream->fd(), SHUT_RDWR);
}

net::task<void> session::serve() {
    if (worker_.shared().tls && scope_ != session_scope::health) {
        const bool ok = co_await handshake();
        if (!ok) co_return;
    }
    for (;;) {
        const head_result got = co_await read_head();
        if (got == head_result::closed) co_return;
        if (got == head_result::refused) {
            co_await refuse_head();
            break;
        }
        client_.used = head_.consumed();
        find_client_address();
        const bool keep = co_await answer();
        if (!keep) break;
        next_request();
        if (worker_.shared().draining.load(std::memory_order_relaxed) && client_.in.empty()) break;
    }
    if (!client_.cut) co_await linger();
}

net::task<bool> session::handshake() {
    if (!worker_.shared().tls->start(*client_.stream)) co_return false;
    client_.stream->handle().attach(&client_.wait, net::read_a, net::write_a, net::hangup_a);
    const auto done = co_await net::handshake(
        *client_.stream, client_.wait,
        worker_.loop().now() + worker_.current().settings->server.header_timeout);
    co_return done.has_value();
}

// Waits for the next head. While nothing of it has come, the keep-alive limit holds, from its
// first byte on the header limit, however slowly the rest trickles in.
net::task<session::head_result> session::read_head() {
    // Copied: the settings may be replaced while we wait.
    const auto header_timeout = worker_.current().settings->server.header_timeout;
    head_.reset();
    mono_time deadline =
        worker_.loop().now() + worker_.current().settings->server.keep_alive_timeout;
    bool begun = false;
    for (;;) {
        if (!client_.in.empty()) {
            const auto parsed = head_.parse_request(client_.in);
            if (parsed == net::parse_status::done) co_return head_result::ready;
            if (parsed == net::parse_status::bad) co_return head_result::refused;
            if (!begun) {
                begun = true;
                deadline = worker_.loop().now() + header_timeout;
            }
        }
        // No more than a common head with a small body: what else has come is read into its place.
        const auto scratch = worker_.scratch().first(head_read_size);
        const auto r = client_.stream->read(scratch);
        if (r.ok()) {
            client_.in.append(scratch.data(), r.bytes);
            if (client_.in.size() <= common_head) continue;
            large_head_.count(client_.in.capacity());
            if (!large_head_.budget().full()) continue;
            // Nobody is known by half a head: whoever sends large ones gets no more memory for it.
            worker_.metrics().count_refused_head(503);
            const error e(errc::overloaded,
                          "There is no memory for a head so large; try again shortly.");
            const std::string text = make_error_response(
                e, error_shape::openai, {.retry_after = std::chrono::seconds(1), .close = true});
            (void)client_.stream->write(text);
            co_await linger();
            co_return head_result::closed;
        }
        if (!r.would_block()) co_return head_result::closed;
        // Memory of an idle connection is its descriptor and this frame.
        if (client_.in.empty() && client_.in.capacity() > 4096) std::string().swap(client_.in);
        const auto got = co_await client_.wait.wait(
            client_.stream->bit_for(r.status) | (begun ? 0 : net::stopping), deadline);
        if (got & net::stopping) co_return head_result::closed;
        if (got & net::timed_out) {
            if (!begun) co_return head_result::closed;
            worker_.metrics().count_refused_head(408);
            const error e(errc::header_timeout, "The request's head did not arrive in time.",
                          error_source::downstream);
            const std::string text = make_error_response(e, error_shape::openai, {.close = true});
            (void)client_.stream->write(text);
            co_return head_result::closed;
        }
    }
}

net::task<void> session::refuse_head() {
    const net::head_fault& fault = head_.fault();
    worker_.metrics().count_refused_head(fault.status);
    const error e(fault.code, std::string(fault.message), error_source::downstream);
    const std::string text =
        make_error_response(e, error_shape::openai, {.close = true, .status = fault.status});
    co_await client_.stream->write_all(client_.wait, text, worker_.loop().now() + 5s);
}

void session::find_client_address() {
    const auto& snap = worker_.current();
    client_.address = client_.stream->peer().ip;
    if (snap.trusted_proxies.empty() || !head_.has(header_id::x_forwarded_for)) return;
    // Of many lines the last ones count: those our proxies wrote.
    boost::container::static_vector<std::string_view, 8> values;
    for (const auto& h : head_) {
        if (h.id != header_id::x_forwarded_for) continue;
        if (values.size() == values.capacity()) values.erase(values.begin());
        values.push_back(h.value);
    }
    client_.address =
        net::client_behind(client_.address, snap.trusted_proxies, {values.data(), values.size()});
}

net::task<bool> session::answer() {
    const std::string_view path = head_.path();
    const auto& server = worker_.current().settings->server;
    if (worker_.current().settings->log.http_heads)
        log::event(log::level::info, "http.request",
                   {{"client", client_.address.to_string()}, {"head", describe_request(head_)}});
    if (!server.allowed_hosts.empty()) {
        const std::string_view host = head_.host_name();
        const bool allowed = std::ranges::any_of(server.allowed_hosts, [&](const auto& name) {
            return net::equal_ignoring_case(name, host);
        });
        if (!allowed) {
            const error e(errc::misdirected_host,
                          "This host name is not served here; the operator can add it to "
                          "server.allowed_hosts.",
                          error_source::downstream);
            const std::string text = make_error_response(e, error_shape::openai, {.close = true});
            co_await client_.stream->write_all(client_.wait, text, worker_.loop().now() + 5s);
            co_return false;
        }
    }
    const bool asks_metrics = path == "/metrics";
    if (scope_ == session_scope::health) {
        if (asks_metrics) co_return co_await answer_control();
        co_return co_await answer_health();
    }
    if (scope_ == session_scope::admin) {
        if (is_under(path, "/admin")) co_return co_await answer_control();
        co_return co_await answer_health();
    }
    if (!client_.cors.empty()) client_.cors.clear();
    if (head_.has(header_id::origin) && !server.cors_origins.empty() && is_for_clients(path)) {
        const std::string_view origin = head_.find(header_id::origin);
        if (may_call_from_page(server.cors_origins, origin)) client_.cors = cors_lines(origin);
        if (is_preflight(head_)) {
            const std::string text = answer_preflight(head_, client_.cors);
            const bool keep = head_.keep_alive() && head_.body() == net::framing::none;
            const auto sent =
                co_await client_.stream->write_all(client_.wait, text, worker_.loop().now() + 5s);
            if (!sent.ok()) co_return false;
            co_return keep;
        }
    }
    if (is_under(path, "/v1/keywheel")) co_return co_await answer_holder();
    if (is_under(path, "/api-keys") || path == "/release") co_return co_await answer_lease_call();
    if (is_under(path, "/v1") || is_under(path, "/v1beta")) {
        exchange x(worker_, client_, head_);
        co_return co_await x.run();
    }
    if ((is_under(path, "/admin") && !worker_.shared().own_admin_port) ||
        (asks_metrics && server.health_port == 0))
        co_return co_await answer_control();
    co_return co_await answer_health();
}

net::task<bool> session::answer_health() {
    const std::string_view path = head_.path();
    const bool keep = head_.keep_alive() && head_.body() == net::framing::none;
    net::control_response r;
    if (path == "/") {
        r.body = R"({"name":"keywheel","version":")" KEYWHEEL_VERSION R"("})";
    } else if (is_one_of(path, live_paths)) {
        r.body = R"({"status":"ok"})";
    } else if (is_one_of(path, ready_paths)) {
        const bool ready = worker_.shared().control.ready() && !worker_.shared().draining.load();
        r.status = ready ? 200 : 503;
        r.body = ready ? R"({"status":"ready"})" : R"({"status":"not ready"})";
    } else {
        const error e(errc::store_not_found,
                      "No such path here: clients' calls go to /v1/…, the operator's to /admin/….",
                      error_source::downstream);
        const std::string text = make_error_response(e, error_shape::openai, {.close = !keep},
                                                     head_.method_kind() == net::method_id::head);
        const auto sent =
            co_await client_.stream->write_all(client_.wait, text, worker_.loop().now() + 5s);
        co_return keep&& sent.ok();
    }
    co_return co_await send_response(std::move(r), keep);
}

// What the holder of an access key asks about it: the worker knows who asks, the control thread
// knows the answer.
net::task<bool> session::answer_holder() {
    auto known = identify_caller(worker_, worker_.current(), head_, client_.address);
    if (known) {
        const bool no_body = head_.body() == net::framing::none;
        auto q = copy_request();
        q.access_key_id = *known ? (*known)->id : std::string();
        auto answer = co_await ask_control(std::move(q));
        if (!answer) co_return false;
        co_return co_await send_response(std::move(*answer), no_body && head_.keep_alive());
    }
    note_refusal(worker_, client_.address, known.error());
    const std::string text = make_error_response(known.error(), error_shape::openai,
                                                 {.close = true, .own_lines = client_.cors});
    co_await client_.stream->write_all(client_.wait, text, worker_.loop().now() + 5s);
    co_return false;
}

// Leases of upstream keys are for those who may take them, not for those to whom one was lent.
net::task<bool> session::answer_lease_call() {
    auto known = identify_caller(worker_, worker_.current(), head_, client_.address);
    if (!known) note_refusal(worker_, client_.address, known.error());
    if (known && known->leased)
        known = error(errc::endpoint_not_allowed, "This access key is itself a lease.",
                      error_source::downstream);
    kept_body body(worker_.kept_bodies());
    net::body_framer framer(head_.body(), head_.body_length());
    if (known) {
        if (head_.expect_continue() && !framer.complete())
            co_await client_.stream->write_all(client_.wait, "HTTP/1.1 100 Continue\r\n\r\n",
                                               worker_.loop().now() + 5s);
        auto q = copy_request();
        q.access_key_id = known->key != nullptr ? known->key->id : std::string();
        auto read = co_await read_body(worker_, client_, framer, body, max_lease_body);
        if (read) {
            q.body = body.text();
            auto answer = co_await ask_control(std::move(q));
            if (!answer) co_return false;
            co_return co_await send_response(std::move(*answer), head_.keep_alive());
        }
        if (read.error().code == errc::client_closed) co_return false;
        known = read.error();
    }
    const std::string text = make_error_response(known.error(), error_shape::openai,
                                                 {.close = true, .own_lines = client_.cors});
    co_await client_.stream->write_all(client_.wait, text, worker_.loop().now() + 5s);
    co_return false;
}

// The credentials that an admin can present.
void session::add_admin_credentials(net::control_request& q) const {
    q.admin_key = secret(std::string(head_.find(header_id::x_admin_key)));
    q.bearer = secret(std::string(auth::pick_credential(
        {.authorization = head_.find(header_id::authorization), .path = head_.path()})));
    for (std::string_view rest = head_.find(header_id::cookie); !rest.empty();) {
        const auto end = std::min(rest.find(';'), rest.size());
        auto one = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        one.remove_prefix(std::min(one.find_first_not_of(' '), one.size()));
        if (!one.starts_with(admin_cookie)) continue;
        q.session = secret(std::string(one.substr(admin_cookie.size())));
        break;
    }
    q.csrf = head_.find("x-csrf-token");
    q.origin = head_.find(header_id::origin);
    q.host = head_.find(header_id::host);
    const auto& trusted = worker_.current().trusted_proxies;
    q.secure = client_.stream->is_tls() ||
               (trusted.contains(client_.stream->peer().ip) &&
                net::equal_ignoring_case(head_.find(header_id::x_forwarded_proto), "https"));
}

net::control_request session::copy_request() const {
    net::control_request q;
    q.method = head_.method();
    q.path = head_.path();
    q.query = head_.query();
    q.source = client_.address.to_string();
    q.request_id = make_id("req_", worker_.wall(), worker_.random());
    q.content_type = head_.content_type();
    q.if_match = head_.find("if-match");
    q.last_event_id = head_.find("last-event-id");
    return q;
}

net::task<bool> session::answer_control() {
    kept_body body(worker_.kept_bodies());
    net::body_framer framer(head_.body(), head_.body_length());
    auto q = copy_request();
    add_admin_credentials(q);
    if (!framer.complete()) {
        // No memory for a stranger's body: the control thread, which judges and counts the guess,
        // is asked without it.
        auto head = q;
        head.head_only = true;
        auto first = co_await ask_control(std::move(head));
        if (!first) co_return false;
        if (first->status != 100) co_return co_await send_response(std::move(*first), false);
        if (head_.expect_continue())
            co_await client_.stream->write_all(client_.wait, "HTTP/1.1 100 Continue\r\n\r\n",
                                               worker_.loop().now() + 5s);
        auto read = co_await read_body(worker_, client_, framer, body, first->read_up_to);
        if (!read) {
            if (read.error().code == errc::client_closed) co_return false;
            const std::string text =
                make_error_response(read.error(), error_shape::openai, {.close = true});
            co_await client_.stream->write_all(client_.wait, text, worker_.loop().now() + 5s);
            co_return false;
        }
        q.body = body.text();
    }
    auto answer = co_await ask_control(std::move(q));
    if (!answer) co_return false;
    if (answer->stream) {
        co_await send_stream(std::move(*answer));
        co_return false;
    }
    co_return co_await send_response(std::move(*answer), head_.keep_alive());
}

// None: the client went away, or no answer came in time.
net::task<std::optional<net::control_response>> session::ask_control(net::control_request q) {
    struct shared_answer {
        net::control_response response;
        bool ready = false;
    };
    // The answer comes on the control thread and is carried home; this session may be gone by then.
    auto answer = std::make_shared<shared_answer>();
    auto alive = std::make_shared<bool>(true);
    net::loop& home = worker_.loop();
    worker_.shared().control.handle(
        std::move(q), [answer, alive, &home, this](net::control_response response) {
            home.post([answer, alive, this, r = std::move(response)]() mutable {
                answer->response = std::move(r);
                answer->ready = true;
                if (*alive) client_.wait.wake();
            });
        });
    struct at_end {
        bool& flag;
        ~at_end() { flag = false; }
    } guard{*alive};
    const mono_time deadline = worker_.loop().now() + control_time;
    while (!answer->ready) {
        const auto got = co_await client_.wait.wait(net::woken | net::hangup_a, deadline);
        if (got & (net::timed_out | net::hangup_a)) co_return std::nullopt;
    }
    co_return std::move(answer->response);
}

net::task<bool> session::send_response(net::control_response response, bool keep) {
    std::string text;
    std::string framing = "Content-Length: " + std::to_string(response.body.size());
    if (!client_.cors.empty())
        framing.append("\r\n").append(client_.cors, 0, client_.cors.size() - 2);
    append_control_head(text, response, framing, keep);
    if (head_.method_kind() != net::method_id::head) text += response.body;
    const auto sent = co_await client_.stream->write_all(
        client_.wait, text, worker_.loop().now() + worker_.current().settings->server.send_timeout);
    co_return keep&& sent.ok();
}

// Asks for more only when the client has taken what there was: a slow one holds one piece.
net::task<void> session::send_stream(net::control_response response) {
    const bool chunked = head_.minor_version() > 0;
    const auto send_timeout = worker_.current().settings->server.send_timeout;
    std::string text;
    append_control_head(text, response, chunked ? "Transfer-Encoding: chunked" : "", false);
    std::string piece;
    bool more = true;
    bool stopping = false;
    client_.cut = true;  // until its end is out
    for (;;) {
        std::size_t done = 0;
        mono_time deadline = worker_.loop().now() + (stopping ? stream_farewell : send_timeout);
        while (done < text.size()) {
            const auto r = client_.stream->write(std::string_view(text).substr(done));
            if (r.ok()) {
                done += r.bytes;
                continue;
            }
            if (!r.would_block()) co_return;
            const auto got = co_await client_.wait.wait(
                client_.stream->bit_for(r.status) | (stopping ? 0 : net::stopping), deadline);
            if (got & net::timed_out) co_return;
            if (got & net::stopping) {
                stopping = true;
                deadline = worker_.loop().now() + stream_farewell;
            }
        }
        if (!more) break;
        if (!stopping) {
            const auto got = co_await client_.wait.wait(net::hangup_a | net::stopping,
                                                        worker_.loop().now() + stream_interval);
            if (got & net::hangup_a) co_return;
            stopping = (got & net::stopping) != 0;
        }
        piece.clear();
        more = response.stream->take(piece, worker_.loop().now());
        if (stopping && more) {
            response.stream->stop(piece);
            more = false;
        }
        text.clear();
        append_piece(text, piece, chunked, !more);
    }
    client_.cut = false;
}

void session::next_request() {
    client_.in.erase(0, client_.used);
    client_.used = 0;
    if (client_.in.capacity() > common_head) client_.in.shrink_to_fit();
    large_head_.count(client_.in.size() > common_head ? client_.in.capacity() : 0);
    if (!client_.next.empty()) {
        client_.in += client_.next;
        client_.next.clear();
    }
}

// Closing with unread bytes makes the kernel send RST, which can destroy the answer on its way:
// so the rest of what the client sends is read for a moment and thrown away.
net::task<void> session::linger() {
    client_.stream->shutdown_write();
    const mono_time deadline = worker_.loop().now() + 2s;
    std::size_t thrown_away = 0;
    while (thrown_away < (64U << 20U)) {
        const auto r = client_.stream->read(worker_.scratch());
        if (r.ok()) {
            thrown_away += r.bytes;
            continue;
        }
        if (!r.would_block()) co_return;
        const auto got = co_await client_.wait.wait(client_.stream->bit_for(r.status), deadline);
        if (got & net::timed_out) co_return;
    }
}

}  // namespace kw::proxy
