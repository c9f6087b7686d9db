// Loads the settings: defaults, then one YAML file, then the environment, then what the admin API
// has stored; or says everything that is wrong with them. Runs on the control thread (it reads
// files).
#pragma once

#include <boost/system/result.hpp>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.hpp"

namespace kw::config {

using environment = std::map<std::string, std::string, std::less<>>;

// The process's own, as main() got it.
[[nodiscard]] environment process_environment(const char* const* envp);

// Where a value came from. A default has neither file nor variable.
struct origin {
    std::string file;
    int line = 0;          // from 1
    std::string variable;  // the environment's
    bool stored = false;   // set by the admin API
    // "default", "keywheel.yaml:12", "environment PORT", "store"
    [[nodiscard]] std::string to_string() const;
};

// One thing that is wrong. Holds no value that was read, since it might be a secret.
struct problem {
    origin where;
    std::string key;     // "server.port", "groups[1].base_url"
    std::string reason;  // "is not a whole number"
    std::string remedy;  // "write a port between 0 and 65535"
    // One line for a person: where, key, reason, remedy.
    [[nodiscard]] std::string to_string() const;
};

struct problem_list {
    std::vector<problem> items;  // at most max_problems
    static constexpr std::size_t max_problems = 100;
};

struct loaded {
    settings values;
    // By the setting's key ("server.port"; declared lists by their items: "groups.openai").
    // What is not here has its default.
    std::map<std::string, origin, std::less<>> origins;
    // For the log: what was read and left unused, and why.
    std::vector<std::string> warnings;
    // Stored settings that could not be taken (load_over); a warning tells each.
    std::vector<std::string> left_out;
    // Every file that was read (configuration, secrets): what a watcher looks at.
    std::vector<std::string> files;
};

using load_result = boost::system::result<loaded, problem_list>;

// What only layers above know. Empty: not checked.
struct known_names {
    std::span<const std::string_view> strategies;
    std::span<const std::string_view> providers;
};

// What the admin API has set, by the setting's key: its text, or a list's texts.
using stored_settings = std::map<std::string, std::vector<std::string>, std::less<>>;

// file: "" for none; one that is missing is a problem. All or nothing: with any problem there are
// no settings.
[[nodiscard]] load_result load(const std::string& file, const environment& env,
                               const known_names& known = {}, const stored_settings& stored = {});

// The same, but stored settings that cannot be taken are left out with a warning: one that another
// release has stored, or that contradicts this machine's file, must not keep the program from
// starting.
[[nodiscard]] load_result load_over(const std::string& file, const environment& env,
                                    const known_names& known, stored_settings stored);

// As load(), with the file's text at hand; `name` is what problems call it.
[[nodiscard]] load_result load_text(std::string_view yaml, const std::string& name,
                                    const environment& env, const known_names& known = {});

// Called by load_result::value() on a programming error.
[[noreturn]] void throw_exception_from_error(const problem_list& list,
                                             const boost::source_location& loc);

}  // namespace kw::config
