// What tokens cost: an immutable table, looked up once an exchange, with exact integer arithmetic.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "core/money.hpp"
#include "store/types.hpp"

namespace kw::usage {

// Nano-dollars per million tokens of each class; -1: none of its own, the fallback in the comment.
struct rates {
    std::int64_t input = -1;           // 0
    std::int64_t output = -1;          // 0
    std::int64_t cached_read = -1;     // input
    std::int64_t cache_write_5m = -1;  // input
    std::int64_t cache_write_1h = -1;  // cache_write_5m
    std::int64_t reasoning = -1;       // output
    std::int64_t audio_in = -1;        // input
    std::int64_t audio_out = -1;       // output
    std::int64_t image_in = -1;        // input
    std::int64_t image_out = -1;       // output
    friend bool operator==(const rates&, const rates&) = default;
};

// Another price for a service tier: its own rates, or the standard ones times a factor.
struct tier_price {
    std::optional<rates> own;
    std::int64_t factor_ppm = 1'000'000;
};

struct model_price {
    rates base;
    std::int64_t long_threshold = 0;  // input tokens above which long_context holds; 0: never
    rates long_context;
    std::optional<tier_price> batch, flex, priority;
    // Nano-dollars for each; 0: none.
    std::int64_t per_request = 0;
    std::int64_t per_image = 0;      // only where the answer told no tokens
    std::int64_t per_second = 0;     // likewise; of audio or video, by the answer's duration
    std::int64_t per_character = 0;  // of speech input
    std::int64_t per_search = 0;     // web search calls
    std::int64_t training = 0;       // nano-dollars per million tokens trained on
    std::string source;              // where the price is published
    std::string as_of;               // the day it was read there, YYYY-MM-DD
};

// All that one exchange is charged for.
struct quantities {
    store::token_counts tokens;
    std::int64_t images = 0;
    std::int64_t duration_ms = 0;
    std::int64_t characters = 0;
    std::int64_t searches = 0;
    std::int64_t trained_tokens = 0;
};

struct charge {
    std::optional<nanodollars> cost;   // null: no price known (or a sum beyond all reason)
    std::optional<nanodollars> rated;  // cost × multiplier
};

// Multipliers in millionths. Two of them, group's and access key's, apply one after the other
// without rounding in between.
struct multipliers {
    std::int64_t group_ppm = 1'000'000;
    std::int64_t access_key_ppm = 1'000'000;
    friend bool operator==(const multipliers&, const multipliers&) = default;
};

// service_tier: "batch" (half the standard price where the table has no other), "flex", "priority",
// or anything else for standard. Each of the two
// amounts is rounded once, half up.
[[nodiscard]] charge price_of(const model_price& price, const quantities& q,
                              std::string_view service_tier, const multipliers& m = {}) noexcept;

// Immutable and shared: any thread may look up. Built by price_table_builder.
class price_table {
  public:
    ~price_table();
    price_table(const price_table&) = delete;
    price_table& operator=(const price_table&) = delete;

    // The table compiled in.
    [[nodiscard]] static std::shared_ptr<const price_table> builtin();

    // null when no rule finds one. Rules, first hit wins; each tries provider/model, then model:
    //   1. the name as it is                          gpt-4o-2024-08-06
    //   2. without "models/", "openai/" and the like  models/gemini-2.5-pro
    //   3. without its date                           -YYYY-MM-DD, -YYYYMMDD, @YYYYMMDD, -latest
    // then the default price if one is set. An alias in the table counts as a name.
    // A name that only begins like a known one is not priced: a wrong price is worse than none.
    [[nodiscard]] const model_price* find(std::string_view provider,
                                          std::string_view model) const noexcept;

    // The answer's name is tried before the request's.
    [[nodiscard]] charge cost(std::string_view provider, std::string_view model_served,
                              std::string_view model_asked, const quantities& q,
                              std::string_view service_tier,
                              const multipliers& m = {}) const noexcept;

    // Changes whenever any source does: 12 hex digits.
    [[nodiscard]] const std::string& version() const noexcept;
    [[nodiscard]] std::size_t size() const noexcept;
    // All names with their prices, sorted by name.
    [[nodiscard]] std::vector<std::pair<std::string_view, const model_price*>> list() const;

    struct impl;  // opaque outside of this folder

  private:
    friend class price_table_builder;
    explicit price_table(std::unique_ptr<impl> state);
    std::unique_ptr<impl> impl_;
};

// Later sources replace earlier ones, model by model. One thread; start-up and reload only.
class price_table_builder {
  public:
    price_table_builder();
    price_table_builder(price_table_builder&&) noexcept;
    price_table_builder& operator=(price_table_builder&&) noexcept;
    ~price_table_builder();

    void add_builtin();
    // Our own format, strict: an unknown key, a duplicate or a price that is no exact number of
    // nano-dollars is refused with the model and the key. Nothing is added then.
    //   {"format": "keywheel-prices-1", "source": "…", "as_of": "2026-01-31",
    //    "models": {"openai/gpt-4o": {"input": "2.50", "output": "10", "cached_read": "1.25",
    //               "aliases": ["gpt-4o-latest"], "batch": {"factor": "0.5"},
    //               "long_context": {"above": 200000, "input": …}}},
    //    "default": {…}}
    // Prices are dollars per million tokens (per request, image, second, character, search for
    // the per_… keys), as text or number; read as decimal text.
    [[nodiscard]] result<std::size_t> add_own(std::string_view json);
    // LiteLLM's cost map; fields that we do not know are passed over, models without any price
    // too. Returns the number of models taken.
    [[nodiscard]] result<std::size_t> add_litellm(std::string_view json);
    // Either of the two, told apart by "format".
    [[nodiscard]] result<std::size_t> add(std::string_view json);
    void set_default(const model_price& price);

    // Leaves the builder empty.
    [[nodiscard]] std::shared_ptr<const price_table> build();

  private:
    std::unique_ptr<price_table::impl> impl_;
};

}  // namespace kw::usage
