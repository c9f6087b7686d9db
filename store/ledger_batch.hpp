// Batches of ledger records: what the journal's shipper hands to a store, how records are divided
// into shards, and the sums that go with them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/types.hpp"

namespace kw::store {

// Fixed when a store is made: everything that belongs to one access key lies in one shard.
inline constexpr std::size_t shard_count = 16;

// FNV-1a of the id, modulo shard_count. Never change it: stored data depends on it.
[[nodiscard]] std::size_t shard_of(std::string_view access_key_id) noexcept;

// The id of a record of what an exchange has made and what cost something later (a background
// response, a batch). Such a record may be written by several processes, with the same access key
// in each: the first one counts. It counts no request.
[[nodiscard]] std::string late_id(std::string_view exchange_id);
[[nodiscard]] bool is_late(std::string_view record_id) noexcept;

using batch_numbers = std::array<std::uint64_t, shard_count>;

// Numbers of one (journal, shard) count up from 1 without gaps; the bytes behind a number never
// change, so a batch may be sent any number of times and counts once.
struct ledger_batch {
    std::string journal;
    std::size_t shard = 0;
    std::uint64_t number = 0;
    // The store must hold this number: number - 1, or less where batches were confirmed, then lost
    // in a failover, and are no longer in the journal.
    std::uint64_t after = 0;
    // Records as encode() wrote them, in memory that outlives the batch, and read from there.
    std::vector<std::string_view> encoded;
    std::vector<ledger_record_view> records;  // as many
    std::vector<aggregate> sums;              // sum_records(records)
};

struct batch_status {
    bool applied = false;    // by this call
    std::uint64_t held = 0;  // the number that the store holds now; >= the batch's: it is counted
};

// The subject, in dimension::access_key, of records that are the operator's cost. Such a record
// counts its tokens and cost, but no request and no error.
inline constexpr std::string_view operator_subject = "#operator";

// One aggregate for each dimension, subject, span and bucket that the records touch, in a fixed
// order. Over the subjects of any dimension the sums are equal. Counts of one record are clamped to
// 10^12 tokens and 10^15 nano-dollars, so that no sum overflows.
[[nodiscard]] std::vector<aggregate> sum_records(std::span<const ledger_record_view> records);

// "2026-11-21T05", "2026-11-21", "2026-11", "all"; UTC.
[[nodiscard]] std::string bucket_name(span length, wall_time at);
// When that bucket began, and when the next one does; the epoch for span::all.
[[nodiscard]] wall_time bucket_begin(span length, wall_time at) noexcept;
[[nodiscard]] wall_time bucket_next(span length, wall_time at) noexcept;

}  // namespace kw::store
