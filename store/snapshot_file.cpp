// One sealed line for each run of records, bound to its place by the associated data; the first
// line says how many follow, so that a cut file is noticed.
#include "store/snapshot_file.hpp"

#include <charconv>

#include "store/binary.hpp"
#include "store/data_dir.hpp"

namespace kw::store {
namespace {

constexpr std::size_t line_target = 1U << 20U;
constexpr std::size_t max_file = std::size_t{4} << 30U;

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

result<void> snapshot_file::save(std::uint64_t revision, std::span<const record> records) {
    // A salt in every line's place: lines of two snapshots cannot be mixed.
    std::array<std::uint8_t, 16> salt{};
    crypto::random_bytes(salt);
    const auto mark = crypto::to_hex(salt);
    std::string lines;
    std::string run;
    std::size_t count = 0;
    const auto close_run = [&] {
        lines += sealer_.seal(secret(std::move(run)), mark + place(++count));
        lines += '\n';
        run.clear();
    };
    for (const auto& r : records) {
        put_record(run, r);
        if (run.size() >= line_target) close_run();
    }
    if (!run.empty()) close_run();
    std::string head;
    put_text(head, mark);
    put_u64(head, revision);
    put_u64(head, count);
    auto text = sealer_.seal(secret(std::move(head)), place(0)) + '\n';
    text += lines;
    return replace_file(path_, text);
}

result<snapshot> snapshot_file::load() const {
    const auto text = read_file(path_, max_file);
    if (!text) return text.error();
    std::string_view left = *text;
    const auto next_line = [&] {
        const auto end = left.find('\n');
        const auto line = left.substr(0, end);
        left.remove_prefix(end == std::string_view::npos ? left.size() : end + 1);
        return line;
    };
    const auto head = sealer_.open(next_line(), place(0));
    if (!head) return damaged(path_, "it is damaged, or sealed with another encryption key");
    std::string_view fields = head->reveal();
    std::string mark;
    std::uint64_t count = 0;
    snapshot out;
    if (!take_text(fields, mark) || !take_u64(fields, out.revision) || !take_u64(fields, count))
        return damaged(path_, "its head is not ours");
    for (std::size_t i = 1; i <= count; ++i) {
        const auto run = sealer_.open(next_line(), mark + place(i));
        if (!run) return damaged(path_, "it is damaged or cut short");
        for (std::string_view in = run->reveal(); !in.empty();)
            if (!take_record(in, out.records.emplace_back()))
                return damaged(path_, "a record is not readable");
    }
    return out;
}

}  // namespace kw::store
