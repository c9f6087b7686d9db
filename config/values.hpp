// Single values: from the text of a file or a variable into a slot, and back into text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/fields.hpp"
#include "config/loader.hpp"

namespace kw::config {

// What is wrong with a text; never quotes it.
struct fault {
    std::string reason;
    std::string remedy;
};
using verdict = std::optional<fault>;

// Follows references to secrets, and remembers the files it read.
class secret_resolver {
  public:
    explicit secret_resolver(const environment& env) : env_(env) {}
    // "env:NAME", "file:PATH" (without the line's end), or the text itself.
    verdict resolve(std::string_view text, secret& out);
    [[nodiscard]] const std::vector<std::string>& files() const noexcept { return files_; }

  private:
    const environment& env_;
    std::vector<std::string> files_;
};

// One scalar into its slot, by the slot's type. Lists are read from comma-separated text.
verdict parse_value(const field& f, slot into, std::string_view text, secret_resolver& secrets);
// One element of a list more.
verdict append_value(const field& f, slot into, std::string_view text, secret_resolver& secrets);
// Lists and sets: the file gives them as sequences.
[[nodiscard]] bool is_list(const slot& s) noexcept;
// Back to the default: empty.
void clear_list(slot s) noexcept;

// In the words that parse_value understands; secrets masked.
[[nodiscard]] std::string format_value(const field& f, const slot& value);
[[nodiscard]] bool equal_values(const slot& a, const slot& b);
// "duration", "size", "whole number 1–20", "`json` or `text`", …
[[nodiscard]] std::string type_name(const field& f, const slot& value);

}  // namespace kw::config
