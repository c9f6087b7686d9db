// A running configuration without file: an environment, and what is laid over it by the test.
#pragma once

#include <optional>
#include <string>

#include "admin/config_port.hpp"

namespace kw::admin::test {

struct fake_config final : config_port {
    config::environment env;
    config::loaded now = *config::load("", {});

    [[nodiscard]] const config::loaded& in_force() const override { return now; }
    [[nodiscard]] config::load_result with(const config::stored_settings& stored) const override {
        return config::load("", env, {}, stored);
    }
    [[nodiscard]] std::optional<std::string> variable(const std::string& name) const override {
        const auto at = env.find(name);
        return at == env.end() ? std::nullopt : std::optional(at->second);
    }
};

}  // namespace kw::admin::test
