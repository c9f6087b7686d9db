// One sealed line for each run of records, bound to its place by the associated data; the first
// line says how many follow, so that a cut file is noticed.
#include "store/snapshot_file.hpp"

#include <array>
#include <cerrno>
#include <fstream>

#include "store/binary.hpp"
#include "store/data_dir.hpp"

namespace kw::store {
namespace {

constexpr std::size_t line_target = 1U << 20U;

error damaged(const std::string& path, std::string_view why) {
    return error(errc::invalid_argument, path + ": " + std::string(why), error_source::store);
}

std::string place(std::size_t line) {
    return "keywheel snapshot line " + std::to_string(line);
}

void put_record(std::string& out, const record& r) {
    put_text(out, r.kind);
    put_text(out, r.id);
    put_u64(out, r.revision);
    put_text(out, r.json);
}

bool take_record(std::string_view& in, record& r) {
    return take_text(in, r.kind) && take_text(in, r.id) && take_u64(in, r.revision) &&
           take_text(in, r.json);
}

}  // namespace

snapshot_file::snapshot_file(std::string path, const crypto::sealer& sealer)
    : path_(std::move(path)), sealer_(sealer) {}

result<void> snapshot_file::save(const snapshot& records) {
    // A salt in every line's place: lines of two snapshots cannot be mixed.
    std::array<std::uint8_t, 16> salt{};
    crypto::random_bytes(salt);
    const auto mark = crypto::to_hex(salt);
    std::uint64_t count = 0;
    const auto head = [&] {
        std::string text;
        put_text(text, mark);
        put_u64(text, records.revision);
        put_u64(text, count);
        return sealer_.seal(secret(std::move(text)), place(0)) + '\n';
    };
    auto out = file_replacement::begin(path_);
    if (!out) return out.error();
    // Its place is kept until the number of lines is known.
    out->append(head());
    std::string run;
    const auto close_run = [&] {
        out->append(sealer_.seal(secret(std::move(run)), mark + place(++count)) + '\n');
        run.clear();
    };
    records.each([&](const record& r) {
        put_record(run, r);
        if (run.size() >= line_target) close_run();
    });
    if (!run.empty()) close_run();
    out->begin_with(head());
    return out->commit();
}

result<std::uint64_t> snapshot_file::load(const record_sink& to) const {
    std::ifstream in(path_, std::ios::binary);
    if (!in) {
        const int code = errno;
        if (code == ENOENT)
            return error(errc::store_not_found, "there is no " + path_, error_source::store);
        return damaged(path_, errno_text(code));
    }
    std::string line;
    const auto next_line = [&]() -> std::string_view {
        return std::getline(in, line) ? std::string_view(line) : std::string_view();
    };
    const auto head = sealer_.open(next_line(), place(0));
    if (!head) return damaged(path_, "it is damaged, or sealed with another encryption key");
    std::string_view fields = head->reveal();
    std::string mark;
    std::uint64_t revision = 0;
    std::uint64_t count = 0;
    if (!take_text(fields, mark) || !take_u64(fields, revision) || !take_u64(fields, count))
        return damaged(path_, "its head is not ours");
    record r;
    for (std::size_t i = 1; i <= count; ++i) {
        const auto run = sealer_.open(next_line(), mark + place(i));
        if (!run) return damaged(path_, "it is damaged or cut short");
        for (std::string_view left = run->reveal(); !left.empty(); to(r))
            if (!take_record(left, r)) return damaged(path_, "a record is not readable");
    }
    return revision;
}

}  // namespace kw::store
