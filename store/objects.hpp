// Which upstream account holds an object (a file, a batch, a stored response, …) and which access
// key made it: learned from answers, asked for when the object's id comes back in a request.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace kw::store {

struct redis_options;

// Longer ids are not kept.
inline constexpr std::size_t max_object_id = 256;

struct object_binding {
    std::string id;
    std::string account;
    std::string owner;  // "" : everybody's
    std::chrono::seconds keep{};
    bool claim = false;  // only if nobody has it
};

struct object_place {
    bool known = false;
    std::string account;
    std::string owner;
    friend bool operator==(const object_place&, const object_place&) = default;
};

// What an access key owes for work whose cost is told later (a background response, a batch): kept
// from its order until it is in the books, so that whoever sees the cost first books it, once.
struct object_debt {
    std::string id;    // of the object
    std::string note;  // the caller's, at most max_debt_note bytes
    std::chrono::seconds keep{};
};
inline constexpr std::size_t max_debt_note = 4'096;

struct debt_claim {
    enum class outcome : std::uint8_t {
        unknown,   // nobody owes for it
        yours,     // to be booked now
        anothers,  // who has not paid yet; when its time is over it can be claimed again
        paid,      // it is in the books
    };
    outcome is = outcome::unknown;
    std::string note;  // of `yours`
};

// Calls block for at most the store's call timeout; one thread at a time. errc::store_unavailable.
class object_board {
  public:
    virtual ~object_board() = default;
    // In order; of one id, the later binding wins unless it only claims.
    virtual result<void> bind(std::span<const object_binding> all) = 0;
    // One for each id, in order. One round trip.
    virtual result<std::vector<object_place>> find(std::span<const std::string> ids) = 0;
    // Where an owner has made objects, the latest first; at most 64.
    virtual result<std::vector<std::string>> accounts_of(const std::string& owner) = 0;

    // The first note of an id stays, also when it is paid. Looked after (due) from `look` on.
    virtual result<void> owe(const object_debt& debt, std::chrono::seconds look) = 0;
    // At most one claimant at a time, for `length`; the same one may claim again.
    virtual result<debt_claim> claim(const std::string& id, const std::string& claimant,
                                     std::chrono::seconds length) = 0;
    // That it was paid is known for `keep`.
    virtual result<void> pay(const std::string& id, std::chrono::seconds keep) = 0;
    // Unpaid ones that it is time to look after, `keep` aside; each again only after `again`,
    // whoever asks.
    virtual result<std::vector<object_debt>> due(std::chrono::seconds again, std::size_t most) = 0;
};

// Of this process, in objects.db of the folder. At most `max_bound` ids; past it those go that
// would end first. The clock outlives it.
[[nodiscard]] result<std::unique_ptr<object_board>> open_embedded_objects(
    const std::string& data_dir, std::size_t max_bound, const clock_source& clock);
// The bound holds for each of 16,384 parts of the ids. errc::invalid_argument: a bad URL or CA
// file.
[[nodiscard]] result<std::unique_ptr<object_board>> open_redis_objects(const redis_options& options,
                                                                       std::size_t max_bound,
                                                                       const clock_source& clock);

// The board for event loops: its own thread asks it, many callers' questions in one go.
//
// Any thread may call; completions run exactly once, on the desk's thread, and must be short.
// Calls take effect in the order in which they were made.
class object_desk {
  public:
    explicit object_desk(std::unique_ptr<object_board> board);
    ~object_desk();  // what was asked before is answered first
    object_desk(const object_desk&) = delete;
    object_desk& operator=(const object_desk&) = delete;

    using found = std::function<void(result<std::vector<object_place>>)>;
    using listed = std::function<void(result<std::vector<std::string>>)>;
    using bound = std::function<void(bool)>;
    // Refused (store_unavailable, at once) while too many wait.
    void find(std::vector<std::string> ids, found done);
    void accounts_of(std::string owner, listed done);
    void bind(std::vector<object_binding> all, bound done);
    // Notes a debt, in the board or with who keeps it until that can be told. look: see the
    // board's.
    void owe(object_debt debt, std::chrono::seconds look, bound done);
    // Is asked on the desk's thread. Set before the first debt.
    void set_keeper(std::function<bool(const object_debt&)> keeper);
    // Anything else. False, and it is not run: too many wait.
    using work = std::function<void(object_board&)>;
    bool ask(work what);

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace kw::store
