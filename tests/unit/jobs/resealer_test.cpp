// A master key takes over: asked, sealed anew, interrupted, refused.
#include "jobs/resealer.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "auth/pepper.hpp"
#include "pool/upstream_key.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace std::chrono_literals;
using auth::takeover_state;

namespace {

const secret old_text(std::string(32, 'o'));
const secret new_text(std::string(32, 'n'));
const secret value("sk-canary-0001");

struct shared {
    store::test::temp_folder folder;
    manual_clock clock;
    std::unique_ptr<store::store> store = *store::open_embedded({folder.path, {}}, clock);
    std::uint64_t alive = 1;

    shared() {
        const crypto::sealer before(old_text);
        REQUIRE(store->put(auth::seal_pepper(auth::make_pepper(), before)).has_value());
    }
    void add_keys(int count) {
        const crypto::sealer before(old_text);
        for (int i = 0; i < count; ++i) {
            pool::upstream_key k;
            k.id = "k" + std::to_string(i);
            k.group_id = "g";
            k.value = value;
            REQUIRE(store->put({"upstream_key", k.id, 0, pool::to_json(k, before)}).has_value());
        }
    }
    // Ids of the master keys that sealed something.
    std::vector<std::string> seals() {
        std::set<std::string> out;
        for (const char* kind : {"upstream_key", "setting"}) {
            store::page_request at;
            at.limit = 10'000;
            const auto all = store->list(kind, at);
            for (const auto& r : all->items)
                out.emplace(auth::sealed_by(r));
        }
        return {out.begin(), out.end()};
    }
    auth::takeover last() {
        const auto r = store->get(auth::master_key_kind, auth::master_key_id);
        return r ? *auth::takeover_from(*r) : auth::takeover{};
    }
};

// A process: its keys, its catalog, its part of the takeover.
struct replica {
    shared& with;
    crypto::sealer sealer;
    jobs::catalog known;
    random_source random;
    std::vector<std::string> finished;
    std::string wanted;
    jobs::resealer job;

    replica(shared& s, std::uint64_t seed, bool has_new = true)
        : with(s),
          sealer(old_text),
          known(*s.store, sealer),
          random(seed),
          wanted(has_new ? sealer.add(new_text) : sealer.key_id()),
          job({.store = *s.store,
               .known = known,
               .sealer = sealer,
               .clock = s.clock,
               .random = random,
               .name = "replica-" + std::to_string(seed),
               .wanted = [this] { return result<std::string>(wanted); },
               .finished = [this](const std::string& id) { finished.push_back(id); },
               .replicas = [this] { return with.alive; }}) {
        look();
    }
    void look() {
        REQUIRE(known.refresh().has_value());
        job.follow();
    }
    bool round() {
        look();
        const bool more = job.round();
        with.clock.advance(400ms);
        return more;
    }
    void rounds(int count) {
        for (int i = 0; i < count; ++i)
            round();
    }
};

const std::string old_id = crypto::sealer(old_text).key_id();
const std::string new_id = crypto::sealer(new_text).key_id();

}  // namespace

TEST_CASE("another master key takes over from the one before") {
    shared s;
    s.add_keys(3);
    replica one(s, 1);
    CHECK(one.sealer.key_id() == old_id);  // the store rules, not the order of configuration
    one.rounds(5);
    CHECK(s.last().state == takeover_state::none);

    REQUIRE(one.job.begin().has_value());
    CHECK(one.job.progress().last.state == takeover_state::asking);  // before the feed tells
    one.rounds(10);
    CHECK(s.last().state == takeover_state::done);
    CHECK(s.last().total == 4);  // the pepper, too
    CHECK(s.seals() == std::vector{new_id});
    CHECK(one.sealer.key_id() == new_id);
    CHECK(one.finished == std::vector{new_id});
    CHECK(one.known.keys().at("k1")->value == value);
    CHECK(one.job.progress().remaining == 0);

    // done is done
    CHECK(one.job.begin().error().code == errc::invalid_argument);
    const auto before = s.store->get("upstream_key", "k0")->revision;
    one.rounds(10);
    CHECK(s.store->get("upstream_key", "k0")->revision == before);
    // who comes later with both keys seals with the new one
    replica late(s, 2);
    CHECK(late.sealer.key_id() == new_id);
}

TEST_CASE("a replica without the new master key stops the takeover before anything has changed") {
    shared s;
    s.add_keys(3);
    s.alive = 2;
    replica one(s, 1);
    replica two(s, 2, false);
    REQUIRE(one.job.begin().has_value());
    for (int i = 0; i < 5; ++i) {
        two.round();
        one.round();
    }
    CHECK(s.last().state == takeover_state::refused);
    CHECK(s.last().reason.find("replica-2") != std::string::npos);
    CHECK(s.seals() == std::vector{old_id});
    CHECK(one.sealer.key_id() == old_id);

    // Given the key, it goes; no answer to the first question counts for the second.
    two.wanted = two.sealer.add(new_text);
    REQUIRE(one.job.begin().has_value());
    for (int i = 0; i < 30; ++i) {
        one.round();
        two.round();
    }
    CHECK(s.last().state == takeover_state::done);
    CHECK(s.seals() == std::vector{new_id});
    CHECK(two.sealer.key_id() == new_id);
    CHECK(two.known.keys().at("k2")->value == value);
    store::page_request at;
    CHECK(s.store->list(auth::master_key_answer_kind, at)->items.empty());
}

TEST_CASE("a replica that says nothing stops the takeover") {
    shared s;
    s.alive = 2;
    replica one(s, 1);
    REQUIRE(one.job.begin().has_value());
    one.rounds(30);
    CHECK(s.last().state == takeover_state::asking);
    one.rounds(10);
    CHECK(s.last().state == takeover_state::refused);
    CHECK(s.last().reason.find("1 of 2") == 0);
    CHECK(s.seals() == std::vector{old_id});
}

TEST_CASE("whoever is left goes on with a takeover whose process has died") {
    shared s;
    s.add_keys(2500);
    {
        replica one(s, 1);
        REQUIRE(one.job.begin().has_value());
        one.rounds(3);
        CHECK(s.last().state == takeover_state::resealing);
    }
    CHECK(s.seals().size() == 2);
    {
        const crypto::sealer only_new(new_text);
        jobs::catalog known(*s.store, only_new);
        REQUIRE(known.refresh().has_value());
        const auth::stored_records stored{[&](auto kind, auto id) { return known.find(kind, id); },
                                          [&](auto kind) { return known.of_kind(kind); }};
        const auto no = auth::check_master_keys(stored, only_new);
        REQUIRE_FALSE(no.has_value());
        CHECK(no.error().context.find("ENCRYPTION_KEY_OLD") != std::string::npos);
        CHECK_FALSE(auth::check_master_keys(stored, crypto::sealer(old_text)).has_value());
        crypto::sealer both(new_text);
        both.add(old_text);
        CHECK(auth::check_master_keys(stored, both).has_value());
    }
    replica two(s, 2);
    CHECK(two.sealer.key_id() == new_id);
    two.rounds(3);
    CHECK(s.seals().size() == 2);  // the other may still be at it
    two.rounds(30);
    CHECK(s.last().state == takeover_state::done);
    CHECK(s.seals() == std::vector{new_id});
    CHECK(two.known.keys().size() == 2500);
    CHECK(two.known.keys().at("k2499")->value == value);
}

TEST_CASE("what is sealed with the old master key after all is found; what does not open is left") {
    shared s;
    s.add_keys(1);
    pool::upstream_key k;
    k.id = "broken";
    k.group_id = "g";
    k.value = value;
    k.notes = R"("sealed":"kw1.)" + old_id + ".x";  // no member
    auto json = pool::to_json(k, crypto::sealer(old_text));
    const auto at = json.find(R"("sealed":"kw1.)") + 40;
    json[at] = json[at] == 'A' ? 'B' : 'A';
    REQUIRE(s.store->put({"upstream_key", "broken", 0, json}).has_value());
    replica one(s, 1);
    REQUIRE(one.job.begin().has_value());
    one.rounds(10);
    CHECK(s.last().state == takeover_state::done);
    CHECK(one.job.progress().unreadable == 1);
    CHECK(s.store->get("upstream_key", "broken")->json == json);
    CHECK(one.known.keys().at("broken")->value.empty());
    CHECK(one.known.keys().at("broken")->status == pool::admin_status::disabled);

    k.id = "late";
    REQUIRE(s.store->put({"upstream_key", "late", 0, pool::to_json(k, crypto::sealer(old_text))})
                .has_value());
    one.rounds(3);
    CHECK(auth::sealed_by(*s.store->get("upstream_key", "late")) == new_id);
    CHECK(one.known.keys().at("late")->value == value);
    CHECK(one.known.keys().at("late")->notes == k.notes);
}

TEST_CASE("a master key that sealed nothing here is refused and told what to do") {
    shared s;
    const crypto::sealer wrong(secret(std::string(32, 'w')));
    jobs::catalog known(*s.store, wrong);
    REQUIRE(known.refresh().has_value());
    const auth::stored_records stored{[&](auto kind, auto id) { return known.find(kind, id); },
                                      [&](auto kind) { return known.of_kind(kind); }};
    const auto no = auth::check_master_keys(stored, wrong);
    REQUIRE_FALSE(no.has_value());
    CHECK(no.error().context.find(old_id) != std::string::npos);
    CHECK(no.error().context.find(wrong.key_id()) != std::string::npos);
    CHECK(no.error().context.find("ENCRYPTION_KEY") != std::string::npos);
    CHECK(auth::check_master_keys(stored, crypto::sealer(old_text)).has_value());
}
