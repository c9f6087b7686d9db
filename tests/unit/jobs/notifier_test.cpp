// Messages to operators: their forms and signatures, windows, claims among replicas, retries; and
// the thresholds that lead to them.
#include "jobs/notifier.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "core/crypto.hpp"
#include "jobs/notice_message.hpp"
#include "jobs/watcher.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace std::chrono_literals;
using config::channel_settings;
using config::channel_type;
using config::notice_kind;

namespace {

jobs::notice_message sample() {
    return {.id = "ntf_1",
            .kind = notice_kind::key_banned,
            .subject = "main-1",
            .text = "active → banned: \"invalid\"",
            .count = 3,
            .first = wall_time(1'700'000'000s),
            .last = wall_time(1'700'000'060s),
            .source = "host (process 1)"};
}

channel_settings channel(channel_type type, const char* url = "https://hooks.example/x?t=1") {
    channel_settings c;
    c.id = c.name = "c";
    c.type = type;
    c.url = secret(url);
    return c;
}

std::string header(const net::http_request& r, std::string_view name) {
    for (const auto& [n, v] : r.headers)
        if (n == name) return v;
    return {};
}

struct fixture {
    store::test::temp_folder folder;
    manual_clock clock;
    std::unique_ptr<store::store> store = *store::open_embedded({folder.path, {}}, clock);
    metrics::registry registry{1};
    struct sent_to {
        std::string channel;
        jobs::notice_message message;
    };
    std::vector<sent_to> sent;
    result<void> answer;
    config::notification_settings settings;
    jobs::notifier one = make("one", 1);
    jobs::notifier two = make("two", 2);

    jobs::notifier make(const char* name, std::uint64_t seed) {
        return {*store,
                clock,
                registry,
                [this](channel_settings to, jobs::notice_message m) {
                    return take(std::move(to), std::move(m));
                },
                random_source(seed),
                name};
    }
    net::task<result<void>> take(channel_settings to, jobs::notice_message m) {
        sent.push_back({to.id, std::move(m)});
        co_return answer;
    }
    std::vector<channel_settings> all{channel(channel_type::webhook)};
};

}  // namespace

TEST_CASE("a webhook's body is signed together with its time") {
    auto c = channel(channel_type::webhook);
    c.key = secret("canary-signing-key");
    c.authorization = secret("Bearer t");
    const auto r = jobs::compose_request(c, sample(), wall_time(1'700'000'100s));
    CHECK(r.method == "POST");
    CHECK(r.url == "https://hooks.example/x?t=1");
    CHECK(header(r, "X-Keywheel-Timestamp") == "1700000100");
    CHECK(header(r, "X-Keywheel-Event") == "key_banned");
    const auto expected = crypto::to_hex(crypto::hmac_sha256(c.key)("1700000100." + r.body));
    CHECK(header(r, "X-Keywheel-Signature") == "v1=" + expected);
    CHECK(r.credential.first == "Authorization");
    const auto body = boost::json::parse(r.body).get_object();
    CHECK(body.at("event") == "key_banned");
    CHECK(body.at("severity") == "warning");
    CHECK(body.at("count") == 3);
    CHECK(body.at("text") == sample().text.c_str());
    CHECK(body.at("first") == "2023-11-14T22:13:20Z");
    // printf '1.b' | openssl dgst -sha256 -hmac k
    CHECK(jobs::sign(secret("k"), "1", "b") ==
          "2946e37a45bb02a0bf1bf1a7d9219543801fedd301f9f485aebd72c928639bea");
    c.key = secret();
    CHECK(header(jobs::compose_request(c, sample(), {}), "X-Keywheel-Signature").empty());
}

TEST_CASE("what is put into a template is encoded for its type, and never read again") {
    auto m = sample();
    m.subject = "a\"b{{count}}\n&";
    CHECK(jobs::fill_template(R"({"s":"{{subject}}","n":{{count}}})", "application/json", m) ==
          R"({"s":"a\"b{{count}}\n&","n":3})");
    CHECK(jobs::fill_template("to=1&text={{subject}}", "application/x-www-form-urlencoded", m) ==
          "to=1&text=a%22b%7B%7Bcount%7D%7D%0A%26");
    for (const char* type : {"Application/JSON", "application/problem+Json"})
        CHECK(jobs::fill_template("{{subject}}", type, m) == R"(a\"b{{count}}\n&)");
    CHECK(jobs::fill_template("{{subject}}", "Application/X-WWW-Form-Urlencoded", m) ==
          "a%22b%7B%7Bcount%7D%7D%0A%26");
    m.subject = "<a&\"b\">";
    for (const char* type : {"text/XML", "application/soap+xml", "text/html; charset=utf-8"})
        CHECK(jobs::fill_template("<s>{{subject}}</s>", type, m) ==
              "<s>&lt;a&amp;&quot;b&quot;&gt;</s>");
    CHECK(jobs::fill_template("{{event}}: {{severity}}", "text/plain", m) == "key_banned: warning");
    CHECK(jobs::fill_template("{{what}} {{", "text/plain", m) == "{{what}} {{");
    CHECK(jobs::fill_template("{{{{count}}", "text/plain", m) == "{{3");
}

TEST_CASE("chat tools get their own form and signature") {
    const auto text = jobs::line_of(sample());
    CHECK(text ==
          "[warning] key_banned main-1: active → banned: \"invalid\" (3 times) - host "
          "(process 1)");
    const auto parse = [](const net::http_request& r) { return boost::json::parse(r.body); };
    const wall_time now(1'599'360'473s);
    CHECK(parse(jobs::compose_request(channel(channel_type::slack), sample(), now)).at("text") ==
          text.c_str());

    // No subject mentions anybody or hides a link.
    auto made_up = sample();
    made_up.subject = "<!channel> & <at user_id=\"all\">";
    made_up.count = 1;
    made_up.text = made_up.source = "x";
    CHECK(parse(jobs::compose_request(channel(channel_type::slack), made_up, now)).at("text") ==
          "[warning] key_banned &lt;!channel&gt; &amp; &lt;at user_id=\"all\"&gt;: x - x");
    CHECK(parse(jobs::compose_request(channel(channel_type::feishu), made_up, now))
              .at("content")
              .at("text") ==
          "[warning] key_banned &lt;!channel&gt; & &lt;at user_id=\"all\"&gt;: x - x");

    auto feishu = channel(channel_type::feishu);
    feishu.key = secret("demo");
    const auto f = parse(jobs::compose_request(feishu, sample(), now));
    CHECK(f.at("msg_type") == "text");
    CHECK(f.at("content").at("text") == text.c_str());
    CHECK(f.at("timestamp") == "1599360473");
    // openssl dgst -sha256 -hmac "$(printf '1599360473\ndemo')" -binary < /dev/null | base64
    CHECK(f.at("sign") == "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=");

    auto ding = channel(channel_type::dingtalk);
    ding.key = secret("SECdemo");
    const auto d = jobs::compose_request(ding, sample(), now);
    // printf '1599360473000\nSECdemo' | openssl dgst -sha256 -hmac SECdemo -binary | base64
    CHECK(d.url ==
          "https://hooks.example/x?t=1&timestamp=1599360473000&sign="
          "tGWkA5eQOQNCNPDgphtxIoNLO%2B%2FgD8Lcb705KQoRzeY%3D");
    CHECK(parse(d).at("text").at("content") == text.c_str());

    auto telegram = channel(channel_type::telegram, "");
    telegram.key = secret("123:token");
    telegram.chat = "-100";
    const auto t = jobs::compose_request(telegram, sample(), now);
    CHECK(t.url == "https://api.telegram.org/bot123:token/sendMessage");
    CHECK(parse(t).at("chat_id") == "-100");
}

TEST_CASE("a mail is ASCII lines of bounded length, whatever the subject holds") {
    auto c = channel(channel_type::email, "smtp://mail.example");
    c.from = "keywheel@example.com";
    c.to = {"a@example.com", "b@example.com"};
    auto m = sample();
    m.subject = "ключ\r\nBcc: x@example.com " + std::string(200, 'x');
    const auto text = jobs::compose_mail(c, m, wall_time(1'700'000'000s));
    CHECK(text.find("\r\nBcc:") == std::string::npos);
    CHECK(text.find("Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n") != std::string::npos);
    CHECK(text.find("To: a@example.com,\r\n b@example.com\r\n") != std::string::npos);
    std::size_t longest = 0;
    for (std::size_t at = 0; at < text.size();) {
        const auto end = text.find("\r\n", at);
        REQUIRE(end != std::string::npos);
        longest = std::max(longest, end - at);
        at = end + 2;
    }
    CHECK(longest <= 100);
    CHECK(std::ranges::all_of(text, [](char ch) { return ch > 0; }));
}

TEST_CASE("an answer says whether to try again") {
    const auto judge = [](channel_type type, int status, const char* body = "") {
        const auto r = jobs::judge_answer(type, {.status = status, .headers = {}, .body = body});
        return r ? errc::ok : r.error().code;
    };
    CHECK(judge(channel_type::webhook, 204) == errc::ok);
    CHECK(judge(channel_type::webhook, 503) != errc::invalid_argument);
    CHECK(judge(channel_type::webhook, 429) != errc::invalid_argument);
    CHECK(judge(channel_type::webhook, 404) == errc::invalid_argument);
    CHECK(judge(channel_type::feishu, 200, R"({"code":19021,"msg":"sign"})") ==
          errc::invalid_argument);
    CHECK(judge(channel_type::feishu, 200, R"({"code":0})") == errc::ok);
    CHECK(judge(channel_type::dingtalk, 200, R"({"errcode":310000})") == errc::invalid_argument);
    CHECK(judge(channel_type::slack, 200, "ok") == errc::ok);
}

TEST_CASE("a hundred equal events in a minute are one message with their number") {
    fixture f;
    for (int i = 0; i < 100; ++i) {
        f.one.tell({notice_kind::unknown_model, "gpt-x", "asked for", true});
        f.clock.advance(500ms);
        f.one.round(f.settings, f.all);
    }
    CHECK(f.sent.empty());
    f.one.tell({notice_kind::unknown_model, "gpt-y", "asked for", true});
    f.clock.advance(10s);
    f.one.round(f.settings, f.all);
    REQUIRE(f.sent.size() == 1);
    CHECK(f.sent[0].message.count == 100);
    CHECK(f.sent[0].message.subject == "gpt-x");
    CHECK(f.sent[0].message.last - f.sent[0].message.first == 49'500ms);
    f.clock.advance(60s);
    f.one.round(f.settings, f.all);
    REQUIRE(f.sent.size() == 2);
    CHECK(f.sent[1].message.subject == "gpt-y");
    f.clock.advance(120s);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 2);
}

TEST_CASE("of what all replicas see one tells, of what is a process's own each") {
    fixture f;
    const auto both = [&](notice_kind kind, bool shared) {
        f.one.tell({kind, "s", "t", shared});
        f.clock.advance(5s);
        f.two.tell({kind, "s", "t", shared});
        f.clock.advance(60s);
        f.one.round(f.settings, f.all);
        f.two.round(f.settings, f.all);
    };
    both(notice_kind::key_banned, true);
    CHECK(f.sent.size() == 1);
    both(notice_kind::store_down, false);
    CHECK(f.sent.size() == 3);
    // The next time counts anew, whoever tells.
    f.clock.advance(60s);
    f.two.tell({notice_kind::key_banned, "s", "t", true});
    f.clock.advance(60s);
    f.two.round(f.settings, f.all);
    CHECK(f.sent.size() == 4);
    CHECK(f.sent.back().message.source == "two");
    // Also without a window.
    const auto before = f.sent.size();
    f.settings.dedup_window = 0ms;
    for (auto* replica : {&f.one, &f.two}) {
        replica->tell({notice_kind::pool_low, "g", "t", true});
        replica->round(f.settings, f.all);
        f.clock.advance(1s);
    }
    CHECK(f.sent.size() == before + 1);
    // Claims do not pile up.
    f.clock.advance(25h);
    f.one.round(f.settings, f.all);
    f.clock.advance(1h);
    f.one.round(f.settings, f.all);
    CHECK(f.store->list(jobs::notice_claim_record, {})->items.empty());
}

TEST_CASE("subjects that clients make up silence nothing and ask the store little") {
    fixture f;
    f.settings.dedup_window = 0ms;
    for (int i = 0; i < 1000; ++i) {
        f.one.tell({notice_kind::unknown_model, "m" + std::to_string(i), "t", true});
        f.one.tell({notice_kind::suspicious_access, "a" + std::to_string(i), "t", true});
    }
    f.one.tell({notice_kind::unknown_model, "m1", "t", true});
    f.one.tell({notice_kind::certificate_expiry, "listener", "t", true});
    f.one.round(f.settings, f.all);
    CHECK(f.store->list(jobs::notice_claim_record, {})->items.size() == 32);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 2 * 21 + 1);
    std::uint64_t models = 0;
    std::uint64_t others = 0;
    bool certificate = false;
    for (const auto& s : f.sent) {
        if (s.message.kind == notice_kind::unknown_model) models += s.message.count;
        if (s.message.subject == "(others)") others += s.message.count;
        certificate = certificate || s.message.kind == notice_kind::certificate_expiry;
    }
    CHECK(models == 1001);
    CHECK(others == 2 * 980);
    CHECK(certificate);
    // What lies beyond a page of claims is forgotten, too.
    for (int i = 0; i < 250; ++i)
        f.one.tell({notice_kind::key_banned, std::to_string(i), "t", true});
    for (int i = 0; i < 10; ++i)
        f.one.round(f.settings, f.all);
    CHECK(f.store->list(jobs::notice_claim_record, {.limit = 1'000, .cursor = {}})->items.size() ==
          2 * 21 + 1 + 250);
    f.clock.advance(3h);
    f.one.round(f.settings, f.all);
    CHECK(f.store->list(jobs::notice_claim_record, {.limit = 1'000, .cursor = {}})->items.size() ==
          2 * 21 + 1 + 150);
    f.one.round(f.settings, f.all);
    f.one.round(f.settings, f.all);
    CHECK(f.store->list(jobs::notice_claim_record, {})->items.empty());
}

TEST_CASE("what a client wrote stays within its line") {
    fixture f;
    f.settings.dedup_window = 0ms;
    f.one.tell({notice_kind::unknown_model, "a\r\nb\x7f", "c\td", true});
    f.one.round(f.settings, f.all);
    REQUIRE(f.sent.size() == 1);
    CHECK(f.sent[0].message.subject == "a  b ");
    CHECK(f.sent[0].message.text == "c d");
}

TEST_CASE("replicas of one name are told apart, and a claim of the future does not count") {
    fixture f;
    f.settings.dedup_window = 0ms;
    auto twin = f.make("one", 3);
    const auto tell = [&](jobs::notifier& by) {
        by.tell({notice_kind::pool_low, "g", "t", true});
        by.round(f.settings, f.all);
        return f.sent.size();
    };
    CHECK(tell(f.one) == 1);
    CHECK(tell(twin) == 1);
    CHECK(tell(f.one) == 2);
    const auto r = f.store->list(jobs::notice_claim_record, {})->items.at(0);
    const auto ahead = unix_ms(f.clock.wall() + 1h);
    const store::record later{r.kind, r.id, r.revision,
                              R"({"at_ms":)" + std::to_string(ahead) + R"(,"by":"x"})"};
    REQUIRE(f.store->put(later).has_value());
    CHECK(tell(twin) == 3);
}

TEST_CASE("a receiver that takes nothing leaves the others their part, a disabled one all") {
    fixture f;
    f.settings.dedup_window = 0ms;
    f.settings.queue_size = 4;
    f.answer = error(errc::upstream_reset, "status 503");
    const auto tell = [&](int messages) {
        for (int i = 0; i < messages; ++i)
            f.one.tell({notice_kind::disk_low, std::to_string(i), "t", false});
        f.one.round(f.settings, f.all);
    };
    tell(9);
    CHECK(f.one.state_of("c").waiting == 4);
    f.all.push_back(channel(channel_type::slack));
    f.all[1].id = "chat";
    tell(9);
    CHECK(f.one.state_of("c").waiting == 4);
    CHECK(f.one.state_of("chat").waiting == 2);
    const auto& waiting = f.registry.gauge("keywheel_notifications_waiting", "");
    CHECK(waiting.value() == 6);
    f.all[0].disabled = true;
    tell(0);
    CHECK(f.one.state_of("c").waiting == 0);
    CHECK(waiting.value() == 2);
}

TEST_CASE("a channel gets what it wants, and a failing one is tried again in growing steps") {
    fixture f;
    f.settings.dedup_window = 0ms;
    f.all.push_back(channel(channel_type::slack));
    f.all[1].id = "chat";
    f.all[1].events = {1U << static_cast<unsigned>(notice_kind::disk_low)};
    f.one.tell({notice_kind::key_banned, "s", "t", false});
    f.one.round(f.settings, f.all);
    REQUIRE(f.sent.size() == 1);
    CHECK(f.sent[0].channel == "c");
    f.one.tell({notice_kind::disk_low, "s", "t", false});
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 3);
    CHECK(f.one.state_of("chat").delivered == 1);

    f.all.pop_back();
    f.sent.clear();
    f.answer = error(errc::upstream_reset, "status 503");
    f.one.tell({notice_kind::key_banned, "s", "t", false});
    f.one.round(f.settings, f.all);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 1);  // not before its time
    CHECK(f.one.state_of("c").waiting == 1);
    CHECK(f.one.state_of("c").last_error == "status 503");
    f.clock.advance(1250ms);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 2);
    f.clock.advance(1250ms);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 2);
    f.answer = {};
    f.clock.advance(1250ms);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 3);
    CHECK(f.sent[0].message.id == f.sent[2].message.id);
    CHECK(f.one.state_of("c").waiting == 0);

    // Given up after its tries, at once where trying is in vain.
    f.answer = error(errc::upstream_reset, "status 503");
    f.one.tell({notice_kind::key_banned, "s", "t", false});
    for (int i = 0; i < 20; ++i) {
        f.one.round(f.settings, f.all);
        f.clock.advance(10min);
    }
    CHECK(f.sent.size() == 3 + 1 + f.settings.retry_max);
    f.answer = error(errc::invalid_argument, "status 404");
    f.one.tell({notice_kind::key_banned, "s", "t", false});
    f.one.round(f.settings, f.all);
    f.one.round(f.settings, f.all);
    CHECK(f.sent.size() == 3 + 2 + f.settings.retry_max);
    CHECK(f.one.state_of("c").failed == 2);

    // What does not fit is dropped and counted.
    f.settings.queue_size = 2;
    f.answer = error(errc::upstream_reset, "status 503");
    for (int i = 0; i < 5; ++i)
        f.one.tell({notice_kind::key_banned, std::to_string(i), "t", false});
    f.one.round(f.settings, f.all);
    CHECK(f.one.state_of("c").waiting == 2);
    CHECK(f.registry
              .counter("keywheel_notifications_total", "",
                       {{"type", "webhook"}, {"result", "dropped"}})
              .value() == 3);
}

TEST_CASE("a test goes to its channel at once, disabled or not") {
    fixture f;
    auto c = f.all[0];
    c.disabled = true;
    f.answer = error(errc::upstream_reset, "status 500");
    std::optional<result<void>> told;
    f.one.test(c, [&](result<void> r) { told = std::move(r); });
    REQUIRE(told);
    CHECK_FALSE(told->has_value());
    CHECK(f.sent.at(0).message.kind == notice_kind::test);
}

TEST_CASE("channels keep their secrets sealed, and name what is wrong with them") {
    const crypto::sealer sealer(secret(std::string(32, 'm')));
    auto c = channel(channel_type::webhook);
    c.key = secret("canary-key");
    c.authorization = secret("canary-authorization");
    c.events = {5};
    c.body = R"({"a":"{{text}}"})";
    const auto text = config::channel_to_json(c, sealer);
    CHECK(text.find("canary") == std::string::npos);
    CHECK(text.find("hooks.example") == std::string::npos);
    const auto read = config::channel_from_json(text, "c", sealer);
    REQUIRE(read.has_value());
    CHECK(*read == c);
    CHECK(config::channel_to_json(c, sealer, config::sealed_secrets(text)) == text);
    CHECK_FALSE(config::channel_from_json(text, "other", sealer).has_value());
    CHECK(config::without_token(c.url) == "https://hooks.example/***");

    const auto fault = [](channel_settings x) {
        const auto found = config::fault_of(x, false);
        return found ? std::string(found->field) : std::string();
    };
    CHECK(fault(c).empty());
    for (const char* url : {"", "hooks.example", "ftp://a", "http://169.254.169.254/latest",
                            "https://a/ b", "https://user:pw@a/"})
        CHECK(fault(channel(channel_type::slack, url)) == "url");
    c.name = "运维告警";
    CHECK(fault(c).empty());
    c.name = "a\nb";
    CHECK(fault(c) == "name");
    c.name = "c";
    c.authorization = secret("Bearer ключ");
    CHECK(fault(c) == "authorization");
    // What is sent in clear stays in the machine; a signing key is not sent.
    auto clear = channel(channel_type::webhook, "http://hooks.example/x");
    clear.key = secret("k");
    CHECK(fault(clear).empty());
    clear.authorization = secret("Bearer t");
    CHECK(fault(clear) == "url");
    clear.url = secret("http://127.0.0.1:8080/x");
    CHECK(fault(clear).empty());
    auto bot = channel(channel_type::telegram, "http://bots.example");
    bot.key = secret("123:token");
    bot.chat = "1";
    CHECK(fault(bot) == "url");
    bot.url = secret("https://bots.example");
    CHECK(fault(bot).empty());
    auto mail = channel(channel_type::email, "smtp://mail.example:2525");
    CHECK(fault(mail) == "from");
    mail.from = "a@example.com";
    CHECK(fault(mail) == "to");
    mail.to = {"b@example.com\r\nRCPT TO:<c@example.com>"};
    CHECK(fault(mail) == "to");
    mail.to = {"b@example.com"};
    CHECK(fault(mail).empty());
    mail.url = secret("smtp+plain://mail.example");
    CHECK(fault(mail).empty());
    mail.user = "u";
    CHECK(fault(mail) == "url");  // a password in clear
    CHECK(config::parse_mail_server("smtps://mail.example")->port == 465);
    CHECK(config::parse_mail_server("smtp://[::1]:25")->host == "::1");
    CHECK_FALSE(config::parse_mail_server("smtp://u:p@mail.example"));
}

TEST_CASE("a threshold that is crossed is told once, until it is well again") {
    manual_clock clock;
    std::vector<jobs::notice> told;
    jobs::watcher w(clock, [&](jobs::notice n) { told.push_back(std::move(n)); });
    const config::notification_settings by;
    jobs::readings now;
    const auto look = [&] {
        told.clear();
        w.look(now, by);
        clock.advance(1s);
        return told.size();
    };
    now.groups = {{"main", 8, 8}};
    now.free_disk = 0.5;
    now.memory = 0.2;
    CHECK(look() == 0);
    now.groups = {{"main", 1, 8}};
    REQUIRE(look() == 1);
    CHECK(told[0].kind == notice_kind::pool_low);
    CHECK(told[0].text == "1 of 8 upstream keys of the group can be used");
    CHECK(look() == 0);
    now.groups = {{"main", 2, 8}};
    CHECK(look() == 0);
    now.groups = {{"main", 0, 8}};
    CHECK(look() == 1);
    now.groups.clear();
    now.quotas = {{"k", 0.9, 10}};
    REQUIRE(look() == 1);
    CHECK(told[0].kind == notice_kind::quota_low);
    now.free_disk = 0.05;
    now.memory = 0.95;
    now.store = {.up = false, .since = clock.wall(), .latency = {}, .errors = 1, .reason = "gone"};
    CHECK(look() == 2);
    clock.advance(10s);
    REQUIRE(look() == 1);
    CHECK(told[0].kind == notice_kind::store_down);
    now.certificate_ends = clock.wall() + std::chrono::days(3);
    REQUIRE(look() == 1);
    CHECK(told[0].kind == notice_kind::certificate_expiry);
    CHECK(told[0].text == "the listener's certificate ends in 3 days");
}

TEST_CASE("rates are those of a window") {
    manual_clock clock;
    std::vector<jobs::notice> told;
    jobs::watcher w(clock, [&](jobs::notice n) { told.push_back(std::move(n)); });
    const config::notification_settings by;
    const std::vector<double> bounds{1, 10, 100};
    jobs::readings now;
    now.first_token_bounds = bounds;
    now.first_tokens.buckets = {0, 0, 0, 0};
    w.look(now, by);
    const auto pass = [&](std::chrono::seconds time) {
        for (; time > 0s; time -= 1s) {
            clock.advance(1s);
            w.look(now, by);
        }
    };
    now.requests = 19;
    now.errors = 19;
    pass(1s);
    CHECK(told.empty());  // too few
    now.requests = 100;
    now.errors = 11;
    pass(1s);
    REQUIRE(told.size() == 1);
    CHECK(told[0].kind == notice_kind::error_rate);
    CHECK(told[0].text == "11 of 100 requests ended in an error of the server");
    pass(310s);  // old errors are forgotten
    now.requests = 200;
    now.first_tokens.buckets = {97, 0, 3, 0};
    pass(1s);
    REQUIRE(told.size() == 2);
    CHECK(told[1].kind == notice_kind::latency);
    now.cpu_time = 0ns;
    for (int i = 0; i < 70; ++i) {
        now.cpu_time += 950ms;
        pass(1s);
    }
    REQUIRE(told.size() == 3);
    CHECK(told[2].subject == "cpu");
    CHECK(jobs::quantile(std::vector<std::uint64_t>{10, 10, 0, 0}, bounds, 0.5) == Approx(1));
    CHECK(jobs::quantile(std::vector<std::uint64_t>{0, 10, 0, 0}, bounds, 0.5) == Approx(5.5));
}

TEST_CASE("guesses of an address and budgets near their end are told of") {
    manual_clock clock;
    std::vector<jobs::notice> told;
    jobs::watcher w(clock, [&](jobs::notice n) { told.push_back(std::move(n)); });
    const config::notification_settings by;
    using what = incidents::what;
    incidents noticed;
    for (int i = 0; i < 19; ++i)
        noticed.note(what::refused_credential, "192.0.2.1");
    w.notice_all(noticed.take(), by);
    CHECK(told.empty());
    noticed.note(what::refused_credential, "192.0.2.1");
    w.notice_all(noticed.take(), by);
    noticed.note(what::refused_credential, "192.0.2.1");
    w.notice_all(noticed.take(), by);
    REQUIRE(told.size() == 1);
    CHECK(told[0].text == "20 wrong credentials within a minute");
    for (int i = 0; i < 2000; ++i)
        noticed.note(what::unknown_model, "m" + std::to_string(i));
    noticed.note(what::budget_near_end, "ak_1");
    CHECK(noticed.take().size() == 128 + 1);  // one kind takes no place from another
    noticed.note(what::unknown_model, "m");
    CHECK(noticed.take().size() == 1);

    const std::vector<store::limit> limits{{.kind = store::limit_kind::budget,
                                            .unit = store::limit_unit::requests,
                                            .cap = 10,
                                            .period = store::budget_period::day}};
    std::vector<store::limit_state> states{{.used = 7, .cap = 10}};
    told.clear();
    CHECK_FALSE(w.look_at_budgets("ak_1", "team", limits, states, by));
    states[0].used = 8;
    CHECK(w.look_at_budgets("ak_1", "team", limits, states, by));
    CHECK(w.look_at_budgets("ak_1", "team", limits, states, by));
    REQUIRE(told.size() == 1);
    CHECK(told[0].text == "access key team has used 80 % of its 10 requests a day");
    CHECK(w.near_end(store::budget_period::day) == 1);
    CHECK(w.near_end(store::budget_period::month) == 0);
    states[0].used = 0;  // the next day
    CHECK_FALSE(w.look_at_budgets("ak_1", "team", limits, states, by));
    CHECK(w.near_end(store::budget_period::day) == 0);
}
