// The store: what outlives a process and is shared by replicas. Records with revisions, the ledger
// with its aggregates, what is known of upstream keys. Two implementations (embedded SQLite, Redis)
// with one meaning; the rest of the program does not know which one it has.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/secret.hpp"
#include "store/key_news.hpp"
#include "store/ledger_batch.hpp"
#include "store/types.hpp"

namespace kw::store {

// Where a page begins: `cursor` is "" for the first, then the `next` of the page before.
struct page_request {
    std::size_t limit = 100;  // 1 … 10,000; others are brought into that range
    std::string cursor;
};

template <class T>
struct page {
    std::vector<T> items;
    std::string next;  // "": nothing follows
};

// One entry of the audit trail: what an operator did.
struct audit_entry {
    std::string id;  // sorts by time
    wall_time at{};
    std::string json;  // its content is the caller's
};

// One entry of the change feed. Only the latest change of a record is kept.
struct change {
    record after;  // json is "" if erased; revision is the change's
    bool erased = false;
    // write_all alone: written in the same atomic step as the change, and only if that succeeds.
    std::optional<audit_entry> trail = std::nullopt;
};

inline constexpr std::size_t feed_run = 10'000;  // changes told at once

struct changes {
    std::uint64_t revision = 0;  // pass it to the next call
    std::uint64_t server = 0;    // likewise: which of the servers that were met has answered
    bool reset = false;  // `items` is the whole set: forget everything known before (the store lost
                         // changes in a failover, or the caller asked from 0)
    bool more = false;   // call again at once
    std::vector<change> items;  // oldest first
};

struct usage_query {
    dimension by = dimension::all;
    std::optional<std::string> subject;  // none: every subject
    span length = span::day;
    wall_time from{};  // buckets that begin in [from, to); ignored for span::all
    wall_time to = wall_time::max();
    page_request page;  // ordered by bucket, then subject
};

struct record_filter {
    std::optional<std::string> access_key_id;
    std::optional<std::string> upstream_key_id;
    std::optional<std::string> model;  // as asked or as served
    std::uint16_t status_from = 0;     // inclusive
    std::uint16_t status_to = 999;     // inclusive
    wall_time from{};                  // `started` in [from, to)
    wall_time to = wall_time::max();
    page_request page;  // newest first; a page may be short and yet have a `next`
};

struct audit_query {
    wall_time from{};  // `at` in [from, to)
    wall_time to = wall_time::max();
    page_request page;  // newest first
};

struct store_health {
    bool up = true;
    wall_time since{};                    // of the last change of `up`
    std::chrono::microseconds latency{};  // of the last call that was answered
    std::uint64_t errors = 0;             // calls that failed for want of the store
    std::string reason;                   // why it is down, without secrets
};

// How long what is kept; months are kept for ever.
struct retention {
    std::chrono::hours hours{7 * 24};     // hour buckets
    std::chrono::hours days{400 * 24};    // day buckets
    std::chrono::hours records{30 * 24};  // the request log
    std::uint64_t max_records = 1'000'000;
    std::chrono::hours audit{365 * 24};  // the audit trail
    std::uint64_t max_audit = 100'000;
};

// Where replicas tell one another about upstream keys; a part of the store. Calls as there.
class key_board {
  public:
    virtual ~key_board() = default;
    // Adds and decides what a replica tells. Tell a batch that failed with store_unavailable again
    // under its number before any other: it counts once.
    virtual result<void> tell(const key_batch& news) = 0;
    // What changed after that position, oldest first; what this replica told is among it.
    virtual result<key_standings> standings_since(key_position at, std::size_t limit) = 0;
};

// Every call blocks for at most the store's call timeout (then errc::store_unavailable; at once
// while the breaker is open) and may be made from any thread but a worker: control, flush, feed.
// Calls never throw. A call that failed with store_unavailable may or may not have taken effect;
// put and erase are then seen through the feed, apply is idempotent.
class store : public key_board {
  public:
    ~store() override = default;
    store() = default;
    store(const store&) = delete;
    store& operator=(const store&) = delete;

    // --- records -------------------------------------------------------------------------------
    // Writes if the stored revision is `r.revision` (0: must not exist) and returns the new one.
    // errc::store_conflict otherwise; then `current` (if given) is the stored revision, 0 if none.
    virtual result<std::uint64_t> put(const record& r, std::uint64_t* current = nullptr) = 0;
    // errc::store_not_found.
    virtual result<record> get(std::string_view kind, std::string_view id) = 0;
    // Ordered by id.
    virtual result<page<record>> list(std::string_view kind, const page_request& at) = 0;
    // Like put; revision 0 erases whatever is there. errc::store_not_found, errc::store_conflict.
    virtual result<void> erase(std::string_view kind, std::string_view id,
                               std::uint64_t revision) = 0;
    // Many of these at the price of a few: each succeeds or fails by itself, in order, as put or
    // erase would (then with the change's own revision).
    virtual std::vector<result<std::uint64_t>> write_all(std::span<const change> writes) = 0;

    // --- change feed ---------------------------------------------------------------------------
    // What changed after `revision`; 0 asks for everything (no erased entries then). At most
    // `limit` items a call. `server`: who told the revision; after a failover another's changes may
    // have the numbers of some that it does not have, so all is told anew. 0: whoever it was.
    virtual result<changes> changes_since(std::uint64_t revision, std::size_t limit = feed_run,
                                          std::uint64_t server = 0) = 0;
    // Blocks until the store's revision is not `revision`, or `timeout` is over: true if it
    // changed. For one feed thread; interrupt_wait() ends it from any thread.
    virtual result<bool> wait_change(std::uint64_t revision, std::chrono::milliseconds timeout) = 0;
    virtual void interrupt_wait() noexcept = 0;

    // --- audit trail ---------------------------------------------------------------------------
    // Entries that come with no change of a record; all of them or none.
    virtual result<void> append_audit(std::span<const audit_entry> entries) = 0;
    virtual result<page<audit_entry>> list_audit(const audit_query& query) = 0;

    // --- ledger --------------------------------------------------------------------------------
    // Applies each batch in one atomic step, in the order given. Answers are in the same order; a
    // batch that is not the next of its (journal, shard) is not applied and says what is held.
    virtual result<std::vector<batch_status>> apply(std::span<const ledger_batch> batches) = 0;
    // The last number applied for each shard of a journal, 0 where none is known.
    virtual result<batch_numbers> applied_numbers(std::string_view journal) = 0;
    virtual result<page<aggregate>> usage(const usage_query& query) = 0;
    // errc::store_not_found.
    virtual result<ledger_record> find_record(std::string_view id) = 0;
    virtual result<page<ledger_record>> list_records(const record_filter& filter) = 0;
    // Removes what retention no longer keeps, a bounded amount a call; how many things it removed.
    // Call it every minute; again at once while it answers more than 0.
    virtual result<std::uint64_t> clean_up() = 0;

    // --- operation -----------------------------------------------------------------------------
    // What is wrong with the store's own settings, for a person; empty: nothing.
    virtual result<std::vector<std::string>> preflight() = 0;
    // Asks the store for a sign of life.
    virtual result<void> ping() = 0;
    [[nodiscard]] virtual store_health health() const = 0;
    // "embedded" or "redis".
    [[nodiscard]] virtual std::string_view name() const noexcept = 0;
};

struct embedded_options {
    std::string data_dir;  // keywheel.db is made in it; the folder is made with mode 0700
    retention keep;
};

// errc::invalid_argument: made by a newer release, or not a database; errc::store_unavailable:
// cannot be opened or written. The clock outlives the store.
[[nodiscard]] result<std::unique_ptr<store>> open_embedded(const embedded_options& options,
                                                           const clock_source& clock);

// What the addresses of the URL are.
enum class redis_mode : std::uint8_t { single, sentinel, cluster };

struct redis_options {
    // redis://[user[:password]@]host[:port][,host[:port]…][/db], rediss:// for TLS,
    // unix:///path[?db=n]
    secret url;
    redis_mode mode = redis_mode::single;
    std::string master_name = "mymaster";  // among Sentinels
    std::string sentinel_user;
    secret sentinel_password;
    std::string user;  // win over those in the url when not empty
    secret password;
    std::string ca_file;    // "": the system's
    std::string cert_file;  // "": none is shown
    std::string key_file;
    std::string tls_name;  // that certificates must bear; "": the address connected to
    bool verify = true;    // of the server's certificate
    std::string prefix = "kw:";
    std::string client_name = "keywheel";
    std::chrono::milliseconds connect_timeout{1'000};
    std::chrono::milliseconds call_timeout{1'000};
    std::chrono::milliseconds min_backoff{100};
    std::chrono::milliseconds max_backoff{3'000};
    retention keep;
    // Each record of the ledger becomes an event on its shard's stream; of all streams about so
    // many are kept. 0: no events.
    std::uint64_t max_events = 0;
};

// Connects when first used, so it succeeds with Redis down; errc::invalid_argument: a bad URL or
// a file of TLS that cannot be used. The clock outlives the store.
[[nodiscard]] result<std::unique_ptr<store>> open_redis(const redis_options& options,
                                                        const clock_source& clock);

}  // namespace kw::store
