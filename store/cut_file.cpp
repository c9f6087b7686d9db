// Fixed-size lines of a cut, each with its checksum.
#include "store/cut_file.hpp"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "core/crc32c.hpp"
#include "store/data_dir.hpp"

namespace kw::store {
namespace {

constexpr std::uint64_t compact_above = 1U << 20U;

struct line {
    journal_position from, to;
    std::uint64_t numbers[shard_count];
    std::uint32_t shards, records, unused, crc;
};
static_assert(sizeof(line) == 16 + 8 * shard_count + 16, "no padding in the file");

std::uint32_t crc_of(const line& l) noexcept {
    return crc32c({reinterpret_cast<const char*>(&l), sizeof l - sizeof l.crc});
}

std::string_view bytes_of(const line& l) noexcept {
    return {reinterpret_cast<const char*>(&l), sizeof l};
}

line line_of(const journal_cut& cut) noexcept {
    line l{};
    l.from = cut.from;
    l.to = cut.to;
    std::copy(cut.numbers.begin(), cut.numbers.end(), l.numbers);
    l.shards = cut.shards;
    l.records = cut.records;
    l.crc = crc_of(l);
    return l;
}

error failed(const std::string& path) {
    return error(errc::journal_unavailable, "cannot write " + path + ": " + errno_text(errno),
                 error_source::store);
}

}  // namespace

result<std::deque<journal_cut>> cut_file::load() {
    fd_ = file(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd_) return failed(path_);
    std::deque<journal_cut> cuts;
    size_ = 0;
    for (line l{}; ::pread(fd_.get(), &l, sizeof l, static_cast<off_t>(size_)) == sizeof l;) {
        if (l.crc != crc_of(l)) break;
        auto& cut = cuts.emplace_back();
        cut.from = l.from;
        cut.to = l.to;
        std::copy(std::begin(l.numbers), std::end(l.numbers), cut.numbers.begin());
        cut.shards = l.shards;
        cut.records = l.records;
        size_ += sizeof l;
    }
    return cuts;
}

result<void> cut_file::append(std::span<const journal_cut> cuts, bool sync) {
    std::vector<line> lines;
    for (const auto& cut : cuts)
        lines.push_back(line_of(cut));
    const auto bytes = lines.size() * sizeof(line);
    // At our own offset: what a failed write left behind is written over.
    if (::pwrite(fd_.get(), lines.data(), bytes, static_cast<off_t>(size_)) !=
            static_cast<ssize_t>(bytes) ||
        (sync && ::fdatasync(fd_.get()) != 0))
        return failed(path_);
    size_ += bytes;
    return {};
}

result<void> cut_file::compact(const std::deque<journal_cut>& keep) {
    if (size_ < compact_above || keep.size() * sizeof(line) * 2 > size_) return {};
    std::string text;
    for (const auto& cut : keep)
        text += bytes_of(line_of(cut));
    if (auto replaced = replace_file(path_, text); !replaced) return replaced;
    fd_ = file(::open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!fd_) return failed(path_);
    size_ = text.size();
    return {};
}

}  // namespace kw::store
