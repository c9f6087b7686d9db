// Folders, atomic files and the encryption key.
#include "store/data_dir.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <array>
#include <cerrno>
#include <filesystem>

#include "core/crypto.hpp"

namespace kw::store {
namespace {

constexpr std::size_t min_key_length = 32;

error failed(std::string_view what, const std::string& path, int code) {
    return error(errc::internal, std::string(what) + " " + path + ": " + errno_text(code),
                 error_source::store);
}

std::string parent_of(const std::string& path) {
    const auto parent = std::filesystem::path(path).parent_path().string();
    return parent.empty() ? "." : parent;
}

}  // namespace

bool write_all(int fd, std::string_view bytes) noexcept {
    while (!bytes.empty()) {
        const auto n = ::write(fd, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

bool sync_folder(const std::string& path) noexcept {
    const file folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return folder && ::fsync(folder.get()) == 0;
}

result<void> make_folder(const std::string& path) {
    std::error_code ec;
    if (const auto parent = parent_of(path); parent != ".") {
        std::filesystem::create_directories(parent, ec);
        if (ec) return failed("cannot make folder", parent, ec.value());
    }
    if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) {
        if (std::filesystem::is_directory(path, ec)) return {};
        return failed("is not a folder:", path, ENOTDIR);
    }
    return failed("cannot make folder", path, errno);
}

result<file_replacement> file_replacement::begin(const std::string& path) {
    const auto temporary = path + ".tmp";
    ::unlink(temporary.c_str());
    file out(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!out) return failed("cannot make", temporary, errno);
    return file_replacement(path, std::move(out));
}

file_replacement::~file_replacement() {
    if (out_) ::unlink(temporary().c_str());
}

void file_replacement::append(std::string_view bytes) {
    if (failed_ == 0 && !write_all(out_.get(), bytes)) failed_ = errno;
}

void file_replacement::begin_with(std::string_view bytes) {
    if (failed_ == 0 && (::lseek(out_.get(), 0, SEEK_SET) != 0 || !write_all(out_.get(), bytes)))
        failed_ = errno;
}

result<void> file_replacement::commit() {
    if (failed_ == 0 && ::fsync(out_.get()) != 0) failed_ = errno;
    if (failed_ != 0) return failed("cannot write", temporary(), failed_);
    if (::rename(temporary().c_str(), path_.c_str()) != 0)
        return failed("cannot replace", path_, errno);
    out_.reset();
    if (!sync_folder(parent_of(path_))) return failed("cannot sync the folder of", path_, errno);
    return {};
}

result<void> replace_file(const std::string& path, std::string_view bytes) {
    auto out = file_replacement::begin(path);
    if (!out) return out.error();
    out->append(bytes);
    return out->commit();
}

result<std::string> read_file(const std::string& path, std::size_t limit) {
    const file in(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!in) {
        if (errno == ENOENT)
            return error(errc::store_not_found, "there is no " + path, error_source::store);
        return failed("cannot open", path, errno);
    }
    std::string text;
    struct stat info{};
    if (::fstat(in.get(), &info) == 0 && info.st_size > 0)
        text.reserve(std::min(static_cast<std::size_t>(info.st_size), limit));
    std::array<char, 65536> buffer;
    for (;;) {
        const auto n = ::read(in.get(), buffer.data(), buffer.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return failed("cannot read", path, errno);
        if (n == 0) return text;
        if (text.size() + static_cast<std::size_t>(n) > limit)
            return failed("is too large:", path, EFBIG);
        text.append(buffer.data(), static_cast<std::size_t>(n));
    }
}

result<secret> load_encryption_key(const std::string& path) {
    struct stat info{};
    if (::stat(path.c_str(), &info) == 0 && (info.st_mode & 077U) != 0)
        return error(errc::invalid_argument, path + " can be read by others: set its mode to 0600",
                     error_source::store);
    auto text = read_file(path, 4096);
    if (!text) return text.error();
    while (!text->empty() && (text->back() == '\n' || text->back() == '\r'))
        text->pop_back();
    if (text->size() < min_key_length)
        return error(errc::invalid_argument,
                     path + " is too short: it must hold 32 characters or more",
                     error_source::store);
    return secret(std::move(*text));
}

result<secret> make_encryption_key(const std::string& path) {
    auto there = load_encryption_key(path);
    if (there || there.error().code != errc::store_not_found) return there;
    std::array<std::uint8_t, 32> bytes{};
    crypto::random_bytes(bytes);
    secret text(crypto::to_base64url(bytes));
    if (auto written = replace_file(path, text.reveal()); !written) return written.error();
    return text;
}

result<void> move_file(const std::string& from, const std::string& to) {
    if (::rename(from.c_str(), to.c_str()) != 0) return failed("cannot rename", from, errno);
    if (!sync_folder(parent_of(to))) return failed("cannot sync the folder of", to, errno);
    return {};
}

result<encryption_key> load_or_make_encryption_key(const std::string& data_dir) {
    const auto path = data_dir + "/encryption.key";
    auto there = load_encryption_key(path);
    if (there) return encryption_key{std::move(*there), false};
    if (there.error().code != errc::store_not_found) return there.error();
    if (auto made = make_folder(data_dir); !made) return made.error();
    auto text = make_encryption_key(path);
    if (!text) return text.error();
    return encryption_key{std::move(*text), true};
}

std::uint64_t free_bytes(const std::string& folder) noexcept {
    struct statvfs of{};
    if (::statvfs(folder.c_str(), &of) != 0) return 0;
    return std::uint64_t{of.f_bavail} * of.f_frsize;
}

}  // namespace kw::store
