// Work that costs something later than it was ordered: background responses, batches, fine-tuning
// jobs, videos. What their objects tell, what is noted at the order, and the record of it in the
// end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "store/types.hpp"
#include "usage/json_walker.hpp"
#include "usage/prices.hpp"
#include "usage/scanner.hpp"

namespace kw::usage {

enum class late_kind : std::uint8_t { none, response, batch, fine_tuning, video };

// What an object says of its work.
struct late_state {
    late_kind kind = late_kind::none;
    std::string id;     // "" : none was seen
    bool late = false;  // a response may not have been made in the background
    bool ended = false;
    bool told = false;  // tokens are the provider's
    store::token_counts tokens;
    std::int64_t generated = 0;  // bytes of text
    std::int64_t searches = 0;
    std::int64_t duration_ms = 0;  // of a video
    std::string model;
    std::string service_tier;
    std::string size;  // of a video: "1280x720"
};

// Reads it out of an answer of that one object, or of a stream of a response's events. One thread;
// nothing is kept of the answer but what late_state has. Nothing it reads is trusted.
class late_reader {
  public:
    explicit late_reader(late_kind kind);
    void feed(std::string_view piece);     // decoded
    void on_event(std::string_view data);  // of a stream, instead of feed()
    // Of what was fed, as if that were all.
    [[nodiscard]] late_state state();

  private:
    friend class json_walker<late_reader>;
    void on_value(const json_value& v);
    void on_open(const json_container&) noexcept {}
    void on_close(const json_container&) noexcept {}

    late_state out_;
    std::string status_;
    std::int64_t trained_ = 0;
    scanner usage_;
    json_walker<late_reader> walker_;
};

// What is known when it is ordered, kept by the store until it is booked.
struct late_note {
    late_kind kind = late_kind::none;
    std::string exchange_id;  // of the order
    std::string access_key_id;
    std::string upstream_key_id;
    std::string group_id;
    std::string provider;
    std::string endpoint;
    std::string model_asked;
    std::string model;  // as it was sent
    std::string service_tier;
    std::string place;    // below the base URL, where it can be asked for: "/responses/resp_1"
    std::string account;  // of the upstream, as far as it was known
    multipliers rates;
    std::int64_t input_tokens = 0;  // an estimate, should it never be told
    std::int64_t output_tokens = 0;

    friend bool operator==(const late_note&, const late_note&) = default;
};
[[nodiscard]] std::string write_note(const late_note& note);
[[nodiscard]] std::optional<late_note> read_note(std::string_view text);

// The record of ended work. A batch has the prices of batches; an ended response, the model's by
// the answer; training and videos what the table has for these.
[[nodiscard]] store::ledger_record late_record(const late_note& note, const late_state& state,
                                               const price_table& prices, wall_time now);
// Of work that can no more be asked what it cost: the note's estimate.
[[nodiscard]] store::ledger_record lost_record(const late_note& note, const price_table& prices,
                                               wall_time now);

}  // namespace kw::usage
