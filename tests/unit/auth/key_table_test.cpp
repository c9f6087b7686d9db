// The table of access keys and its generations.
#include "auth/key_table.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace kw;
using namespace kw::auth;

namespace {

crypto::digest hash_of(int i) {
    return crypto::sha256("key " + std::to_string(i));
}

access_key numbered(int i) {
    access_key k;
    k.id = "ak_" + std::to_string(i);
    k.hash = hash_of(i);
    return k;
}

std::vector<access_key> many(int n) {
    std::vector<access_key> keys;
    for (int i = 0; i < n; ++i)
        keys.push_back(numbered(i));
    return keys;
}

}  // namespace

TEST_CASE("an empty table knows nothing") {
    const key_table table;
    CHECK(table.size() == 0);
    CHECK(table.find(hash_of(0)) == nullptr);
}

TEST_CASE("every key is found and no other") {
    const int n = 5'000;
    const key_table table(many(n));
    CHECK(table.size() == 5'000);
    for (int i = 0; i < n; ++i) {
        const access_key* found = table.find(hash_of(i));
        REQUIRE(found != nullptr);
        REQUIRE(found->id == "ak_" + std::to_string(i));
        REQUIRE(table.find(hash_of(i + n)) == nullptr);
    }
    // All but the last byte equal: the fingerprint agrees, the comparison must not.
    crypto::digest near = hash_of(7);
    near[31] ^= 1;
    CHECK(table.find(near) == nullptr);
    std::size_t count = 0;
    table.for_each([&](const access_key&) { ++count; });
    CHECK(count == table.size());
}

TEST_CASE("of equal hashes the later key stays") {
    auto keys = many(3);
    keys.push_back(numbered(1));
    keys.back().id = "ak_again";
    const key_table table(std::move(keys));
    CHECK(table.size() == 3);
    CHECK(table.find(hash_of(1))->id == "ak_again");
}

TEST_CASE("a change makes a new generation and leaves the old one alone") {
    const key_table before(many(2'000));
    access_key changed = numbered(5);
    changed.disabled = true;
    const key_table after = before.with(changed, hash_of(5));
    CHECK(after.size() == 2'000);
    CHECK(after.find(hash_of(5))->disabled);
    CHECK_FALSE(before.find(hash_of(5))->disabled);
    std::size_t shared = 0;
    for (int i = 0; i < 2'000; ++i) {
        REQUIRE(after.find(hash_of(i)) != nullptr);
        shared += after.find(hash_of(i)) == before.find(hash_of(i)) ? 1U : 0U;
    }
    CHECK(shared > 1'000);  // most shards are the same memory

    access_key anew = numbered(6);
    anew.hash = hash_of(9'999);
    const key_table regenerated = after.with(anew, hash_of(6));
    CHECK(regenerated.size() == 2'000);
    CHECK(regenerated.find(hash_of(6)) == nullptr);
    CHECK(regenerated.find(hash_of(9'999))->id == "ak_6");

    CHECK(regenerated.with(numbered(3'000), std::nullopt).size() == 2'001);
    CHECK(regenerated.without(hash_of(5)).find(hash_of(5)) == nullptr);
    CHECK(regenerated.without(hash_of(5)).size() == 1'999);
    CHECK(regenerated.without(hash_of(77'777)).size() == 2'000);
}

TEST_CASE("a table that grows key by key stays right") {
    key_table table;
    for (int i = 0; i < 3'000; ++i)
        table = table.with(numbered(i), std::nullopt);
    CHECK(table.size() == 3'000);
    for (int i = 0; i < 3'000; ++i)
        REQUIRE(table.find(hash_of(i)) != nullptr);
}

TEST_CASE("many changes make one generation, in their order", "[auth]") {
    const key_table before(many(1'000));
    std::vector<key_change> changes;
    for (int i = 0; i < 300; ++i) {
        access_key anew = numbered(i);
        anew.hash = hash_of(5'000 + i);
        changes.push_back({hash_of(i), std::make_shared<const access_key>(anew)});
    }
    changes.push_back({hash_of(5'000), nullptr});
    changes.push_back({std::nullopt, std::make_shared<const access_key>(numbered(9'000))});
    const key_table after = before.with(changes);
    CHECK(after.size() == 1'000);
    CHECK(after.find(hash_of(0)) == nullptr);
    CHECK(after.find(hash_of(5'000)) == nullptr);
    CHECK(after.find(hash_of(5'299))->id == "ak_299");
    CHECK(after.find(hash_of(9'000)) == changes.back().come.get());
    CHECK(after.find(hash_of(700)) == before.find(hash_of(700)));
    CHECK(before.find(hash_of(0)) != nullptr);
    CHECK(before.size() == 1'000);
}

TEST_CASE("a key is found by its earlier text, too, in every generation that has it") {
    auto keys = many(2'000);
    keys[5].options.edit().earlier_hash = hash_of(10'005);
    keys[6].options.edit().earlier_hash = hash_of(10'006);
    const key_table table(std::move(keys));
    CHECK(table.size() == 2'000);
    CHECK(table.find(hash_of(10'005)) == nullptr);
    REQUIRE(table.find_earlier(hash_of(10'005)) != nullptr);
    CHECK(table.find_earlier(hash_of(10'005)) == table.find(hash_of(5)));
    CHECK(table.find_earlier(hash_of(5)) == nullptr);

    access_key anew = numbered(5);
    anew.hash = hash_of(20'005);
    anew.options.edit().earlier_hash = hash_of(5);
    const key_table next = table.with(anew, hash_of(5));
    CHECK(next.find_earlier(hash_of(10'005)) == nullptr);
    REQUIRE(next.find_earlier(hash_of(5)) != nullptr);
    CHECK(next.find_earlier(hash_of(5))->hash == hash_of(20'005));
    CHECK(next.find_earlier(hash_of(10'006))->id == "ak_6");
    CHECK(next.without(hash_of(6)).find_earlier(hash_of(10'006)) == nullptr);
    CHECK(next.with(numbered(6), hash_of(6)).find_earlier(hash_of(10'006)) == nullptr);
    CHECK(table.find_earlier(hash_of(10'005)) != nullptr);
}
