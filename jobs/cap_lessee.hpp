// Leases this process' part of the caps of upstream keys, so that selection can spend it without
// asking anybody, and gives back what it does not need when others are short of it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/clock.hpp"
#include "core/ids.hpp"
#include "pool/key_state.hpp"
#include "pool/upstream_key.hpp"
#include "store/caps.hpp"

namespace kw::jobs {

struct lessee_options {
    // A replica that was not heard of for so long has ended: its part is free.
    std::chrono::milliseconds lease{10'000};
    std::size_t in_one_ask = 100;
    std::size_t asks_in_a_round = 20;
};

// Control thread.
class cap_lessee {
  public:
    // Tokens of a key in the books of today.
    using day_tokens = std::function<std::int64_t(const std::string& key_id)>;

    cap_lessee(store::cap_board& board, pool::state_table& states, const clock_source& clock,
               random_source& random, day_tokens spent_today, lessee_options options = {});

    // The keys that there are now, with their caps; after each new view of the pool.
    void begin_keys();
    void see_key(const std::string& id, const pool::key_caps& caps);
    void end_keys();
    // Call it a few times a second. One call of the board when nothing has changed.
    void round();
    // All that is held is free again; nothing more is spent.
    void leave();

  private:
    struct share {
        std::int64_t cap = 0;   // 0: none
        std::int64_t held = 0;  // by the board's last answer, with what was added while it was away
        std::int64_t free = 0;  // of the cap, likewise
        std::int64_t pace = 0;  // used in a round, lately
        std::int64_t target = 0;  // of `concurrent`: what may be taken of what is held
        bool asked = false;       // the board knows of it
        bool contested = false;
        bool short_of = false;  // lately
        mono_time short_at{};
        mono_time next_ask{};    // of one that did not get what it wanted
        mono_time next_look{};   // what is free may have changed since the last answer
        mono_time next_alone{};  // with the board away: the next grant to ourselves
    };
    struct entry {
        pool::slot_id slot;
        pool::key_caps caps;
        std::uint64_t seen = 0;
        std::array<share, store::cap_units> shares;
    };
    void set_caps(entry& e);
    void consider(const std::string& id, entry& e, std::vector<store::cap_ask>& asks);
    void consider_permits(const std::string& id, entry& e, pool::key_state& s,
                          std::vector<store::cap_ask>& asks);
    void consider_amount(const std::string& id, entry& e, pool::key_state& s, store::cap_unit unit,
                         std::vector<store::cap_ask>& asks);
    [[nodiscard]] std::int64_t fair_part(const std::string& id, std::int64_t cap) const;
    bool ask(std::vector<store::cap_ask> asks);
    void take(const store::cap_ask& ask, const store::cap_answer& answer);
    void go_on_alone();

    store::cap_board& board_;
    pool::state_table& states_;
    const clock_source& clock_;
    const day_tokens spent_today_;
    const lessee_options options_;
    const std::string replica_;
    std::unordered_map<std::string, entry> keys_;
    std::vector<std::string> order_;  // of keys_
    std::size_t from_ = 0;            // where a round begins, when not all fit into one
    std::uint64_t seen_ = 0;
    std::uint32_t replicas_ = 1;
    std::uint32_t rank_ = 0;
    std::vector<std::pair<std::string, store::cap_unit>> contested_;
    bool known_ = false;  // the board has answered
    mono_time last_answer_{};
};

}  // namespace kw::jobs
