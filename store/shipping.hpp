// The shipping of one journal, step by step and without a thread: read on, cut, send, trim.
// Internal to journal_shipper.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/clock.hpp"
#include "store/cut_file.hpp"
#include "store/journal_log.hpp"
#include "store/journal_shipper.hpp"
#include "store/store.hpp"

namespace kw::store {

class shipping {
  public:
    shipping(journal_log& log, const shipper_options& options);

    // Opens the cut file, books an earlier process' unfinished exchanges, reads up to the last cut.
    // Repeated until it succeeds; nothing else may be called before.
    [[nodiscard]] result<void> prepare();
    // Reads what was written and cuts it when there is enough, or it has waited long enough.
    [[nodiscard]] result<void> cut(mono_time now, bool force);
    // Sends the first cut that the store does not hold; false: there is none.
    [[nodiscard]] result<bool> send(store& to, mono_time now);
    // Compares our idea of what the store holds with what it says.
    [[nodiscard]] result<void> check(store& with, mono_time now);
    // Gives up segments confirmed long enough ago; true if the whole journal is gone.
    [[nodiscard]] result<bool> trim(mono_time now);

    [[nodiscard]] journal_log& log() noexcept { return log_; }
    // Whether everything before `target` was confirmed.
    [[nodiscard]] bool confirmed_up_to(journal_position target) const noexcept;
    void add_to(shipper_stats& stats, mono_time now) const;

  private:
    struct kept_cut {
        journal_cut cut;
        mono_time made{};
        std::optional<mono_time> confirmed;
        bool counted = false;  // among the confirmed records
    };
    struct open_start {
        journal_position begin = 0;
        std::string_view record;                  // in the mapped segment, or
        std::unique_ptr<const std::string> kept;  // of a segment that was let go
    };

    void follow(const journal_entry& entry);
    void own(open_start start);
    // Copies what lies in segments before this one: an exchange may go on for hours.
    void own_before(std::uint32_t segment);
    [[nodiscard]] journal_cut finish_growing();
    [[nodiscard]] result<void> fix(std::span<const journal_cut> made, mono_time now);
    // once: one batch for each record that counts once, whichever journals have it.
    [[nodiscard]] std::vector<ledger_batch> batches_of(const kept_cut& kept,
                                                       std::vector<ledger_batch>& once);
    void confirm(mono_time now);
    void held_is(std::size_t shard, std::uint64_t number);
    [[nodiscard]] result<void> save_open(std::uint32_t before_segment);

    journal_log& log_;
    const shipper_options& options_;
    cut_file file_;
    bool prepared_ = false;
    bool knows_held_ = false;
    mono_time checked_{};
    batch_numbers held_{};          // by the store, as far as we know
    std::deque<kept_cut> cuts_;     // oldest first, without gaps
    std::size_t next_ = 0;          // the first cut that may not be confirmed
    journal_position cut_to_ = 0;   // everything before lies in a cut
    journal_position read_to_ = 0;  // everything before has been followed
    journal_cut growing_;           // what has been followed since the last cut
    mono_time growing_since_{};
    // Exchanges without an end, by the id in their start's record.
    boost::unordered_flat_map<std::string_view, open_start> open_;
    std::uint32_t let_go_ = 0;  // segments before it
    bool open_file_ = false;
    std::uint64_t confirmed_records_ = 0;
    std::uint64_t shipped_ = 0;  // by this process
    std::uint64_t recovered_ = 0;
    std::uint64_t undecodable_ = 0;
    std::uint64_t lost_batches_ = 0;
};

}  // namespace kw::store
