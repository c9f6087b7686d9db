// The book of access keys: its table is level with what was taken, change by change.
#include "auth/key_book.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <string>

#include "core/ids.hpp"

using namespace kw;
using namespace kw::auth;

namespace {

access_key numbered(int i, int hash) {
    access_key k;
    k.id = "ak_" + std::to_string(i);
    k.hash = crypto::sha256(std::to_string(hash));
    return k;
}

}  // namespace

TEST_CASE("the table follows any order of changes, and old tables keep what they had", "[auth]") {
    key_book book;
    random_source random(GENERATE(std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}));
    std::map<std::string, access_key> model;
    int fresh = 100'000;
    std::shared_ptr<const key_table> before;
    std::size_t size_before = 0;
    for (int round = 0; round < 60; ++round) {
        for (auto n = random.below(40); n > 0; --n) {
            const int i = static_cast<int>(random.below(600));
            access_key k = numbered(i, i);
            k.disabled = random.below(2) == 0;
            switch (random.below(8)) {
                case 0:
                    book.drop(k.id);
                    model.erase(k.id);
                    continue;
                case 1:  // another text
                    k.hash = crypto::sha256(std::to_string(++fresh));
                    k.options.edit().earlier_hash = crypto::sha256(std::to_string(i));
                    break;
                case 2:  // one that another key may have
                    k.hash = crypto::sha256(std::to_string(random.below(600)));
                    break;
                default:
                    break;
            }
            REQUIRE(book.take(to_record(k)).has_value());
            model.insert_or_assign(k.id, k);
        }
        const auto table = book.table();
        CHECK(book.table() == table);
        if (before) REQUIRE(before->size() == size_before);
        before = table;
        size_before = table->size();
        REQUIRE(book.all().size() == model.size());
        std::map<crypto::digest, std::string> found_by;  // the later id stays
        for (const auto& [id, key] : model)
            found_by[key.hash] = id;
        REQUIRE(table->size() == found_by.size());
        for (const auto& [hash, id] : found_by) {
            const access_key* found = table->find(hash);
            REQUIRE(found != nullptr);
            REQUIRE(*found == model.at(id));
            REQUIRE(book.find(id) == found);  // one record for both
        }
        if (random.below(20) == 0) {
            book.clear();
            model.clear();
            CHECK(book.table()->size() == 0);
        }
    }
}

TEST_CASE("ends are told once, of those that may still be used", "[auth]") {
    key_book book;
    const auto at = [](int s) { return wall_time(std::chrono::seconds(s)); };
    for (int i = 0; i < 5; ++i) {
        access_key k = numbered(i, i);
        if (i > 0) k.expires_at = at(10 * i);
        k.deleted = i == 2;
        REQUIRE(book.take(to_record(k)).has_value());
    }
    const auto ended = [&](int from, int to) {
        std::string ids;
        for (const access_key* k : book.expired_between(at(from), at(to)))
            ids += k->id;
        return ids;
    };
    CHECK(ended(0, 100) == "ak_1ak_3ak_4");
    CHECK(ended(10, 30) == "ak_3");
    access_key longer = numbered(3, 3);
    longer.expires_at = at(50);
    REQUIRE(book.take(to_record(longer)).has_value());
    book.drop("ak_1");
    CHECK(ended(0, 100) == "ak_4ak_3");
    CHECK(ended(0, 40) == "ak_4");
    book.clear();
    CHECK(ended(0, 100).empty());
}

TEST_CASE("equal options and limits are kept once; a bad record changes nothing", "[auth]") {
    key_book book;
    for (int i = 0; i < 3; ++i) {
        access_key k = numbered(i, i);
        k.options.edit().models_allow = {i < 2 ? "gpt-*" : "o1"};
        auto r = to_record(k);
        if (i < 2) r.json.insert(1, R"("limits":[{"unit":"requests","per":"1m","cap":9}],)");
        REQUIRE(book.take(r).has_value());
    }
    const auto part = [&](const char* id) { return book.find(id); };
    CHECK(&*part("ak_0")->options == &*part("ak_1")->options);
    CHECK(&*part("ak_0")->options != &*part("ak_2")->options);
    CHECK(part("ak_2")->options->models_allow.front() == "o1");
    CHECK(part("ak_0")->limits.set == part("ak_1")->limits.set);
    CHECK(book.take_limited().size() == 2);
    CHECK(book.take_limited().empty());
    const auto table = book.table();
    CHECK_FALSE(book.take({std::string(access_key_kind), "ak_0", 1, "{}"}).has_value());
    CHECK(book.table() == table);
    CHECK(part("ak_0")->options->models_allow.front() == "gpt-*");
}
