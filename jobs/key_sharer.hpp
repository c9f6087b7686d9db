// Makes what this process learns of upstream keys known to the other replicas and to itself after a
// restart, and takes in what they learn: health, uses, tokens, what rate-limit headers said.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/ids.hpp"
#include "pool/finding.hpp"
#include "pool/health.hpp"
#include "pool/key_state.hpp"
#include "store/store.hpp"

namespace kw::jobs {

struct sharing_options {
    // Uses are told this often; 0: in each round. Findings are told in each round.
    std::chrono::milliseconds uses_every{0};
    bool peers = true;  // other processes write to the same store: it is read in each round
    // Bounds of one round; what does not fit goes with the next one, findings first.
    std::size_t in_one_batch = 250;
    std::size_t batches_in_a_round = 10;
    std::size_t in_one_read = 500;
    std::size_t reads_in_a_round = 10;
};

// Control thread. Tells only additions since the last telling and adds to the local counters only
// what others added, so each use counts once everywhere; see docs/adr/0007-keys-among-replicas.md.
class key_sharer {
  public:
    // Whether there is a record of this key: what is known of a key without one is forgotten.
    using key_exists = std::function<bool(const std::string& id)>;

    key_sharer(store::key_board& store, pool::state_table& states, pool::health& health,
               const clock_source& clock, random_source& random, key_exists exists,
               sharing_options options = {});

    // Call it a few times a second. At most two calls of the store when little has changed.
    void round();
    // A person's word or a passed test: it stands against what others found out before they knew.
    void decided(pool::slot_id slot);
    // Tells all that is left; false: not done in time.
    bool flush(std::chrono::milliseconds at_most);

  private:
    struct entry {
        std::string id;  // "" : no key in this slot
        pool::slot_id slot;
        std::uint64_t seen = 0;  // in which round
        store::key_sums shared;  // what the store has of the local counters
        std::int64_t day = 0;    // of the next two: likewise, of the day's
        std::int64_t day_uses = 0;
        std::int64_t day_tokens = 0;
        std::int64_t start_uses = 0;  // where the key began among others; until it is told
        std::int64_t start_tokens = 0;
        pool::finding known;          // what all know, as far as we know
        std::uint64_t knew = 0;       // its sequence in the store
        bool decided = false;         // since the last telling
        bool met = false;             // the store's standing was taken in
        std::int32_t left = 0;        // of the headers, as told or taken in
        std::int64_t reset = 0;       // mono ns
        std::int64_t left_until = 0;  // the store's mark of those taken in
    };
    // A round passes by all keys a few times a second: this is all that it looks at of those that
    // have nothing to tell.
    struct quiet_mark {
        std::uint64_t print = 0;  // of the state that had nothing to tell; 0: look closer
        pool::slot_id slot;
    };
    struct telling {
        store::key_news news;
        pool::slot_id slot;
        pool::finding found;
        std::int32_t left = 0;
        std::int64_t reset = 0;
    };

    void look();
    void begin(entry& e, pool::slot_id slot, const pool::key_state& s);
    [[nodiscard]] std::vector<telling> gather(bool uses_too);
    [[nodiscard]] telling describe(entry& e, const pool::key_state& s);
    bool tell(std::vector<telling> all);
    bool send();
    void confirm();
    bool read();
    void take(const store::key_standing& k);
    void take_finding(entry& e, const store::key_standing& k);
    void store_lost_some();
    [[nodiscard]] entry* find(pool::slot_id slot);
    void complain(const error& why);

    store::key_board& store_;
    pool::state_table& states_;
    pool::health& health_;
    const clock_source& clock_;
    const key_exists exists_;
    const sharing_options options_;
    const std::string replica_;
    std::vector<entry> entries_;        // by slot index
    std::vector<quiet_mark> quiet_;     // likewise
    std::vector<std::string> gone_;     // keys whose records were erased
    std::vector<telling> unconfirmed_;  // under number_; told before anything else
    std::uint64_t number_ = 0;
    std::uint64_t rounds_ = 0;
    std::uint64_t slots_seen_ = 0;  // state_table::changes() at the last look
    std::size_t next_told_ = 0;     // where the last round's tellings of uses ended
    store::key_position at_;
    bool joined_ = false;  // the store was read to its end once
    bool reread_ = false;  // there are keys whose standing is not known
    bool complained_ = false;
    bool malformed_ = false;
    std::int64_t day_ = 0;
    mono_time next_uses_{};
};

}  // namespace kw::jobs
