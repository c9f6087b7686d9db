// A file of sealed lines, each bound to its place, the first of which says how many follow: what is
// damaged, cut short or mixed of two files does not open.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>

#include "core/crypto.hpp"
#include "core/error.hpp"
#include "store/data_dir.hpp"

namespace kw::store {

// One thread. The sealer outlives it; without commit() nothing has happened.
class sealed_file_writer {
  public:
    // label: what kind of file it is, a part of every line's place. errc::internal: nothing can be
    // written there.
    [[nodiscard]] static result<sealed_file_writer> begin(const std::string& path,
                                                          const crypto::sealer& sealer,
                                                          std::string label, std::string head);
    // One line; some megabytes at most, as both ends hold a whole one.
    void add(std::string run);
    [[nodiscard]] std::uint64_t lines() const noexcept { return count_; }
    // The file takes its place, synced. errc::internal: could not be written.
    [[nodiscard]] result<void> commit();

  private:
    sealed_file_writer(file_replacement out, const crypto::sealer& sealer, std::string label,
                       std::string head);
    [[nodiscard]] std::string first_line() const;

    file_replacement out_;
    const crypto::sealer* sealer_;
    std::string label_;
    std::string head_;
    std::string mark_;  // of this file: lines of two files cannot be mixed
    std::uint64_t count_ = 0;
};

// One thread. The sealer outlives it.
class sealed_file_reader {
  public:
    // errc::store_not_found: there is none. errc::invalid_argument: sealed with a master key that
    // is not known, damaged, or of another kind.
    [[nodiscard]] static result<sealed_file_reader> open(const std::string& path,
                                                         const crypto::sealer& sealer,
                                                         std::string label);
    [[nodiscard]] const std::string& head() const noexcept { return head_; }
    // The next line; false: that was all. errc::invalid_argument: damaged or cut short; whatever
    // came before is void then.
    [[nodiscard]] result<bool> next(std::string& run);

  private:
    sealed_file_reader(std::string path, const crypto::sealer& sealer, std::string label)
        : path_(std::move(path)), sealer_(&sealer), label_(std::move(label)) {}
    [[nodiscard]] std::string_view line();

    std::string path_;
    const crypto::sealer* sealer_;
    std::string label_;
    std::ifstream in_;
    std::string line_;
    std::string head_;
    std::string mark_;
    std::uint64_t count_ = 0;
    std::uint64_t read_ = 0;
};

}  // namespace kw::store
