// What the verbs that talk to a running server share: their options, the call, tables.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "config/loader.hpp"
#include "core/secret.hpp"

namespace CLI {
class App;
}
namespace boost::json {
class array;
class object;
}  // namespace boost::json

namespace kw::app {

// The configuration file that a verb uses: the one given, else KEYWHEEL_CONFIG, else keywheel.yaml
// where that exists; "": none.
[[nodiscard]] std::string config_file_of(const std::string& given, const config::environment& env);

// The environment outlives it. All that fails throws std::runtime_error with a text for a person.
class remote {
  public:
    explicit remote(const config::environment& env) : env_(env) {}

    // --config, --url, --ca and --json of a verb.
    void options(CLI::App& verb);

    // The answer's `data`. With --json the answer is printed as it came.
    boost::json::object call(std::string_view method, std::string_view path,
                             std::string body = {}) const;
    [[nodiscard]] bool json() const noexcept { return json_; }

  private:
    const config::environment& env_;
    std::string config_file_;
    std::string url_;
    std::string ca_;
    bool json_ = false;
};

// "?a=1&b=2" of those that have a value, percent-encoded; "" of none.
[[nodiscard]] std::string query(
    std::initializer_list<std::pair<std::string_view, std::string_view>> parameters);
// As a part of a path.
[[nodiscard]] std::string path_part(std::string_view text);

// A member as a person reads it: nested ones by dots ("tokens.total"), money in dollars, "-" for
// what is not there.
[[nodiscard]] std::string text_of(const boost::json::object& of, std::string_view member);

struct column {
    std::string_view title;
    std::string_view member;
};
// On standard output, as wide as it must be.
void print_table(const boost::json::array& rows, std::initializer_list<column> columns);

// The first line of a file, or of standard input for "-" or "" (not shown while it is typed).
[[nodiscard]] secret read_secret(const std::string& file, std::string_view prompt);
// All of a file, or of standard input for "-"; at most 64 MiB.
[[nodiscard]] std::string read_text(const std::string& file);

}  // namespace kw::app
