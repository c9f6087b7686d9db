// Segment files: preallocated under a temporary name, mapped, synced, removed.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "store/journal_log.hpp"

namespace kw::store {
namespace {

constexpr std::string_view magic = "KWJRNL2\n";
constexpr std::uint32_t resident_ahead = 512U << 10U;

std::string segment_path(const std::string& folder, const std::string& id, std::uint32_t number) {
    auto text = std::to_string(number);
    if (text.size() < 8) text.insert(0, 8 - text.size(), '0');
    return folder + "/" + id + "." + text + ".seg";
}

error unavailable(std::string_view what, const std::string& path, int code) {
    return error(errc::journal_unavailable,
                 std::string(what) + " " + path + ": " + errno_text(code), error_source::store);
}

char* map_file(int fd, std::uint32_t bytes) noexcept {
    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return at == MAP_FAILED ? nullptr : static_cast<char*>(at);
}

}  // namespace

journal_segment::journal_segment(std::string path, file fd, char* data, std::uint32_t size,
                                 std::uint32_t number) noexcept
    : path_(std::move(path)),
      fd_(std::move(fd)),
      data_(data),
      size_(size),
      mapped_(size),
      number_(number) {}

journal_segment::~journal_segment() {
    ::munmap(data_, mapped_);
}

result<std::shared_ptr<journal_segment>> journal_segment::create(const std::string& folder,
                                                                 const std::string& id,
                                                                 std::uint32_t number,
                                                                 std::uint32_t bytes) {
    const auto path = segment_path(folder, id, number);
    const auto temporary = path + ".tmp";
    file fd(::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return unavailable("cannot make", temporary, errno);
    const auto give_up = [&](std::string_view what, int code) {
        ::unlink(temporary.c_str());
        return unavailable(what, temporary, code);
    };
    // Real blocks, not a hole: a full disk shows here and never as a fault in a worker.
    if (const int code = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes)); code != 0)
        return give_up("cannot allocate", code);
    char* data = map_file(fd.get(), bytes);
    if (data == nullptr) return give_up("cannot map", errno);
    // The beginning is faulted in for writing now, on the keeper's thread, so that a worker does
    // not fault page by page while it starts; all of it would be most of an idle process's memory.
    // Older kernels do not know it; then the worker does.
    ::madvise(data, std::min(bytes, resident_ahead), MADV_POPULATE_WRITE);
    std::memcpy(data, magic.data(), magic.size());
    std::memcpy(data + magic.size(), id.data(), id.size());
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
        const int code = errno;
        ::munmap(data, bytes);
        return give_up("cannot rename", code);
    }
    return std::shared_ptr<journal_segment>(
        new journal_segment(path, std::move(fd), data, bytes, number));
}

result<std::shared_ptr<journal_segment>> journal_segment::open(const std::string& folder,
                                                               const std::string& id,
                                                               std::uint32_t number) {
    auto path = segment_path(folder, id, number);
    file fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    struct stat info{};
    if (!fd || ::fstat(fd.get(), &info) != 0) return unavailable("cannot open", path, errno);
    if (info.st_size < segment_head || info.st_size > (1LL << 30))
        return error(errc::invalid_argument, path + " has a wrong size", error_source::store);
    const auto size = static_cast<std::uint32_t>(info.st_size);
    char* data = map_file(fd.get(), size);
    if (data == nullptr) return unavailable("cannot map", path, errno);
    auto out = std::shared_ptr<journal_segment>(
        new journal_segment(std::move(path), std::move(fd), data, size, number));
    if (std::string_view(data, magic.size()) != magic ||
        std::string_view(data + magic.size(), id.size()) != id)
        return error(errc::invalid_argument, out->path_ + " is not a journal segment",
                     error_source::store);
    return out;
}

bool journal_segment::sync() noexcept {
    return ::fdatasync(fd_.get()) == 0;
}

bool journal_segment::sync_range(std::uint32_t offset, std::uint32_t bytes) noexcept {
    const auto page = static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE));
    const auto begin = offset / page * page;
    return ::msync(data_ + begin, offset + bytes - begin, MS_SYNC) == 0;
}

void journal_segment::truncate(std::uint32_t bytes) noexcept {
    if (bytes >= size_ || ::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) return;
    size_ = bytes;
}

// The kernel drops pages that are clean and no longer mapped; the others it keeps until it may.
void journal_segment::let_go() noexcept {
    ::madvise(data_, mapped_, MADV_DONTNEED);
    ::posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
}

void journal_segment::remove() noexcept {
    ::unlink(path_.c_str());
}

}  // namespace kw::store
