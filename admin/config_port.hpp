// What the admin API needs of the running configuration.
#pragma once

#include <optional>
#include <string>

#include "config/loader.hpp"

namespace kw::admin {

// Control thread only; outlives the admin_api.
class config_port {
  public:
    virtual ~config_port() = default;
    // As it is now, with where each value came from.
    [[nodiscard]] virtual const config::loaded& in_force() const = 0;
    // As it would be with these stored settings: file and environment are read again.
    [[nodiscard]] virtual config::load_result with(const config::stored_settings& stored) const = 0;
    // A variable of the environment; none: not set.
    [[nodiscard]] virtual std::optional<std::string> variable(const std::string& name) const = 0;
};

}  // namespace kw::admin
