// The dialogue with a mail server.
#include "jobs/mail_sender.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "core/base64.hpp"
#include "net/connector.hpp"
#include "net/tls.hpp"

namespace kw::jobs {
namespace {

using security = config::mail_server::security;

constexpr std::size_t max_answer = 8 * 1024;  // of the server, to one command

struct reply {
    int code = 0;
    std::string text;  // all lines, in upper case
};

// One connection.
class dialogue {
  public:
    dialogue(std::unique_ptr<net::stream> s, net::waiter& w, mono_time deadline)
        : stream_(std::move(s)), wait_(w), deadline_(deadline) {}

    net::stream& stream() noexcept { return *stream_; }
    // What came before TLS began must not be taken for an answer in it.
    [[nodiscard]] bool is_clean() const noexcept { return in_.empty(); }

    net::task<result<reply>> answer() {
        reply out;
        std::size_t taken = 0;
        for (;;) {
            const auto end = in_.find("\r\n");
            if (end == std::string::npos) {
                if (in_.size() > max_answer) co_return broken("an endless line");
                if (auto more = co_await read(); !more) co_return more.error();
                continue;
            }
            const std::string line = in_.substr(0, end);
            in_.erase(0, end + 2);
            taken += line.size();
            const auto digit = [&](std::size_t i) { return line[i] >= '0' && line[i] <= '9'; };
            if (taken > max_answer || line.size() < 3 || !digit(0) || !digit(1) || !digit(2))
                co_return broken("no SMTP");
            out.code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
            out.text += line.substr(std::min<std::size_t>(4, line.size())) + "\n";
            if (line.size() > 3 && line[3] == '-') continue;
            std::ranges::transform(out.text, out.text.begin(), [](char c) {
                return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
            });
            co_return out;
        }
    }

    // Says it, and wants an answer of this hundred; "" only listens.
    net::task<result<reply>> say(secret line, int wanted, const char* what) {
        if (!line.empty()) {
            const secret bytes(std::string(line.reveal()) + "\r\n");
            const auto sent = co_await stream_->write_all(wait_, bytes.reveal(), deadline_);
            if (!sent.ok()) co_return broken("the connection broke");
        }
        auto got = co_await answer();
        if (!got) co_return got.error();
        if (got->code / 100 == wanted) co_return std::move(*got);
        const bool for_good = got->code / 100 == 5;
        co_return error(for_good ? errc::invalid_argument : errc::upstream_reset,
                        std::string(what) + ": " + std::to_string(got->code));
    }
    net::task<result<reply>> say(std::string line, int wanted, const char* what) {
        co_return co_await say(secret(std::move(line)), wanted, what);
    }

    net::task<result<void>> put(std::string_view bytes) {
        const auto sent = co_await stream_->write_all(wait_, bytes, deadline_);
        if (!sent.ok()) co_return broken("the connection broke");
        co_return result<void>();
    }

  private:
    static error broken(const char* why) { return error(errc::upstream_malformed, why); }

    net::task<result<void>> read() {
        std::array<char, 2048> some;
        for (;;) {
            const auto got = stream_->read(some);
            if (got.ok()) {
                in_.append(some.data(), got.bytes);
                co_return result<void>();
            }
            if (!got.would_block()) co_return broken("the connection closed");
            const auto ready = co_await wait_.wait(stream_->bit_for(got.status), deadline_);
            if (ready & net::timed_out)
                co_return error(errc::upstream_total_timeout, "no answer in time");
        }
    }

    std::unique_ptr<net::stream> stream_;
    net::waiter& wait_;
    mono_time deadline_;
    std::string in_;
};

// A line that begins with a dot gets another one.
std::string stuffed(std::string_view text) {
    std::string out;
    out.reserve(text.size() + 16);
    bool begins = true;
    for (const char c : text) {
        if (begins && c == '.') out += '.';
        out += c;
        begins = c == '\n';
    }
    if (!out.ends_with("\r\n")) out += "\r\n";
    return out + ".\r\n";
}

net::task<result<void>> log_in(dialogue& with, const mail& m, const reply& offers) {
    const auto at = offers.text.find("AUTH ");
    const auto offered = at == std::string::npos
                             ? std::string()
                             : offers.text.substr(at, offers.text.find('\n', at) - at);
    if (offered.find("PLAIN") != std::string::npos || offered.empty()) {
        std::string plain('\0' + m.user + '\0');
        plain += m.password.reveal();
        auto in = co_await with.say(secret("AUTH PLAIN " + to_base64(plain)), 2, "AUTH");
        if (!in) co_return in.error();
        co_return result<void>();
    }
    if (auto in = co_await with.say("AUTH LOGIN", 3, "AUTH"); !in) co_return in.error();
    if (auto in = co_await with.say(to_base64(m.user), 3, "AUTH"); !in) co_return in.error();
    auto in = co_await with.say(secret(to_base64(m.password.reveal())), 2, "AUTH");
    if (!in) co_return in.error();
    co_return result<void>();
}

}  // namespace

net::task<result<void>> send_mail(net::loop& on, net::dns_cache& dns, mail m) {
    net::connect_options opts;
    opts.to.host = m.server.host;
    opts.to.port = m.server.port;
    if (m.server.by == security::tls) opts.to.tls = m.tls;
    opts.deadline = m.deadline;
    net::waiter w(on);
    auto connected = co_await net::connect(on, w, dns, opts);
    if (!connected) co_return connected.error();
    dialogue with(std::move(*connected), w, m.deadline);
    if (auto hello = co_await with.say(secret(), 2, "greeting"); !hello) co_return hello.error();
    auto offers = co_await with.say("EHLO keywheel", 2, "EHLO");
    if (!offers) co_return offers.error();
    if (m.server.by == security::starttls) {
        if (offers->text.find("STARTTLS") == std::string::npos)
            co_return error(errc::invalid_argument, "the server offers no STARTTLS");
        if (auto go = co_await with.say("STARTTLS", 2, "STARTTLS"); !go) co_return go.error();
        if (!with.is_clean())
            co_return error(errc::upstream_malformed, "an answer before TLS began");
        if (auto ok = m.tls->start(with.stream(), m.server.host, {}); !ok) co_return ok.error();
        if (auto ok = co_await net::handshake(with.stream(), w, m.deadline); !ok)
            co_return ok.error();
        offers = co_await with.say("EHLO keywheel", 2, "EHLO");
        if (!offers) co_return offers.error();
    }
    if (!m.user.empty()) {
        if (auto in = co_await log_in(with, m, *offers); !in) co_return in.error();
    }
    if (auto ok = co_await with.say("MAIL FROM:<" + m.from + ">", 2, "MAIL"); !ok)
        co_return ok.error();
    // One address that is refused is not the others' loss; where none is taken, one that may be
    // later makes it worth another try.
    std::optional<error> refused;
    std::size_t taken_addresses = 0;
    for (const auto& address : m.to) {
        auto ok = co_await with.say("RCPT TO:<" + address + ">", 2, "RCPT");
        if (ok) {
            ++taken_addresses;
            continue;
        }
        const auto code = ok.error().code;
        if (code != errc::invalid_argument && code != errc::upstream_reset) co_return ok.error();
        if (!refused || code == errc::upstream_reset) refused = ok.error();
    }
    if (taken_addresses == 0) co_return refused ? *refused : error(errc::invalid_argument, "RCPT");
    if (auto go = co_await with.say("DATA", 3, "DATA"); !go) co_return go.error();
    if (auto put = co_await with.put(stuffed(m.text)); !put) co_return put.error();
    if (auto taken = co_await with.say(secret(), 2, "DATA"); !taken) co_return taken.error();
    // It is theirs now, whatever becomes of the farewell.
    static_cast<void>(co_await with.say("QUIT", 2, "QUIT"));
    co_return result<void>();
}

}  // namespace kw::jobs
