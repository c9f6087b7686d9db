// The data directory: made safely, files replaced atomically, the encryption key that is made when
// none is configured.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.hpp"
#include "core/secret.hpp"
#include "store/file.hpp"

namespace kw::store {

// Makes the folder and its parents; a folder that is new gets mode 0700. errc::internal names the
// path and the reason.
[[nodiscard]] result<void> make_folder(const std::string& path);

// A file that is written in pieces and takes the old one's place at the end; mode 0600. Without
// commit() nothing has happened. The first failure is told by commit().
class file_replacement {
  public:
    // errc::internal: nothing can be written there.
    [[nodiscard]] static result<file_replacement> begin(const std::string& path);
    file_replacement(file_replacement&&) = default;
    file_replacement& operator=(file_replacement&&) = default;
    ~file_replacement();

    void append(std::string_view bytes);
    // Over what was appended first.
    void begin_with(std::string_view bytes);
    // Syncs, renames, syncs the folder.
    [[nodiscard]] result<void> commit();

  private:
    file_replacement(std::string path, file out) : path_(std::move(path)), out_(std::move(out)) {}
    [[nodiscard]] std::string temporary() const { return path_ + ".tmp"; }

    std::string path_;
    file out_;
    int failed_ = 0;  // errno
};

// Writes to a temporary file beside it, syncs, renames, syncs the folder. Mode 0600.
[[nodiscard]] result<void> replace_file(const std::string& path, std::string_view bytes);

// The whole file, at most `limit` bytes. errc::store_not_found: there is none.
[[nodiscard]] result<std::string> read_file(const std::string& path, std::size_t limit);

struct encryption_key {
    secret text;
    bool made = false;  // by this call: warn the operator to keep a copy
};

// Reads `encryption.key` in the data directory; makes it (mode 0600, 43 random characters) if it is
// absent. For the embedded store only: replicas must be given theirs. errc::invalid_argument: the
// file can be read by others, or is too short.
[[nodiscard]] result<encryption_key> load_or_make_encryption_key(const std::string& data_dir);

// The key in a file, as above. errc::store_not_found: there is none.
[[nodiscard]] result<secret> load_encryption_key(const std::string& path);
// Makes one there; one that is there already is that of a change which was not begun, and taken.
[[nodiscard]] result<secret> make_encryption_key(const std::string& path);
// Renames, and syncs the folder.
[[nodiscard]] result<void> move_file(const std::string& from, const std::string& to);

// What a process without privileges may still write there; 0 where it cannot be told.
[[nodiscard]] std::uint64_t free_bytes(const std::string& folder) noexcept;

}  // namespace kw::store
