// Leases given and taken back by two desks over one store, with a clock of the test's own.
#include "admin/lease_desk.hpp"

#include <catch2/catch.hpp>

#include "admin/trail.hpp"
#include "auth/authenticator.hpp"
#include "config/settings.hpp"
#include "core/ids.hpp"
#include "pool/key_state.hpp"
#include "store/store.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace std::chrono_literals;
using admin::lease_desk;
using refusal = lease_desk::refusal;

namespace {

struct fixture {
    store::test::temp_folder folder;
    manual_clock clock;
    std::unique_ptr<store::store> store = *store::open_embedded({folder.path, {}}, clock);
    pool::state_table states;
    admin::trail trail{*store, clock, random_source(1)};
    secret pepper{std::string(43, 'p')};
    std::map<std::string, pool::key_ptr> keys;
    std::map<std::string, pool::group_ptr> groups;
    std::shared_ptr<config::settings> settings = std::make_shared<config::settings>();
    std::vector<store::record> seen;  // the books, as the feed told them
    int changes = 0;
    auth::access_key holder = make_holder("ak_1");
    auth::access_key other = make_holder("ak_2");
    lease_desk one{with()};
    lease_desk two{with()};

    fixture() {
        add_group("g", false);
        add_group("raw", true);
        add_key("uk_1", "g", 2);
    }

    static auth::access_key make_holder(const std::string& id) {
        auth::access_key k;
        k.id = id;
        k.name = id;
        k.hash = crypto::sha256(id);
        k.options.edit().permissions = {"lease"};
        return k;
    }
    lease_desk::surroundings with() {
        return {.store = *store,
                .audit = trail,
                .states = states,
                .clock = clock,
                .pepper = pepper,
                .keys = keys,
                .groups = groups,
                .settings = [this] { return settings; },
                .books =
                    [this] {
                        std::vector<const store::record*> out;
                        for (const auto& r : seen)
                            out.push_back(&r);
                        return out;
                    },
                .changed = [this] { ++changes; }};
    }
    void feed() { seen = store->list(pool::lease_book_kind, {})->items; }
    void add_group(const std::string& id, bool raw) {
        pool::group g;
        g.id = id;
        g.lease_raw = raw;
        groups[id] = std::make_shared<const pool::group>(g);
    }
    void add_key(const std::string& id, const std::string& group,
                 std::optional<std::uint32_t> most = {}) {
        pool::upstream_key k;
        k.id = k.alias = id;
        k.group_id = group;
        k.value = secret("value-of-" + id);
        k.max_leases = most;
        keys[id] = std::make_shared<const pool::upstream_key>(std::move(k));
    }
    std::size_t access_keys() { return store->list(auth::access_key_kind, {})->items.size(); }
};

}  // namespace

TEST_CASE("no more leases than the key may have, over two desks", "[admin][lease]") {
    fixture f;
    const auto a = f.one.allocate(f.holder, "", 0s);
    const auto b = f.two.allocate(f.other, "g", 60s);
    REQUIRE((a && b));
    CHECK(a->expires_in == 3600s);
    CHECK(b->expires_in == 60s);
    CHECK(f.one.allocate(f.holder, "", 0s).error() == refusal::all_taken);
    CHECK(f.two.allocate(f.holder, "", 0s).error() == refusal::all_taken);

    SECTION("given back at the other desk, twice") {
        CHECK(f.two.release(&f.holder, a->id)->remaining == 1);
        CHECK(f.one.release(&f.holder, a->id)->remaining == 1);
        CHECK(f.one.allocate(f.holder, "", 0s).has_value());
        CHECK(f.one.release(&f.holder, a->id)->remaining == 2);  // nothing more is ended
    }
    SECTION("by the key that was handed out") {
        CHECK(f.two.release_key(f.holder, a->key)->remaining == 1);
        CHECK(f.two.release_key(f.holder, a->key)->remaining == 1);
        CHECK(f.two.release_key(f.other, a->key).error() == refusal::not_yours);
        CHECK(f.two.release_key(f.holder, secret("no-such-text")).error() == refusal::unknown);
    }
    SECTION("only by its holder or the operator") {
        CHECK(f.one.release(&f.other, a->id).error() == refusal::not_yours);
        CHECK(f.one.release(nullptr, a->id)->remaining == 1);
        CHECK(f.one.release(nullptr, "ls_x.uk_1").error() == refusal::unknown);
        CHECK(f.one.release(nullptr, "ls_x.uk_9").error() == refusal::unknown);
        CHECK(f.one.release(nullptr, "nonsense").error() == refusal::unknown);
    }
    SECTION("by time") {
        f.clock.advance(59s);
        CHECK_FALSE(f.one.allocate(f.holder, "", 0s).has_value());
        f.clock.advance(1s);
        CHECK(f.one.allocate(f.holder, "", 0s).has_value());
        CHECK_FALSE(f.one.allocate(f.holder, "", 0s).has_value());
    }
}

TEST_CASE("what is handed out is bound to the upstream key, its holder and its time",
          "[admin][lease]") {
    fixture f;
    const auto got = f.one.allocate(f.holder, "", 10s);
    REQUIRE(got.has_value());
    const auto records = f.store->list(auth::access_key_kind, {})->items;
    REQUIRE(records.size() == 1);
    CHECK(records[0].json.find(got->key.reveal()) == std::string::npos);
    const auto key = *auth::access_key_from(records[0]);
    CHECK(key.options->upstream_key == "uk_1");
    CHECK(*key.expires_at == got->until);
    const auth::key_table table({key, f.holder});
    auth::authenticator who(f.pepper);
    const auto known = who.identify(got->key.reveal(), f.clock.wall(), table);
    REQUIRE(known.has_value());
    REQUIRE(auth::is_leased(**known));
    CHECK((*auth::authenticator::holder_of(**known, f.clock.wall(), table))->id == "ak_1");
    // Without its holder it opens nothing.
    CHECK(auth::authenticator::holder_of(**known, f.clock.wall(), auth::key_table({key}))
              .has_error());
    auto disabled = f.holder;
    disabled.disabled = true;
    CHECK(auth::authenticator::holder_of(**known, f.clock.wall(), auth::key_table({key, disabled}))
              .error()
              .code == errc::key_disabled);

    CHECK(f.one.release(&f.holder, got->id).has_value());
    const auto ended = *auth::access_key_from(f.store->list(auth::access_key_kind, {})->items[0]);
    CHECK(auth::expired(ended, f.clock.wall()));
}

TEST_CASE("leases end no later than their holder", "[admin][lease]") {
    fixture f;
    f.holder.expires_at = f.clock.wall() + 5s;
    CHECK(f.one.allocate(f.holder, "", 60s)->until == *f.holder.expires_at);
}

TEST_CASE("who may take what", "[admin][lease]") {
    fixture f;
    f.add_key("uk_2", "raw");
    auth::access_key plain;
    plain.id = "ak_3";
    CHECK(f.one.allocate(plain, "", 0s).error() == refusal::not_permitted);
    CHECK(f.one.allocate(f.holder, "none", 0s).error() == refusal::no_such_group);
    CHECK(f.one.allocate(f.holder, "", 25h).error() == refusal::bad_ttl);
    CHECK(f.one.allocate(f.holder, "", -1s).error() == refusal::bad_ttl);
    f.holder.options.edit().group = "g";
    CHECK(f.one.allocate(f.holder, "raw", 0s).error() == refusal::no_key);
    f.holder.options.edit().group.clear();
    const auto raw = f.one.allocate(f.holder, "raw", 0s);
    REQUIRE(raw.has_value());
    CHECK(raw->key.reveal() == "value-of-uk_2");
    const auto audited = f.store->list_audit({});
    REQUIRE(audited.has_value());
    REQUIRE(audited->items.size() == 1);
    CHECK(audited->items[0].json.find("lease.raw_key") != std::string::npos);
    CHECK(audited->items[0].json.find("value-of-uk_2") == std::string::npos);
    CHECK(f.access_keys() == 0);
    CHECK(f.one.release_key(f.other, raw->key).error() == refusal::unknown);
    CHECK(f.one.release_key(f.holder, raw->key)->remaining == 0);
    f.holder.options.edit().upstream_key = "uk_1";
    CHECK(pool::upstream_key_of(f.one.allocate(f.holder, "", 0s)->id) == "uk_1");

    // A key that cannot be used is not lent.
    auto banned = *f.keys["uk_1"];
    banned.status = pool::admin_status::banned;
    f.keys["uk_1"] = std::make_shared<const pool::upstream_key>(banned);
    CHECK(f.one.allocate(f.holder, "", 0s).error() == refusal::no_key);
}

TEST_CASE("the key with the most room is lent first", "[admin][lease]") {
    fixture f;
    f.add_key("uk_2", "g", 4);
    std::map<std::string, int> given;
    for (int i = 0; i < 6; ++i) {
        f.feed();
        ++given[std::string(pool::upstream_key_of(f.one.allocate(f.holder, "", 0s)->id))];
    }
    CHECK(given == std::map<std::string, int>{{"uk_1", 2}, {"uk_2", 4}});
    CHECK(f.one.running().empty() == false);
    f.feed();
    CHECK(f.one.running().size() == 6);
    CHECK(f.one.next_end(f.holder) == 60s);
    // The books seen may be old: a place that is free by now is found.
    CHECK(f.two.release(nullptr, f.one.running()[0].lease.id).has_value());
    CHECK(f.one.allocate(f.holder, "", 0s).has_value());
}

TEST_CASE("what has ended leaves the store", "[admin][lease]") {
    fixture f;
    REQUIRE(f.one.allocate(f.holder, "", 10s).has_value());
    REQUIRE(f.one.allocate(f.holder, "", 100s).has_value());
    f.feed();
    f.clock.advance(60s);
    f.one.sweep();
    CHECK(f.access_keys() == 2);  // remembered, for one who gives back late
    f.clock.advance(10s);
    f.one.sweep();
    f.two.sweep();
    CHECK(f.access_keys() == 1);
    f.feed();
    f.clock.advance(90s);
    f.two.sweep();
    CHECK(f.access_keys() == 0);
    f.feed();
    CHECK(f.one.running().empty());
}

TEST_CASE("random takers and givers over two desks never pass the cap", "[admin][lease]") {
    fixture f;
    const auto seed = GENERATE(1U, 2U);
    random_source random(seed);
    std::vector<std::string> ids;
    for (int i = 0; i < 1'500; ++i) {
        auto& desk = random.below(2) == 0 ? f.one : f.two;
        f.clock.advance(std::chrono::milliseconds(random.below(2'000)));
        if (random.below(10) == 0) f.feed();
        switch (random.below(3)) {
            case 0:
                if (auto got =
                        desk.allocate(f.holder, "", std::chrono::seconds(1 + random.below(30))))
                    ids.push_back(got->id);
                break;
            case 1:
                if (!ids.empty()) {
                    const auto done = desk.release(&f.holder, ids[random.below(ids.size())]);
                    if (done) REQUIRE(done->remaining <= 2);
                }
                break;
            default:
                desk.sweep();
                break;
        }
        const auto stored = f.store->get(pool::lease_book_kind, "uk_1");
        if (!stored) continue;
        REQUIRE(pool::lease_book::from_json(stored->json)->running(f.clock.wall()) <= 2);
    }
    CHECK(ids.size() > 100);
}
