// Which master key seals what the store holds, and how another one takes over: the record by which
// all replicas agree, their answers, and the sealing anew of one record.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/crypto.hpp"
#include "core/error.hpp"
#include "store/types.hpp"

namespace kw::auth {

inline constexpr std::string_view master_key_kind = "master_key";
inline constexpr std::string_view master_key_id = "current";
inline constexpr std::string_view master_key_answer_kind = "master_key_answer";

enum class takeover_state : std::uint8_t {
    none,       // there was none yet
    asking,     // whether every replica has the new key; nothing has changed
    resealing,  // the new key seals; what is left of the old one's is sealed anew
    done,
    refused,  // nothing has changed
};
[[nodiscard]] std::string_view to_string(takeover_state s) noexcept;

// The takeover that goes on, or was the last. Holds ids of master keys, never a key.
struct takeover {
    takeover_state state = takeover_state::none;
    std::string from;
    std::string to;
    std::string ask;          // names the question; answers repeat it
    std::string reason;       // of a refusal
    std::uint64_t total = 0;  // records that were the old key's when it began
    wall_time started{};
    wall_time ended{};  // of `done` and `refused`

    // The key that seals; "" while there was no takeover.
    [[nodiscard]] const std::string& seals() const noexcept {
        return state == takeover_state::resealing || state == takeover_state::done ? to : from;
    }
};
[[nodiscard]] std::string to_json(const takeover& t);
[[nodiscard]] result<takeover> takeover_from(const store::record& r);

// What a replica says to a question.
struct master_key_answer {
    std::string ask;
    std::string replica;  // for a person
    bool knows = false;
};
// With revision 0; `id` is the replica's own.
[[nodiscard]] store::record to_record(const master_key_answer& a, std::string_view id);
[[nodiscard]] result<master_key_answer> answer_from(const store::record& r);

// The kinds of records that may hold a sealed text.
inline constexpr std::string_view sealed_kinds[] = {"upstream_key", "group", "setting",
                                                    "notification_channel"};
// The id of the master key that sealed the record's secret; "" if it holds none.
[[nodiscard]] std::string_view sealed_by(const store::record& r) noexcept;
// The same record, sealed by the key that seals. errc::invalid_argument: it does not open.
[[nodiscard]] result<store::record> sealed_anew(const store::record& r, const crypto::sealer& with);

// Whether a process with these keys can work on what the store holds: errc::invalid_argument says
// what to do. `find` and `of_kind` look into the store's records.
struct stored_records {
    std::function<const store::record*(std::string_view kind, std::string_view id)> find;
    std::function<std::vector<const store::record*>(std::string_view kind)> of_kind;
};
[[nodiscard]] result<void> check_master_keys(const stored_records& stored,
                                             const crypto::sealer& keys);

struct takeover_progress {
    takeover last;
    std::string active;              // the key that seals
    std::vector<std::string> known;  // to this process
    std::size_t sealed = 0;          // records with a sealed text
    std::size_t remaining = 0;       // of these, another known key's
    std::size_t unreadable = 0;      // of these, no known key opens
};

// Begins takeovers and tells how far the last one is. Control thread.
class master_key_keeper {
  public:
    virtual ~master_key_keeper() = default;
    // errc::invalid_argument: there is no other key to take over; errc::store_conflict: one goes
    // on already.
    virtual result<void> begin() = 0;
    [[nodiscard]] virtual takeover_progress progress() const = 0;
};

}  // namespace kw::auth
