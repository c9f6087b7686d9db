// Accounts, sessions and tokens of admins: their records and texts.
#include "auth/admin_account.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "core/password.hpp"

using namespace kw;
using namespace kw::auth;
using namespace std::chrono_literals;

namespace {

const wall_time noon{1'767'268'800s};

admin_account ada() {
    admin_account a;
    a.id = admin_id("ada");
    a.name = "ada";
    a.email = "ada@example.com";
    a.is = role::operator_;
    a.password = "scrypt$…";
    a.created = noon;
    a.password_changed = noon + 1s;
    a.sessions = {{"ses_1", "h1", noon, noon + 1h, "192.0.2.1"},
                  {"ses_2", "h2", noon, noon + 2h, "192.0.2.2"}};
    a.revision = 7;
    return a;
}

}  // namespace

TEST_CASE("an account survives its record", "[auth]") {
    const auto record = to_record(ada());
    CHECK(record.kind == "admin");
    CHECK(record.revision == 7);
    const auto back = admin_from(record);
    REQUIRE(back.has_value());
    CHECK(back->id == admin_id("ADA"));
    CHECK(back->email == "ada@example.com");
    CHECK(back->is == role::operator_);
    CHECK(back->password_changed == noon + 1s);
    REQUIRE(back->sessions.size() == 2);
    CHECK(back->sessions[1].hash == "h2");
    CHECK(back->sessions[1].expires == noon + 2h);
    for (const auto* broken : {"", "[]", "{}", R"({"name":"a","role":"king"})", R"({"name":1})"}) {
        auto bad = record;
        bad.json = broken;
        CHECK_FALSE(admin_from(bad).has_value());
        CHECK_FALSE(admin_token_from(bad).has_value());
    }
}

TEST_CASE("sessions of an account are bounded and end", "[auth]") {
    auto a = ada();
    add_session(a, {"ses_3", "h3", noon, noon + 3h, ""}, noon + 1h);
    REQUIRE(a.sessions.size() == 2);  // the first has ended
    CHECK(a.sessions.front().id == "ses_2");
    for (int i = 0; i < 50; ++i)
        add_session(a, {"n" + std::to_string(i), "h", noon, noon + 9h, ""}, noon);
    CHECK(a.sessions.size() == admin_account::max_sessions);
    CHECK(a.sessions.back().id == "n49");
    CHECK(a.sessions.front().id == "n30");
}

TEST_CASE("names of admins", "[auth]") {
    for (const auto* good : {"a", "ada.lovelace", "ops-1", "ada@example.com"})
        CHECK(valid_admin_name(good));
    CHECK_FALSE(valid_admin_name(""));
    CHECK_FALSE(valid_admin_name("a b"));
    CHECK_FALSE(valid_admin_name("a\n"));
    CHECK_FALSE(valid_admin_name(std::string(65, 'a')));
    CHECK(admin_id("Ada") == admin_id("ada"));
    CHECK(admin_id("ada") != admin_id("adb"));
}

TEST_CASE("a token survives its record and keeps to its routes", "[auth]") {
    admin_token t;
    t.id = "tok_1";
    t.name = "ci";
    t.is = role::owner;
    t.routes = {"/admin/keys"};
    t.hash = "h";
    t.created = noon;
    t.expires = noon + 1h;
    const auto back = admin_token_from(to_record(t));
    REQUIRE(back.has_value());
    CHECK(back->routes == t.routes);
    CHECK(back->expires == t.expires);
    CHECK(within(back->routes, "/admin/keys"));
    CHECK(within(back->routes, "/admin/keys/x/test"));
    CHECK_FALSE(within(back->routes, "/admin/keysmith"));
    CHECK_FALSE(within(back->routes, "/admin"));
    CHECK(within({}, "/admin/stats"));
}

TEST_CASE("texts of sessions and tokens", "[auth]") {
    const auto text = make_admin_text(admin_text::session, "adm_0123");
    const auto read = read_admin_text(text.reveal());
    CHECK(read.is == admin_text::session);
    CHECK(read.id == "adm_0123");
    CHECK(read_admin_text(make_admin_text(admin_text::token, "tok_1").reveal()).is ==
          admin_text::token);
    std::set<std::string> all;
    for (int i = 0; i < 100; ++i)
        all.emplace(make_admin_text(admin_text::token, "t").reveal());
    CHECK(all.size() == 100);
    const std::string good(text.reveal());
    for (const auto& bad :
         {std::string(), std::string("kws-"), good.substr(1), good.substr(0, 20), good + "!",
          "kws-" + std::string(200, 'a'), "sk-" + good, "kws-" + std::string(43, 'a')})
        CHECK(read_admin_text(bad).is == admin_text::none);
    const secret pepper(std::string(43, 'p'));
    const auto hash = hash_admin_text(text, pepper);
    CHECK(hash.size() == 64);
    CHECK(hash != hash_admin_text(text, secret(std::string(43, 'q'))));
    CHECK(hash != csrf_text(text, pepper));
    CHECK(csrf_text(text, pepper) != csrf_text(make_admin_text(admin_text::session, "a"), pepper));
}

TEST_CASE("passwords", "[auth]") {
    const secret word("correct horse battery");
    const auto kept = hash_password(word);
    CHECK(kept.starts_with("scrypt$15$8$1$"));
    CHECK(kept.find("horse") == std::string::npos);
    CHECK(password_matches(word, kept));
    CHECK(hash_password(word) != kept);  // another salt
    CHECK_FALSE(password_matches(secret("correct horse batterz"), kept));
    CHECK_FALSE(password_matches(secret(), kept));
    // Made with other parameters it still reads; absurd ones are refused unread.
    CHECK_FALSE(password_matches(word, nobodys_password()));
    CHECK_FALSE(password_matches(secret(), nobodys_password()));
    for (const std::string bad :
         {"", "scrypt", "scrypt$15$8$1$AA", "scrypt$40$8$1$AAAA$AAAA", "scrypt$15$8$99$AAAA$AAAA",
          "scrypt$15$8$1$AAAA$", "scrypt$0$8$1$AAAA$AAAA", "argon$15$8$1$AAAA$AAAA"})
        CHECK_FALSE(password_matches(word, bad));
    CHECK_FALSE(password_matches(word, kept + "$"));
}
