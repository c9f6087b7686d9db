// All access keys by their ids, each of them held once for everybody: lists, look-ups and the
// workers' table share the records.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "auth/access_key.hpp"
#include "auth/key_table.hpp"
#include "core/clock.hpp"
#include "core/error.hpp"
#include "store/types.hpp"

namespace kw::auth {

struct key_by_id {
    using is_transparent = void;
    bool operator()(const access_key_ptr& a, const access_key_ptr& b) const noexcept {
        return a->id < b->id;
    }
    bool operator()(const access_key_ptr& a, std::string_view b) const noexcept {
        return a->id < b;
    }
    bool operator()(std::string_view a, const access_key_ptr& b) const noexcept {
        return a < b->id;
    }
};

// Control thread; what it hands out as shared pointers any thread may read.
class key_book {
  public:
    using set = std::set<access_key_ptr, key_by_id>;

    // errc::invalid_argument: not readable; what was known of this id stays.
    result<void> take(const store::record& r);
    void drop(std::string_view id);
    void clear();
    // Of keys that name no limits.
    void set_default_limits(key_limits limits);

    [[nodiscard]] const set& all() const noexcept { return keys_; }
    // Valid until the next take, drop or clear. Null: none.
    [[nodiscard]] const access_key* find(std::string_view id) const;
    // Level with what was taken. Of two keys with one hash the one with the later id is found.
    [[nodiscard]] std::shared_ptr<const key_table> table();
    // Those whose time ended after `from` and not after `to`. Valid as find() is.
    [[nodiscard]] std::vector<const access_key*> expired_between(wall_time from,
                                                                 wall_time to) const;
    // The keys with limits that were taken, or given default ones, since the last call.
    [[nodiscard]] std::vector<access_key_ptr> take_limited() { return std::exchange(limited_, {}); }

  private:
    void put(const access_key_ptr& key);
    void expect_end(const access_key_ptr& key, bool expected);

    set keys_;
    std::set<std::pair<wall_time, const access_key*>> ends_;
    std::vector<access_key_ptr> limited_;
    common_parts common_;
    key_limits default_limits_;
    std::vector<key_change> changes_;  // since table_
    std::shared_ptr<const key_table> table_;
};

}  // namespace kw::auth
