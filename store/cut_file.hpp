// Where a journal was cut into batches, and which numbers they got: durable before anything of a
// cut is sent, so that after a restart the same bytes go out under the same numbers.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>

#include "core/error.hpp"
#include "store/file.hpp"
#include "store/journal_log.hpp"
#include "store/ledger_batch.hpp"

namespace kw::store {

// The end entries in [from, to), divided by shard; shards with none have no bit in the mask.
struct journal_cut {
    journal_position from = 0;
    journal_position to = 0;
    batch_numbers numbers{};  // the last number of each shard, this cut included
    std::uint32_t shards = 0;
    std::uint32_t records = 0;

    [[nodiscard]] bool has(std::size_t shard) const noexcept { return (shards >> shard & 1U) != 0; }
};

class cut_file {
  public:
    explicit cut_file(std::string path) : path_(std::move(path)) {}

    // Every whole cut that is kept; a torn last one was never sent and is dropped.
    [[nodiscard]] result<std::deque<journal_cut>> load();
    // All of them or none.
    [[nodiscard]] result<void> append(std::span<const journal_cut> cuts, bool sync);
    // Drops all but these once the file has grown large.
    [[nodiscard]] result<void> compact(const std::deque<journal_cut>& keep);

  private:
    std::string path_;
    file fd_;
    std::uint64_t size_ = 0;
};

}  // namespace kw::store
