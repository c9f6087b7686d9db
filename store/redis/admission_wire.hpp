// The steps of admission as Redis commands, and its answers read back. No sockets.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/clock.hpp"
#include "store/admission.hpp"
#include "store/ledger_batch.hpp"
#include "store/redis/admission_scripts.hpp"
#include "store/redis/connection.hpp"

namespace kw::store::redis {

// Answers of a peek that come one by one, perhaps from two threads.
struct gathering {
    std::vector<usage_answer> answers;
    std::atomic<std::size_t> missing{0};
    usage_completion done;
};

enum class step_kind : std::uint8_t {
    admit,
    book,  // let through by this replica's share
    settle,
    release,
    renew,
    peek,
    preload,
    forget,
    sweep,
    beat,
    leave,
};

// One command to Redis and one answer. Which members have a meaning depends on the kind.
struct step {
    step_kind is = step_kind::admit;
    bool bounded = true;
    std::string access_key_id;
    std::string ledger_id;
    std::shared_ptr<const limit_set> limits;  // of a preload: the one budget
    amounts amount;                           // of a preload: in `requests`
    std::chrono::milliseconds ttl{0};
    std::vector<std::string> ids;  // renew
    std::size_t shard = 0;         // sweep
    admit_completion decided;
    std::shared_ptr<gathering> peeked;
    std::size_t place = 0;  // in `peeked`
    mono_time deadline = mono_time::max();
    std::uint64_t turn = 0;  // its number among those of the home; 0: none yet
};

// Where the keys of steps lie: the shards of the ledger, and what belongs to none, {m}.
inline constexpr std::size_t step_places = shard_count + 1;
[[nodiscard]] std::size_t place_of(const step& s) noexcept;
// The hash tag of such a place as a key, for a Cluster.
[[nodiscard]] std::string tag_of(std::size_t step_place);

[[nodiscard]] step step_of(step_kind is, const lease_ref& which);
[[nodiscard]] step step_of(step_kind is, const admit_request& request);

inline constexpr std::size_t sweep_keys = 32;             // access keys that one sweep looks at
inline constexpr std::size_t max_renewed = 500;           // by one step
inline constexpr std::chrono::seconds replica_alive{10};  // after its last beat

class admission_wire {
  public:
    admission_wire(std::string prefix, const admission_options& options, std::string replica_id);

    // SCRIPT LOAD of every script; its answers to learn(), which is false if one is an error.
    void load(pipeline& to) const;
    [[nodiscard]] bool learn(const std::vector<reply>& loaded);

    // `now_ms`: Redis' time, as well as it is known: it decides which periods Redis may choose
    // from.
    void encode(const step& s, std::int64_t now_ms, pipeline& to);
    // None if the answer is not what a script says.
    [[nodiscard]] static bool read(const reply& from, const limit_set& limits, admit_answer& to,
                                   std::int64_t& leases);

  private:
    struct words;
    // What the commands of one access key have in common, encoded once: most of their bytes.
    struct frame {
        std::shared_ptr<const limit_set> limits;
        // Redis' time: the periods of the limits are right from and until.
        std::int64_t from_ms = 0;
        std::int64_t until_ms = 0;
        std::string keys;    // the names of its hash, its set and the shard's set
        std::string bounds;  // of the limits
        std::string names;   // of the limits
    };
    static constexpr std::size_t max_frames = 4'096;

    frame& frame_of(const step& s, std::int64_t now_ms);
    void encode_admit(const step& s, std::int64_t now_ms, pipeline& to);
    void encode_end(const step& s, std::int64_t now_ms, pipeline& to);

    const std::string prefix_;
    const admission_options options_;
    const std::string replica_id_;
    std::array<std::string, 6> hashes_;
    std::unordered_map<std::string, frame> frames_;  // by access key
};

}  // namespace kw::store::redis
