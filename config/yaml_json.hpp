// A YAML document as JSON, for what is not our own configuration.
#pragma once

#include <string>

#include "core/error.hpp"

namespace boost::json {
class value;
}

namespace kw::config {

// Scalars become texts, "~" and nothing become null. errc::invalid_argument, its context the
// reason: not YAML, more than one document, a key twice or no plain text, too deep or too large.
[[nodiscard]] result<boost::json::value> yaml_to_json(const std::string& text);

}  // namespace kw::config
