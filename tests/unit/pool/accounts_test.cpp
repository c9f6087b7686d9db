// Accounts: who is in them, where an owner's objects go first, and picks among their keys alone.
#include <catch2/catch.hpp>

#include <algorithm>
#include <set>

#include "pool/accounts.hpp"
#include "tests/unit/pool/pool_fixture.hpp"

using namespace kw;
using namespace kw::pool;
using namespace kw::pool::test;

namespace {

upstream_key labelled(std::string id, std::string group, std::string account) {
    auto k = make_key(std::move(id), std::move(group));
    k.account = std::move(account);
    return k;
}

void three_accounts(pool_fixture& p) {
    p.groups = {make_group("g", "round-robin", 1), make_group("h", "round-robin", 2)};
    p.keys = {labelled("a1", "g", "A"), labelled("a2", "h", "A"), make_key("b1", "g"),
              make_key("b2", "g"), make_key("c", "g")};
    p.rebuild();
}

std::set<std::string> ids(const std::vector<account_member>& all) {
    std::set<std::string> out;
    for (const auto& m : all)
        out.insert(m.tier->keys()[m.key].key->id);
    return out;
}

}  // namespace

TEST_CASE("keys of one label are one account, others are by themselves") {
    pool_fixture p;
    three_accounts(p);
    const account_table plain(*p.view, {});
    CHECK(plain.size() == 4);
    CHECK(ids(plain.members("A")) == std::set<std::string>{"a1", "a2"});
    CHECK(ids(plain.members("b1")) == std::set<std::string>{"b1"});
    CHECK(plain.members("nobody").empty());
    // What answers told; the operator's label goes before, and the key's id still names it.
    const account_table told(*p.view, {{"b1", "B"}, {"b2", "B"}, {"a1", "X"}, {"gone", "Y"}});
    CHECK(told.size() == 3);
    CHECK(ids(told.members("B")) == std::set<std::string>{"b1", "b2"});
    CHECK(ids(told.members("b1")) == std::set<std::string>{"b1", "b2"});
    CHECK(told.canonical("b2") == "B");
    CHECK(ids(told.members("A")) == std::set<std::string>{"a1", "a2"});
    CHECK(told.members("X").empty());
    CHECK(account_table().members("A").empty());
}

TEST_CASE("each owner has an order of accounts of its own, which stays") {
    pool_fixture p;
    three_accounts(p);
    const account_table t(*p.view, {});
    std::set<std::string> firsts;
    for (int i = 0; i < 100; ++i) {
        const std::string owner = "ak_" + std::to_string(i);
        const auto order = t.order_for(owner, 10);
        REQUIRE(order.size() == 4);
        CHECK(std::set(order.begin(), order.end()).size() == 4);
        CHECK(t.order_for(owner, 2) == std::vector(order.begin(), order.begin() + 2));
        firsts.emplace(order.front());
    }
    CHECK(firsts.size() == 4);
}

TEST_CASE("a restricted pick takes the idlest key of the account and no other") {
    pool_fixture p;
    three_accounts(p);
    const account_table t(*p.view, {{"b1", "B"}, {"b2", "B"}});
    const auto members = t.members("B");
    auto r = p.request();
    r.restricted = true;
    r.only = members;
    std::vector<picked> held;
    std::multiset<std::string> got;
    for (int i = 0; i < 4; ++i) {
        auto one = p.select.pick(*p.view, r);
        REQUIRE(one.has_value());
        one->use.settle(0);
        got.insert(one->key->id);
        held.push_back(std::move(*one));
        p.clock.advance(std::chrono::seconds(1));
        r.now = p.clock.mono();
    }
    CHECK(got.count("b1") == 2);
    CHECK(got.count("b2") == 2);
    p.keys_health.set_status(p.slot("b1"), key_status::banned, p.clock.mono(), p.clock.wall());
    CHECK(p.select.pick(*p.view, r)->key->id == "b2");
    p.keys_health.set_status(p.slot("b2"), key_status::banned, p.clock.mono(), p.clock.wall());
    CHECK(p.select.pick(*p.view, r).error().code == errc::no_upstream_key);
    CHECK_FALSE(p.select.can_pick(*p.view, r));
    // Other tiers are asked whatever the order of tiers says.
    const auto a = t.members("A");
    r.only = a;
    r.strict = true;
    p.keys_health.set_status(p.slot("a1"), key_status::banned, p.clock.mono(), p.clock.wall());
    CHECK(p.select.pick(*p.view, r)->key->id == "a2");
    // Nobody at all.
    r.only = {};
    CHECK_FALSE(p.select.pick(*p.view, r).has_value());
}
