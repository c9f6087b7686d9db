// The file of a backup: what went in comes out; what is damaged, cut or another's does not open.
#include "store/backup.hpp"

#include <catch2/catch.hpp>
#include <fstream>
#include <map>

#include "store/backup_file.hpp"
#include "tests/unit/store/temp_folder.hpp"

using namespace kw;
using namespace kw::store;

namespace {

crypto::sealer sealer_of(char letter) {
    return crypto::sealer(secret(std::string(32, letter)));
}

backup_head head_of(const crypto::sealer& sealer) {
    return {.store = "redis",
            .release = "1.2.3",
            .made = wall_time(std::chrono::milliseconds(1'700'000'000'123)),
            .master_keys = {sealer.key_id()}};
}

std::string bytes_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

void write_bytes(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace

TEST_CASE("a backup's items come back, in pieces of any size", "[store]") {
    const test::temp_folder folder;
    const auto path = folder.path + "/a";
    const auto sealer = sealer_of('m');
    const std::string large(3'500'000, 'x');
    auto out = *backup_writer::begin(path, sealer, head_of(sealer));
    out.add("large", large, false);
    out.add("large", "end", true);
    out.add("empty", "", true);
    out.add("small", std::string("a\0b", 3), true);
    const auto written = out.commit();
    REQUIRE(written.has_value());
    CHECK(written->items == 3);
    CHECK(written->bytes == large.size() + 3 + 3);
    CHECK(written->head.release == "1.2.3");
    CHECK(written->head.made == head_of(sealer).made);

    auto in = *backup_reader::open(path, sealer);
    std::map<std::string, std::string> got;
    std::vector<std::string> ended;
    backup_piece piece;
    while (*in.next(piece)) {
        got[piece.item] += piece.bytes;
        if (piece.last) ended.push_back(piece.item);
    }
    CHECK(got["large"] == large + "end");
    CHECK(got["empty"].empty());
    CHECK(got["small"] == std::string("a\0b", 3));
    CHECK(ended == std::vector<std::string>{"large", "empty", "small"});
}

TEST_CASE("a backup without its end, or of nothing, is not whole", "[store]") {
    const test::temp_folder folder;
    const auto path = folder.path + "/a";
    const auto sealer = sealer_of('m');
    {
        auto out = *backup_writer::begin(path, sealer, head_of(sealer));
        out.add("one", "text", false);
        CHECK(out.commit().error().code == errc::invalid_argument);
    }
    {
        auto out = *backup_writer::begin(path, sealer, head_of(sealer));
        CHECK(out.commit().error().code == errc::invalid_argument);
    }
    // What is not committed leaves what was there.
    const auto before = bytes_of(path);
    {
        auto out = *backup_writer::begin(path, sealer, head_of(sealer));
        out.add("one", "text", true);
    }
    CHECK(bytes_of(path) == before);
}

TEST_CASE("a backup opens with the master keys of all that is in it, and whole", "[store]") {
    const test::temp_folder folder;
    const auto path = folder.path + "/a";
    auto sealer = sealer_of('m');
    auto head = head_of(sealer);
    auto out = *backup_writer::begin(path, sealer, head);
    out.add("one", "first text", true);
    REQUIRE(out.commit().has_value());
    CHECK(check_backup(folder.path + "/b", sealer).error().code == errc::store_not_found);
    const auto other = check_backup(path, sealer_of('n'));
    CHECK(other.error().code == errc::invalid_argument);
    CHECK(other.error().context.find(sealer.key_id()) != std::string::npos);

    const auto good = bytes_of(path);
    // A byte in the middle of every line, the file's end, and a line of another backup.
    for (std::size_t begin = 0; begin < good.size(); begin = good.find('\n', begin) + 1) {
        auto bad = good;
        auto& byte = bad[(begin + good.find('\n', begin)) / 2];
        byte = byte == 'A' ? 'B' : 'A';
        write_bytes(path, bad);
        CHECK_FALSE(check_backup(path, sealer).has_value());
    }
    write_bytes(path, good.substr(0, good.find('\n') + 1));
    CHECK_FALSE(check_backup(path, sealer).has_value());
    auto again = *backup_writer::begin(folder.path + "/b", sealer, head);
    again.add("one", "other text", true);
    REQUIRE(again.commit().has_value());
    const auto second = bytes_of(folder.path + "/b");
    write_bytes(path, good.substr(0, good.find('\n') + 1) + second.substr(second.find('\n') + 1));
    CHECK_FALSE(check_backup(path, sealer).has_value());
    write_bytes(path, good);
    CHECK(check_backup(path, sealer).has_value());

    // What is in it may want a further key.
    const auto old_id = sealer_of('o').key_id();
    head.master_keys.push_back(old_id);
    (void)sealer.add(secret(std::string(32, 'o')));
    auto mixed = *backup_writer::begin(path, sealer, head);
    mixed.add("one", "text", true);
    REQUIRE(mixed.commit().has_value());
    const auto missing = check_backup(path, sealer_of('m'));
    REQUIRE_FALSE(missing.has_value());
    CHECK(missing.error().context.find(old_id) != std::string::npos);
}

TEST_CASE("the embedded store goes into a backup and comes back", "[store]") {
    const test::temp_folder folder;
    const manual_clock clock;
    const auto sealer = sealer_of('m');
    const auto path = folder.path + "/backup";
    const auto home = folder.path + "/home";
    auto head = head_of(sealer);
    head.store = "embedded";
    CHECK(back_up_embedded(home, head, path, sealer).error().code == errc::store_unavailable);
    {
        const auto store = *open_embedded({home, {}}, clock);
        REQUIRE(store->put({"kind", "one", 0, "{}"}).has_value());
        REQUIRE(back_up_embedded(home, head, path, sealer).has_value());
        REQUIRE(store->put({"kind", "two", 0, "{}"}).has_value());
    }
    CHECK(restore_embedded(path, sealer, home, false, clock).error().code == errc::store_conflict);
    CHECK(open_embedded({home, {}}, clock).value()->get("kind", "two").has_value());
    std::string aside;
    REQUIRE(restore_embedded(path, sealer, home, true, clock, &aside).has_value());
    CHECK(open_embedded({aside, {}}, clock).value()->get("kind", "two").has_value());
    {
        const auto store = *open_embedded({home, {}}, clock);
        CHECK(store->get("kind", "one").has_value());
        CHECK_FALSE(store->get("kind", "two").has_value());
    }
    // Half-way: it opens to nobody, and the next restore needs no further word.
    write_bytes(home + "/" + unfinished_restore, "x");
    CHECK(open_embedded({home, {}}, clock).error().code == errc::invalid_argument);
    REQUIRE(restore_embedded(path, sealer, home, false, clock).has_value());
    CHECK(open_embedded({home, {}}, clock).has_value());
}
