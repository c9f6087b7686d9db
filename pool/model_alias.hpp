// Model aliases: the name a client asks for, the model it stands for, and what to fall back to.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "pool/fault_policy.hpp"

namespace kw::pool {

// "model" or "model@group".
struct model_route {
    std::string model;
    std::string group;  // "" : any
    friend bool operator==(const model_route&, const model_route&) = default;
};

// errc::invalid_argument: an empty part. The last `@` divides.
[[nodiscard]] result<model_route> parse_route(std::string_view text);

// What may lead from one model to the next.
enum class fallback_cause : std::uint8_t {
    unavailable,     // no key, retries used up, silence, connect failures
    context_length,  // the prompt is too long for this model
    model_missing,   // the upstream does not know the model
    first_token,     // the first-token limit passed
};
inline constexpr std::uint8_t all_but_context = (1U << 0U) | (1U << 2U) | (1U << 3U);

struct model_alias {
    std::string name;
    model_route target;
    std::vector<model_route> fallbacks;
    std::uint8_t causes = all_but_context;         // bits 1 << fallback_cause
    std::vector<model_route> larger;               // for context_length; empty: none
    std::optional<nanoseconds> first_token_limit;  // 10 s where there is a fallback
    [[nodiscard]] bool allows(fallback_cause c) const noexcept {
        return ((causes >> static_cast<unsigned>(c)) & 1U) != 0;
    }
};

// Why a verdict asks for another model; nullopt: it does not (a content filter, a bad request).
[[nodiscard]] std::optional<fallback_cause> cause_of(const upstream_result& r, const verdict& v);

// Immutable once filled; any thread may read.
class alias_table {
  public:
    // errc::invalid_argument: no name, an equal name, or a chain of aliases.
    result<void> add(model_alias alias);
    // Null: the name is no alias.
    [[nodiscard]] const model_alias* find(std::string_view name) const;
    // The target, or the name itself.
    [[nodiscard]] model_route resolve(std::string_view name) const;
    // The step after `used` fallbacks for this cause; null: none is left or it is not configured.
    [[nodiscard]] const model_route* next(std::string_view name, fallback_cause cause,
                                          std::size_t used) const;
    [[nodiscard]] const std::map<std::string, model_alias, std::less<>>& all() const noexcept {
        return aliases_;
    }

  private:
    std::map<std::string, model_alias, std::less<>> aliases_;
};

}  // namespace kw::pool
