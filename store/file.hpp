// Small owners of kernel things, for this folder's own use.
#pragma once

#include <unistd.h>

#include <string>
#include <system_error>
#include <utility>

namespace kw::store {

class file {
  public:
    file() = default;
    explicit file(int fd) noexcept : fd_(fd) {}
    file(file&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
    file& operator=(file&& o) noexcept {
        if (this != &o) reset(std::exchange(o.fd_, -1));
        return *this;
    }
    ~file() { reset(); }
    [[nodiscard]] int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }
    void reset(int fd = -1) noexcept {
        if (fd_ >= 0) ::close(fd_);
        fd_ = fd;
    }

  private:
    int fd_ = -1;
};

// Writes all of it, going on after EINTR; false with errno set.
[[nodiscard]] bool write_all(int fd, std::string_view bytes) noexcept;

// Makes a folder's entries durable.
[[nodiscard]] bool sync_folder(const std::string& path) noexcept;

[[nodiscard]] inline std::string errno_text(int code) {
    return std::generic_category().message(code);
}

}  // namespace kw::store
