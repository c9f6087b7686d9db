// The immutable snapshot of the pool: groups in tier order, their keys in id order with their
// slots, and for each set of models the lanes that selection walks.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pool/key_state.hpp"
#include "pool/upstream_key.hpp"

namespace kw::pool {

using key_ptr = std::shared_ptr<const upstream_key>;
using group_ptr = std::shared_ptr<const group>;

// A key as selection sees it: 32 bytes.
struct candidate {
    key_state* state = nullptr;
    float weight = 1;          // of the key, 1 is normal
    float inv_weight = 1;      // 1 / weight
    bool capped = false;       // see key_state::permits
    std::uint32_t member = 0;  // index into group_view::keys
    slot_id slot;
};

// The keys of a group that serve the same models, in id order. Shared by all workers.
struct lane {
    std::vector<candidate> keys;
    std::vector<double> weight_sums;  // running sums; empty when all weights are equal
    // Round-robin: each key as often as its weight asks, spread evenly; equal weights give the
    // plain ring in id order. Ticket t stands for schedule[(offset + t - base) % size].
    std::vector<std::uint32_t> schedule;
    ring_cursor* cursor = nullptr;
    std::uint64_t base = 0;
    std::uint64_t offset = 0;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> by_slot;  // index, where in keys

    // Null: it is not of this lane.
    [[nodiscard]] const candidate* find(std::uint32_t slot) const noexcept;
};

struct member {
    key_ptr key;
    slot_id slot;
    std::uint32_t pattern_class = 0;
};

// One group with its keys. Lanes stay once they are made: those that are likely to be asked for
// with the view, others on first need under a lock.
class group_view {
  public:
    group_view(group_ptr g, std::vector<member> members, state_table& states);

    [[nodiscard]] const group& settings() const noexcept { return *group_; }
    [[nodiscard]] const group_ptr& settings_ptr() const noexcept { return group_; }
    [[nodiscard]] std::span<const member> keys() const noexcept { return members_; }
    // The keys that serve this model; null: none. Locks: call once per model and keep the answer.
    [[nodiscard]] const lane* lane_for(std::string_view model) const;
    [[nodiscard]] const member* find(std::string_view key_id) const noexcept;
    // Makes the lanes that the view before this one had, so that no worker has to. Control thread.
    void prepare(const group_view* before) const;

  private:
    struct made_lane {
        std::vector<bool> serves;  // by class
        std::string model;         // that was asked for first
        std::unique_ptr<lane> keys;
    };
    group_ptr group_;
    std::vector<member> members_;                            // by id
    std::vector<std::vector<std::string>> pattern_classes_;  // distinct lists of patterns
    state_table& states_;
    mutable std::mutex mutex_;
    mutable std::vector<made_lane> lanes_;
};

// A key as an account names it.
struct account_member {
    const group_view* tier = nullptr;
    std::uint32_t key = 0;  // index into tier->keys()
};

// What workers hold. Keep it (shared_ptr) while pointers from it are in use, or copy the few
// shared_ptrs that an exchange needs.
class pool_view {
  public:
    [[nodiscard]] std::span<const std::unique_ptr<group_view>> groups() const noexcept {
        return groups_;
    }
    // By priority, then id.
    [[nodiscard]] const group_view* find_group(std::string_view id) const noexcept;
    // Different for every view of a process; a selector's caches go by it.
    [[nodiscard]] std::uint64_t version() const noexcept { return version_; }
    [[nodiscard]] std::size_t key_count() const noexcept { return key_count_; }
    // Whether a group has a policy of its own that is not off.
    [[nodiscard]] bool has_sessions() const noexcept { return has_sessions_; }

  private:
    friend std::shared_ptr<const pool_view> build(std::vector<group_ptr>, std::vector<key_ptr>,
                                                  state_table&, const pool_view*);
    std::vector<std::unique_ptr<group_view>> groups_;
    std::uint64_t version_ = 0;
    std::size_t key_count_ = 0;
    bool has_sessions_ = false;
};

// What the provider says is left of a key, worth in tokens; unknown_amount: nothing, then the
// configured quota counts. Control thread.
void set_told_quota(key_state& s, const upstream_key& key, std::int64_t left) noexcept;

// Control thread. Gives each key its slot (a key that joins others starts at their median), sets
// disabled and banned ones by their record, frees the slots of keys that are gone. A key whose
// group does not exist is left out. Records that did not change should be passed on as the same
// pointers. `before`: the view that this one replaces; its lanes are made here too.
[[nodiscard]] std::shared_ptr<const pool_view> build(std::vector<group_ptr> groups,
                                                     std::vector<key_ptr> keys, state_table& states,
                                                     const pool_view* before = nullptr);
[[nodiscard]] std::shared_ptr<const pool_view> build(std::vector<group> groups,
                                                     std::vector<upstream_key> keys,
                                                     state_table& states);

}  // namespace kw::pool
