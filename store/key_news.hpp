// What replicas tell one another about upstream keys: how much each was used, and what was found
// out about its health. The store adds up the uses and decides between findings; what a finding
// says is the pool's own text.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kw::store {

// Uses of a key, of all replicas and all time.
struct key_sums {
    std::int64_t uses = 0;
    std::int64_t successes = 0;
    std::int64_t failures = 0;
    std::int64_t tokens = 0;
    friend bool operator==(const key_sums&, const key_sums&) = default;
};

// A change of a key's health. Lengths of time count from the telling, by the store's own clock, so
// that replicas whose clocks differ mean the same.
struct key_finding {
    std::string text;  // at most 100 bytes
    // How long it holds; none: until another one.
    std::optional<std::chrono::milliseconds> rest;
    // Sequence of the finding that the teller knew, 0: none. One that knew of the held finding
    // replaces it. Of two that did not know of each other a firm one stays, then the heavier one,
    // then the longer one.
    std::uint64_t knew = 0;
    std::int32_t weight = 0;
    bool firm = false;  // a person's word or a passed test
};

// What the upstream's rate-limit headers said last.
struct key_headers {
    std::int64_t left = 0;
    std::chrono::milliseconds holds{};
};

struct key_news {
    std::string id;
    key_sums add;          // since the last telling
    std::int64_t day = 0;  // the UTC day of `add`, in days since 1970
    // Where the day's sums begin if the store holds none of this key and day: a key that joins
    // others starts in their middle.
    std::int64_t start_uses = 0;
    std::int64_t start_tokens = 0;
    std::int32_t success_ppm = 1'000'000;  // the teller's decaying success rate
    std::optional<key_finding> finding;
    std::optional<key_headers> headers;
    bool gone = false;  // the key's record was erased: forget all of it
};

// Numbers of a replica grow by one from 1; a batch that was applied is not applied again.
struct key_batch {
    std::string replica;  // of one run of one process
    std::uint64_t number = 0;
    std::vector<key_news> items;  // at most 1,000
};

// What the store holds of one key.
struct key_standing {
    std::string id;
    std::uint64_t sequence = 0;  // of its last change
    key_sums sums;
    std::int64_t day = 0;
    std::int64_t day_uses = 0;
    std::int64_t day_tokens = 0;
    std::int32_t success_ppm = 1'000'000;
    std::uint64_t found = 0;  // sequence of the finding; 0: there is none
    std::string found_by;     // replica
    std::string finding;
    std::optional<std::chrono::milliseconds> rest;  // what is left of it; not positive: over
    std::optional<key_headers> headers;
    std::int64_t headers_until = 0;  // the same by the store's clock, to tell one from another
    std::string headers_by;
};

// Where a reader is in the store's sequence of changes.
struct key_position {
    std::uint64_t origin = 0;  // of the sequence: another one is another store, or an emptied one
    std::uint64_t sequence = 0;
};

struct key_standings {
    key_position at;     // pass it to the next call
    bool reset = false;  // read from the beginning: first call, or the store lost something
    bool more = false;   // call again at once
    std::vector<key_standing> items;
};

}  // namespace kw::store
