// The inside of a backup: named items in pieces; for this folder's own use.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "store/backup.hpp"
#include "store/sealed_file.hpp"

namespace kw::store {

// One thread.
class backup_writer {
  public:
    [[nodiscard]] static result<backup_writer> begin(const std::string& path,
                                                     const crypto::sealer& sealer,
                                                     const backup_head& head);
    // Of an item, in order; `last` ends it. Pieces of any size.
    void add(std::string_view item, std::string_view bytes, bool last);
    // The file takes its place and is read again.
    [[nodiscard]] result<backup_summary> commit();

  private:
    backup_writer(sealed_file_writer out, std::string path, const crypto::sealer& sealer)
        : out_(std::move(out)), path_(std::move(path)), sealer_(&sealer) {}

    sealed_file_writer out_;
    std::string path_;
    const crypto::sealer* sealer_;
    std::string run_;
};

struct backup_piece {
    std::string item;
    std::string bytes;
    bool last = false;
};

// One thread.
class backup_reader {
  public:
    // Errors as check_backup's.
    [[nodiscard]] static result<backup_reader> open(const std::string& path,
                                                    const crypto::sealer& sealer);
    [[nodiscard]] const backup_head& head() const noexcept { return head_; }
    // false: that was all.
    [[nodiscard]] result<bool> next(backup_piece& piece);

  private:
    backup_reader(sealed_file_reader in, std::string path)
        : in_(std::move(in)), path_(std::move(path)) {}

    sealed_file_reader in_;
    std::string path_;
    backup_head head_;
    std::string run_;
    std::size_t at_ = 0;
};

}  // namespace kw::store
