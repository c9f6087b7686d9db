// From the text of a credential to a key: texts, table and judgement.
#include "auth/authenticator.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "auth/key_text.hpp"

using namespace kw;
using namespace kw::auth;

namespace {

const secret pepper{std::string("0123456789abcdef0123456789abcdef")};

access_key key_of(std::string id, const std::string& text) {
    access_key k;
    k.id = std::move(id);
    k.hash = hash_key_text(secret(text), pepper);
    return k;
}

errc refusal(authenticator& a, std::string_view text, wall_time now, const key_table& table) {
    const auto r = a.identify(text, now, table);
    return r ? errc::ok : r.error().code;
}

}  // namespace

TEST_CASE("texts that we make are of our shape, all different, and told from mistyped ones") {
    std::set<std::string> seen;
    for (int i = 0; i < 50; ++i) {
        const secret text = make_key_text();
        CHECK(text.size() == key_text_size);
        CHECK(shape_of(text.reveal()) == key_shape::ours);
        CHECK(declarable(text.reveal()));
        seen.emplace(text.reveal());
    }
    CHECK(seen.size() == 50);
    const std::string good(make_key_text().reveal());
    for (std::size_t i = 6; i < good.size(); ++i) {
        std::string typo = good;
        typo[i] = typo[i] == 'x' ? 'y' : 'x';
        INFO(i);
        CHECK(shape_of(typo) == (i == 18 ? key_shape::foreign : key_shape::mistyped));
    }
    CHECK(shape_of(good.substr(1)) == key_shape::foreign);
    CHECK(shape_of("") == key_shape::foreign);
    CHECK(shape_of("sk-mine") == key_shape::foreign);
    CHECK(declarable("my-own-key"));
    CHECK_FALSE(declarable("short"));
    CHECK_FALSE(declarable("with space"));
    CHECK_FALSE(declarable("with,comma"));
    CHECK_FALSE(declarable(std::string(513, 'a')));
}

TEST_CASE("each reason for a refusal has its code") {
    manual_clock clock;
    const std::string good(make_key_text().reveal());
    access_key expiring = key_of("ak_exp", "expiring-key");
    expiring.expires_at = clock.wall() + std::chrono::seconds(10);
    access_key disabled = key_of("ak_dis", "disabled-key");
    disabled.disabled = true;
    access_key deleted = key_of("ak_del", "deleted-key");
    deleted.deleted = true;
    const key_table table({key_of("ak_1", good), expiring, disabled, deleted});
    authenticator a(pepper);

    const auto found = a.identify(good, clock.wall(), table);
    REQUIRE(found.has_value());
    CHECK((*found)->id == "ak_1");
    CHECK((*found)->id == "ak_1");

    CHECK(refusal(a, "", clock.wall(), table) == errc::missing_api_key);
    CHECK(refusal(a, "unknown", clock.wall(), table) == errc::invalid_api_key);
    CHECK(refusal(a, good + "x", clock.wall(), table) == errc::invalid_api_key);
    CHECK(refusal(a, std::string(100'000, 'a'), clock.wall(), table) == errc::invalid_api_key);
    CHECK(refusal(a, "deleted-key", clock.wall(), table) == errc::invalid_api_key);
    CHECK(refusal(a, "disabled-key", clock.wall(), table) == errc::key_disabled);
    CHECK(refusal(a, "expiring-key", clock.wall(), table) == errc::ok);
    clock.advance(std::chrono::seconds(10));
    CHECK(refusal(a, "expiring-key", clock.wall(), table) == errc::key_expired);

    authenticator other(secret(std::string(32, 'z')));
    CHECK(refusal(other, good, clock.wall(), table) == errc::invalid_api_key);
    const auto r = a.identify("sk-canary-value", clock.wall(), table);
    CHECK(r.error().context.find("canary") == std::string::npos);
    CHECK(r.error().source == error_source::downstream);
}

TEST_CASE("a text of our shape with a wrong check is refused even if its hash is stored") {
    std::string text(make_key_text().reveal());
    text[10] = text[10] == 'a' ? 'b' : 'a';
    const key_table table({key_of("ak_1", text)});
    authenticator a(pepper);
    CHECK(refusal(a, text, wall_time{}, table) == errc::invalid_api_key);
}

TEST_CASE("an earlier text opens the door until its end") {
    manual_clock clock;
    access_key key = key_of("ak_1", "new-key-text");
    key.options.edit().earlier_hash = hash_key_text(secret("old-key-text"), pepper);
    key.options.edit().earlier_until = clock.wall() + std::chrono::seconds(10);
    const key_table table({key});
    authenticator a(pepper);
    CHECK(a.identify("old-key-text", clock.wall(), table).value()->id == "ak_1");
    clock.advance(std::chrono::milliseconds(9'999));
    CHECK(refusal(a, "old-key-text", clock.wall(), table) == errc::ok);
    clock.advance(std::chrono::milliseconds(1));
    CHECK(refusal(a, "old-key-text", clock.wall(), table) == errc::invalid_api_key);
    CHECK(refusal(a, "new-key-text", clock.wall(), table) == errc::ok);

    key.disabled = true;
    const key_table disabled({key});
    clock.advance(-std::chrono::seconds(10));
    CHECK(refusal(a, "old-key-text", clock.wall(), disabled) == errc::key_disabled);
}

TEST_CASE("access keys that came from another store open under the pepper they came with") {
    manual_clock clock;
    const std::vector<secret> more = {secret(std::string(43, 'b')), secret(std::string(43, 'c'))};
    access_key foreign = key_of("ak_foreign", "unused");
    foreign.hash = hash_key_text(secret("foreign-key"), more[1]);
    access_key renewed = key_of("ak_renewed", "new-text-0001");
    renewed.options.edit().earlier_hash = hash_key_text(secret("old-text-0001"), more[0]);
    renewed.options.edit().earlier_until = clock.wall() + std::chrono::seconds(10);
    const key_table table({key_of("ak_own", "own-key-0001"), foreign, renewed});
    authenticator a(pepper, more);
    const auto id_of = [&](std::string_view text) {
        const auto found = a.identify(text, clock.wall(), table);
        return found ? (*found)->id : std::string();
    };
    CHECK(id_of("own-key-0001") == "ak_own");
    CHECK(id_of("foreign-key") == "ak_foreign");
    CHECK(id_of("new-text-0001") == "ak_renewed");
    CHECK(id_of("old-text-0001") == "ak_renewed");
    CHECK(refusal(a, "unknown-key", clock.wall(), table) == errc::invalid_api_key);
    clock.advance(std::chrono::seconds(11));
    CHECK(id_of("old-text-0001").empty());
    authenticator without(pepper);
    CHECK(refusal(without, "foreign-key", clock.wall(), table) == errc::invalid_api_key);
}
