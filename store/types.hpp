// The vocabulary of what is stored: token counts, the ledger record, aggregates, plain records.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.hpp"
#include "core/money.hpp"

namespace kw::store {

// Tokens by class. `input` and `output` are totals; the classes below them are parts of these
// totals, whatever the provider's own way of counting is (Anthropic's cached tokens are added).
struct token_counts {
    std::int64_t input = 0;
    std::int64_t output = 0;
    std::int64_t reasoning = 0;       // part of output
    std::int64_t cached_read = 0;     // part of input
    std::int64_t cache_write_5m = 0;  // part of input
    std::int64_t cache_write_1h = 0;  // part of input
    std::int64_t audio_in = 0;        // part of input
    std::int64_t audio_out = 0;       // part of output
    std::int64_t image_in = 0;        // part of input
    std::int64_t image_out = 0;       // part of output
    [[nodiscard]] std::int64_t total() const noexcept { return input + output; }
    friend bool operator==(const token_counts&, const token_counts&) = default;
};

// How sure the counts are: from the provider, worked out by us, or there was nothing to count.
enum class usage_outcome : std::uint8_t { exact, estimated, none };

// How the exchange ended, for the request log and the metrics.
enum class exchange_end : std::uint8_t {
    completed,      // the whole answer reached the client
    client_closed,  // the client went away first
    upstream_cut,   // the answer broke off
    refused,        // answered by us before any upstream was asked
    failed,         // every try failed; the client got our or the upstream's error
};

// The one record of an exchange. `id` is ours, never the client's. Text is std::string where a
// record owns its texts, std::string_view where they lie in bytes that somebody else keeps.
template <class Text>
struct basic_ledger_record {
    Text id;
    wall_time started;
    Text access_key_id;    // "" for an open proxy
    Text upstream_key_id;  // "" when no upstream was asked
    Text group_id;
    Text provider;
    Text endpoint;  // "chat", "responses", "embeddings", …
    Text model_asked;
    Text model_served;  // as the answer names it, else as sent
    Text service_tier;
    token_counts tokens;
    usage_outcome outcome = usage_outcome::none;
    exchange_end end = exchange_end::completed;
    std::optional<nanodollars> cost;        // real, by the price table; null: no price known
    std::optional<nanodollars> rated_cost;  // cost × group's × access key's multiplier
    std::uint16_t status = 0;               // what the client got
    std::uint16_t attempts = 0;
    bool stream = false;
    Text error_code;                 // "" unless the end is not `completed`
    std::int64_t first_byte_us = 0;  // since `started`; 0: none
    std::int64_t total_us = 0;
    std::int64_t overhead_us = 0;  // our own share, from the whole request to the answer's head
    std::int64_t bytes_in = 0;
    std::int64_t bytes_out = 0;
    // A try that was given up after it may have been billed: the operator's cost, not the access
    // key's. Such a record has the exchange's id with "#" and the number of the try.
    bool operator_cost = false;
};

using ledger_record = basic_ledger_record<std::string>;
using ledger_record_view = basic_ledger_record<std::string_view>;

enum class span : std::uint8_t { hour, day, month, all };
enum class dimension : std::uint8_t { all, access_key, upstream_key, group, provider, model };

// One cell of the aggregates: sums over the records of one bucket of time and one subject.
struct aggregate {
    dimension by = dimension::all;
    std::string subject;  // the id or name; "" for dimension::all
    span length = span::day;
    std::string bucket;  // "2026-11-21T05", "2026-11-21", "2026-11", "all"; UTC
    std::int64_t requests = 0;
    std::int64_t errors = 0;     // records whose end is not `completed`
    std::int64_t estimated = 0;  // records whose outcome is `estimated`
    std::int64_t unpriced = 0;   // records with tokens but no cost
    token_counts tokens;
    nanodollars cost = 0;
    nanodollars rated_cost = 0;
    // What of these sums comes from records whose outcome is `estimated`: without it they are
    // exact.
    std::int64_t estimated_input = 0;
    std::int64_t estimated_output = 0;
    nanodollars estimated_cost = 0;
};

// A small JSON document with a revision: upstream keys, groups, access keys, settings, …
struct record {
    std::string kind;  // "upstream_key", "group", "access_key", "setting", …
    std::string id;
    std::uint64_t revision = 0;  // 0: not stored yet
    std::string json;
};

}  // namespace kw::store
