// Messages to operators: their forms and signatures for each kind of receiver, and its answers.
#include "jobs/notice_message.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "core/crypto.hpp"
#include "tests/unit/jobs/notice_samples.hpp"

using namespace kw;
using namespace std::chrono_literals;
using config::channel_type;
using jobs::test::channel;
using jobs::test::sample;

namespace {

std::string header(const net::http_request& r, std::string_view name) {
    for (const auto& [n, v] : r.headers)
        if (n == name) return v;
    return {};
}

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
    // Too many at a time, told in a 200.
    CHECK(judge(channel_type::feishu, 200, R"({"code":11232,"msg":"frequency limited"})") ==
          errc::upstream_reset);
    CHECK(judge(channel_type::dingtalk, 200, R"({"errcode":130101,"errmsg":"send too fast"})") ==
          errc::upstream_reset);
    CHECK(judge(channel_type::slack, 200, "ok") == errc::ok);
}
