// What the stages of loading share; internal to this folder.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/fields.hpp"
#include "config/loader.hpp"
#include "config/values.hpp"

namespace kw::config {

struct loading {
    const environment& env;
    const known_names& known;
    const stored_settings& stored;
    secret_resolver secrets;
    loaded result;
    problem_list problems;

    loading(const environment& e, const known_names& k, const stored_settings& s)
        : env(e), known(k), stored(s), secrets(e) {}

    // Past max_problems further ones are dropped: the first ones matter.
    void report(origin where, std::string key, fault what);
    // Where a setting came from; a default's origin is empty.
    [[nodiscard]] origin where(std::string_view key) const;
    void set_origin(std::string key, origin from);
    // The variable's value; null if it is not set or empty.
    [[nodiscard]] const std::string* variable(std::string_view name) const;
};

// Stages, in environment.cpp, stored.cpp and validate.cpp.
void apply_variables(loading& l);
void apply_stored(loading& l);
void add_provider_groups(loading& l);
void check_variable_names(loading& l);
void validate(loading& l);

// A variable that Kubernetes makes for a Service whose name begins with "keywheel".
[[nodiscard]] bool is_service_link(std::string_view name, std::string_view value) noexcept;

// "did you mean …?", or the alternative when nothing is near.
[[nodiscard]] std::string suggestion(std::string_view wrong,
                                     const std::vector<std::string>& candidates,
                                     std::string_view otherwise);

}  // namespace kw::config
