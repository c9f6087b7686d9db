// The running server: store, journal, pool state, control thread and workers, wired together.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/snapshot_builder.hpp"
#include "config/loader.hpp"
#include "core/metrics.hpp"
#include "net/control_port.hpp"

namespace kw::app {

struct serve_options {
    std::string config_file;  // "": environment alone
    config::environment env;
    bool demo_if_no_keys = false;
    // Start with file and environment alone: the way out of a stored setting that keeps the
    // program from serving.
    bool ignore_stored_settings = false;
};

// Made, driven and destroyed by the main thread.
class runtime {
  public:
    // Throws std::runtime_error with a message for the operator when it cannot start.
    explicit runtime(serve_options options);
    ~runtime();
    runtime(const runtime&) = delete;
    runtime& operator=(const runtime&) = delete;

    void start();
    // Reads configuration again; a bad one is refused whole and logged.
    void reload();
    // Graceful stop: returns when all exchanges have ended, or the limit passed, or hurry() said
    // true; then cuts what is left and flushes the books.
    void stop(const std::function<bool()>& hurry);

    [[nodiscard]] std::uint16_t port() const noexcept;
    // What a person sees at the start: address, keys, a line to try.
    [[nodiscard]] std::string greeting() const;

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

// Loads the configuration with all names that the program knows. Faults of stored settings are
// refused, or left out with a warning.
[[nodiscard]] config::load_result load_configuration(const std::string& file,
                                                     const config::environment& env,
                                                     const config::stored_settings& stored = {},
                                                     bool leave_out_faults = false);

// Adds what the admin API has stored, for a look from outside: the store is only read, and one that
// cannot be read is a warning.
[[nodiscard]] config::load_result load_with_store(const std::string& file,
                                                  const config::environment& env,
                                                  config::loaded plain);

}  // namespace kw::app
