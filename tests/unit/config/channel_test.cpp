// Receivers of notifications: what a sound one is, and how its record keeps its secrets.
#include "config/channel.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/config/sample_channel.hpp"

using namespace kw;
using config::channel_settings;
using config::channel_type;
using config::test::channel;

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
