// The factories of the built-in strategies, one file each.
#pragma once

#include <memory>

#include "pool/strategy.hpp"

namespace kw::pool::strategies {

std::unique_ptr<strategy> make_least_token_used(const strategy_settings& s);
std::unique_ptr<strategy> make_least_used(const strategy_settings& s);
std::unique_ptr<strategy> make_max_remaining(const strategy_settings& s);
std::unique_ptr<strategy> make_random(const strategy_settings& s);
std::unique_ptr<strategy> make_round_robin(const strategy_settings& s);
std::unique_ptr<strategy> make_weighted_score(const strategy_settings& s);

}  // namespace kw::pool::strategies
