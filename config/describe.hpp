// The settings as text: check-config's rows, the table of docs/configuration.md, and what a reload
// changed. All made from the descriptors in fields.cpp.
#pragma once

#include <string>
#include <vector>

#include "config/loader.hpp"

namespace kw::config {

// One setting in force; a secret's value is masked.
struct row {
    std::string key;
    std::string value;
    std::string origin;
};
[[nodiscard]] std::vector<row> describe(const loaded& from);

// A setting whose value differs; one that needs a restart keeps its old value until then.
struct change {
    std::string key;
    bool needs_restart = false;
};
// The declared lists count as one setting each ("groups") and never need a restart.
[[nodiscard]] std::vector<change> differences(const settings& before, const settings& after);

// Markdown: one table a section.
[[nodiscard]] std::string settings_reference();

}  // namespace kw::config
