// Sessions that stay with a key: the table, and what selection makes of it.
#include "pool/sessions.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "tests/unit/pool/pool_fixture.hpp"

using namespace kw;
using namespace kw::pool;
using namespace kw::pool::test;

namespace {

std::uint64_t id_of(const std::string& name) {
    return session_hash(1, name.data(), name.size());
}

}  // namespace

TEST_CASE("a session is known until its time is over, which each request moves") {
    session_table table;
    CHECK(table.find(id_of("a"), 0) == slot_id::none);
    table.bind(id_of("a"), 7, 0, 1000, 64);
    table.bind(id_of("b"), 0, 0, 1000, 64);
    CHECK(table.find(id_of("a"), 999) == 7);
    CHECK(table.find(id_of("b"), 999) == 0);
    CHECK(table.find(id_of("c"), 999) == slot_id::none);
    CHECK(table.find(id_of("a"), 1000) == slot_id::none);
    table.bind(id_of("b"), 0, 900, 1900, 64);
    CHECK(table.find(id_of("b"), 1500) == 0);
    table.bind(id_of("b"), 9, 1500, 2500, 64);
    CHECK(table.find(id_of("b"), 2000) == 9);
}

TEST_CASE("sessions beyond the bound push out those that would end first") {
    session_table table;
    for (int i = 0; i < 100; ++i)
        table.bind(id_of("s" + std::to_string(i)), static_cast<std::uint32_t>(i), i, 1000 + i, 16);
    int known = 0;
    for (int i = 0; i < 100; ++i)
        known += table.find(id_of("s" + std::to_string(i)), 100) != slot_id::none ? 1 : 0;
    CHECK(known == 16);
    CHECK(table.find(id_of("s99"), 100) == 99);
    CHECK(table.find(id_of("s0"), 100) == slot_id::none);
}

TEST_CASE("names, their kinds and their lengths are told apart") {
    std::set<std::uint64_t> all;
    for (std::uint64_t seed = 0; seed < 10; ++seed)
        for (std::size_t size = 0; size < 40; ++size)
            all.insert(session_hash(seed, std::string(size, 'a').data(), size));
    CHECK(all.size() == 400);
}

TEST_CASE("a session's key is taken while it can serve, under every strategy") {
    for (const auto& strategy : strategies::names()) {
        INFO(strategy);
        pool_fixture p;
        p.fill(strategy, 100);
        p.groups[0].sessions = session_policy::named;
        p.rebuild();
        CHECK(p.view->has_sessions());
        auto r = p.request();
        const slot_id slot = *p.states.find(numbered(42));
        r.session_slot = slot.index;
        CHECK(p.select.pick(*p.view, r)->key->id != numbered(41));
        for (int i = 0; i < 10; ++i) {
            r.session = session_policy::named;
            CHECK(p.select.pick(*p.view, r)->key->id == numbered(42));
        }
        // Not for sessions of a kind that the group does not keep.
        r.session = session_policy::prefix;
        std::set<std::string> others;
        for (int i = 0; i < 10; ++i) {
            auto one = p.select.pick(*p.view, r);
            others.insert(one->key->id);
            one->use.settle(1000);
        }
        CHECK((others.size() > 1 || !others.contains(numbered(42))));
        // Nor once it was tried, or when it is out.
        r.session = session_policy::named;
        r.tried = {&slot, 1};
        CHECK(p.select.pick(*p.view, r)->key->id != numbered(42));
        r.tried = {};
        p.states.get(slot)->set_gate(key_status::banned, block_reason::admin, forever);
        CHECK(p.select.pick(*p.view, r)->key->id != numbered(42));
    }
}

TEST_CASE("tiers go before sessions, and the settings' policy holds where a group has none") {
    pool_fixture p;
    p.groups = {make_group("a", "round-robin", 0), make_group("b", "round-robin", 1)};
    p.keys = {make_key("k1", "a"), make_key("k2", "a"), make_key("k3", "b")};
    p.rebuild();
    CHECK_FALSE(p.view->has_sessions());
    auto r = p.request();
    r.session = session_policy::named;
    r.session_slot = p.states.find("k3")->index;
    r.sessions = session_policy::named;
    CHECK(p.select.pick(*p.view, r)->of->id == "a");
    r.session_slot = p.states.find("k2")->index;
    for (int i = 0; i < 4; ++i)
        CHECK(p.select.pick(*p.view, r)->key->id == "k2");
    r.sessions = session_policy::off;
    CHECK(p.select.pick(*p.view, r)->key->id != p.select.pick(*p.view, r)->key->id);
}
